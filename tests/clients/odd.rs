//! Requests that no honest client makes: oversized, misspelt, ambiguous, and paths that try to lead elsewhere.
//! INVARIANT: which answers are right comes from RFC 9110 and RFC 9112.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::siege::Estate;
use crate::harness::exporter::serve_web;
use crate::harness::process::{command, lossy, require, run};
use crate::harness::web::{Site, ask, bcrypt};

const PROGRAMS: [&str; 3] = ["curl", "openssl", "perl"];

/// What is asked, as bytes, and the statuses of all answers to it, one row of which is right.
type Case = (&'static str, String, &'static [&'static [u16]]);

const HOST: &str = "Host: x\r\n";
const CLOSE: &str = "Connection: close\r\n";

#[test]
fn oversized_requests_bad_methods_and_bad_versions_are_refused() {
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    check(vec![
        ("plain", get(&format!("{HOST}{CLOSE}")), &[&[200]]),
        // Oversized.
        ("one huge header", get(&format!("{HOST}{CLOSE}X-Long: {}\r\n", long(300_000))), &[&[431]]),
        ("a huge cookie", get(&format!("{HOST}{CLOSE}Cookie: a={}\r\n", long(65_536))), &[&[431], &[200]]),
        ("many small headers", get(&format!("{HOST}{many}")), &[&[431]]),
        ("a huge request line", format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", long(300_000)), &[&[414], &[431]]),
        ("a huge method", format!("{} / HTTP/1.1\r\n{HOST}{CLOSE}\r\n", long(10_000)), &[&[405], &[400], &[501]]),
        // Methods.
        ("TRACE", format!("TRACE /metrics HTTP/1.1\r\n{HOST}{CLOSE}\r\n"), &[&[405]]),
        ("CONNECT", format!("CONNECT localhost:22 HTTP/1.1\r\n{HOST}{CLOSE}\r\n"), &[&[405], &[400], &[404]]),
        ("PUT", format!("PUT /metrics HTTP/1.1\r\n{HOST}{CLOSE}Content-Length: 0\r\n\r\n"), &[&[405]]),
        ("DELETE", format!("DELETE /targets/a/probe HTTP/1.1\r\n{HOST}{CLOSE}\r\n"), &[&[405]]),
        ("lower case", format!("get /metrics HTTP/1.1\r\n{HOST}{CLOSE}\r\n"), &[&[405], &[400], &[501]]),
        ("no method", format!(" / HTTP/1.1\r\n{HOST}\r\n"), &[&[400]]),
        ("a bad method", format!("G\u{0}T / HTTP/1.1\r\n{HOST}\r\n"), &[&[400]]),
        // Versions.
        ("HTTP/0.9", "GET /-/healthy\r\n\r\n".to_owned(), &[&[400]]),
        ("HTTP/3.7", format!("GET /-/healthy HTTP/3.7\r\n{HOST}\r\n"), &[&[400], &[505]]),
        ("no version", format!("GET /-/healthy HTTP/\r\n{HOST}\r\n"), &[&[400]]),
        ("HTTP/2 in clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[&[400], &[505], &[]]),
        ("TLS in clear", "\u{16}\u{3}\u{1}\u{0}\u{5}\u{1}hello\r\n\r\n".to_owned(), &[&[400]]),
    ]);
}

#[test]
fn ambiguous_requests_are_refused_and_never_read_as_two() {
    check(vec![
        // Hosts.
        ("HTTP/1.0 without one", "GET /-/healthy HTTP/1.0\r\n\r\n".to_owned(), &[&[200]]),
        ("no host", get(CLOSE), &[&[400]]),
        ("two hosts", get(&format!("{HOST}Host: y\r\n{CLOSE}")), &[&[400]]),
        (
            "the whole address",
            format!("GET http://evil.example/-/healthy HTTP/1.1\r\n{HOST}{CLOSE}\r\n"),
            &[&[200], &[400]],
        ),
        // Headers that are none.
        ("a space before the colon", get("Host : x\r\n"), &[&[400]]),
        ("a folded line", get(&format!("{HOST}X: a\r\n b\r\n{CLOSE}")), &[&[400], &[200]]),
        ("a NUL", get(&format!("{HOST}X: a\u{0}b\r\n")), &[&[400]]),
        // Bodies: what comes after one is a request only where all agree how long the body is.
        (
            "a body on GET",
            get(&format!("{HOST}Content-Length: 5\r\n")) + "hello" + &get(&format!("{HOST}{CLOSE}")),
            &[&[200, 200], &[200], &[400]],
        ),
        (
            "two lengths",
            get(&format!("{HOST}Content-Length: 5\r\nContent-Length: 6\r\n")) + "hello" + &get(HOST),
            &[&[400]],
        ),
        ("a signed length", get(&format!("{HOST}Content-Length: +5\r\n")) + "hello" + &get(HOST), &[&[400]]),
        ("a length too long", get(&format!("{HOST}Content-Length: 99999999999999999999999\r\n")), &[&[400]]),
        (
            "length and chunks",
            get(&format!("{HOST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"))
                + "0\r\n\r\n"
                + &get(&format!("{HOST}{CLOSE}")),
            &[&[400], &[200]],
        ),
        (
            "chunks not last",
            get(&format!("{HOST}Transfer-Encoding: chunked, identity\r\n")) + "0\r\n\r\n" + &get(HOST),
            &[&[400]],
        ),
        (
            "chunks in HTTP/1.0",
            format!("GET /-/healthy HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}", get(HOST)),
            &[&[400], &[200]],
        ),
        (
            "a chunk too long",
            format!("POST /-/reload HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"),
            &[&[400], &[200]],
        ),
        (
            "100-continue",
            format!("POST /-/reload HTTP/1.1\r\n{HOST}{CLOSE}Content-Length: 9999\r\nExpect: 100-continue\r\n\r\n"),
            &[&[200]],
        ),
    ]);
}

fn check(cases: Vec<Case>) {
    let exporter = serve_web(&[]);
    let mut wrong = Vec::new();
    for (name, request, right) in cases {
        let (statuses, answer) = say(exporter.port, request.as_bytes());
        if !right.contains(&statuses.as_slice()) {
            wrong.push(format!("{name}: {statuses:?}, not one of {right:?}: {answer:.300}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(say(exporter.port, get(&format!("{HOST}{CLOSE}")).as_bytes()).0, [200]);
    assert!(!exporter.log().contains("panicked"), "{}", exporter.log());
}

fn get(headers: &str) -> String {
    format!("GET /-/healthy HTTP/1.1\r\n{headers}\r\n")
}

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Paths, as they are sent; each asks for a password, and none leads to a file or to another route.
#[test]
fn no_path_leads_around_the_password_or_to_a_file() {
    if !require(&PROGRAMS) {
        return;
    }
    let site = Site::new();
    site.write(json!({ "basic_auth_users": { "alice": bcrypt("secret", 4) } }));
    let prefixed = serve_web(&[&site.flag(), "--web.route-prefix=/rdp"]);
    let plain = serve_web(&[&site.flag()]);
    let login = format!("Authorization: Basic {}\r\n", "YWxpY2U6c2VjcmV0");
    let long = format!("/targets/{}", "%41".repeat(15_000));
    for path in PATHS.into_iter().chain([long.as_str()]) {
        for exporter in [&plain, &prefixed] {
            for method in ["GET", "POST", "PUT", "OPTIONS", "TRACE", "HEAD"] {
                let ask = |login: &str| {
                    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{login}\r\n");
                    say(exporter.port, head.as_bytes())
                };
                let (statuses, answer) = ask("");
                assert!(matches!(statuses[..], [400 | 401]), "{method} {path:.80}: {statuses:?}: {answer:.300}");
                let (statuses, answer) = ask(&login);
                assert!(matches!(statuses[..], [400 | 404 | 405]), "{method} {path:.80}: {statuses:?}: {answer:.300}");
                assert!(
                    !answer.contains("root:") && !answer.contains("<script"),
                    "{method} {path:.80}: {answer:.2000}"
                );
            }
        }
    }
    for (path, status) in [
        ("/metrics?a=/../config", 200),
        ("/metrics?", 200),
        ("/targets?q=%00", 404),
        ("/?q=<script>", 400),
        ("/?q=%3Cscript%3E", 200),
    ] {
        let answer = ask(&plain, path, &["--path-as-is", "--globoff", "--user", "alice:secret"]);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!answer.body.contains("<script"), "{path}: {answer:?}");
    }
    let log = [plain.log(), prefixed.log()].concat();
    assert!(!log.contains("panicked"), "{log}");
}

/// Headers over HTTP/2: too long at once, in several frames, and of many streams.
#[test]
fn oversized_headers_over_http2() {
    if !require(&["curl", "h2load", "nghttp", "openssl"]) {
        return;
    }
    let estate = Estate::new(&[], json!({ "tls_server_config": {} }), None, &[]);
    estate.besieged("oversized headers over HTTP/2", 100, || {
        let ask_with = |bytes: usize| {
            let header = format!("X-Long: {}", "x".repeat(bytes));
            estate.site.ask(&estate.exporter, "/-/healthy", &["--http2", "--header", &header])
        };
        let long = ask_with(20_000);
        assert_eq!(long.status, 431, "{long:?}");
        let endless = ask_with(70_000);
        // Where the exporter hangs up in the middle, curl has its own words for what it saw of that.
        let is_cut = CURL_WAS_CUT.iter().any(|words| format!("{endless:?}").contains(words));
        assert!(endless.status == 431 || endless.status == 0 && is_cut, "{endless:?}");
        let mut continued = command("nghttp");
        continued.args(["--continuation", "--null-out", "--verbose", &estate.url("/-/healthy")]);
        let said = run(&mut continued);
        assert!(said.contains("Connected") && said.contains(":status: 431"), "{said}");
        let mut load = command("h2load");
        let requests = estate.site.path("requests.tsv");
        load.args(["--duration=4", "--clients=20", "--max-concurrent-streams=50", "--threads=1"]);
        load.arg(format!("--log-file={}", requests.display()));
        load.args(["--header", &format!("cookie: a={}", "x".repeat(12_000)), &estate.url("/metrics")]);
        let said = run(&mut load);
        eprintln!("{said}");
        let counts = said.lines().find_map(|line| line.strip_prefix("status codes: "));
        let answered = counts.and_then(|counts| counts.split_once(" 2xx")?.0.parse::<u32>().ok());
        assert!(answered > Some(0), "{said}");
        let requests = fs::read_to_string(requests).unwrap();
        let statuses: BTreeSet<&str> = requests.lines().filter_map(|line| line.split('\t').nth(1)).collect();
        // -1: a stream beyond those that a connection may have at once, or one whose answer is cut off for others.
        assert!(statuses.is_subset(&BTreeSet::from(["200", "503", "-1"])), "{statuses:?}: {said}");
        let answer = estate.site.ask(&estate.exporter, "/-/healthy", &["--http2"]);
        assert_eq!(answer.status, 200, "{answer:?}");
    });
}

/// By curl(1): an error in the HTTP/2 framing layer or in a stream of it, failure to send, failure to receive.
const CURL_WAS_CUT: [&str; 4] = ["curl: (16)", "curl: (92)", "curl: (55)", "curl: (56)"];

/// Sends these bytes; the status of each answer until the connection ends, and all of them as text.
fn say(port: u16, request: &[u8]) -> (Vec<u16>, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    // It may be closed before all is sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut part) {
        answer.extend_from_slice(&part[..count]);
    }
    let text = lossy(&answer);
    let statuses = text.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)?.parse().ok()).collect();
    (statuses, text)
}

const PATHS: [&str; 31] = [
    "/../../../../etc/passwd",
    "/..%2f..%2f..%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/targets/../../../../etc/passwd",
    "/targets/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/targets/....//....//etc/passwd",
    "/api/v1/targets/%2e%2e%2f%2e%2e%2fconfig",
    "/api/v1/targets/../../config",
    "//metrics",
    "///metrics",
    "/./metrics",
    "/metrics/",
    "/metrics/..",
    "/metrics;a=b",
    "/metrics%00",
    "/metrics%20",
    "/%6detrics",
    "/Metrics",
    "/-/healthy/../../metrics",
    "/-//healthy",
    "/targets/%00",
    "/targets/%ff%fe",
    "/targets/%C0%AE%C0%AE%2f",
    "/targets/%",
    "/targets/%zz",
    "/targets/<script>alert(1)</script>",
    "/targets/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "/api/v1/targets/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "/RDP/metrics",
    "/rdp/../metrics",
    "/rdp//metrics",
];
