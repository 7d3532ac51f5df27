//! Tasks that are jobs of the example's compute service: real agents, a real service, a real sweeper, each of them killed.

mod hooks;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use backstop::private_server::Fsync;
use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::{free_address, get};
use crate::support::process::Process;
use crate::support::{BRISK, Server, backstop, eventually, number};

/// A queue, its sweeper, and the service that its tasks are worked on by.
struct Scene {
    server: Server,
    folder: tempfile::TempDir,
    service: SocketAddr,
    metrics: SocketAddr,
}

impl Scene {
    /// With further settings of the tasks; `{service}` in them is where the service is.
    async fn new(settings: &str) -> Self {
        let server = Server::with(Fsync::Always, &[]).await;
        let folder = tempfile::tempdir().unwrap();
        let scene = Self { server, folder, service: free_address(), metrics: free_address() };
        let settings = settings.replace("{service}", &scene.service.to_string());
        std::fs::write(scene.path("backstop.toml"), format!("{BRISK}{settings}")).unwrap();
        scene
    }

    async fn with_hooks() -> Self {
        Self::new(
            r#"
            [queues.compute.task.external]
            probe = { url = "http://{service}/jobs/{handle}" }
            cancel = { url = "http://{service}/jobs/{handle}", method = "DELETE" }
            "#,
        )
        .await
    }

    /// Likewise, with agents that are lost only after a job of two seconds is over.
    async fn with_patience() -> Self {
        Self::new(
            r#"
            [queues.compute.session]
            heartbeat_timeout = "3s"
            lost_after = "1s"
            [queues.compute.task.external]
            probe = { url = "http://{service}/jobs/{handle}" }
            "#,
        )
        .await
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, command: &mut Command) -> Process {
        Process(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn backstop(&self, args: &[&str]) -> Command {
        let mut command = Command::new(backstop());
        command.args(args).env("BACKSTOP_REDIS_URL", self.server.url()).env("RUST_LOG", "info");
        command.env("COMPUTE_SERVICE", format!("http://{}", self.service));
        command
    }

    fn service(&self) -> Process {
        let mut command = Command::new("python3");
        command.arg(example("service.py")).arg("--port").arg(self.service.port().to_string());
        self.start(command.arg("--db").arg(self.path("jobs.db")))
    }

    fn sweeper(&self) -> Process {
        self.start(&mut self.sweeper_command())
    }

    /// The sweeper; what it says is in the file `log`.
    fn sweeper_command(&self) -> Command {
        let config = self.path("backstop.toml");
        let listen = self.metrics.to_string();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.backstop(&["run", "--config", config.to_str().unwrap(), "--listen", &listen]);
        command.stderr(log);
        command
    }

    fn agent(&self, name: &str) -> Process {
        let script = example("run-job.py");
        let args = ["work", "--queue", "compute", "--as", name, "--kill-after", "100ms", "--", "python3"];
        self.start(self.backstop(&args).arg(script).stderr(Stdio::null()))
    }

    async fn enqueue(&self, payload: &str) {
        let status = self.backstop(&["enqueue", "--queue", "compute", "--id", "t", "--", payload]).status();
        assert!(status.unwrap().success());
        let key = self.server.queue("compute").keys().named("policy");
        let there = || async { number(&self.server.store(), &["HLEN", &key]).await > 0 };
        eventually("the sweeper has published its policy", there).await;
    }

    /// All jobs as the service has them; none if it doesn't answer.
    async fn jobs(&self) -> Vec<Value> {
        let Some((200, answer)) = get(self.service, "/jobs").await else { return Vec::new() };
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    async fn states(&self) -> Vec<String> {
        self.jobs().await.iter().map(|job| job["state"].as_str().unwrap().to_owned()).collect()
    }

    async fn job_is(&self, state: &str) {
        eventually(&format!("the last job is {state}"), || async {
            self.states().await.last().is_some_and(|last| last == state)
        })
        .await;
    }

    async fn total(&self, name: &str) -> i64 {
        number(&self.server.store(), &["HGET", &self.server.queue("compute").keys().named("stats"), name])
            .await
    }

    async fn counts(&self, name: &str, n: i64) {
        eventually(&format!("{name} is {n}"), || async { self.total(name).await == n }).await;
    }

    async fn unwanted(&self) -> i64 {
        number(&self.server.store(), &["ZCARD", &self.server.queue("compute").keys().named("unwanted")]).await
    }

    async fn handle_is_recorded(&self) {
        let key = self.server.queue("compute").keys().named("external:t");
        let there = || async { number(&self.server.store(), &["EXISTS", &key]).await == 1 };
        eventually("the handle is recorded", there).await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    async fn figure(&self, name: &str) -> String {
        let (_, page) = get(self.metrics, "/metrics").await.unwrap();
        let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    }
}

fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/compute").join(name)
}

#[tokio::test]
async fn an_agent_that_dies_while_its_job_runs_is_followed_by_one_that_goes_on_with_it() {
    let scene = Scene::with_hooks().await;
    let (_service, _sweeper) = (scene.service(), scene.sweeper());
    scene.enqueue("6").await;
    let mut first = scene.agent("first");
    scene.job_is("active").await;
    first.kill();
    scene.counts("reset:agent_lost", 1).await;
    let _second = scene.agent("second");
    scene.counts("completed", 1).await;
    let jobs = scene.jobs().await;
    assert_eq!(jobs.len(), 1, "it was begun once: {jobs:?}");
    assert_eq!((jobs[0]["submitted"].as_i64(), scene.unwanted().await), (Some(2), 0));
}

/// The worst moment: the name is recorded, the submission is on its way, and nobody is left who knows how it went.
#[tokio::test]
async fn a_submission_that_is_on_its_way_when_its_agent_dies_begins_nothing_that_nobody_knows_of() {
    let scene = Scene::with_hooks().await;
    let (service, _sweeper) = (scene.service(), scene.sweeper());
    eventually("the service answers", || async { get(scene.service, "/jobs").await.is_some() }).await;
    scene.enqueue("3").await;
    service.signal(Signal::STOP);
    let mut first = scene.agent("first");
    scene.handle_is_recorded().await;
    // Its request waits in the service's socket, or is still to be sent; it dies either way.
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.kill();
    eventually("the sweeper asks, and is told nothing", || async {
        scene.figure("backstop_external_held_tasks{queue=\"compute\"}").await == "1"
    })
    .await;
    service.signal(Signal::CONT);
    scene.counts("reset:agent_lost", 1).await;
    let _second = scene.agent("second");
    scene.counts("completed", 1).await;
    let states = scene.states().await;
    assert_eq!(states.iter().filter(|state| *state == "succeeded").count(), 1, "{states:?}");
    eventually("nothing goes on", || async { !scene.states().await.contains(&"active".to_owned()) }).await;
    eventually("nothing is counted that is over", || async { scene.unwanted().await == 0 }).await;
}

#[tokio::test]
async fn a_job_that_is_done_when_its_agent_is_lost_completes_its_task_without_a_run() {
    let scene = Scene::with_patience().await;
    let (_service, _sweeper) = (scene.service(), scene.sweeper());
    scene.enqueue("2").await;
    let paused = scene.agent("first");
    scene.job_is("active").await;
    paused.signal(Signal::STOP);
    scene.job_is("succeeded").await;
    scene.counts("collected", 1).await;
    // It wakes up and completes what is complete.
    paused.signal(Signal::CONT);
    eventually("it lives again, by a beat or by a new session", || async {
        scene.total("refuted").await == 1 || scene.total("registered").await == 2
    })
    .await;
    assert_eq!((scene.total("completed").await, scene.total("taken").await), (1, 1));
    assert_eq!(scene.figure("backstop_tasks_collected_total{queue=\"compute\"}").await, "1");
}

#[tokio::test]
async fn a_job_that_failed_when_its_agent_was_lost_is_a_failure() {
    let scene = Scene::with_patience().await;
    let (_service, _sweeper) = (scene.service(), scene.sweeper());
    scene.enqueue("2 fails").await;
    let paused = scene.agent("first");
    scene.job_is("active").await;
    paused.signal(Signal::STOP);
    scene.job_is("failed").await;
    scene.counts("abandoned_failed", 1).await;
    assert_eq!((scene.total("failed").await, scene.total("reset:agent_lost").await), (1, 0));
}

#[tokio::test]
async fn service_and_sweeper_may_die_as_well() {
    let scene = Scene::with_hooks().await;
    let (mut service, mut sweeper) = (scene.service(), scene.sweeper());
    scene.enqueue("4").await;
    let mut first = scene.agent("first");
    scene.job_is("active").await;
    service.kill();
    first.kill();
    let held = || async { scene.figure("backstop_external_held_tasks{queue=\"compute\"}").await == "1" };
    eventually("the task is held", held).await;
    sweeper.kill();
    let _sweeper = scene.sweeper();
    eventually("the next sweeper is there", || async { get(scene.metrics, "/metrics").await.is_some() })
        .await;
    eventually("the task is held by it, too", held).await;
    assert_eq!(scene.total("reset:agent_lost").await, 0);
    let _service = scene.service();
    let _second = scene.agent("second");
    scene.counts("completed", 1).await;
    let jobs = scene.jobs().await;
    assert_eq!((jobs.len(), jobs[0]["state"].as_str()), (1, Some("succeeded")), "{jobs:?}");
}

#[tokio::test]
async fn what_a_person_cancels_is_cancelled_elsewhere_and_counted_until_then() {
    let scene = Scene::with_hooks().await;
    let (service, _sweeper) = (scene.service(), scene.sweeper());
    scene.enqueue("600").await;
    let _agent = scene.agent("first");
    scene.job_is("active").await;
    service.signal(Signal::STOP);
    assert!(scene.backstop(&["cancel", "t"]).status().unwrap().success());
    scene.counts("discarded", 1).await;
    eventually("it is counted", || async {
        scene.figure("backstop_external_unwanted{queue=\"compute\"}").await == "1"
    })
    .await;
    service.signal(Signal::CONT);
    scene.job_is("ended").await;
    eventually("it is forgotten", || async { scene.unwanted().await == 0 }).await;
    assert_eq!(scene.total("external_ended").await, 1);
}

#[tokio::test]
async fn what_cannot_be_cancelled_is_let_run_and_counted_until_it_ends() {
    let scene = Scene::with_hooks().await;
    let (_service, _sweeper) = (scene.service(), scene.sweeper());
    scene.enqueue("4 stubborn").await;
    let _agent = scene.agent("first");
    scene.job_is("active").await;
    assert!(scene.backstop(&["cancel", "t"]).status().unwrap().success());
    scene.counts("discarded", 1).await;
    eventually("its hook said that it can't be cancelled", || async {
        scene.figure("backstop_hook_calls_total{hook=\"cancel\",queue=\"compute\",said=\"cannot\"}").await
            != "0"
    })
    .await;
    assert_eq!((scene.states().await, scene.unwanted().await), (vec!["active".to_owned()], 1));
    scene.job_is("succeeded").await;
    eventually("it is forgotten", || async { scene.unwanted().await == 0 }).await;
}

/// The run hangs: its task is taken from its agent, which lives, and handed out again once its job has been ended.
#[tokio::test]
async fn a_run_that_hangs_is_cancelled_elsewhere_before_it_begins_anew() {
    let scene = Scene::new(
        r#"
        [queues.compute.task]
        start_to_close = { limit = "1s", action = "reset" }
        [queues.compute.task.external]
        cancel = { url = "http://{service}/jobs/{handle}", method = "DELETE" }
        "#,
    )
    .await;
    let (service, _sweeper) = (scene.service(), scene.sweeper());
    scene.enqueue("600").await;
    let _agent = scene.agent("first");
    scene.job_is("active").await;
    service.signal(Signal::STOP);
    scene.counts("reset:start_to_close", 1).await;
    let _second = scene.agent("second");
    eventually("the second is there", || async { scene.total("registered").await == 2 }).await;
    assert_eq!(
        (scene.total("taken").await, scene.unwanted().await),
        (1, 1),
        "it waits for the end of its job"
    );
    service.signal(Signal::CONT);
    eventually("a second job was begun", || async { scene.jobs().await.len() == 2 }).await;
    assert_eq!(scene.states().await.first().map(String::as_str), Some("ended"));
}

/// A pass by hand asks nobody, and leaves to the daemon what that would ask about.
#[tokio::test]
async fn a_pass_by_hand_leaves_tasks_and_jobs_to_the_daemon() {
    let scene = Scene::new(
        r#"
        [queues.compute.task.external]
        probe = { command = ["sleep", "600"] }
        timeout = "1h"
        "#,
    )
    .await;
    let (_service, _sweeper) = (scene.service(), scene.sweeper());
    scene.enqueue("600").await;
    let mut agent = scene.agent("first");
    scene.job_is("active").await;
    scene.handle_is_recorded().await;
    agent.kill();
    eventually("the task is held", || async {
        scene.figure("backstop_external_held_tasks{queue=\"compute\"}").await == "1"
    })
    .await;
    let key = scene.server.queue("compute").keys().named("unwanted");
    scene.server.store().command(&["ZADD", &key, "1", "default other job"]).await.unwrap();
    assert!(scene.backstop(&["sweep", "compute", "--force"]).status().unwrap().success());
    assert_eq!((scene.total("reset:agent_lost").await, scene.unwanted().await), (0, 1));
}
