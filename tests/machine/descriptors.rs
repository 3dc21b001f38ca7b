//! No descriptors left, and too few from the start.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::exporting::{Exporter, LIMIT, Plan, has_verdict, is_possible, is_up, probes};
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::wait_until;
use crate::harness::samples::Samples;
use crate::harness::tls::tls_server;

fn failures(samples: &Samples) -> f64 {
    samples.get("rdp_exporter_local_failures_total", &[("reason", "descriptors")]).unwrap()
}

/// The processor time that is taken, as a share of one core.
struct Load<'a> {
    exporter: &'a Exporter,
    begun: Instant,
    ticks: u64,
}

impl<'a> Load<'a> {
    fn begin(exporter: &'a Exporter) -> Self {
        Self { exporter, begun: Instant::now(), ticks: exporter.server.processor_ticks() }
    }

    fn share(&self) -> f64 {
        let ticks = self.exporter.server.processor_ticks() - self.ticks;
        ticks as f64 / 100.0 / self.begun.elapsed().as_secs_f64()
    }
}

/// Lets the process have no more than it has open now.
pub(crate) fn take_descriptors(exporter: &Exporter) {
    let folder = format!("/proc/{}/fd", exporter.server.id());
    let lowest = (0..).find(|number| !Path::new(&folder).join(number.to_string()).exists()).unwrap();
    exporter.limit("nofile", &lowest.to_string());
}

#[test]
fn no_descriptors_left() {
    if !is_possible(&[]) {
        return;
    }
    let workshop = Workshop::new();
    let rdp = tls_server(([127, 0, 0, 1], 0).into(), &workshop.self_signed(&Recipe::default()));
    let exporter = Plan::new(&json!({
        "trust": { "system_roots": false },
        "probe": { "interval": "2s", "timeout": "1900ms", "survey_interval": "0s" },
        "targets": [
            { "address": format!("127.0.0.1:{}", rdp.port), "name": "ip" },
            { "address": format!("localhost:{}", rdp.port), "name": "named", "ip_protocol": "ip4" },
        ],
    }))
    .start();
    let both = |samples: &Samples, verdict| ["ip", "named"].iter().all(|name| has_verdict(samples, name, verdict));
    exporter.scrape_until("both healthy", |samples| both(samples, "healthy"));
    let mut kept = exporter.client();
    // What it takes to probe and to be asked as often as below.
    let load = Load::begin(&exporter);
    let first = kept.scrape();
    let healthy = |samples: &Samples| probes(samples, "ip", "healthy");
    wait_until("four more probes", LIMIT, || (healthy(&kept.scrape()) >= healthy(&first) + 4.0).then_some(()));
    let usual = load.share();

    // Again and again: what was open at the first look may be closed at the next.
    let during = wait_until("both are the exporter's own fault", LIMIT, || {
        take_descriptors(&exporter);
        Some(kept.scrape()).filter(|samples| both(samples, "exporter_fault"))
    });
    take_descriptors(&exporter);
    let mut waiting = Client::connect(exporter.server.port);
    waiting.send("GET", "/-/healthy").unwrap();
    exporter.wait_for_log("Cannot accept connections");
    assert!(failures(&during) >= 2.0, "counted");
    assert!(is_up(&during, "ip") && is_up(&during, "named"), "both keep their last value");

    // As long as it lasts: no busy loop, no flood in the log, and who has a connection is answered.
    let load = Load::begin(&exporter);
    let during = wait_until("four more faults", LIMIT, || {
        take_descriptors(&exporter);
        Some(kept.scrape()).filter(|samples| failures(samples) >= failures(&during) + 4.0)
    });
    let share = load.share();
    assert!(share < 3.0 * usual + 0.05, "{share} of a core, {usual} before");
    for verdict in ["dns_failure", "dns_not_found"] {
        assert_eq!(probes(&during, "named", verdict), 0.0, "the name is not to blame");
    }
    assert!(!waiting.is_answered_within(Duration::from_millis(300)), "a new one has to wait");
    let log = exporter.server.log();
    assert_eq!(log.matches("Cannot accept connections").count(), 1, "{log}");
    assert!(log.lines().count() < 40, "{log}");

    exporter.limit("nofile", "1024");
    assert_eq!(waiting.answer().unwrap().0, 200, "who waited is answered");
    exporter.scrape_until("both healthy again", |samples| both(samples, "healthy"));
    exporter.wait_for_log("Connections are accepted again");
    exporter.assert_no_panic();
}

/// Roots that cannot be read for want of descriptors are not taken for roots that are not there.
#[test]
fn a_reload_without_descriptors_changes_nothing() {
    if !is_possible(&[]) {
        return;
    }
    let config = json!({ "targets": [] });
    let exporter = Plan::new(&config).start();
    let mut kept = exporter.client();
    kept.scrape();
    let opened = Path::new("/proc").join(exporter.server.id().to_string()).join("fd");
    // One is free: for the configuration itself it is enough, for the roots, read with their folder open, it is not.
    let lowest = (0..).find(|number: &i32| !opened.join(number.to_string()).exists()).unwrap();
    exporter.limit("nofile", &(lowest + 1).to_string());
    let (status, said) = kept.ask("POST", "/-/reload");
    assert_eq!(status, 500, "{said}");
    assert!(said.contains("trust.system_roots") && said.contains("Too many open files"), "{said}");
    assert_eq!(kept.scrape().value("rdp_exporter_config_last_reload_successful"), 0.0);
    exporter.limit("nofile", "1024");
    assert_eq!(kept.ask("POST", "/-/reload").0, 200);
    assert_eq!(kept.scrape().value("rdp_exporter_config_last_reload_successful"), 1.0);
}

#[test]
fn too_few_descriptors_at_the_start_are_told_of() {
    if !is_possible(&[]) {
        return;
    }
    for count in [6, 7, 9, 16, 63] {
        let plan = Plan::new(&json!({ "targets": [] })).script(&format!("ulimit -n {count}; exec \"$@\""));
        let (code, said) = plan.run();
        assert_eq!(code, Some(1), "{count}: {said}");
        assert!(said.contains(&format!("the limit of descriptors is {count}")), "{count}: {said}");
        assert!(said.contains("LimitNOFILE"), "what to do: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
