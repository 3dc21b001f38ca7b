//! No thread to be had: look-ups, answers that may block, passwords, questions to servers of lists. And no memory at all.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::exporting::{Exporter, LIMIT, Plan, USER, has_verdict, is_possible, is_up, probes};
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::peer::Peer;
use crate::harness::process::{command, run, status, wait_until};
use crate::harness::samples::Samples;
use crate::harness::tls::tls_server;

/// `alice:secret` and `alice:wrong`.
const RIGHT: &str = "Basic YWxpY2U6c2VjcmV0";
const WRONG: &str = "Basic YWxpY2U6d3Jvbmc=";

#[test]
fn no_thread_to_be_had() {
    if !is_possible(&["perl"]) {
        return;
    }
    let workshop = Workshop::new();
    let rdp = tls_server(([127, 0, 0, 1], 0).into(), &workshop.self_signed(&Recipe::default()));
    let list = empty_list();
    let hash = run(command("perl").args(["-e", "print crypt('secret', '$2b$04$abcdefghijklmnopqrstuu')"]));
    let exporter = Plan::new(&json!({
        "trust": { "system_roots": false },
        "probe": { "interval": "2s", "timeout": "1900ms", "survey_interval": "0s" },
        "targets": [
            { "address": format!("127.0.0.1:{}", rdp.port), "name": "ip" },
            { "address": format!("localhost:{}", rdp.port), "name": "named", "ip_protocol": "ip4" },
        ],
        "discovery": { "http": [{ "url": format!("http://127.0.0.1:{}/", list.port), "refresh_interval": "5s" }] },
    }))
    .web(&json!({ "basic_auth_users": { "alice": hash } }), false)
    .under_user(USER)
    .start();
    let alice = || exporter.client().authorized(RIGHT);
    let until = |what: &str, wanted: &dyn Fn(&Samples) -> bool| {
        wait_until(what, LIMIT, || Some(alice().scrape()).filter(wanted))
    };
    until("both healthy", &|samples| ["ip", "named"].iter().all(|name| has_verdict(samples, name, "healthy")));

    exporter.limit("nproc", "1");
    // Longer than idle threads that may block are kept by default: those that answer now were kept for it.
    std::thread::sleep(Duration::from_secs(12));
    let before = until("faults", &|samples| failures(samples) >= 2.0 && lists(samples) >= 1.0);
    assert!(has_verdict(&before, "named", "exporter_fault"), "{before:?}");
    assert!(is_up(&before, "named"), "it keeps its last value");
    for path in ["/", "/changes", "/targets/ip", "/api/v1/targets", "/config", "/-/ready"] {
        assert_eq!(alice().ask("GET", path).0, 200, "{path}");
    }
    assert_eq!(alice().ask("POST", "/-/reload"), (200, "reloaded\n".to_owned()));
    for _ in 0..3 {
        assert_eq!(exporter.client().authorized(WRONG).ask("GET", "/-/healthy").0, 401, "it is checked");
    }
    let healthy = |samples: &Samples| probes(samples, "ip", "healthy");
    let during = until("more healthy probes", &|samples| healthy(samples) >= healthy(&before) + 2.0);
    assert!(failures(&during) > failures(&before) && is_up(&during, "ip"));
    let log = exporter.server.log();
    assert!(log.contains("no thread to ask it on"), "{log}");
    assert!(log.contains("target=named before=healthy verdict=exporter_fault"), "{log}");
    assert!(log.lines().count() < 40, "{log}");

    exporter.limit("nproc", "4096");
    let known = lists(&during);
    until("a name that is found again", &|samples| has_verdict(samples, "named", "healthy"));
    exporter.wait_for_log("A source of targets can be read again");
    assert!(lists(&alice().scrape()) <= known + 3.0);
    exporter.assert_no_panic();
}

/// There is room for a megabyte more, which no thread's stack fits into.
#[test]
fn no_address_space_for_a_thread() {
    if !is_possible(&[]) {
        return;
    }
    let workshop = Workshop::new();
    let rdp = tls_server(([127, 0, 0, 1], 0).into(), &workshop.self_signed(&Recipe::default()));
    let list = empty_list();
    let config = |names: &[&str], lists: &[String]| {
        let address = |name: &str| format!("{}:{}", if name == "ip" { "127.0.0.1" } else { "localhost" }, rdp.port);
        let target = |name: &&str| json!({ "address": address(name), "name": name, "ip_protocol": "ip4" });
        let list = |url: &String| json!({ "url": url, "refresh_interval": "5s" });
        json!({
            "trust": { "system_roots": false },
            "probe": { "interval": "2s", "timeout": "1900ms", "survey_interval": "0s" },
            "targets": names.iter().map(target).collect::<Vec<_>>(),
            "discovery": { "http": lists.iter().map(list).collect::<Vec<_>>() },
        })
    };
    // The C library keeps stacks of threads that have ended. Here it keeps none, and so far none has ended but the first.
    let plan = Plan::new(&config(&["ip"], &[])).environment("GLIBC_TUNABLES", "glibc.pthread.stack_cache_size=0");
    let exporter = plan.start();
    exporter.scrape_until("a healthy target", |samples| has_verdict(samples, "ip", "healthy"));
    // What answers take of the stack is taken by then.
    answers(&exporter);
    let room = status(exporter.server.id(), "VmSize") * 1024 + (1 << 20);
    exporter.limit("as", &room.to_string());
    let named = ["named", "another"];
    let all = config(&["ip", "named", "another"], &[format!("http://localhost:{}/", list.port)]);
    fs::write(exporter.path("config.yaml"), all.to_string()).unwrap();
    answers(&exporter);
    let have = |samples: &Samples, verdict: &str| named.iter().all(|name| has_verdict(samples, name, verdict));
    let before = exporter.scrape_until("faults", |samples| have(samples, "exporter_fault") && lists(samples) >= 2.0);
    assert!(before.get("rdp_up", &[("target", "named")]).is_none(), "nothing is known of it");
    let during = exporter.scrape_until("more healthy probes", |samples| {
        probes(samples, "ip", "healthy") >= probes(&before, "ip", "healthy") + 2.0
    });
    assert!(failures(&during) > failures(&before) && is_up(&during, "ip"));
    answers(&exporter);
    exporter.wait_for_log("no thread to ask it on");

    exporter.limit("as", "unlimited");
    exporter.scrape_until("names that are found", |samples| have(samples, "healthy"));
    exporter.wait_for_log("target=named before=exporter_fault verdict=healthy");
    exporter.wait_for_log("A source of targets can be read again");
    exporter.assert_no_panic();
}

/// Every kind of answer.
fn answers(exporter: &Exporter) {
    for path in ["/", "/changes", "/targets/ip", "/api/v1/targets", "/config", "/-/ready", "/metrics"] {
        assert_eq!(exporter.ask("GET", path).0, 200, "{path}");
    }
    assert_eq!(exporter.ask("POST", "/-/reload"), (200, "reloaded\n".to_owned()));
}

/// The last thread to be had asks for a list, and then there is none that looks up the name of its server.
#[test]
fn one_thread_to_be_had() {
    if !is_possible(&[]) {
        return;
    }
    let list = empty_list();
    let exporter = Plan::new(&json!({
        "trust": { "system_roots": false },
        "targets": [],
        "discovery": { "http": [{ "url": format!("http://localhost:{}/", list.port), "refresh_interval": "5s" }] },
    }))
    .under_user(USER + 4)
    .start();
    exporter.scrape_until("a list", |samples| samples.has_family("rdp_exporter_discovery_targets"));
    let look = |_| {
        std::thread::sleep(Duration::from_millis(5));
        status(exporter.server.id(), "Threads")
    };
    // Without those that are asking just now.
    let threads = (0..100).map(look).min().unwrap();
    exporter.limit("nproc", &(threads + 1).to_string());
    let failed = exporter.scrape_until("two questions that failed", |samples| lists(samples) >= 2.0);
    assert_eq!(failed.all("rdp_exporter_discovery_targets", &[]).count(), 1, "its last targets are kept");
    exporter.wait_for_log("no thread to look up its name on");
    exporter.limit("nproc", "4096");
    exporter.wait_for_log("A source of targets can be read again");
    exporter.assert_no_panic();
}

fn empty_list() -> Peer {
    Peer::start(|mut client| {
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]")
    })
}

/// The questions that failed.
fn lists(samples: &Samples) -> f64 {
    samples.all("rdp_exporter_discovery_failures_total", &[]).map(|sample| sample.value).sum()
}

/// The probes and look-ups that failed for want of memory.
fn failures(samples: &Samples) -> f64 {
    samples.get("rdp_exporter_local_failures_total", &[("reason", "memory")]).unwrap_or_default()
}

/// Without memory for what it has begun the process ends. What it knew as of the last save is there for the next one.
#[test]
fn an_end_for_want_of_memory_loses_nothing_that_was_saved() {
    if !is_possible(&[]) {
        return;
    }
    let workshop = Workshop::new();
    let rdp = tls_server(([127, 0, 0, 1], 0).into(), &workshop.self_signed(&Recipe::default()));
    let port = rdp.port;
    let config = |targets: usize| {
        let more = (0..targets).map(|number| json!({ "address": "127.0.0.1:1", "name": format!("t{number}") }));
        let desk = json!({ "address": format!("127.0.0.1:{port}"), "name": "desk" });
        json!({
            "exporter": { "state_file": "state" },
            "trust": { "system_roots": false },
            "probe": { "interval": "5s", "timeout": "4s", "survey_interval": "0s" },
            "targets": more.chain([desk]).collect::<Vec<_>>(),
        })
    };
    let knows = |samples: &Samples| samples.get("rdp_certificate_info", &[("target", "desk")]) == Some(1.0);
    let exporter = Plan::new(&config(0)).start();
    let seen = exporter.scrape_until("a certificate", knows).value("rdp_certificate_observed_timestamp_seconds");
    exporter.scrape_until("a later save", |samples| {
        samples
            .get("rdp_exporter_state_file_last_save_success_timestamp_seconds", &[])
            .is_some_and(|saved| saved > seen)
    });
    drop(rdp);
    // Far more than there is room for, though it is a configuration that may be.
    fs::write(exporter.path("config.yaml"), config(100_000).to_string()).unwrap();
    let mut asking = exporter.client();
    exporter.limit("as", "4096");
    let answer = asking.send("POST", "/-/reload").and_then(|()| asking.answer());
    assert!(answer.is_err(), "{answer:?}");
    wait_until("its end", LIMIT, || exporter.has_ended().then_some(()));
    let folder = exporter.end();

    let plan = Plan::new(&config(0));
    fs::copy(folder.path().join("state"), plan.path("state")).unwrap();
    let next = plan.start();
    assert!(knows(&next.scrape()), "from the first moment on");
    assert!(!next.server.log().contains("state file"), "nothing is wrong with it: {}", next.server.log());
}
