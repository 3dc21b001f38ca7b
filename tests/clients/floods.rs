//! As many requests as wrk, ab, h2load and openssl can make.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::siege::Estate;
use crate::harness::process::{command, lossy, require, run, wait_until};
use crate::harness::web::{ask, bcrypt};

#[test]
fn requests_in_one_segment() {
    if !require(&["curl", "openssl", "wrk"]) {
        return;
    }
    let estate = Estate::new(&[], json!({}), None, &[]);
    let script = r#"
        init = function()
            local requests = {}
            for number = 1, 16 do requests[number] = wrk.format("GET", number == 16 and "/metrics" or "/-/healthy") end
            all = table.concat(requests)
        end
        request = function() return all end
    "#;
    estate.besieged("sixteen requests in one segment", 20, || wrk(&estate, 64, script, "/", [200, 503]));
}

/// Wrong passwords of a known and of an unknown user, from so many addresses that those who wait could have every connection.
#[test]
fn wrong_passwords_from_many_addresses() {
    if !require(&["ab", "curl", "openssl", "perl", "wrk"]) {
        return;
    }
    let users = json!({ "alice": bcrypt("secret", 11), "bob": bcrypt("other", 11) });
    let estate = Estate::new(&[], json!({ "basic_auth_users": users }), Some("alice:secret"), &[]);
    let url = estate.url("/metrics");
    estate.besieged("wrong passwords from 41 addresses", 5, || {
        thread::scope(|scope| {
            let floods: Vec<_> = (1..=40)
                .map(|number| {
                    let (from, url) = (format!("127.0.9.{number}"), &url);
                    let login = if number % 2 == 0 { "alice:wrong" } else { "nobody:wrong" };
                    scope.spawn(move || {
                        let mut ab = command("ab");
                        ab.args([
                            "-q", "-B", &from, "-v", "3", "-A", login, "-c", "10", "-t", "8", "-n", "1000000", "-s",
                            "60", "-l", "-r", url,
                        ]);
                        lossy(&ab.output().unwrap().stdout)
                    })
                })
                .collect();
            // nobody:wrong
            let script = r#"wrk.headers["Authorization"] = "Basic bm9ib2R5Ondyb25n""#;
            // Some of all these get a 401, see below; on a slow machine not one of wrk's.
            wrk(&estate, 64, script, "/metrics", [429, 401]);
            let mut seen = BTreeSet::new();
            for flood in floods {
                let said = flood.join().unwrap();
                let heads = said.lines().filter_map(|line| line.strip_prefix("HTTP/1.0 "));
                seen.extend(heads.map(|head| head.split(' ').next().unwrap().to_owned()));
            }
            assert_eq!(seen, BTreeSet::from(["401".to_owned(), "429".to_owned()]), "refused, or told to come again");
        });
    });
    // Bob comes for the first time, and once the flood is over he need not wait.
    let from_elsewhere = ["--interface", "127.0.0.78", "--user", "bob:other"];
    let bob = ask(&estate.exporter, "/-/healthy", &from_elsewhere);
    assert_eq!(bob.status, 200, "{bob:?}");
}

/// Whether a user exists does not show in what is answered.
#[test]
fn a_known_and_an_unknown_user_are_refused_alike() {
    if !require(&["curl", "openssl", "perl"]) {
        return;
    }
    let users = json!({ "alice": bcrypt("secret", 4), "bob": bcrypt("other", 4) });
    let estate = Estate::new(&[], json!({ "basic_auth_users": users }), Some("alice:secret"), &[]);
    let refusal = |login: &str| {
        let answer = ask(&estate.exporter, "/metrics", &["--user", login]);
        let head: Vec<&str> = answer.head.lines().filter(|line| !line.starts_with("date:")).collect();
        (answer.status, head.join("\n"), answer.body)
    };
    let known = refusal("alice:wrong");
    assert_eq!(known.0, 401);
    assert_eq!(known, refusal("nobody:wrong"));
    assert_eq!(known, refusal("nobody:secret"));
}

/// Reloads, probes of the button and of `/probe`, all at once.
#[test]
fn reloads_and_probes_on_demand() {
    if !require(&["curl", "openssl", "wrk"]) {
        return;
    }
    // A host that takes connections and says nothing.
    let silent = crate::harness::peer::Peer::on(std::net::Ipv4Addr::UNSPECIFIED, crate::harness::peer::drain);
    let port = silent.port;
    let quiet: Vec<String> = (0..150).map(|number| format!("127.0.10.{}:{port}", number + 1)).collect();
    let quiet = json!({ "addresses": quiet, "interval": "1d", "timeout": "2s" });
    let estate = Estate::new(&[quiet], json!({}), None, &[]);
    let reload = "wrk.method = \"POST\"";
    // From the middle on: a press that waits for the turn of a target and for its probe is hardly answered in time.
    let press = format!(
        "local n = 75\nrequest = function() n = n + 1\n\
         return wrk.format(\"POST\", \"/targets/127.0.10.\" .. (n % 150 + 1) .. \":{port}/probe\") end"
    );
    let probe = format!(
        "local n = 0\nrequest = function() n = n + 1\n\
         return wrk.format(\"GET\", \"/probe?target=127.0.10.\" .. (n % 150 + 1) .. \":{port}\") end"
    );
    // From then on the schedule leaves them alone for a day, so that none of its probes waits for those on demand.
    wait_until("first probe of every silent target", Duration::from_secs(60), || {
        let of_silent = [("verdict", "negotiation_timeout")];
        (estate.scrape().1.all("rdp_probes_total", &of_silent).count() == 150).then_some(())
    });
    estate.besieged("reloads and probes on demand", 10, || {
        thread::scope(|scope| {
            scope.spawn(|| wrk(&estate, 40, reload, "/-/reload", [200, 503]));
            scope.spawn(|| wrk(&estate, 40, &press, "/", [303, 503]));
            scope.spawn(|| wrk(&estate, 40, &probe, "/", [200, 503]));
        });
    });
}

/// A hundred thousand frames of each kind that cost the sender nothing.
#[test]
fn frames_of_http2_that_ask_for_nothing() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let estate = Estate::new(&[], json!({ "tls_server_config": {} }), None, &[]);
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let floods = [
        ("SETTINGS", settings.repeat(100_000)),
        ("PING", ping.repeat(100_000)),
        ("requests that are reset", (0..20_000).flat_map(|number| reset_at_once(2 * number + 1)).collect()),
        (CUT, endless_headers()),
    ];
    estate.besieged("frames of HTTP/2", 45, || {
        for (name, frames) in floods {
            let mut openssl = command("openssl");
            openssl.args([
                "s_client",
                "-quiet",
                "-no_ign_eof",
                "-alpn",
                "h2",
                "-connect",
                &format!("127.0.0.1:{}", estate.port()),
            ]);
            let mut client =
                openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let mut input = client.stdin.take().unwrap();
            let sending = thread::spawn(move || {
                // Until the exporter has enough of it.
                let sent = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings, &frames].concat();
                let _ = input.write_all(&sent);
                thread::sleep(Duration::from_secs(1));
            });
            let output = client.wait_with_output().unwrap();
            sending.join().unwrap();
            // Where the exporter hangs up in the middle, what it said before may be lost.
            let was_cut = name == CUT;
            assert!(was_cut || !output.stdout.is_empty(), "{name}: no HTTP/2 was spoken");
            let answer = estate.site.ask(&estate.exporter, "/-/healthy", &["--http2"]);
            assert_eq!(answer.status, 200, "after {name}: {answer:?}");
        }
    });
}

const CUT: &str = "headers that go on";

/// RFC 9113: HEADERS of `GET /metrics`, and RST_STREAM.
fn reset_at_once(stream: u32) -> Vec<u8> {
    let mut frames = vec![0, 0, 15, 1, 5];
    frames.extend(stream.to_be_bytes());
    // :method GET, :scheme https, :path by name 4, :authority by name 1 (RFC 7541, appendix A).
    frames.extend([0x82, 0x87, 0x04, 8]);
    frames.extend(*b"/metrics");
    frames.extend([0x41, 1, b'x']);
    frames.extend([0, 0, 4, 3, 0]);
    frames.extend(stream.to_be_bytes());
    frames.extend([0, 0, 0, 8]);
    frames
}

/// HEADERS without an end, and CONTINUATION after CONTINUATION.
fn endless_headers() -> Vec<u8> {
    let header = [&[0x00, 1, b'a', 100][..], &[b'y'; 100]].concat();
    let mut frames = vec![0, 0, 2, 1, 0, 0, 0, 0, 1, 0x82, 0x87];
    for _ in 0..10_000 {
        frames.extend([0, 0, u8::try_from(header.len()).unwrap(), 9, 0, 0, 0, 0, 1]);
        frames.extend(&header);
    }
    frames
}

/// Eight seconds of wrk. Some are answered with the first of `statuses`, and all others with one of them.
#[track_caller]
fn wrk(estate: &Estate, connections: u32, script: &str, path: &str, statuses: [u16; 2]) {
    static SCRIPTS: AtomicU32 = AtomicU32::new(0);
    let file = estate.site.path(&format!("{}.lua", SCRIPTS.fetch_add(1, Ordering::Relaxed)));
    fs::write(&file, format!("{script}\n{TELL_STATUSES}")).unwrap();
    let mut wrk = command("wrk");
    wrk.args(["--threads=1", "--duration=8s", "--timeout=30s", "--latency", &format!("--connections={connections}")]);
    let said = run(wrk.arg("--script").arg(&file).arg(estate.url(path)));
    let figures =
        said.lines().filter(|line| line.contains("Requests/sec") || line.contains("99%") || line.contains("Non-2xx"));
    eprintln!("wrk {path}: {}", figures.map(str::trim).collect::<Vec<_>>().join("; "));
    let seen: Vec<u16> = said.lines().filter_map(|line| line.strip_prefix("SEEN ")?.parse().ok()).collect();
    assert!(seen.contains(&statuses[0]), "{path}: {seen:?}, nobody got {}: {said}", statuses[0]);
    assert!(seen.iter().all(|status| statuses.contains(status)), "{path}: {seen:?}: {said}");
    let before = |words: &str| said.lines().find_map(|line| line.split_once(words)?.0.trim().parse::<u32>().ok());
    let requests = before(" requests in").unwrap_or_default();
    assert!(requests >= connections, "{path}: {requests} requests of {connections} connections: {said}");
    let unconnected =
        said.lines().find_map(|line| line.split_once("connect ")?.1.split(',').next()?.parse::<u32>().ok());
    assert!(unconnected.unwrap_or_default() <= 5, "{path}: {said}");
}

/// Each status once; there is one thread.
const TELL_STATUSES: &str = r#"
    local seen = {}
    response = function(status)
        if not seen[status] then seen[status] = true; print("SEEN " .. status) end
    end
"#;
