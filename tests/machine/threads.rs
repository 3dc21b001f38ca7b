//! No thread to be had: look-ups, answers that may block, passwords, questions to servers of lists.

use std::io::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::exporting::{Plan, USER, has_verdict, is_possible, is_up, probes};
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::peer::Peer;
use crate::harness::process::{command, run};
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
    let list = Peer::start(|mut client| {
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]")
    });
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
        crate::harness::process::wait_until(what, crate::exporting::LIMIT, || Some(alice().scrape()).filter(wanted))
    };
    until("both healthy", &|samples| ["ip", "named"].iter().all(|name| has_verdict(samples, name, "healthy")));

    exporter.limit("nproc", "1");
    // Longer than idle threads that may block are kept by default: those that answer now were kept for it.
    std::thread::sleep(Duration::from_secs(12));
    let failures = |samples: &Samples| {
        samples.get("rdp_exporter_local_failures_total", &[("reason", "memory")]).unwrap_or_default()
    };
    let lists = |samples: &Samples| -> f64 {
        samples.all("rdp_exporter_discovery_failures_total", &[]).map(|sample| sample.value).sum()
    };
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
    assert!(log.lines().count() < 40, "{log}");

    exporter.limit("nproc", "4096");
    let known = lists(&during);
    until("a name that is found again", &|samples| has_verdict(samples, "named", "healthy"));
    exporter.wait_for_log("A source of targets can be read again");
    assert!(lists(&alice().scrape()) <= known + 3.0);
    exporter.assert_no_panic();
}
