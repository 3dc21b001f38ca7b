//! Whether a chain is trusted and whether the name fits: one row per way it can be.

use serde_json::{Value, json};

use crate::harness::exporter::{Probe, Report, one_target};
use crate::harness::openssl::{Certificate, Recipe, Workshop};
use crate::harness::peer::{CONFIRM_SSL, Peer};
use crate::harness::process::require;
use crate::harness::servers::start_s_server;

/// Probes a server with this certificate and chain, with the roots in `trusted`.
fn probe(presented: &Certificate, target: &Value, trusted: &[&Certificate]) -> Report {
    let server = start_s_server(presented);
    let front = Peer::relay(&CONFIRM_SSL, server.port);
    let files: Vec<_> = trusted.iter().map(|root| root.certificate.clone()).collect();
    Probe::of(front.port).config(one_target(front.port, target.clone(), &files)).run()
}

#[test]
fn trust_depends_on_chain_usage_and_roots() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let root = workshop.self_signed(&Recipe::authority("root.example"));
    let stranger = workshop.self_signed(&Recipe::authority("stranger.example"));
    let intermediate = workshop.issued(&Recipe::authority("intermediate.example"), &root);
    let issue = |extension: &str| workshop.issued(&Recipe::named("host.example", &[SAN, extension]), &intermediate);
    let chained = |leaf: &Certificate| leaf.with_chain(&[&intermediate]);
    let plain = issue("extendedKeyUsage=serverAuth");
    let own = workshop.self_signed(&Recipe::named("host.example", &[SAN]));
    let expired = Recipe { valid_until: -3.0, ..Recipe::named("host.example", &[SAN]) };
    let expired = workshop.issued(&expired, &intermediate);
    for (case, presented, roots, trusted) in [
        ("whole chain", chained(&plain), vec![&root], Some(1.0)),
        ("intermediate missing", plain.clone(), vec![&root], Some(0.0)),
        ("another root", chained(&plain), vec![&stranger], Some(0.0)),
        ("no usage", chained(&issue("")), vec![&root], Some(1.0)),
        (
            "only Remote Desktop usage",
            chained(&issue("extendedKeyUsage=1.3.6.1.4.1.311.54.1.2")),
            vec![&root],
            Some(1.0),
        ),
        ("only client usage", chained(&issue("extendedKeyUsage=clientAuth")), vec![&root], Some(0.0)),
        ("leaf pinned", plain.clone(), vec![&plain], Some(1.0)),
        ("self-signed", own.clone(), vec![&root], Some(0.0)),
        ("self-signed and pinned", own.clone(), vec![&own], Some(1.0)),
        ("expired", chained(&expired), vec![&root], Some(1.0)),
        ("no roots", chained(&plain), vec![], None),
    ] {
        let report = probe(&presented, &json!({}), &roots);
        let samples = report.assert_healthy("ssl");
        assert_eq!(samples.get("rdp_certificate_trusted", &[]), trusted, "{case}");
        assert_eq!(samples.finding("certificate_untrusted"), None, "{case}: nobody expects trust here");
        let severity = (case == "expired").then_some("critical");
        assert_eq!(samples.finding("certificate_expired").as_deref(), severity, "{case}");
    }
}

#[test]
fn trust_is_a_finding_where_expected() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let root = workshop.self_signed(&Recipe::authority("root.example"));
    let stranger = workshop.self_signed(&Recipe::authority("stranger.example"));
    let issued = workshop.issued(&Recipe::named("host.example", &[SAN]), &root);
    let own = workshop.self_signed(&Recipe::named("host.example", &[SAN]));
    let target = json!({ "expect": { "certificate": "trusted" } });
    for (presented, trusted, untrusted, self_signed) in [
        (&issued, &root, None, None),
        (&issued, &stranger, Some("warning"), None),
        (&own, &stranger, None, Some("warning")),
    ] {
        let report = probe(presented, &target, &[trusted]);
        let samples = report.assert_healthy("ssl");
        assert_eq!(samples.finding("certificate_untrusted").as_deref(), untrusted);
        assert_eq!(samples.finding("certificate_self_signed").as_deref(), self_signed);
    }
}

#[test]
fn names_match_as_clients_see_it() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let dns = |names: &str| format!("subjectAltName={names}");
    for (case, common_name, names, server_name, expected) in [
        ("alternative name", "host.example", "DNS:host.example", Some("host.example"), Some(1.0)),
        ("letter case", "x", "DNS:HOST.Example", Some("host.example"), Some(1.0)),
        ("second alternative name", "x", "DNS:a.example,DNS:host.example", Some("host.example"), Some(1.0)),
        ("wildcard", "x", "DNS:*.example.org", Some("host.example.org"), Some(1.0)),
        ("wildcard one label deep only", "x", "DNS:*.example.org", Some("a.host.example.org"), Some(0.0)),
        ("common name alone", "host.example", "", Some("host.example"), Some(1.0)),
        ("another common name alone", "other.example", "", Some("host.example"), Some(0.0)),
        (
            "alternative name beside another common name",
            "o.example",
            "DNS:host.example",
            Some("host.example"),
            Some(1.0),
        ),
        (
            "common name beside another alternative name",
            "host.example",
            "DNS:o.example",
            Some("host.example"),
            Some(0.0),
        ),
        ("address", "x", "IP:127.0.0.1", Some("127.0.0.1"), Some(1.0)),
        ("another address", "x", "IP:127.0.0.2", Some("127.0.0.1"), Some(0.0)),
        ("address instead of name", "x", "IP:127.0.0.1", Some("host.example"), Some(0.0)),
        ("no name to check", "host.example", "DNS:host.example", None, None),
    ] {
        let extension = if names.is_empty() { "basicConstraints=CA:false".to_owned() } else { dns(names) };
        let certificate = workshop.self_signed(&Recipe::named(common_name, &[&extension]));
        let target = server_name.map_or_else(|| json!({}), |name| json!({ "server_name": name }));
        let report = probe(&certificate, &target, &[]);
        let samples = report.assert_healthy("ssl");
        assert_eq!(samples.get("rdp_certificate_name_match", &[]), expected, "{case}");
        let severity = (expected == Some(0.0)).then_some("info");
        assert_eq!(samples.finding("certificate_name_mismatch").as_deref(), severity, "{case}");
    }
}

const SAN: &str = "subjectAltName=DNS:host.example";
