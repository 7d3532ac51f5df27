use std::net::SocketAddr;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::*;
use crate::core::health::{OpenGuard, Pass, Queue};
use crate::core::policy::Mode;

/// Lines of 14 bytes: 56 MB.
const HUGE: usize = 4_000_000;

/// A server on a free port, and what it shows.
struct Server {
    address: SocketAddr,
    health: watch::Sender<Arc<Snapshot>>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::start_with("backstop_up 1\n".to_owned(), limits).await
    }

    /// With a page for Prometheus that is more than the buffers of both ends hold: its answer can't end while nobody
    /// reads it.
    async fn start_with_a_huge_page(limits: Limits) -> Self {
        Self::start_with("backstop_up 1\n".repeat(HUGE), limits).await
    }

    async fn start_with(page: String, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (health, seen) = watch::channel(Arc::new(healthy()));
        let site = Site { health: seen, metrics: Arc::new(move || page.clone()) };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve_within(limits, listener, site, shutdown.clone()));
        Self { address, health, shutdown, task }
    }

    fn change(&self, how: impl FnOnce(&mut Snapshot)) {
        self.health.send_modify(|snapshot| how(Arc::make_mut(snapshot)));
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads to the end of the connection.
    async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        Answer::read(stream).await
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        self.raw(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).await
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    async fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.expect("an end").unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

fn healthy() -> Snapshot {
    let now = Instant::now();
    let mut snapshot = Snapshot::beginning(now, Duration::from_secs(2));
    snapshot.redis.up = true;
    snapshot.redis.answered = true;
    snapshot.config.loaded_at_ms = Some(1);
    let pass =
        Pass { ended: now, ended_at_ms: 1, took: Duration::from_millis(1), account: "found 0".to_owned() };
    snapshot.last_pass = Some(pass);
    snapshot.queues = vec![Queue { leader: true, pending: 7, ..Queue::unknown("billing", Mode::Enforce) }];
    snapshot
}

/// A moment so long ago that anything since is overdue.
fn long_ago() -> Instant {
    Instant::now().checked_sub(Duration::from_secs(21)).unwrap()
}

#[tokio::test]
async fn every_page_has_its_type_and_may_not_be_kept_guessed_at_or_extended() {
    let server = Server::start(LIMITS).await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/metrics?x=1", "text/plain; version=0.0.4; charset=utf-8"),
        ("/livez", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/healthz", "application/json"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        for line in [
            &format!("content-type: {kind}"),
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'; style-src 'self';",
            "connection: close",
        ] {
            assert!(answer.head.contains(line), "{path}: {line} in {}", answer.head);
        }
        assert!(!answer.body.is_empty(), "{path}");
        let head = server.ask("HEAD", path).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        if path != "/" && path != "/healthz" && path != "/livez" {
            let length = format!("content-length: {}", answer.body.len());
            assert!(head.head.contains(&length), "{path}: {length} in {}", head.head);
        }
    }
}

#[tokio::test]
async fn knows_no_other_address_however_it_is_spelt() {
    let server = Server::start(LIMITS).await;
    for path in [
        "/nothing",
        "/metrics/",
        "//metrics",
        "/../metrics",
        "/x/../metrics",
        "/%2e%2e/metrics",
        "/%2fmetrics",
        "/%6detrics",
        "/metrics%00",
        "/Metrics",
        "*",
    ] {
        let answer = server.get(path).await;
        assert!(answer.status == 404 || answer.status == 400, "{path}: {}", answer.status);
        assert!(!answer.body.contains("backstop_up"), "{path}");
    }
    assert_eq!(server.get("/../metrics").await.status, 404);
    assert_eq!(server.get("/%2fmetrics").await.status, 404);
}

#[tokio::test]
async fn only_reads_are_allowed() {
    let server = Server::start(LIMITS).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let answer = server.ask(method, "/metrics").await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("allow: get, head"), "{method}: {}", answer.head);
    }
}

#[tokio::test]
async fn a_body_is_refused_and_the_refusal_can_be_read() {
    let server = Server::start(LIMITS).await;
    // It goes on sending after it was refused, and reads only then, as simple clients do.
    let mut stream = server.connect().await;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n").await.unwrap();
    stream.readable().await.unwrap();
    for _ in 0..30 {
        stream.write_all(&[b'x'; 100_000]).await.expect("what it sends is thrown away");
    }
    assert_eq!(Answer::read(stream).await.status, 413);
    let chunked =
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(server.raw(chunked).await.status, 413);
}

#[tokio::test]
async fn a_huge_head_is_refused_and_the_refusal_can_be_read() {
    let server = Server::start(LIMITS).await;
    let mut request = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
    request.resize(1_000_000, b'x');
    assert_eq!(server.raw(&request).await.status, 431);
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(500));
    assert_eq!(server.raw(many.as_bytes()).await.status, 431);
    assert_eq!(server.raw(b"\x16\x03\x01\x02\x00\x01 nonsense\r\n\r\n").await.status, 400);
    assert_eq!(server.get("/livez").await.status, 200, "it serves on");
}

#[tokio::test]
async fn a_client_that_is_slow_to_ask_is_cut() {
    let server = Server::start(Limits { head: Duration::from_millis(200), ..LIMITS }).await;
    let begun = Instant::now();
    let answer = server.raw(b"GET /livez HTTP/1.1\r\nHo").await;
    assert_ne!(answer.status, 200);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_client_that_is_slow_to_read_is_cut_and_frees_its_place() {
    let limits = Limits { connections: 1, whole: Duration::from_millis(300), ..LIMITS };
    let server = Server::start_with_a_huge_page(limits).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let answer =
        timeout(Duration::from_secs(10), server.get("/livez")).await.expect("the place is free again");
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn more_connections_than_places_wait_their_turn() {
    let limits = Limits { connections: 2, head: Duration::from_millis(300), ..LIMITS };
    let server = Server::start(limits).await;
    let (_first, _second) = (server.connect().await, server.connect().await);
    let begun = Instant::now();
    assert_eq!(server.get("/livez").await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(250), "it was served beyond the limit");
}

#[tokio::test]
async fn leaves_within_two_seconds_whatever_clients_do() {
    let server = Server::start_with_a_huge_page(LIMITS).await;
    let _idle = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(b"GET /livez HT").await.unwrap();
    let mut unread = server.connect().await;
    unread.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(server.get("/livez").await.status, 200);
    server.shutdown.cancel();
    timeout(Duration::from_secs(2), server.task).await.expect("gone in time").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn an_answer_on_its_way_is_finished_when_asked_to_leave() {
    let server = Server::start_with_a_huge_page(LIMITS).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    server.shutdown.cancel();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest.matches("backstop_up 1\n").count(), HUGE);
}

#[tokio::test]
async fn is_alive_while_the_loop_turns_though_redis_is_away() {
    let server = Server::start(LIMITS).await;
    server.change(|snapshot| {
        snapshot.redis.up = false;
        snapshot.redis.answered = false;
        snapshot.last_pass = None;
    });
    assert_eq!(server.get("/livez").await.status, 200);
    server.change(|snapshot| snapshot.ticked = long_ago());
    assert_eq!(server.get("/livez").await.status, 503, "5 × 2 s + 10 s have passed");
}

#[tokio::test]
async fn is_ready_once_configured_and_answered_and_until_it_stops() {
    let server = Server::start(LIMITS).await;
    server.change(|snapshot| snapshot.redis.up = false);
    assert_eq!(server.get("/readyz").await.status, 200, "an outage later doesn't undo it");
    server.change(|snapshot| snapshot.queues[0].leader = false);
    assert_eq!(server.get("/readyz").await.status, 200, "a standby is ready");
    for (unready, why) in [
        ((|s| s.redis.answered = false) as fn(&mut Snapshot), "redis has not answered"),
        (|s| s.config.loaded_at_ms = None, "no configuration"),
        (|s| s.stopping = true, "stopping"),
    ] {
        server.change(|snapshot| {
            *snapshot = healthy();
            unready(snapshot);
        });
        let answer = server.get("/readyz").await;
        assert_eq!(answer.status, 503, "{why}");
        assert!(answer.body.contains(why), "{}", answer.body);
    }
}

#[tokio::test]
async fn health_names_each_check_with_age_threshold_and_finding() {
    let server = Server::start(LIMITS).await;
    let well = server.get("/healthz").await;
    assert_eq!((well.status, &well.json()["ok"]), (200, &serde_json::Value::Bool(true)));
    let sweep = &well.json()["checks"]["sweep"];
    assert!(sweep["age_seconds"].as_f64().unwrap() < 20.0 && sweep["threshold_seconds"] == 20.0, "{sweep}");
    type Harm = fn(&mut Snapshot);
    let harms: [(&str, Harm, &str); 6] = [
        ("loop", |s| s.ticked = long_ago(), "doesn't turn"),
        ("sweep", |s| s.last_pass.as_mut().unwrap().ended = long_ago(), "found 0"),
        (
            "redis",
            |s| {
                s.redis.up = false;
                s.redis.error = Some("Redis is full".to_owned());
            },
            "Redis is full",
        ),
        (
            "guards",
            |s| {
                let reason = "12 of 12 sessions".to_owned();
                let queue = Some("billing".to_owned());
                s.guards = vec![OpenGuard { guard: "mass_loss", queue, since: long_ago(), reason }];
            },
            "mass_loss holds queue billing: 12 of 12 sessions",
        ),
        ("held", |s| s.queues[0].held = 40, "40 abandoned tasks"),
        ("config", |s| s.config.rejected = Some("line 3: no such key".to_owned()), "line 3"),
    ];
    for (name, harm, detail) in harms {
        server.change(|snapshot| {
            *snapshot = healthy();
            harm(snapshot);
        });
        let answer = server.get("/healthz").await;
        assert_eq!(answer.status, 503, "{name}");
        for (check, finding) in answer.json()["checks"].as_object().unwrap() {
            assert_eq!(finding["ok"] == false, check == name, "{check} while {name} is ill");
        }
        let finding = answer.json()["checks"][name]["detail"].as_str().unwrap().to_owned();
        assert!(finding.contains(detail), "{name}: {finding}");
        assert!(server.get("/").await.body.contains(detail), "the page tells of {name} too");
    }
}

#[tokio::test]
async fn the_page_shows_the_queues_and_escapes_what_is_hostile() {
    let server = Server::start(LIMITS).await;
    let hostile = "<script>alert(1)</script>\"'&";
    server.change(|snapshot| {
        snapshot.queues.push(Queue::unknown("standby-queue", Mode::Observe));
        snapshot.queues.push(Queue { leader: true, ..Queue::unknown(hostile, Mode::Enforce) });
        snapshot.redis.up = false;
        snapshot.redis.error = Some(hostile.to_owned());
    });
    let page = server.get("/").await.body;
    assert!(page.contains("billing") && page.contains("<td class=\"n\">7</td>"), "{page}");
    assert!(
        page.contains("standby-queue (observe only)") && page.contains("another replica sweeps it"),
        "{page}"
    );
    assert!(page.contains("href=\"/metrics\"") && page.contains("href=\"/healthz\""), "{page}");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    server.change(|s| s.queues = (0..300).map(|i| Queue::unknown(format!("q{i}"), Mode::Enforce)).collect());
    let page = server.get("/").await.body;
    assert!(page.contains("q199<") && !page.contains("q200<") && page.contains("100 more"));
}
