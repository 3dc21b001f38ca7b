//! Certificates that TLS libraries stumble over, and a key that does not fit.

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::harness::exporter::{Probe, Report};
use crate::harness::openssl::{Certificate, Key, Recipe, Workshop};
use crate::harness::peer::{CONFIRM_HYBRID, CONFIRM_SSL, Peer, answer};
use crate::harness::process::require;
use crate::harness::servers::start_s_server;
use crate::harness::tls::{self, server_config};

/// Probes openssl's server behind a confirm that selects TLS.
fn probe(certificate: &Certificate) -> Report {
    let server = start_s_server(certificate);
    let front = Peer::relay(&CONFIRM_SSL, server.port);
    Probe::of(front.port).run()
}

/// The facts openssl reads are told, the target is up, and nobody claims that the key was not proven.
#[track_caller]
fn assert_read(report: &Report, certificate: &Certificate) {
    let samples = report.assert_healthy("ssl");
    let facts = certificate.facts();
    assert_eq!(samples.value("rdp_certificate_not_after_timestamp_seconds"), facts.not_after);
    assert_eq!(samples.value("rdp_certificate_not_before_timestamp_seconds"), facts.not_before);
    let label = |name| samples.label("rdp_certificate_info", name);
    assert_eq!(label("sha256"), facts.sha256);
    assert_eq!(label("serial"), facts.serial);
    assert_eq!(label("subject"), facts.subject);
    assert_eq!(label("key"), facts.key);
    assert!(label("signature").eq_ignore_ascii_case(&facts.signature), "{} {}", label("signature"), facts.signature);
    assert_ne!(samples.get("rdp_certificate_key_proven", &[]), Some(0.0));
    assert_eq!(samples.finding("certificate_unverified_key"), None);
}

#[test]
fn certificate_with_p521_key() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe { key: Key::Curve("P-521"), ..Recipe::default() });
    assert_read(&probe(&certificate), &certificate);
}

#[test]
fn certificate_with_ed25519_key() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe { key: Key::Ed25519, digest: "default", ..Recipe::default() });
    assert_read(&probe(&certificate), &certificate);
}

#[test]
fn certificate_of_version_1() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe { extensions: Vec::new(), ..Recipe::default() });
    assert_read(&probe(&certificate), &certificate);
}

#[test]
fn certificate_signed_with_sha1() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let authority = workshop.self_signed(&Recipe::authority("issuer.example"));
    let certificate = workshop.issued(&Recipe { digest: "sha1", ..Recipe::default() }, &authority);
    let report = probe(&certificate);
    assert_read(&report, &certificate);
    assert_eq!(report.samples.finding("certificate_weak_signature").as_deref(), Some("warning"));
}

#[test]
fn certificate_behind_hybrid() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let server = start_s_server(&certificate);
    let front = Peer::relay(&CONFIRM_HYBRID, server.port);
    let report = Probe::of(front.port).run();
    let samples = report.assert_healthy("hybrid");
    assert_eq!(samples.label("rdp_certificate_info", "sha256"), certificate.facts().sha256);
    for flag in ["extended_client_data", "dynvc_gfx", "restricted_admin", "remote_credential_guard"] {
        assert_eq!(samples.get("rdp_negotiation_flag", &[("flag", flag)]), Some(1.0), "{flag}: flags are 1f");
    }
}

#[test]
fn key_that_does_not_fit_is_told() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    for key in [Key::Rsa(2048), Key::Curve("P-256")] {
        let recipe = Recipe { key, ..Recipe::default() };
        let (certificate, other) = (workshop.self_signed(&recipe), workshop.self_signed(&recipe));
        for version in [&TLS12, &TLS13] {
            let fitting = probe_own(&certificate, &certificate, version);
            let samples = fitting.assert_healthy("ssl");
            assert_eq!(samples.value("rdp_certificate_key_proven"), 1.0, "{version:?}");
            assert_eq!(samples.finding("certificate_unverified_key"), None);
            let foreign = probe_own(&certificate, &other, version);
            let samples = foreign.assert_healthy("ssl");
            assert_eq!(samples.label("rdp_certificate_info", "sha256"), certificate.facts().sha256);
            assert_eq!(samples.value("rdp_certificate_key_proven"), 0.0, "{version:?}");
            assert_eq!(samples.finding("certificate_unverified_key").as_deref(), Some("critical"));
        }
    }
}

/// Probes our own TLS server, which signs with any key it is given.
fn probe_own(certificate: &Certificate, key_of: &Certificate, version: &'static SupportedProtocolVersion) -> Report {
    let config = server_config(certificate, key_of, version);
    let peer = Peer::start(move |mut client| {
        answer(&mut client, &CONFIRM_SSL)?;
        tls::serve(client, Arc::clone(&config));
        Ok(())
    });
    Probe::of(peer.port).run()
}
