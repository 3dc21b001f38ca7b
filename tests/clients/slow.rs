//! Clients that are slow to ask, or to read.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::siege::Estate;
use crate::harness::exporter::serve_web;
use crate::harness::process::{command, lossy, require, wait_until};
use crate::harness::web::{Site, ask};

/// Headers that come one by one, bodies that come byte by byte, answers that are read byte by byte.
#[test]
fn slow_headers_bodies_and_readers() {
    if !require(&["curl", "openssl", "slowhttptest"]) {
        return;
    }
    let estate = Estate::new(&[], json!({}), None, &[]);
    let (start, reload, metrics) = (estate.url("/"), estate.url("/-/reload"), estate.url("/metrics"));
    estate.besieged("slow headers, bodies and readers", 60, || {
        slowly(&[
            &["-H", "-i", "1", "-x", "10", "-u", &start],
            &["-B", "-i", "1", "-s", "100000", "-t", "POST", "-u", &reload],
            &["-X", "-c", "150", "-r", "30", "-w", "1", "-y", "2", "-n", "1", "-z", "1", "-k", "3", "-u", &metrics],
        ]);
    });
}

#[test]
fn slow_headers_after_the_handshake() {
    if !require(&["curl", "openssl", "slowhttptest"]) {
        return;
    }
    let estate = Estate::new(&[], json!({ "tls_server_config": {} }), None, &[]);
    let start = estate.url("/");
    estate.besieged("slow headers over TLS", 0, || slowly(&[&["-H", "-i", "1", "-x", "10", "-u", &start]]));
}

/// Runs one slowhttptest of each, side by side; what its own client saw in between must be a service that is there.
fn slowly(clients: &[&[&str]]) {
    thread::scope(|scope| {
        for arguments in clients {
            scope.spawn(move || {
                let mut slow = command("slowhttptest");
                slow.args(["-c", "600", "-r", "200", "-l", "10", "-p", "8"]).args(*arguments);
                let output = slow.output().unwrap();
                let said = lossy(&output.stdout);
                assert!(said.contains("service available"), "{arguments:?}: {said}");
                assert!(!said.contains("\u{1b}[0;31mNO") && !said.contains("NO\u{1b}"), "{arguments:?}: {said}");
            });
        }
    });
}

/// Who says nothing, or stops in the middle, is not waited for: thirty seconds for headers, ten for a handshake.
#[test]
fn half_a_header_and_half_a_handshake_end_with_their_time() {
    if !require(&["openssl"]) {
        return;
    }
    let site = Site::new();
    let (plain, secure) = (serve_web(&[]), site.serve(json!({ "tls_server_config": {} })));
    let cases: [(&str, u16, &[u8], f64); 4] = [
        ("half a header", plain.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Half: a", 35.0),
        ("silence before a request", plain.port, b"", 35.0),
        // A record of 512 bytes, and a ClientHello in it.
        ("half a ClientHello", secure.port, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], 13.0),
        ("silence before the handshake", secure.port, b"", 13.0),
    ];
    thread::scope(|scope| {
        for (name, port, said, most) in cases {
            scope.spawn(move || {
                let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                client.write_all(said).unwrap();
                let begun = Instant::now();
                let ended = client.read_to_end(&mut Vec::new());
                let took = begun.elapsed().as_secs_f64();
                assert!((5.0..most).contains(&took), "{name}: {ended:?} after {took:.1} s");
            });
        }
    });
}

/// One place, and the one who has it reads nothing.
#[test]
fn a_scraper_that_reads_nothing_makes_room_and_gets_no_whole_text() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let estate = Estate::new(&many_targets(), json!({}), None, &["--web.max-requests=1"]);
    let status = || ask(&estate.exporter, "/metrics", &["--output", "/dev/null"]).status;
    let mut silent = wait_until("refusal", Duration::from_secs(60), || {
        let silent = silent_client(estate.port(), "/metrics", 20);
        (status() == 503).then_some(silent)
    });
    wait_until("place for another", Duration::from_secs(20), || (status() == 200).then_some(()));
    // Who made room must not take what it has for all there is.
    let mut text = Vec::new();
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let ended = silent.read_to_end(&mut text);
    assert!(text.starts_with(b"HTTP/1.1 200"), "{}", lossy(&text));
    assert!(ended.is_err() || !text.ends_with(b"\r\n0\r\n\r\n"), "it was cut off, and looks whole");
}

/// Forty clients that ask a hundred times each before they read, and read nothing.
#[test]
fn scrapes_asked_for_in_advance_and_never_read() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let estate = Estate::new(&many_targets(), json!({}), None, &[]);
    estate.besieged("pipelined scrapes, never read", 45, || {
        let silent: Vec<TcpStream> = (0..60).map(|_| silent_client(estate.port(), "/metrics", 100)).collect();
        thread::sleep(Duration::from_secs(6));
        drop(silent);
    });
}

/// A hundred clients that ask for a large configuration, and do not read it: they wait for one copy.
#[test]
fn configurations_that_are_never_read() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let estate = Estate::new(&many_targets(), json!({}), None, &[]);
    let length = ask(&estate.exporter, "/config", &[]).body.len();
    assert!(length > 2 << 20, "{length} bytes: too few to tell one copy from many");
    estate.besieged("configurations, never read", 10, || {
        let silent: Vec<TcpStream> = (0..100).map(|_| silent_client(estate.port(), "/config", 1)).collect();
        for client in &silent {
            client.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
            assert_eq!(client.peek(&mut [0]).unwrap(), 1, "its answer has begun");
        }
        thread::sleep(Duration::from_secs(2));
        drop(silent);
    });
}

/// Ten clients with sixteen streams each, that ask for a large answer of the API, and do not read it.
#[test]
fn answers_of_the_api_that_are_never_read() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let labels: BTreeMap<String, String> = (0..2).map(|name| (format!("long_{name}"), "x".repeat(1000))).collect();
    let addresses: Vec<String> = (1..=100).map(|number| format!("127.2.0.{number}:1")).collect();
    let targets = vec![json!({ "addresses": addresses, "interval": "1d", "labels": labels })];
    let estate = Estate::new(&targets, json!({ "tls_server_config": {} }), None, &[]);
    let path = "/api/v1/targets?q=127.2.0";
    let well_meaning = || {
        let answer = estate.site.ask(&estate.exporter, path, &["--interface", "127.0.0.78"]);
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(answer.body.len() > 200_000, "{} bytes: too few to tell whether they are held", answer.body.len());
    };
    well_meaning();
    estate.besieged("answers of the API, never read", 10, || {
        let mut silent: Vec<_> = (0..10).map(|_| silent_streams(estate.port(), path)).collect();
        for _ in 0..20 {
            well_meaning();
            thread::sleep(Duration::from_millis(500));
        }
        for client in &mut silent {
            client.kill().unwrap();
            client.wait().unwrap();
        }
    });
}

/// A client of HTTP/2 that asks in sixteen streams, and gives them no window beyond the first.
fn silent_streams(port: u16, path: &str) -> Child {
    let mut openssl = command("openssl");
    openssl.args(["s_client", "-quiet", "-no_ign_eof", "-alpn", "h2", "-connect", &format!("127.0.0.1:{port}")]);
    let mut client = openssl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // RFC 9113: an empty SETTINGS, and HEADERS of `GET`, https, the path and an authority (RFC 7541, appendix A).
    let mut asked = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    let fields =
        [&[0x82, 0x87, 0x04, u8::try_from(path.len()).unwrap()][..], path.as_bytes(), &[0x41, 1, b'x']].concat();
    for number in 0..16_u32 {
        asked.extend([0, 0, u8::try_from(fields.len()).unwrap(), 1, 5]);
        asked.extend((2 * number + 1).to_be_bytes());
        asked.extend(&fields);
    }
    let input = client.stdin.as_mut().unwrap();
    input.write_all(&asked).unwrap();
    client
}

/// Asks so often in one segment, closes after the last answer, and takes 4 KiB at most before it reads.
fn silent_client(port: u16, path: &str, times: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n");
    let asked = format!("{head}\r\n").repeat(times - 1);
    stream.write_all(format!("{asked}{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
    stream
}

/// More text than the system's buffers take, of targets that are hardly probed.
fn many_targets() -> Vec<Value> {
    let addresses: Vec<String> =
        (0..2000).map(|number| format!("127.2.{}.{}:1", number / 250, 1 + number % 250)).collect();
    vec![json!({ "addresses": addresses, "interval": "1d", "labels": { "long": "x".repeat(1000) } })]
}
