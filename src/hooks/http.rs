//! Addresses that answer with the first words of a body.

use std::sync::{Arc, OnceLock};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Question;
use crate::core::external::Method;

/// The longest answer, in bytes.
const LONGEST: usize = 4096;

/// What is written otherwise in a segment of a path: all but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What stands for what in an address.
const HOLES: [&str; 5] = ["{handle}", "{id}", "{token}", "{type}", "{queue}"];

/// Calls the address once; its body, if it answered 200. Redirects are not followed: where a hook leads, its operator decides.
pub(super) async fn ask(method: Method, template: &str, question: &Question) -> Result<Vec<u8>, String> {
    let uri: Uri =
        filled(template, question).parse().map_err(|error| format!("its address is none: {error}"))?;
    let host = uri.host().ok_or("its address names no host")?.to_owned();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let tcp = TcpStream::connect((bare.as_str(), port)).await;
    let tcp = tcp.map_err(|error| format!("could not connect to {host}:{port}: {error}"))?;
    if !secure {
        return send(tcp, method, &uri).await;
    }
    let name =
        ServerName::try_from(bare).map_err(|error| format!("no certificate can name {host}: {error}"))?;
    let tls = TlsConnector::from(trusted()).connect(name, tcp).await;
    send(tls.map_err(|error| format!("no TLS with {host}:{port}: {error}"))?, method, &uri).await
}

async fn send<S>(stream: S, method: Method, uri: &Uri) -> Result<Vec<u8>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| format!("no HTTP: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // Who asks is not the business of the one that is asked.
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let target = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder()
        .method(method.as_str())
        .uri(target)
        .header(HOST, host)
        .header(USER_AGENT, concat!("backstop/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "text/plain, application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("its address is none: {error}"))?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answered {}, which tells nothing: expected 200", answer.status()));
        }
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        body.map(|body| body.to_bytes().to_vec()).map_err(|error| format!("its answer broke off: {error}"))
    };
    let answer = answer.await;
    connection.abort();
    answer
}

/// The certificates that this machine trusts, read once.
fn trusted() -> Arc<ClientConfig> {
    static TRUSTED: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = TRUSTED.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap_or_else(|_| ClientConfig::builder())
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )
    });
    Arc::clone(config)
}

/// The address with what it stands for; each value as one segment of a path.
fn filled(template: &str, question: &Question) -> String {
    let values: [&str; 5] =
        [&question.handle, &question.id, &question.token, &question.task_type, question.queue.as_str()];
    let mut filled = String::with_capacity(template.len() + question.handle.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, hole) = rest.split_at(at);
        filled.push_str(before);
        match HOLES.iter().zip(values).find(|(name, _)| hole.starts_with(**name)) {
            Some((name, value)) => {
                filled.extend(utf8_percent_encode(value, SEGMENT));
                rest = hole.get(name.len()..).unwrap_or_default();
            }
            None => {
                filled.push_str("%7B");
                rest = hole.get(1..).unwrap_or_default();
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::QueueName;
    use crate::core::words::HookKind;

    #[test]
    fn a_hostile_handle_stays_one_segment_of_the_address() {
        let question = Question {
            queue: QueueName::new("q").unwrap(),
            id: "t:1/é".into(),
            task_type: "gpu".into(),
            token: "1-2-ff".into(),
            handle: "a/../b?c=\"d\"\n{id} ".into(),
            kind: HookKind::Probe,
        };
        let address = filled("http://c/{queue}/{type}/{handle}/{id}?t={token}&x={what}", &question);
        assert_eq!(
            address,
            "http://c/q/gpu/a%2F..%2Fb%3Fc%3D%22d%22%0A%7Bid%7D%20/t%3A1%2F%C3%A9?t=1-2-ff&x=%7Bwhat}"
        );
    }
}
