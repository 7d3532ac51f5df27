//! Hooks that hang, lie, break off or are gone: each costs its own tasks some time, and nobody else anything.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstop::core::external::{External, Hook, Method, Told};
use backstop::core::id::QueueName;
use backstop::core::observer::Observer;
use backstop::core::words::{HookKind, HookWord};
use backstop::hooks::{Asker, Question};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::Scene;
use crate::support::{eventually, number};

/// Hears what hooks said.
#[derive(Default)]
struct Ears(Mutex<Vec<&'static str>>);

impl Observer for Ears {
    fn hook(&self, _queue: &QueueName, _kind: HookKind, said: &'static str) {
        self.0.lock().unwrap().push(said);
    }
}

fn question(handle: &str) -> Question {
    Question {
        queue: QueueName::new("q").unwrap(),
        id: "t/1".into(),
        task_type: "gpu".into(),
        token: "1-2-ff".into(),
        handle: handle.into(),
        kind: HookKind::Probe,
    }
}

fn asking(hook: Hook) -> External {
    External { probe: Some(hook), timeout: Duration::from_secs(2), concurrency: 2, ..External::default() }
}

/// What a hook said about a handle, to the one call that was made.
async fn told(hook: Hook, handle: &str) -> (&'static str, Told) {
    let ears = Arc::new(Ears::default());
    let mut asker = Asker::new(ears.clone());
    let external = asking(hook);
    assert_eq!(asker.ask(&question(handle), &external), Told::Nothing, "it can't know yet");
    eventually("the hook was called", || async { !ears.0.lock().unwrap().is_empty() }).await;
    let said = ears.0.lock().unwrap()[0];
    (said, asker.ask(&question(handle), &external))
}

fn shell(script: &str) -> Hook {
    Hook::Command(["sh", "-c", script].map(str::to_owned).to_vec())
}

/// An address at which this is answered, whatever is asked; what was asked is kept.
async fn answering(answer: &'static [u8]) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.unwrap_or(0);
            kept.lock().unwrap().extend_from_slice(&request[..n]);
            let _ = stream.write_all(answer).await;
        }
    });
    (format!("http://{address}"), asked)
}

fn get(url: String) -> Hook {
    Hook::Http { method: Method::Get, url }
}

#[tokio::test]
async fn a_command_gets_the_handle_as_it_is_and_nothing_that_opens_redis() {
    let handle = "a \"b\" 'c'\n$(reboot) é";
    let script = format!(
        "test \"$BACKSTOP_EXTERNAL\" = '{}' && test $BACKSTOP_TASK_ID = t/1 && test $BACKSTOP_TASK_TYPE = gpu &&
         test $BACKSTOP_TASK_QUEUE = q && test $BACKSTOP_TASK_TOKEN = 1-2-ff && test -z \"$BACKSTOP_REDIS_URL\" &&
         echo active for a while",
        handle.replace('\'', "'\\''")
    );
    assert_eq!(told(shell(&script), handle).await, ("active", Told::Word(HookWord::Active)));
}

#[tokio::test]
async fn a_command_that_says_nothing_that_counts_tells_nothing() {
    let flood = "head -c 10000000 /dev/zero | tr '\\0' x";
    for script in ["", "echo perhaps", "echo succeeded; exit 3", "kill -9 $$", flood, "echo Active"] {
        assert_eq!(told(shell(script), "job").await, ("unclear", Told::Unclear), "{script}");
    }
    let missing = Hook::Command(vec!["/no/such/hook".into()]);
    assert_eq!(told(missing, "job").await, ("unclear", Told::Unclear));
    assert_eq!(told(shell("echo active"), "nul\0byte").await, ("unclear", Told::Unclear));
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let script = format!("sleep 601 & echo $! $$ > {}; wait", pids.display());
    assert_eq!(told(shell(&script), "job").await, ("unclear", Told::Unclear));
    let pids = std::fs::read_to_string(pids).unwrap();
    let alive = |pid: &str| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    eventually("none of them is left", || async { !pids.split_whitespace().any(alive) }).await;
}

#[tokio::test]
async fn an_address_is_asked_with_the_handle_as_one_segment() {
    let (url, asked) =
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{\"state\": \"succeeded\"}").await;
    let hook = Hook::Http { method: Method::Delete, url: format!("{url}/jobs/{{handle}}?of={{id}}") };
    assert_eq!(told(hook, "a/../b c\n\"").await, ("succeeded", Told::Word(HookWord::Succeeded)));
    let asked = String::from_utf8(asked.lock().unwrap().clone()).unwrap();
    assert!(asked.starts_with("DELETE /jobs/a%2F..%2Fb%20c%0A%22?of=t%2F1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("\r\nhost: 127.0.0.1:"), "{asked}");
}

#[tokio::test]
async fn an_address_that_answers_nothing_that_counts_tells_nothing() {
    let answers: [&[u8]; 7] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 6\r\n\r\nactive",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nended",
        b"HTTP/1.1 500 No\r\ncontent-length: 6\r\n\r\nactive",
        b"HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\nactive",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"",
    ];
    for answer in answers {
        let (url, _) = answering(answer).await;
        assert_eq!(
            told(get(url), "job").await,
            ("unclear", Told::Unclear),
            "{}",
            String::from_utf8_lossy(answer)
        );
    }
    // TLS where there is none, a port where nobody listens, an answer that never comes.
    let (url, _) = answering(b"HTTP/1.1 200 OK\r\n\r\nactive").await;
    assert_eq!(told(get(url.replace("http:", "https:")), "job").await, ("unclear", Told::Unclear));
    assert_eq!(told(get("http://127.0.0.1:1/".into()), "job").await, ("unclear", Told::Unclear));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(
        told(get(format!("http://{}", silent.local_addr().unwrap())), "job").await,
        ("unclear", Told::Unclear)
    );
}

#[tokio::test]
async fn so_many_calls_of_a_hook_run_at_once_and_all_have_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let at_work = folder.path().join("at-work");
    std::fs::create_dir(&at_work).unwrap();
    let most = folder.path().join("most");
    // Each says how many are at work with it.
    let script = format!(
        "touch {0}/$$; ls {0} | wc -l >> {1}; sleep 0.2; rm {0}/$$; echo perhaps",
        at_work.display(),
        most.display()
    );
    let ears = Arc::new(Ears::default());
    let mut asker = Asker::new(ears.clone());
    let external = External { timeout: Duration::from_secs(60), ..asking(shell(&script)) };
    // All of them again and again, as passes do: who was asked first is asked again before the last had a turn.
    eventually("each was asked", || {
        for n in 0..10 {
            asker.ask(&question(&format!("job-{n}")), &external);
        }
        let told = (0..10).all(|n| asker.ask(&question(&format!("job-{n}")), &external) == Told::Unclear);
        async move { told }
    })
    .await;
    let seen = std::fs::read_to_string(most).unwrap();
    let most = seen.lines().map(|line| line.trim().parse::<u32>().unwrap()).max();
    assert_eq!(most, Some(2), "{seen}");
}

/// One type's hook hangs; the tasks of another type, of the same dead agents, come back all the same. Those of the first come
/// back once it has been asked for long enough.
#[tokio::test]
async fn a_hook_that_hangs_holds_only_its_own_tasks_and_not_for_ever() {
    let scene = Scene::new(
        r#"
        [queues.compute.types.stuck.external]
        lost_after = "4s"
        timeout = "1s"
        probe = { command = ["sleep", "600"] }
        [queues.compute.types.sound.external]
        probe = { command = ["echo", "active"] }
        "#,
    )
    .await;
    let _sweeper = scene.sweeper();
    let script = "echo external job-$BACKSTOP_TASK_ID >&3; read -r answer <&3; sleep 600";
    for kind in ["stuck", "sound"] {
        let args = ["enqueue", "--queue", "compute", "--type", kind, "--id", kind, "--", "x"];
        assert!(scene.backstop(&args).status().unwrap().success());
    }
    let args = ["work", "--queue", "compute", "--as", "w", "--concurrency", "2", "--", "sh", "-c", script];
    let mut agent = scene.start(&mut scene.backstop(&args));
    let keys = scene.server.queue("compute").keys().clone();
    let store = scene.server.store();
    eventually("both handles are recorded", || async {
        number(&store, &["EXISTS", &keys.named("external:stuck"), &keys.named("external:sound")]).await == 2
    })
    .await;
    agent.kill();
    scene.counts("reset:agent_lost", 1).await;
    assert_eq!(number(&store, &["ZCARD", &keys.named("pending")]).await, 1);
    let external = keys.named("external:stuck");
    scene.counts("reset:agent_lost", 2).await;
    assert_eq!(number(&store, &["EXISTS", &external]).await, 1, "the next attempt may know more");
    assert!(scene.log().contains("it took longer than 1s"), "{}", scene.log());
}

/// Answers each request over TLS, with the certificate and key in the files `cert` and `key` here: its work succeeded.
const SECURE: &str = r#"
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "9")
        self.end_headers()
        self.wfile.write(b"succeeded")
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert", "key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// A hook behind TLS counts if the machine trusts its certificate, and tells nothing if it doesn't.
#[tokio::test]
async fn a_hook_behind_tls_is_asked_where_its_certificate_is_trusted_and_nowhere_else() {
    let port = crate::daemon::free_address().port();
    let settings = format!(
        "[queues.compute.task.external]\nprobe = {{ url = \"https://localhost:{port}/{{handle}}\" }}\n"
    );
    let scene = Scene::new(&settings).await;
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    openssl.args([
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    openssl.args(["-keyout", "key", "-out", "cert"]).current_dir(scene.folder.path());
    assert!(openssl.output().unwrap().status.success());
    let mut server = std::process::Command::new("python3");
    server.args(["-c", SECURE, &port.to_string()]).current_dir(scene.folder.path());
    let _server = scene.start(server.stderr(std::process::Stdio::null()));
    let mut stranger = scene.sweeper();
    let args = ["enqueue", "--queue", "compute", "--id", "t", "--", "x"];
    assert!(scene.backstop(&args).status().unwrap().success());
    let script = "echo external job >&3; read -r answer <&3; sleep 600";
    let args = ["work", "--queue", "compute", "--as", "w", "--", "sh", "-c", script];
    let mut agent = scene.start(&mut scene.backstop(&args));
    scene.handle_is_recorded().await;
    agent.kill();
    eventually("it is told why nothing was told", || async { scene.log().contains("no TLS with localhost") })
        .await;
    assert_eq!(scene.total("collected").await, 0);
    stranger.kill();
    let cert = scene.path("cert");
    let _trusting = scene.start(scene.sweeper_command().env("SSL_CERT_FILE", cert));
    scene.counts("collected", 1).await;
}
