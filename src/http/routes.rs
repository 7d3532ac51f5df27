//! Which address gets which answer.

use std::time::Instant;

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::{Site, page};
use crate::core::health::{Check, Snapshot};

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// On every answer: nothing here is to be kept, guessed at, framed, or to load anything from elsewhere.
const ALWAYS: &[(HeaderName, &str)] = &[
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

/// Answers a request. Knows addresses by their exact text: nothing is decoded, so nothing can be decoded twice.
pub(super) fn answer<B: Body>(site: &Site, request: &Request<B>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    if !request.body().is_end_stream() {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "a body is not accepted\n");
    }
    let snapshot = site.health.borrow().clone();
    let now = Instant::now();
    match request.uri().path() {
        "/" => build(StatusCode::OK, HTML, page::render(&snapshot, now).into_string()),
        "/style.css" => build(StatusCode::OK, CSS, page::STYLE),
        "/metrics" => build(StatusCode::OK, PROMETHEUS, (site.metrics)()),
        "/livez" => alive(&snapshot, now),
        "/readyz" => match snapshot.unready() {
            None => text(StatusCode::OK, "ready\n"),
            Some(why) => build(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("not ready: {why}\n")),
        },
        "/healthz" => health(&snapshot, now),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn alive(snapshot: &Snapshot, now: Instant) -> Response<Full<Bytes>> {
    let Check { ok, detail, age, threshold, .. } = snapshot.loop_check(now);
    let said =
        format!("{detail}: {:.1?}, limit {:.1?}\n", age.unwrap_or_default(), threshold.unwrap_or_default());
    build(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, PLAIN, said)
}

fn health(snapshot: &Snapshot, now: Instant) -> Response<Full<Bytes>> {
    let checks = snapshot.checks(now);
    let ok = checks.iter().all(|check| check.ok);
    let told: serde_json::Map<_, _> = checks
        .into_iter()
        .map(|check| {
            let finding = json!({
                "ok": check.ok,
                "age_seconds": check.age.map(|age| age.as_secs_f64()),
                "threshold_seconds": check.threshold.map(|threshold| threshold.as_secs_f64()),
                "detail": check.detail,
            });
            (check.name.to_owned(), finding)
        })
        .collect();
    let body = json!({ "ok": ok, "stopping": snapshot.stopping, "checks": told });
    build(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, JSON, format!("{body}\n"))
}

fn text(status: StatusCode, said: &'static str) -> Response<Full<Bytes>> {
    build(status, PLAIN, said)
}

fn build(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
