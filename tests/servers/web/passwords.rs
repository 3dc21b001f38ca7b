//! Passwords, as curl sends them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Answer, Site, ask, bcrypt, text};
use crate::harness::exporter::serve_web;
use crate::harness::process::{Server, require};
use crate::harness::samples::Samples;

const PROGRAMS: [&str; 3] = ["curl", "openssl", "perl"];

#[test]
fn every_path_asks_for_a_password() {
    if !require(&PROGRAMS) {
        return;
    }
    let site = Site::new();
    let exporter = site.serve(json!({ "basic_auth_users": {
        "alice": bcrypt("correct horse", 4), "bob": bcrypt("pässwörd:with:colons", 5),
    } }));
    for path in ["/", "/metrics", "/probe?target=x", "/config", "/-/healthy", "/-/ready", "/nowhere"] {
        assert_refused(&ask(&exporter, path, &[]));
        assert_refused(&ask(&exporter, path, &["--user", "alice:wrong"]));
        assert!(ask(&exporter, path, &["--user", "alice:correct horse"]).status != 401, "{path}");
    }
    assert_refused(&ask(&exporter, "/-/reload", &["--request", "POST"]));
    assert_eq!(ask(&exporter, "/-/reload", &["--request", "POST", "--user", "alice:correct horse"]).status, 200);
    for (login, status) in [
        ("bob:pässwörd:with:colons", 200),
        // Again: it is remembered, and only for the one it belongs to.
        ("bob:pässwörd:with:colons", 200),
        ("alice:pässwörd:with:colons", 401),
        ("bob:pässwörd", 401),
        ("bob:", 401),
        ("Bob:pässwörd:with:colons", 401),
        ("nobody:correct horse", 401),
        (":", 401),
    ] {
        assert_eq!(ask(&exporter, "/-/healthy", &["--user", login]).status, status, "{login}");
    }
    for header in ["Basic", "Basic !!!", "Basic YWxpY2U=", "Bearer YWxpY2U6Y29ycmVjdCBob3JzZQ=="] {
        assert_refused(&ask(&exporter, "/-/healthy", &["--header", &format!("Authorization: {header}")]));
    }
    let log = exporter.log();
    assert!(!log.contains("horse") && !log.contains("$2b$"), "{log}");
}

#[test]
fn a_password_and_a_client_certificate_are_both_needed_where_both_are_asked_for() {
    if !require(&PROGRAMS) {
        return;
    }
    let site = Site::new();
    let client = site.client("prometheus", "DNS:prometheus.example");
    let exporter = site.serve(json!({
        "tls_server_config": { "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem" },
        "basic_auth_users": { "alice": bcrypt("secret", 4) },
    }));
    let (certificate, key) = (text(&client.certificate), text(&client.key));
    let with_certificate = ["--cert", &certificate, "--key", &key];
    let login = ["--user", "alice:secret"];
    assert_eq!(site.ask(&exporter, "/metrics", &[]).status, 0);
    assert_eq!(site.ask(&exporter, "/metrics", &login).status, 0);
    assert_refused(&site.ask(&exporter, "/metrics", &with_certificate));
    assert_eq!(site.ask(&exporter, "/metrics", &[with_certificate.as_slice(), &login].concat()).status, 200);
}

/// Processor time is what is measured, as a loaded machine stretches every other clock.
#[test]
fn an_unknown_user_costs_as_much_as_a_known_one() {
    if !require(&PROGRAMS) {
        return;
    }
    let site = Site::new();
    let exporter = site.serve(json!({ "basic_auth_users": { "alice": bcrypt("secret", 10) } }));
    assert_eq!(ask(&exporter, "/-/healthy", &["--user", "alice:secret"]).status, 200);
    let cost_of = |login: &str| {
        let before = exporter.processor_ticks();
        (0..3).for_each(|_| assert_refused(&ask(&exporter, "/-/healthy", &["--user", login])));
        exporter.processor_ticks() - before
    };
    let (known, unknown) = (cost_of("alice:wrong"), cost_of("nobody:wrong"));
    assert!(known > 5, "a check of {known} ticks is none");
    assert!(unknown * 2 > known && known * 2 > unknown, "known {known}, unknown {unknown} ticks");
}

/// Wrong passwords from one address, more than can be checked.
#[test]
fn a_flood_of_wrong_passwords_stops_nobody_else() {
    if !require(&PROGRAMS) {
        return;
    }
    let site = Site::new();
    site.write(json!({ "basic_auth_users": { "alice": bcrypt("secret", 11), "bob": bcrypt("other", 11) } }));
    // Port 1 of loopback refuses at once.
    let exporter = start(
        &site,
        &json!({
            "probe": { "interval": "1s", "timeout": "900ms" }, "targets": [{ "address": "127.0.0.1:1", "name": "gone" }],
        }),
    );
    let as_alice = || {
        let answer = ask(&exporter, "/metrics", &["--user", "alice:secret"]);
        assert_eq!(answer.status, 200, "{answer:?}");
        Samples::parse(&answer.body).value("rdp_probes_total")
    };
    as_alice();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood: Vec<_> = (0..16).map(|_| scope.spawn(|| flood(exporter.port, &is_over))).collect();
        // Bob comes for the first time, from elsewhere: his turn comes between those of the flood.
        // Eight checks before his take long on a loaded machine.
        let elsewhere = ["--interface", "127.0.0.2", "--max-time", "180"];
        let bob = ask(&exporter, "/-/healthy", &[&["--user", "bob:other"], &elsewhere[..]].concat());
        let (before, mut scrapes) = (as_alice(), 1);
        let deadline = Instant::now() + Duration::from_secs(60);
        while as_alice() < before + 3.0 && Instant::now() < deadline {
            scrapes += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        let statuses: Vec<u16> = flood.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
        assert_eq!(bob.status, 200, "{bob:?}");
        assert!(Instant::now() < deadline, "no three probes, {scrapes} scrapes");
        assert_eq!(count(401) + count(429), statuses.len(), "other answers");
        assert!(count(429) > 0, "no flood: {} checks", count(401));
        assert!(scrapes > count(401), "{scrapes} scrapes waited for {} checks", count(401));
    });
}

/// Asks with a wrong password until it is over; the statuses.
fn flood(port: u16, is_over: &AtomicBool) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // nobody:wrong
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic bm9ib2R5Ondyb25n\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        if status == 429 {
            // To flood the checks, not the processor.
            thread::sleep(Duration::from_millis(50));
        }
        statuses.push(status);
    }
    statuses
}

fn start(site: &Site, config: &Value) -> Server {
    fs::write(site.path("config.yml"), config.to_string()).unwrap();
    let file = format!("--config.file={}", site.path("config.yml").display());
    serve_web(&[&site.flag(), &file])
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.head.contains("\r\nwww-authenticate: basic\r\n"), "{answer:?}");
    assert_eq!(answer.body, "401 unauthorized\n");
}
