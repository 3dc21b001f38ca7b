//! The network as the probe's own socket saw it.

use crate::harness::exporter::Probe;
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::require;
use crate::harness::servers::Xrdp;

#[test]
fn network_of_loopback() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    for security_layer in ["tls", "rdp"] {
        let server = Xrdp { security_layer, ..Xrdp::tls(&certificate) }.start();
        let report = Probe::of(server.port).run();
        let samples = report.assert_verdict("healthy");
        let seconds = samples.value("rdp_tcp_rtt_seconds");
        assert!(seconds > 0.0 && seconds < 1.0, "{security_layer}: {seconds} s");
        assert_eq!(samples.value("rdp_tcp_retransmits"), 0.0, "{security_layer}");
        assert_eq!(samples.finding("network_unstable"), None);
    }
}
