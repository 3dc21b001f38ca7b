//! The exit codes and the outputs of `rdp_exporter probe`.

use serde_json::{Value, json};

use crate::harness::exporter::{Probe, address, one_target};
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::peer::{CONFIRM_SSL, Peer};
use crate::harness::process::{free_port, require};
use crate::harness::servers::{Xrdp, start_s_server};

#[test]
fn command_exit_codes() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let good_server = start_s_server(&workshop.self_signed(&Recipe::default()));
    let expired = Recipe { valid_until: -3.0, ..Recipe::default() };
    let expired_server = start_s_server(&workshop.self_signed(&expired));
    let fronts = [&good_server, &expired_server].map(|server| Peer::relay(&CONFIRM_SSL, server.port));
    let (good, expired) = (fronts[0].port, fronts[1].port);
    let closed = free_port();
    let exit = |ports: &[u16], flags: &[&str]| {
        let targets = ports.iter().map(|port| address(*port));
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        let arguments: Vec<String> = targets.chain(flags).chain(["--no-survey".to_owned()]).collect();
        let answer = Probe::with(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).answer();
        (answer.exit, format!("{answer:?}"))
    };
    for (case, ports, flags, expected) in [
        ("healthy", vec![good], vec![], 0),
        ("two healthy", vec![good, expired], vec![], 0),
        ("healthy, strict", vec![good], vec!["--strict"], 0),
        ("refused", vec![closed], vec![], 1),
        ("one of two refused", vec![good, closed], vec![], 1),
        ("refused, strict", vec![closed, expired], vec!["--strict"], 1),
        ("findings", vec![expired], vec![], 0),
        ("findings, strict", vec![expired], vec!["--strict"], 3),
        ("no target", vec![], vec![], 2),
        ("unknown module", vec![good], vec!["--module=nowhere"], 2),
        ("unknown output", vec![good], vec!["--output=poem"], 2),
        ("configuration missing", vec![good], vec!["--config.file=/nonexistent/config.yaml"], 2),
        ("port out of range", vec![], vec!["127.0.0.1:70000"], 2),
        ("bracket open", vec![], vec!["[::1"], 2),
    ] {
        let (code, answer) = exit(&ports, &flags);
        assert_eq!(code, expected, "{case}: {answer}");
    }
}

#[test]
fn command_refuses_a_bad_configuration() {
    let config = json!({ "targets": [{ "address": "127.0.0.1", "intervall": "5m" }] });
    let answer = Probe::of(free_port()).config(config).answer();
    assert_eq!(answer.exit, 2, "{answer:?}");
    assert!(answer.log.contains("intervall"), "{answer:?}");
    assert_eq!(answer.output, "");
}

#[test]
fn command_outputs() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe { valid_until: -3.0, ..Recipe::default() });
    let server = Xrdp::tls(&certificate).start();
    let text = Probe::of(server.port).answer();
    assert_eq!(text.exit, 0, "{text:?}");
    for word in ["healthy", "certificate_expired", "TLS 1.3"] {
        assert!(text.output.contains(word), "no {word} in {}", text.output);
    }
    let json = Probe::of(server.port).argument("--output=json").answer();
    let value: Value = serde_json::from_str(&json.output).expect("JSON on stdout and nothing else");
    assert!(value.is_array() || value.is_object());
    assert!(json.output.contains(&certificate.facts().sha256), "{}", json.output);
}

#[test]
fn command_refused_connection() {
    let report = Probe::of(free_port()).run();
    let samples = report.assert_verdict("connect_refused");
    assert_eq!(samples.value("rdp_reachable"), 0.0);
    assert!(!samples.has_family("rdp_security_layer"));
    assert!(!samples.has_family("rdp_certificate_"));
}

/// The labels of a configured target, and a finding accepted there.
#[test]
fn command_uses_the_configured_target() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe { valid_until: -3.0, ..Recipe::default() });
    let server = Xrdp::tls(&certificate).start();
    let target = json!({ "labels": { "site": "oslo" }, "expect": { "accept": ["certificate_expired"] } });
    let report = Probe::of(server.port).config(one_target(server.port, target, &[])).run();
    let samples = report.assert_healthy("ssl");
    assert_eq!(samples.get("rdp_up", &[("site", "oslo")]), Some(1.0));
    assert_eq!(samples.finding("certificate_expired"), None);
    assert_eq!(samples.value("rdp_findings_accepted"), 1.0);
}
