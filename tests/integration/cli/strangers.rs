//! Servers that are no Redis that could be used now: one clear message each.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use super::answer;
use crate::support::backstop;

/// A server that answers everything with these bytes; its address.
fn server(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            std::thread::spawn(move || {
                let mut asked = [0; 65_536];
                while let Ok(n @ 1..) = client.read(&mut asked) {
                    // Several commands may come at once; each begins with the length of its list.
                    let commands = asked[..n].iter().filter(|byte| **byte == b'*').count().max(1);
                    if client.write_all(&says.repeat(commands)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn refused(url: &str, args: &[&str]) -> String {
    let output = Command::new(backstop()).args(["--redis", url]).args(args).output().unwrap();
    let (code, out, err) = answer(&output);
    assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1), "{args:?}: {err}");
    err
}

#[test]
fn a_redis_that_is_still_loading_is_called_that_and_nothing_was_added() {
    let url = server(b"-LOADING Redis is loading the dataset in memory\r\n");
    for args in [["status"].as_slice(), &["enqueue", "--queue", "q", "x"], &["sweep"]] {
        assert!(refused(&url, args).contains("Redis is still loading its data"), "{args:?}");
    }
}

#[test]
fn a_server_that_wants_tls_is_asked_about_that() {
    // What a TLS server says to somebody who speaks in the clear: an alert, protocol version.
    let url = server(b"\x15\x03\x01\x00\x02\x02\x46");
    assert!(refused(&url, &["status"]).contains("does it want TLS, rediss://?"));
}
