//! A thousand targets, three hundred of them silent: every one keeps its pace.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::harness::exporter::{scrape, serve};
use crate::harness::peer::{CONFIRM_RDP, Peer, answer, drain};
use crate::harness::process::wait_until;
use crate::harness::samples::Samples;

const HEALTHY: usize = 700;
const SILENT: usize = 300;
const INTERVAL_SECONDS: f64 = 20.0;

#[test]
fn scale_thousand_targets_keep_their_pace() {
    let answering = Peer::on(Ipv4Addr::UNSPECIFIED, |mut client| {
        answer(&mut client, &CONFIRM_RDP)?;
        drain(client)
    });
    let silent = Peer::on(Ipv4Addr::UNSPECIFIED, drain);
    let healthy = (0..HEALTHY).map(|number| target("healthy", number, answering.port));
    let unheard = (0..SILENT).map(|number| target("silent", number, silent.port));
    let targets: Vec<Value> = healthy.chain(unheard).collect();
    let exporter = serve(&json!({
        "probe": { "interval": "20s", "timeout": "3s", "connect_timeout": "1s" },
        "targets": targets,
    }));

    // The first round is spread over at most one interval, so two rounds take at most two.
    let (asked, samples) = wait_until("second probe of every target", Duration::from_secs(75), || {
        let asked = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let samples = Samples::parse(&scrape(&exporter));
        let probed = probes_by_target(&samples);
        (probed.len() == HEALTHY + SILENT && probed.values().all(|count| *count >= 2.0)).then_some((asked, samples))
    });

    assert_eq!(samples.value("rdp_exporter_targets"), (HEALTHY + SILENT) as f64);
    assert_eq!(sum(&samples, "rdp_up", &[("kind", "healthy")]), HEALTHY as f64);
    assert_eq!(sum(&samples, "rdp_up", &[("kind", "silent")]), 0.0);
    let timed_out = [("verdict", "negotiation_timeout")];
    assert_eq!(sum(&samples, "rdp_verdict", &timed_out), SILENT as f64);
    for sample in samples.all("rdp_last_probe_timestamp_seconds", &[]) {
        // As timestamps are of a probe's end, and only its start keeps the pace; and machines stand still for a moment.
        assert!(asked - sample.value < INTERVAL_SECONDS + 3.0, "{sample:?}, {} s ago", asked - sample.value);
    }
    let within = samples.get("rdp_exporter_probe_start_delay_seconds_bucket", &[("le", "1")]).unwrap();
    let all = samples.value("rdp_exporter_probe_start_delay_seconds_count");
    assert!(within >= all * 0.98, "{within} of {all} probes began within 5 % of the interval");
    assert!(all >= 2.0 * (HEALTHY + SILENT) as f64, "{all} probes");
}

/// A target with a loopback address of its own.
fn target(kind: &str, number: usize, port: u16) -> Value {
    let (high, low) = (number / 250, 1 + number % 250);
    json!({
        "name": format!("{kind}-{number}"),
        "address": format!("127.0.{}.{low}:{port}", high + 1),
        "labels": { "kind": kind },
    })
}

fn probes_by_target(samples: &Samples) -> BTreeMap<&str, f64> {
    let mut probes = BTreeMap::new();
    for sample in samples.all("rdp_probes_total", &[]) {
        *probes.entry(sample.labels["target"].as_str()).or_default() += sample.value;
    }
    probes
}

fn sum(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    samples.all(name, labels).map(|sample| sample.value).sum()
}
