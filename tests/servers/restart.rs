//! What a reload and a kill leave as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::discovery::{reload, serve_folder};
use crate::harness::exporter::{scrape, scrape_until};
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::peer::{CONFIRM_SSL, Peer};
use crate::harness::process::{directory, free_port, require, wait_until};
use crate::harness::samples::Samples;
use crate::harness::servers::start_s_server;

/// With an hour between probes each connection beyond the first is one that a reload made.
#[test]
fn other_roots_expectations_and_labels_cost_neither_a_count_nor_a_probe() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let [right, wrong] = ["right.example", "wrong.example"].map(|name| workshop.self_signed(&Recipe::authority(name)));
    let certificate = workshop.issued(&Recipe::default(), &right);
    let server = start_s_server(&certificate);
    let front = Peer::relay(&CONFIRM_SSL, server.port);
    let folder = directory();
    let config = |root: &Path, expect: &Value, site: &str| {
        let config = json!({
            "probe": { "interval": "1h", "survey_interval": "0s", "challenge_interval": "0s" },
            "trust": { "system_roots": false, "ca_files": [root] },
            "targets": [{
                "address": format!("127.0.0.1:{}", front.port), "name": "t", "labels": { "site": site }, "expect": expect,
            }],
        });
        fs::write(folder.path().join("config.yaml"), config.to_string()).unwrap();
    };
    let (any, long) = (json!({}), json!({ "certificate_days": 250 }));
    config(&right.certificate, &any, "berlin");
    let exporter = serve_folder(folder.path(), &[], &[]);
    let before = scrape_until(&exporter, "the probe", |samples| samples.get("rdp_up", &[]) == Some(1.0));
    assert_eq!(before.value("rdp_certificate_trusted"), 1.0);
    for (root, expect, site, trusted, finding) in [
        (&right, &any, "oslo", Some(1.0), None),
        (&right, &long, "oslo", Some(1.0), Some("warning")),
        // Whether the others vouch for it nobody knows before the next probe.
        (&wrong, &long, "oslo", None, Some("warning")),
        (&wrong, &any, "berlin", None, None),
    ] {
        config(&root.certificate, expect, site);
        assert_eq!(reload(&exporter).0, 200);
        let after = Samples::parse(&scrape(&exporter));
        let of = |name| after.get(name, &[("target", "t"), ("site", site)]);
        for name in ["rdp_probes_total", "rdp_handshake_duration_seconds_count", "rdp_up"] {
            assert_eq!(of(name), Some(1.0), "{name}");
        }
        for name in ["rdp_last_probe_timestamp_seconds", "rdp_certificate_observed_timestamp_seconds"] {
            assert_eq!(of(name), before.get(name, &[]), "{name}");
        }
        assert_eq!(of("rdp_certificate_trusted"), trusted);
        assert_eq!(after.finding("certificate_expiring").as_deref(), finding);
    }
    assert_eq!(front.accepted(), 1);
}

/// Saved once a minute: what is older than that is there after a kill, whatever was under way.
#[test]
fn facts_older_than_a_minute_outlive_a_kill() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let server = start_s_server(&certificate);
    let front = Peer::relay(&CONFIRM_SSL, server.port);
    let (folder, nobody) = (directory(), free_port());
    let load: Vec<_> = (1..=200).map(|number| format!("127.0.7.{number}:{nobody}")).collect();
    let config = json!({
        "exporter": { "state_file": "state" },
        "probe": { "interval": "2s", "timeout": "1s", "survey_interval": "0s", "challenge_interval": "0s" },
        "targets": [{ "address": format!("127.0.0.1:{}", front.port), "name": "t" }, { "addresses": load }],
    });
    fs::write(folder.path().join("config.yaml"), config.to_string()).unwrap();
    let exporter = serve_folder(folder.path(), &[], &[]);
    let before = scrape_until(&exporter, "probes of all", |samples| counts(samples).len() == 201);
    let state = folder.path().join("state");
    assert!(!state.exists(), "it is not written at the start");
    wait_until("the state file", Duration::from_secs(120), || state.exists().then_some(()));
    // Dropped, it is killed; and so is the server.
    drop((exporter, front, server));
    let exporter = serve_folder(folder.path(), &[], &[]);
    let after = Samples::parse(&scrape(&exporter));
    assert_eq!(after.value("rdp_certificate_not_after_timestamp_seconds"), certificate.facts().not_after);
    let (before, after) = (counts(&before), counts(&after));
    assert_eq!(after.len(), 201);
    for (target, count) in before {
        assert!(after[&target] >= count, "{target}: {count} before, {} after", after[&target]);
    }
}

/// Probes of each target, whatever came of them.
fn counts(samples: &Samples) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for sample in samples.all("rdp_probes_total", &[]) {
        *counts.entry(sample.labels["target"].clone()).or_default() += sample.value;
    }
    counts
}
