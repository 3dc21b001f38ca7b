//! A network that loses packets now and then.

use serde_json::json;

use crate::harness::openssl::{Recipe, Workshop};
use crate::namespace::{HOST, Network, RDP};
use crate::probing::{Serving, tls_server};

#[test]
fn lost_packets_become_network_unstable() {
    let Some(network) = Network::new(&["openssl"]) else { return };
    let workshop = Workshop::new();
    let _server = tls_server((HOST, RDP).into(), &workshop.self_signed(&Recipe::default()));
    network.router.filter("forward", &["meta l4proto tcp numgen random mod 100 < 30 drop"]);
    let settings = json!({ "interval": "1500ms", "timeout": "1400ms", "survey_interval": "0s" });
    let serving = Serving::start(&network, &settings);
    let samples = serving
        .scrape_until("network_unstable", |samples| samples.finding("network_unstable").as_deref() == Some("warning"));
    let probes: f64 = samples.all("rdp_probes_total", &[]).map(|sample| sample.value).sum();
    assert!(probes >= 3.0, "three probes at least had to send again: {probes}");
    serving.scrape_until("retransmits", |samples| {
        samples.get("rdp_tcp_retransmits", &[]).is_some_and(|count| count > 0.0)
    });
}

/// Two probes that were lost between healthy ones, and a host that was off for as many.
#[test]
fn lost_connections_become_network_unstable_but_a_host_that_was_off_does_not() {
    let Some(network) = Network::new(&["openssl"]) else { return };
    let workshop = Workshop::new();
    let _server = tls_server((HOST, RDP).into(), &workshop.self_signed(&Recipe::default()));
    for (probes, unstable) in [("healthy lost lost healthy", false), ("healthy lost healthy lost healthy", true)] {
        let settings = json!({ "interval": "1h", "connect_timeout": "600ms", "companion_ports": [] });
        let serving = Serving::start(&network, &settings);
        let mut last = None;
        for way in probes.split(' ') {
            let (rule, verdict) =
                if way == "lost" { ("tcp dport 3389 drop", "connect_timeout") } else { ("", "healthy") };
            network.router.filter("forward", &[rule]);
            let samples = serving.probe();
            assert_eq!(samples.label("rdp_verdict", "verdict"), verdict, "{probes}");
            last = samples.finding("network_unstable");
        }
        assert_eq!(last.as_deref(), unstable.then_some("warning"), "{probes}");
    }
}
