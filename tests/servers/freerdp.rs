//! The servers built on FreeRDP: its own shadow server, and weston.

use crate::harness::exporter::{Probe, Report};
use crate::harness::openssl::{Certificate, Recipe, Workshop};
use crate::harness::process::require;
use crate::harness::samples::Samples;
use crate::harness::servers::{Shadow, start_weston};

fn shadow(security: &str) -> Option<(Report, Certificate, Workshop)> {
    if !require(&["freerdp-shadow-cli", "Xvfb", "openssl"]) {
        return None;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let shadow = Shadow::start(security, &certificate);
    Some((Probe::of(shadow.server.port).run(), certificate, workshop))
}

#[track_caller]
fn assert_presents(samples: &Samples, certificate: &Certificate) {
    let facts = certificate.facts();
    assert_eq!(samples.label("rdp_certificate_info", "sha256"), facts.sha256);
    assert_eq!(samples.value("rdp_certificate_not_after_timestamp_seconds"), facts.not_after);
    assert_eq!(samples.value("rdp_certificate_key_proven"), 1.0);
}

#[test]
fn shadow_nla_is_hybrid() {
    let Some((report, certificate, _workshop)) = shadow("nla") else { return };
    let samples = report.assert_healthy("hybrid");
    assert_presents(samples, &certificate);
    assert_eq!(samples.finding("standard_security_only"), None);
}

#[test]
fn shadow_tls_is_ssl() {
    let Some((report, certificate, _workshop)) = shadow("tls") else { return };
    let samples = report.assert_healthy("ssl");
    assert_presents(samples, &certificate);
    assert_eq!(samples.value("rdp_nla_required"), 0.0, "the ordinary offer was answered with ssl");
}

/// It refuses the ordinary offer with code 2 and takes Standard RDP Security on a second connection.
#[test]
fn shadow_rdp_is_found_by_asking_again() {
    let Some((report, _certificate, _workshop)) = shadow("rdp") else { return };
    let samples = report.assert_healthy("rdp");
    assert_eq!(samples.value("rdp_negotiation_failure_code"), 2.0);
    assert_eq!(samples.finding("standard_security_only").as_deref(), Some("critical"));
    assert!(!samples.has_family("rdp_certificate_"));
    assert!(!samples.has_family("rdp_tls_info"));
}

#[test]
fn weston_is_ssl() {
    if !require(&["weston", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let server = start_weston(&certificate);
    let report = Probe::of(server.port).run();
    assert_presents(report.assert_healthy("ssl"), &certificate);
}
