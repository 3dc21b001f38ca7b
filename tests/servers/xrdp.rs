//! xrdp: every layer it has, and its certificates.

use std::time::SystemTime;

use serde_json::json;

use crate::harness::exporter::{Probe, Report, address, one_target};
use crate::harness::openssl::{Certificate, Key, Recipe, Workshop};
use crate::harness::process::{Server, require};
use crate::harness::samples::Samples;
use crate::harness::servers::Xrdp;

fn installed() -> bool {
    require(&["xrdp", "openssl"])
}

fn probe(xrdp: &Xrdp) -> Report {
    let server = xrdp.start();
    Probe::of(server.port).run()
}

/// Every certificate fact equals what openssl reads in the file.
#[track_caller]
fn assert_certificate(samples: &Samples, certificate: &Certificate) {
    let facts = certificate.facts();
    assert_eq!(samples.value("rdp_certificate_not_after_timestamp_seconds"), facts.not_after);
    assert_eq!(samples.value("rdp_certificate_not_before_timestamp_seconds"), facts.not_before);
    assert_eq!(samples.value("rdp_certificate_self_signed"), f64::from(u8::from(facts.is_self_signed())));
    let label = |name| samples.label("rdp_certificate_info", name);
    assert_eq!(label("sha256"), facts.sha256);
    assert_eq!(label("serial"), facts.serial);
    assert_eq!(label("subject"), facts.subject);
    assert_eq!(label("issuer"), facts.issuer);
    assert_eq!(label("key"), facts.key);
    assert_eq!(label("signature"), facts.signature);
    let now = now();
    let left = (facts.not_after - now) / 86_400.0;
    let days = samples.value("rdp_certificate_days_to_expiry");
    assert!((days - left).abs() < 0.001, "{days} days to expiry, {left} by openssl's date");
    let observed = samples.value("rdp_certificate_observed_timestamp_seconds");
    assert!((now - observed).abs() < 30.0, "observed {} s ago", now - observed);
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn xrdp_tls_tells_every_fact() {
    if !installed() {
        return;
    }
    let workshop = Workshop::new();
    let subject = "/C=DE/O=Example\\, Inc. \"Süd\"/OU=a+b/CN=host.example";
    let subject = subject.replace('+', "\\+").replace("\\,", ",");
    let certificate = workshop.self_signed(&Recipe { subject, ..Recipe::default() });
    let server = Xrdp::tls(&certificate).start();
    let report = Probe::of(server.port).run();
    let samples = report.assert_healthy("ssl");
    assert_certificate(samples, &certificate);
    assert!(samples.label("rdp_certificate_info", "san").contains("host.example"));
    assert_eq!(samples.value("rdp_certificate_key_proven"), 1.0);
    assert_eq!(samples.label("rdp_tls_info", "version"), "TLS 1.3");
    assert!(samples.label("rdp_tls_info", "cipher").starts_with("TLS_"));
    assert_eq!(samples.label("rdp_address_info", "address").split(':').next(), Some("127.0.0.1"));
    assert_eq!(samples.get("rdp_negotiation_failure_code", &[]), None);
    assert_eq!(samples.get("rdp_certificate_name_match", &[]), None, "an address has no name to check");
    assert_eq!(samples.findings().len(), 0, "{:?}", samples.findings());
    for stage in ["connect", "negotiate", "tls"] {
        let took = samples.get("rdp_stage_duration_seconds", &[("stage", stage)]);
        assert!(took.is_some_and(|seconds| seconds > 0.0 && seconds < 5.0), "{stage}: {took:?}");
    }
    assert_eq!(samples.label("probe_tls_version_info", "version"), "TLS 1.3");
    assert_eq!(samples.value("probe_ssl_earliest_cert_expiry"), certificate.facts().not_after);
    assert!(samples.value("probe_duration_seconds") > 0.0);
    let target = address(server.port);
    for sample in samples.0.iter().filter(|sample| sample.name.starts_with("rdp_") && !is_own(&sample.name)) {
        assert_eq!(sample.labels.get("target"), Some(&target), "{sample:?}");
    }
}

fn is_own(name: &str) -> bool {
    name.starts_with("rdp_exporter_")
}

#[test]
fn xrdp_rdp_layer_has_no_tls() {
    if !installed() {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let report = probe(&Xrdp { security_layer: "rdp", ..Xrdp::tls(&certificate) });
    let samples = report.assert_healthy("rdp");
    assert_eq!(samples.finding("standard_security_only").as_deref(), Some("critical"));
    for prefix in ["rdp_tls_info", "rdp_certificate_", "probe_tls_", "probe_ssl_"] {
        assert!(!samples.has_family(prefix), "{prefix} without TLS: {:#?}", samples.0);
    }
    assert_eq!(samples.get("rdp_stage_duration_seconds", &[("stage", "tls")]), None);
}

#[test]
fn xrdp_negotiate_selects_tls() {
    if !installed() {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let report = probe(&Xrdp { security_layer: "negotiate", ..Xrdp::tls(&certificate) });
    let samples = report.assert_healthy("ssl");
    assert_eq!(samples.finding("standard_security_only"), None);
    assert_certificate(samples, &certificate);
}

#[test]
fn xrdp_without_certificate_is_no_certificate() {
    if !installed() {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let missing = certificate.key.with_extension("missing");
    let report = probe(&Xrdp { certificate: missing.clone(), key: missing, ..Xrdp::tls(&certificate) });
    let samples = report.assert_verdict("no_certificate");
    assert_eq!(samples.value("rdp_negotiation_failure_code"), 3.0);
    assert_eq!(samples.value("rdp_reachable"), 1.0);
    assert!(!samples.has_family("rdp_certificate_"));
    assert!(!samples.has_family("rdp_security_layer"));
}

#[test]
fn xrdp_dates_become_findings() {
    if !installed() {
        return;
    }
    let workshop = Workshop::new();
    let authority = workshop.self_signed(&Recipe::authority("issuer.example"));
    let renewing = json!({});
    let manual = json!({ "expect": { "self_signed_renews": false } });
    for (from, until, self_signed, target, expected) in [
        (-100.0, -3.0, true, &renewing, Some(("certificate_expired", "critical"))),
        (-100.0, -1.0, true, &renewing, Some(("certificate_expired", "info"))),
        (-100.0, -1.0, true, &manual, Some(("certificate_expired", "critical"))),
        (-100.0, -1.0, false, &renewing, Some(("certificate_expired", "critical"))),
        (-100.0, 3.0, false, &renewing, Some(("certificate_expiring", "warning"))),
        (-100.0, 3.0, true, &renewing, None),
        (-100.0, 3.0, true, &manual, Some(("certificate_expiring", "warning"))),
        (-100.0, 15.0, false, &renewing, None),
        (2.0, 100.0, true, &renewing, Some(("certificate_not_yet_valid", "warning"))),
    ] {
        let case = format!("{from} to {until}, self-signed {self_signed}, {target}");
        let recipe = Recipe { valid_from: from, valid_until: until, ..Recipe::named("host.example", &[SAN]) };
        let certificate =
            if self_signed { workshop.self_signed(&recipe) } else { workshop.issued(&recipe, &authority) };
        let server = Xrdp::tls(&certificate).start();
        let report = Probe::of(server.port).config(one_target(server.port, target.clone(), &[])).run();
        let samples = report.assert_healthy("ssl");
        assert_certificate(samples, &certificate);
        let dates = ["certificate_expired", "certificate_expiring", "certificate_not_yet_valid"];
        let findings = samples.findings();
        let found: Vec<_> = findings.iter().filter(|(name, _)| dates.contains(&name.as_str())).collect();
        let found: Vec<_> = found.iter().map(|(name, severity)| (name.as_str(), severity.as_str())).collect();
        assert_eq!(found, expected.as_slice(), "{case}");
    }
}

#[test]
fn xrdp_keys() {
    if !installed() {
        return;
    }
    let workshop = Workshop::new();
    let start = |recipe: &Recipe, weak| {
        let certificate = workshop.self_signed(recipe);
        let server: Server = Xrdp { weak, ..Xrdp::tls(&certificate) }.start();
        (Probe::of(server.port).run(), certificate)
    };
    let (report, certificate) = start(&Recipe { key: Key::Rsa(1024), ..Recipe::default() }, true);
    let samples = report.assert_healthy("ssl");
    assert_certificate(samples, &certificate);
    assert_eq!(samples.finding("certificate_weak_key").as_deref(), Some("warning"));
    assert_ne!(samples.get("rdp_certificate_key_proven", &[]), Some(0.0));

    let (report, certificate) = start(&Recipe { key: Key::Curve("P-256"), ..Recipe::default() }, false);
    let samples = report.assert_healthy("ssl");
    assert_certificate(samples, &certificate);
    assert_eq!(samples.finding("certificate_weak_key"), None);
    assert_eq!(samples.value("rdp_certificate_key_proven"), 1.0);

    // What Windows makes for itself: no alternative name, and a key usage without digitalSignature.
    let usage = ["keyUsage=keyEncipherment,dataEncipherment", "extendedKeyUsage=serverAuth"];
    let windows = Recipe { key: Key::Rsa(2048), ..Recipe::named("WIN-HOST", &usage) };
    let (report, certificate) = start(&windows, false);
    let samples = report.assert_healthy("ssl");
    assert_certificate(samples, &certificate);
    assert_eq!(samples.value("rdp_certificate_key_proven"), 1.0);
    assert_eq!(samples.findings().len(), 0, "{:?}", samples.findings());
}

#[test]
fn xrdp_chain_is_trusted_and_its_earliest_end_told() {
    if !installed() {
        return;
    }
    let workshop = Workshop::new();
    let root = workshop.self_signed(&Recipe { valid_until: 300.0, ..Recipe::authority("root.example") });
    let intermediate = Recipe { valid_until: 50.0, ..Recipe::authority("intermediate.example") };
    let intermediate = workshop.issued(&intermediate, &root);
    let leaf = workshop.issued(&Recipe::default(), &intermediate);
    let server = Xrdp::tls(&leaf.with_chain(&[&intermediate])).start();
    let config = one_target(server.port, json!({}), &[root.certificate]);
    let report = Probe::of(server.port).config(config).run();
    let samples = report.assert_healthy("ssl");
    assert_certificate(samples, &leaf);
    let earliest = intermediate.facts().not_after;
    assert_eq!(samples.value("rdp_certificate_trusted"), 1.0);
    assert_eq!(samples.value("rdp_certificate_chain_not_after_timestamp_seconds"), earliest);
    assert_eq!(samples.value("probe_ssl_earliest_cert_expiry"), earliest);
}

#[test]
fn xrdp_tls_versions() {
    if !installed() {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let only = |ssl_protocols, tls_ciphers| {
        let report = probe(&Xrdp { ssl_protocols, tls_ciphers, ..Xrdp::tls(&certificate) });
        let samples = report.assert_healthy("ssl");
        assert_certificate(samples, &certificate);
        assert_eq!(samples.finding("tls_legacy"), None);
        (samples.label("rdp_tls_info", "version"), samples.label("rdp_tls_info", "cipher"))
    };
    let (version, cipher) = only("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256");
    assert_eq!((version.as_str(), cipher.as_str()), ("TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
    let (version, cipher) = only("TLSv1.3", "");
    assert_eq!(version, "TLS 1.3");
    assert!(cipher.starts_with("TLS_") && !cipher.contains("_WITH_"), "{cipher}");
}

const SAN: &str = "subjectAltName=DNS:host.example";
