//! The page for people: what is wrong now, and where to look. No script; everything that came from outside is escaped.

use std::time::{Duration, Instant};

use maud::{DOCTYPE, Markup, html};

use crate::core::health::{Check, Queue, Snapshot};
use crate::core::policy::Mode;

/// Its style, served apart, so that the page needs no exception from the content policy.
pub(super) const STYLE: &str = include_str!("style.css");

/// Most queues on the page; the command line shows the rest.
const MOST_ROWS: usize = 200;

/// Draws the page.
pub(super) fn render(snapshot: &Snapshot, now: Instant) -> Markup {
    let checks = snapshot.checks(now);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Backstop" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                h1 { "Backstop" }
                (wrong(snapshot, &checks))
                (findings(&checks))
                (queues(&snapshot.queues))
                h2 { "Last pass" }
                (last_pass(snapshot, now))
                p {
                    a href="/metrics" { "metrics" } " · " a href="/healthz" { "health" } " · "
                    "version " (env!("CARGO_PKG_VERSION"))
                }
            }
        }
    }
}

fn wrong(snapshot: &Snapshot, checks: &[Check]) -> Markup {
    let bad: Vec<&Check> = checks.iter().filter(|check| !check.ok).collect();
    html! {
        h2 { "What is wrong now" }
        @if snapshot.stopping { p.bad { "This replica is stopping." } }
        @if bad.is_empty() {
            p.good { "Nothing." }
        } @else {
            ul { @for check in bad { li.bad { (check.name) ": " (check.detail) } } }
        }
    }
}

fn findings(checks: &[Check]) -> Markup {
    html! {
        h2 { "Checks and guards" }
        table {
            thead { tr { th { "check" } th { "well" } th.n { "age" } th.n { "limit" } th { "finding" } } }
            tbody {
                @for check in checks {
                    tr {
                        td { (check.name) }
                        td.good[check.ok].bad[!check.ok] { @if check.ok { "yes" } @else { "no" } }
                        td.n { (span(check.age)) }
                        td.n { (span(check.threshold)) }
                        td { (check.detail) }
                    }
                }
            }
        }
    }
}

fn queues(queues: &[Queue]) -> Markup {
    html! {
        h2 { "Queues" }
        @if queues.is_empty() { p { "None is known yet." } } @else {
            table {
                thead {
                    tr {
                        th { "queue" } th { "swept here" } th.n { "pending" } th.n { "delayed" } th.n { "running" }
                        th.n { "held" } th.n { "dead" } th.n { "agents" } th.n { "suspect" } th.n { "lost" }
                    }
                }
                tbody { @for queue in queues.iter().take(MOST_ROWS) { (row(queue)) } }
            }
            @if let Some(more) = queues.len().checked_sub(MOST_ROWS).filter(|more| *more > 0) {
                p { "… and " (more) " more: see " code { "backstop status" } }
            }
        }
    }
}

fn row(queue: &Queue) -> Markup {
    html! {
        tr {
            td {
                (queue.name)
                @if queue.paused { " (paused)" }
                @if queue.mode == Mode::Observe { " (observe only)" }
            }
            // A standby knows no figures; zeros would be a lie.
            @if queue.leader {
                td { "yes" } td.n { (queue.pending) } td.n { (queue.delayed) } td.n { (queue.running.sum()) }
                td.n.bad[queue.held > 0] { (queue.held) }
                td.n.bad[queue.dead > 0] { (queue.dead) }
                td.n { (queue.agents.sum()) }
                td.n { (queue.agents.suspect) }
                td.n.bad[queue.agents.lost > 0] { (queue.agents.lost) }
            } @else {
                td { "no" } td colspan="8" { "another replica sweeps it" }
            }
        }
    }
}

fn last_pass(snapshot: &Snapshot, now: Instant) -> Markup {
    html! {
        @match &snapshot.last_pass {
            None => p { "None has ended yet." },
            Some(pass) => p {
                (span(Some(now.saturating_duration_since(pass.ended)))) " ago, took "
                (format!("{:.1?}", pass.took)) ": " (pass.account)
            },
        }
    }
}

fn span(of: Option<Duration>) -> String {
    of.map_or_else(|| "–".to_owned(), |span| format!("{:.1} s", span.as_secs_f64()))
}
