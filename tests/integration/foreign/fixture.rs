//! The commands that a system's own code sends, from `tests/fixtures/`.

use std::collections::BTreeMap;
use std::path::Path;

use backstop::store::Store;

pub(crate) struct Fixture {
    parts: BTreeMap<String, Vec<String>>,
    pub(crate) preset: String,
}

/// Where things are, for a test to look at: agents, the waiting list with its size command, the dead, what an agent runs.
pub(crate) struct Places {
    pub(crate) agents: [&'static str; 2],
    pub(crate) waiting: &'static str,
    /// Whether the next to be taken stands at the left.
    pub(crate) next_is_left: bool,
    pub(crate) running: (&'static str, &'static str),
    pub(crate) dead: (&'static str, &'static str),
    lapses: &'static str,
}

/// Where all agents share a collection.
const SHARED: Places = Places {
    agents: ["one", "two"],
    waiting: "",
    next_is_left: false,
    running: ("", ""),
    dead: ("", ""),
    lapses: "",
};

impl Fixture {
    /// Whether tasks show life for themselves.
    pub(crate) fn shared(&self) -> bool {
        ["asynq", "bullmq", "rq", "celery", "streams"].contains(&self.preset.as_str())
    }

    pub(crate) fn of(preset: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{preset}.fixture"));
        let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut part = String::new();
        for line in std::fs::read_to_string(path).unwrap().lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                part = name.to_owned();
            } else if !line.is_empty() && !line.starts_with('#') {
                parts.entry(part.clone()).or_default().push(line.to_owned());
            }
        }
        Self { parts, preset: preset.to_owned() }
    }

    pub(crate) fn places(&self) -> Places {
        match self.preset.as_str() {
            "dramatiq" => Places {
                agents: ["0b1c-a", "0b1c-b"],
                waiting: "dramatiq:low.mail",
                next_is_left: true,
                running: ("SCARD", "dramatiq:__acks__.{agent}.low.mail"),
                dead: ("ZCARD", "dramatiq:low.mail.XQ"),
                lapses: "",
            },
            "sidekiq-reliable-fetch" => Places {
                agents: ["box-1:77:00aabb", "box-1:78:00aabc"],
                waiting: "queue:low.mail",
                next_is_left: false,
                running: ("LLEN", "working:queue:low.mail:{agent}"),
                dead: ("ZCARD", "dead"),
                lapses: "reliable-fetcher-heartbeat-{agent-}",
            },
            "sidekiq-super-fetch" => Places {
                agents: ["box:77:00aabbccddee", "box:78:00aabbccddef"],
                waiting: "queue:low.mail",
                next_is_left: false,
                running: ("LLEN", "queue:sq|{agent}|low.mail"),
                dead: ("ZCARD", "dead"),
                lapses: "{agent}",
            },
            "rmq" => Places {
                agents: ["svc-AbCdEf", "svc-GhIjKl"],
                waiting: "rmq::queue::[low.mail]::ready",
                next_is_left: false,
                running: ("LLEN", "rmq::connection::{agent}::queue::[low.mail]::unacked"),
                dead: ("LLEN", "rmq::queue::[low.mail]::rejected"),
                lapses: "rmq::connection::{agent}::heartbeat",
            },
            "apalis" => Places {
                agents: ["worker-a", "worker-b"],
                waiting: "low.mail:active",
                next_is_left: true,
                running: ("SCARD", "low.mail:inflight:{agent}"),
                dead: ("SCARD", "low.mail:dead"),
                lapses: "",
            },
            "redis-workflow" => Places {
                agents: ["sample-a", "sample-b"],
                waiting: "submitted:low.mail",
                next_is_left: true,
                running: ("SCARD", "responsible:{agent}"),
                dead: ("SCARD", "failed"),
                lapses: "responsible-heartbeat:{agent}",
            },
            "asynq" => Places {
                waiting: "asynq:{low.mail}:pending",
                running: ("LLEN", "asynq:{low.mail}:active"),
                dead: ("ZCARD", "asynq:{low.mail}:archived"),
                ..SHARED
            },
            "bullmq" => Places {
                waiting: "bull:low.mail:wait",
                running: ("LLEN", "bull:low.mail:active"),
                dead: ("LLEN", "bull:low.mail:wait"),
                ..SHARED
            },
            "rq" => Places {
                waiting: "rq:queue:low.mail",
                next_is_left: true,
                running: ("ZCARD", "rq:wip:low.mail"),
                dead: ("ZCARD", "rq:failed:low.mail"),
                ..SHARED
            },
            "celery" => Places {
                waiting: "low.mail",
                running: ("HLEN", "unacked"),
                dead: ("LLEN", "backstop-dead"),
                ..SHARED
            },
            "streams" => Places {
                waiting: "low.mail",
                running: ("XLEN", "low.mail"),
                dead: ("XLEN", "low.mail:dead"),
                ..SHARED
            },
            other => panic!("no places for {other}"),
        }
    }

    pub(crate) fn lapsing(&self, agent: &str) -> Vec<String> {
        Some(fill(self.places().lapses, &[("agent", agent)]))
            .filter(|key| !key.is_empty())
            .into_iter()
            .collect()
    }

    /// Sends the commands of a part.
    pub(crate) async fn play(&self, store: &Store, part: &str, values: &[(&str, &str)]) {
        let now = store.server_time().await.unwrap();
        let (seconds, millis) = ((now / 1000).to_string(), now.to_string());
        let exact = format!("{}.{:03}", now / 1000, now % 1000);
        let mut values = values.to_vec();
        values.extend([("now", seconds.as_str()), ("now_ms", millis.as_str()), ("now_s", &exact)]);
        let moments = ["now+150", "now+90", "now+30", "now+20", "now-1"];
        let moments = moments.map(|moment| {
            let offset: i64 = moment.trim_start_matches("now").parse().unwrap();
            (moment, (now / 1000 + offset).to_string())
        });
        values.extend(moments.iter().map(|(name, value)| (*name, value.as_str())));
        for line in self.parts.get(part).into_iter().flatten() {
            let command = words(&fill(line, &values));
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            match store.command(&command).await {
                // The group is there already.
                Err(error) if command[0] == "XGROUP" => drop(error),
                Err(error) => panic!("{part}: {line}: {error}"),
                Ok(_) => {}
            }
        }
    }
}

pub(crate) fn fill(line: &str, values: &[(&str, &str)]) -> String {
    let mut line = line.to_owned();
    for (name, value) in values {
        line = line.replace(&format!("{{{name}}}"), value);
        if *name == "agent" {
            line = line.replace("{agent-}", &value.replace(':', "-"));
        }
    }
    line
}

/// The words of a command as redis-cli reads them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut word = String::new();
            let mut chars = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => word.extend(chars.next().map(|(_, c)| c)),
                    c => word.push(c),
                }
            }
            words.push(word);
            rest = quoted[end..].trim_start();
        } else {
            let (word, left) = rest.split_once(' ').unwrap_or((rest, ""));
            words.push(word.to_owned());
            rest = left.trim_start();
        }
    }
    words
}
