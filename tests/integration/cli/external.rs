//! Work elsewhere and late results, as a person sees them.

use backstop::native::scripts::complete::{Complete, Completed};
use backstop::native::scripts::external::{External, Recorded};
use backstop::native::scripts::fail::Fail;
use backstop::native::scripts::take::Taken;

use super::people::agent;
use super::{json, run};
use crate::support::Server;

const HOSTILE: &str = "job \u{1b}[31m\n\u{202e}x";

/// A task `t` that runs, and elsewhere.
async fn running(server: &Server) -> Taken {
    run(server, &["enqueue", "--queue", "q", "--id", "t", "--type", "gpu", "x"]);
    let task = agent(server, 1).await.1.remove(0);
    let external = External {
        id: task.id.clone(),
        token: task.token.clone(),
        task_type: task.task_type.clone(),
        handle: HOSTILE.to_owned(),
        number: 1,
    };
    assert_eq!(server.queue("q").run(&external).await.unwrap(), Recorded::Recorded);
    task
}

#[tokio::test]
async fn work_that_nobody_waits_for_is_listed_and_forgotten_by_hand() {
    let server = Server::start().await;
    let task = running(&server).await;
    let (_, out, _) = run(&server, &["explain", "t"]);
    assert!(out.contains("external job \\u{1b}[31m\\n"), "{out}");
    let (id, token) = (task.id, task.token);
    let fail = Fail { id, token, error: b"no".to_vec(), jitter: 0, is_final: true };
    server.queue("q").run(&fail).await.unwrap();
    let (code, out, _) = run(&server, &["external", "list", "q"]);
    let line = out.lines().nth(1).unwrap_or_default();
    assert!(
        code == 0 && line.trim_start().starts_with("t ") && line.contains("gpu") && !out.contains('\u{1b}'),
        "{out}"
    );
    let listed = json(&server, &["external", "list", "q", "--json"]);
    assert_eq!(listed["unwanted"][0]["handle"], HOSTILE);
    assert_eq!(run(&server, &["external", "forget", "other", "--queue", "q"]).0, 1);
    let (code, out, _) = run(&server, &["external", "forget", "t", "--queue", "q"]);
    assert_eq!((code, out.as_str()), (0, "t: 1 handles forgotten\n"));
    assert_eq!(json(&server, &["external", "list", "q", "--json"])["unwanted"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_late_result_is_explained_while_the_next_attempt_runs_and_when_it_is_over() {
    let server = Server::start().await;
    let task = running(&server).await;
    let record = server.queue("q").keys().task("t");
    // As if the sweeper had given it up, and another had taken it.
    assert_eq!(run(&server, &["reset", "t"]).0, 0);
    server.store().command(&["HSET", &record, "abandonments", "1"]).await.unwrap();
    let second = agent(&server, 1).await.1.remove(0);
    let pair = |task: &Taken| Complete { pairs: vec![(task.id.clone(), task.token.clone())] };
    assert_eq!(server.queue("q").run(&pair(&task)).await.unwrap(), [Completed::Late]);
    let told = "late     attempt 1 came with a result after its task had gone to another, and was refused";
    let (_, out, _) = run(&server, &["explain", "t"]);
    assert!(out.contains(told), "{out}");
    assert_eq!(server.queue("q").run(&pair(&second)).await.unwrap(), [Completed::Completed]);
    let (code, out, _) = run(&server, &["explain", "t"]);
    assert!(
        code == 0 && out.contains("is over: completed, after attempt 2\n") && out.contains(told),
        "{out}"
    );
    assert!(out.contains("what late"), "{out}");
    assert_eq!(json(&server, &["explain", "t", "--json"])["late_attempt"], 1);
}
