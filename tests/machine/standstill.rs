//! A process that stands still for longer than an interval, as on a laptop that was closed.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::exporting::{Plan, is_possible};
use crate::harness::peer::Peer;
use crate::harness::samples::Samples;

/// One each, so that a peer tells which target was probed when.
const TARGETS: usize = 200;
const INTERVAL: Duration = Duration::from_secs(8);

#[test]
fn a_standstill_makes_no_burst_and_loses_nobody() {
    if !is_possible(&[]) {
        return;
    }
    let seen: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let notes = Arc::clone(&seen);
    // Whoever connects is let go at once: the verdict does not matter here.
    let peer = Peer::start(move |stream: TcpStream| {
        notes.lock().unwrap().push(Instant::now());
        drop(stream);
        Ok(())
    });
    let targets: Vec<Value> = (0..TARGETS)
        .map(|number| json!({ "address": format!("127.0.0.1:{}", peer.port), "name": format!("t{number}") }))
        .collect();
    let exporter = Plan::new(&json!({
        "trust": { "system_roots": false },
        "probe": { "interval": "8s", "timeout": "2s", "survey_interval": "0s", "confirm_after": "8s" },
        "targets": targets,
    }))
    .start();
    let counts = |samples: &Samples| -> BTreeMap<String, f64> {
        let mut counts = BTreeMap::new();
        for sample in samples.all("rdp_probes_total", &[]) {
            *counts.entry(sample.labels["target"].clone()).or_default() += sample.value;
        }
        counts
    };
    exporter.scrape_until("a probe of each", |samples| counts(samples).len() == TARGETS);
    let before = counts(&exporter.scrape());
    exporter.signal("-STOP");
    std::thread::sleep(INTERVAL * 2);
    let woken = Instant::now();
    exporter.signal("-CONT");
    exporter.scrape_until("two more probes of each", |samples| {
        counts(samples).iter().all(|(target, count)| *count >= before[target] + 2.0)
    });
    let took = woken.elapsed();
    assert!(took < INTERVAL * 5, "nobody waits for longer than the rhythm says: {took:?}");
    // What was due within those sixteen seconds comes spread over some, 50 a second at most and what the rhythm brings:
    // all of them at once would be 200 in the first tenth of a second.
    let seen = seen.lock().unwrap();
    let first_half: usize = seen.iter().filter(|at| (woken..woken + Duration::from_millis(500)).contains(*at)).count();
    assert!(first_half < TARGETS / 2, "{first_half} connections in the first half second");
    exporter.assert_no_panic();
}
