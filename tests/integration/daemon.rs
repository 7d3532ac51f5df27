//! The daemon and agents as processes: killed, paused, twinned, reloaded.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use backstop::agent::{Client, new_task};
use backstop::core::id::QueueName;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::process::Process;
use crate::support::{Server, backstop, eventually, number};

/// Clocks that are short enough to wait for.
const CONFIG: &str = r#"
[sweep]
every = "100ms"
lease = "1s"
[guards]
failover_grace = "300ms"
[defaults.session]
heartbeat_interval = "100ms"
heartbeat_timeout = "600ms"
lost_after = "300ms"
startup_grace = "1s"
stop_on_agent_after = "700ms"
"#;

struct Scene {
    server: Server,
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("backstop.toml");
        std::fs::write(&config, CONFIG).unwrap();
        Self { server: Server::durable().await, folder, config }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(backstop());
        command
            .args(args)
            .env("BACKSTOP_REDIS_URL", self.server.url())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    fn daemon(&self, listen: SocketAddr) -> Process {
        let config = self.config.to_str().unwrap();
        Process(self.command(&["run", "--config", config, "--listen", &listen.to_string()]).spawn().unwrap())
    }

    fn agent(&self, name: &str, script: &str) -> Process {
        let args = ["work", "--queue", "q", "--as", name, "--", "sh", "-c", script];
        Process(self.command(&args).stderr(Stdio::null()).spawn().unwrap())
    }

    async fn enqueue(&self, n: usize) {
        let tasks = (0..n).map(|i| new_task(i.to_string()).unwrap()).collect();
        Client::new(self.server.store(), QueueName::new("q").unwrap()).enqueue_all(tasks).await.unwrap();
    }

    async fn total(&self, name: &str) -> i64 {
        number(&self.server.store(), &["HGET", &self.server.queue("q").keys().named("stats"), name]).await
    }

    async fn policy_is_published(&self) {
        let key = self.server.queue("q").keys().named("policy");
        let there = || async { number(&self.server.store(), &["HLEN", &key]).await > 0 };
        eventually("the daemon has published its policy", there).await;
    }
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let code = answer.split(' ').nth(1)?.parse().ok()?;
    Some((code, answer))
}

#[tokio::test]
async fn a_killed_agents_task_comes_back_and_its_command_dies_with_it() {
    let scene = Scene::new().await;
    let _daemon = scene.daemon(free_address());
    scene.enqueue(1).await;
    scene.policy_is_published().await;
    let pid_file = scene.folder.path().join("pid");
    let script = format!("echo $$ > {}; exec sleep 600", pid_file.display());
    let first = scene.agent("first", &script);
    let pid = || std::fs::read_to_string(&pid_file).unwrap_or_default().trim().to_owned();
    eventually("the command runs", || async { !pid().is_empty() }).await;
    first.signal(Signal::KILL);
    let gone = || async { !std::path::Path::new(&format!("/proc/{}/fd", pid())).exists() };
    eventually("the command died with its agent", gone).await;
    let _second = scene.agent("second", "exit 0");
    eventually("another agent completes the task", || async { scene.total("completed").await == 1 }).await;
    assert_eq!(scene.total("reset:agent_lost").await, 1);
    assert_eq!((scene.total("taken").await, scene.total("false_resets").await), (2, 0));
}

#[tokio::test]
async fn an_agent_that_was_paused_past_its_time_wakes_up_and_completes_nothing_twice() {
    let scene = Scene::new().await;
    let _daemon = scene.daemon(free_address());
    scene.enqueue(1).await;
    scene.policy_is_published().await;
    let ran = scene.folder.path().join("ran");
    let script = format!("echo x >> {0}; [ $(wc -l < {0}) -gt 1 ] || sleep 2", ran.display());
    let sleeper = scene.agent("sleeper", &script);
    eventually("it runs the task", || async { scene.total("taken").await == 1 }).await;
    sleeper.signal(Signal::STOP);
    let _other = scene.agent("other", &script);
    eventually("another completes it", || async { scene.total("completed").await == 1 }).await;
    sleeper.signal(Signal::CONT);
    scene.enqueue(1).await;
    eventually("both work on", || async { scene.total("completed").await == 2 }).await;
    assert_eq!(scene.total("enqueued").await, 2);
}

#[tokio::test]
async fn it_starts_while_redis_is_away_and_sweeps_when_it_is_there() {
    let mut scene = Scene::new().await;
    scene.server.inner.kill().await;
    let address = free_address();
    let mut daemon = scene.daemon(address);
    let alive = || async { matches!(get(address, "/livez").await, Some((200, _))) };
    eventually("it serves", alive).await;
    assert_eq!(get(address, "/readyz").await.unwrap().0, 503, "redis has not answered yet");
    scene.server.inner.restart().await.unwrap();
    let ready = || async { matches!(get(address, "/readyz").await, Some((200, _))) };
    eventually("it is ready", ready).await;
    scene.enqueue(1).await;
    let swept = || async {
        get(address, "/metrics")
            .await
            .is_some_and(|(_, page)| page.contains("backstop_queue_tasks{queue=\"q\",state=\"pending\"} 1"))
    };
    eventually("it found the queue", swept).await;
    let healthy = || async { matches!(get(address, "/healthz").await, Some((200, _))) };
    eventually("it is healthy once the grace after the restart is over", healthy).await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exit_code().await, Some(0));
}

#[tokio::test]
async fn of_two_daemons_one_sweeps_and_the_other_takes_over_at_once_when_it_leaves() {
    let scene = Scene::new().await;
    scene.enqueue(1).await;
    let (one, two) = (free_address(), free_address());
    let leads = |address: SocketAddr| async move {
        get(address, "/metrics")
            .await
            .is_some_and(|(_, page)| page.contains("backstop_leader{queue=\"q\"} 1"))
    };
    let mut first = scene.daemon(one);
    eventually("the first leads", || leads(one)).await;
    let _second = scene.daemon(two);
    let stands_by = || async { matches!(get(two, "/readyz").await, Some((200, _))) };
    eventually("the second is ready", stands_by).await;
    assert!(!leads(two).await);
    first.signal(Signal::TERM);
    assert_eq!(first.exit_code().await, Some(0));
    eventually("the second leads", || leads(two)).await;
}

#[tokio::test]
async fn a_new_configuration_comes_into_force_and_a_broken_one_changes_nothing() {
    let scene = Scene::new().await;
    scene.enqueue(1).await;
    let address = free_address();
    let daemon = scene.daemon(address);
    let mode = |mode: &'static str| async move {
        let line = format!("backstop_mode_info{{mode=\"{mode}\",queue=\"q\"}} 1");
        get(address, "/metrics").await.is_some_and(|(_, page)| page.contains(&line))
    };
    eventually("it enforces", || mode("enforce")).await;
    std::fs::write(&scene.config, format!("{CONFIG}\n[defaults]\nmode = \"observe\"\n")).unwrap();
    daemon.signal(Signal::HUP);
    eventually("it observes", || mode("observe")).await;
    std::fs::write(&scene.config, "[sweep]\nevry = \"1s\"\n").unwrap();
    daemon.signal(Signal::HUP);
    let says_so = || async {
        get(address, "/healthz").await.is_some_and(|(code, body)| code == 503 && body.contains("evry"))
    };
    eventually("it says what is wrong", says_so).await;
    assert!(mode("observe").await, "the one before it is in force");
}

#[tokio::test]
async fn it_refuses_to_serve_strangers_and_a_port_that_is_taken() {
    let scene = Scene::new().await;
    let mut open = Process(scene.command(&["run", "--listen", "0.0.0.0:0"]).spawn().unwrap());
    assert_eq!(open.exit_code().await, Some(2));
    assert!(open.stderr().contains("--insecure-listen"));
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut second = scene.daemon(taken.local_addr().unwrap());
    assert_eq!(second.exit_code().await, Some(1));
    let said = second.stderr();
    assert!(said.contains("could not listen on") && said.contains("another --listen"), "{said}");
}

#[tokio::test]
async fn a_rolling_stop_gives_everything_back_and_abandons_nothing() {
    let scene = Scene::new().await;
    let _daemon = scene.daemon(free_address());
    scene.enqueue(6).await;
    scene.policy_is_published().await;
    let stubborn = "trap '' TERM; sleep 600";
    let mut agents = Vec::new();
    for n in 0..3 {
        let name = format!("agent-{n}");
        let args =
            ["work", "--queue", "q", "--as", &name, "--drain-timeout", "200ms", "--kill-after", "200ms"];
        let args = [&args[..], &["--", "sh", "-c", stubborn]].concat();
        agents.push(Process(scene.command(&args).stderr(Stdio::null()).spawn().unwrap()));
    }
    eventually("three run", || async { scene.total("taken").await == 3 }).await;
    for agent in &mut agents {
        agent.signal(Signal::TERM);
        assert_eq!(agent.exit_code().await, Some(0));
    }
    let pending = scene.server.queue("q").keys().named("pending");
    assert_eq!(number(&scene.server.store(), &["ZCARD", &pending]).await, 6);
    assert_eq!((scene.total("released").await, scene.total("abandoned:agent_lost").await), (3, 0));
}

#[tokio::test]
async fn a_daemon_that_was_paused_keeps_quiet_at_first_and_sweeps_again() {
    let scene = Scene::new().await;
    scene.enqueue(1).await;
    let address = free_address();
    let daemon = scene.daemon(address);
    scene.policy_is_published().await;
    let _agent = scene.agent("a", "sleep 600");
    eventually("it runs the task", || async { scene.total("taken").await == 1 }).await;
    daemon.signal(Signal::STOP);
    // Longer than any agent may be silent, and than the timers of some schedulers survive.
    tokio::time::sleep(Duration::from_secs(5)).await;
    daemon.signal(Signal::CONT);
    let noticed = || async {
        get(address, "/metrics")
            .await
            .is_some_and(|(_, page)| page.contains("backstop_guard_trips_total{guard=\"own_pause\"} 1"))
    };
    eventually("it knows that it stood still", noticed).await;
    let sweeps = || async {
        let (_, page) = get(address, "/metrics").await?;
        let line = page.lines().find(|line| line.starts_with("backstop_sweeps_total "))?;
        line.split(' ').nth(1)?.parse::<u64>().ok()
    };
    let before = sweeps().await.unwrap_or(0);
    eventually("it sweeps again", || async { sweeps().await.unwrap_or(0) > before + 3 }).await;
    assert_eq!(scene.total("abandoned:agent_lost").await, 0, "the agent lived all the time");
}

#[tokio::test]
async fn sigterm_ends_it_though_redis_hangs_however_many_queues_there_are() {
    let scene = Scene::new().await;
    let names: Vec<_> = (0..20).map(|i| format!("\"many-{i}\"")).collect();
    let config = CONFIG.replace("[sweep]", &format!("[sweep]\nqueues = [{}]", names.join(", ")));
    std::fs::write(&scene.config, config).unwrap();
    let mut daemon = scene.daemon(free_address());
    let leads = async || {
        number(&scene.server.store(), &["EXISTS", &scene.server.queue("many-19").keys().named("lease")]).await
    };
    eventually("it leads the last queue", || async { leads().await == 1 }).await;
    scene.server.inner.pause();
    daemon.signal(Signal::TERM);
    // Each answer that doesn't come costs 3 s, and there are 20 leases: more than this waits for.
    assert_eq!(daemon.exit_code().await, Some(0));
    scene.server.inner.resume();
}
