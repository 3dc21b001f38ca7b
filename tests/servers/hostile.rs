//! Strangers' bytes and odd configurations: nothing of them drives a terminal, forges a line or breaks a format.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, DnValue, IsCa, Issuer, KeyPair, SanType, string::Ia5String};
use rustls::version::TLS13;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::exporter::{Probe, address, check_config, one_target, probe_endpoint, scrape, serve, serve_with};
use crate::harness::http;
use crate::harness::openssl::Certificate;
use crate::harness::peer::{CONFIRM_SSL, Peer, answer};
use crate::harness::process::{Server, directory, promtool_check_metrics, require, wait_until};
use crate::harness::samples::Samples;
use crate::harness::servers::start_prometheus;
use crate::harness::tls::{self, server_config};

/// A leaf and its issuer, each with names of the worst kind.
fn hostile_certificate(directory: &TempDir) -> Certificate {
    let mut authority = params();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params().signed_by(&key, &Issuer::from_params(&authority, &authority_key)).unwrap();
    let file = |name: &str| directory.path().join(name);
    let made = Certificate { certificate: file("hostile.pem"), key: file("hostile.key") };
    fs::write(&made.certificate, leaf.pem()).unwrap();
    fs::write(&made.key, key.serialize_pem()).unwrap();
    made
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = |kind, text: String| params.distinguished_name.push(kind, DnValue::Utf8String(text));
    name(DnType::CommonName, HOSTILE.to_owned());
    name(DnType::OrganizationName, format!("{}{HOSTILE}", "x".repeat(2048)));
    let ascii: String = HOSTILE.chars().filter(char::is_ascii).collect();
    params.subject_alt_names = vec![SanType::DnsName(Ia5String::try_from(ascii).unwrap())];
    params
}

/// A server with that certificate, and a target with that name and those labels.
struct Estate {
    peer: Peer,
    certificate: Certificate,
    _directory: TempDir,
}

impl Estate {
    fn new() -> Self {
        let directory = directory();
        let certificate = hostile_certificate(&directory);
        let config = server_config(&certificate, &certificate, &TLS13);
        let peer = Peer::start(move |mut client| {
            answer(&mut client, &CONFIRM_SSL)?;
            tls::serve(client, Arc::clone(&config));
            Ok(())
        });
        Self { peer, certificate, _directory: directory }
    }

    fn config(&self) -> Value {
        let target = json!({ "name": HOSTILE, "labels": { "site": HOSTILE, "long": "y".repeat(1000) } });
        let mut config = one_target(self.peer.port, target, &[]);
        config["probe"] = json!({ "interval": "2s", "timeout": "1900ms", "survey_interval": "0s" });
        config
    }
}

/// Prometheus takes a NUL for the end of the text: it alone is replaced.
fn exposed() -> String {
    HOSTILE.replace('\0', "\u{fffd}")
}

/// Starts the exporter and waits until it has seen the certificate.
fn served(estate: &Estate, flags: &[&str]) -> (Server, String) {
    let exporter = serve_with(&estate.config(), flags);
    let text = wait_until("certificate on /metrics", Duration::from_secs(30), || {
        Some(scrape(&exporter)).filter(|text| text.contains("\nrdp_certificate_info{"))
    });
    (exporter, text)
}

/// No control character but the line feed, and nothing that turns text around.
#[track_caller]
fn assert_plain(text: &str, what: &str) {
    let bad = text.chars().find(|character| {
        let turns = matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || character.is_control() && *character != '\n'
    });
    assert_eq!(bad, None, "{what}: {text:?}");
}

#[test]
fn hostile_strings_leave_metrics_readable() {
    if !require(&["openssl", "promtool"]) {
        return;
    }
    let estate = Estate::new();
    let (exporter, text) = served(&estate, &[]);
    let encoded: String = form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    for samples in [Samples::parse(&text), probe_endpoint(&exporter, &format!("target={encoded}"))] {
        assert_eq!(samples.label("rdp_verdict", "verdict"), "healthy");
        assert_eq!(samples.label("rdp_up", "target"), exposed());
        assert_eq!(samples.label("rdp_up", "site"), exposed());
        assert_eq!(samples.label("rdp_certificate_info", "sha256"), estate.certificate.facts().sha256);
        for name in ["subject", "issuer", "san"] {
            let value = samples.label("rdp_certificate_info", name);
            assert!(!value.is_empty() && value.len() <= 256, "{name} of {} bytes", value.len());
        }
    }
    let said = promtool_check_metrics(&text);
    let objections = said.lines().filter(|line| !line.trim().is_empty() && !line.contains("days_to_expiry"));
    assert_eq!(objections.count(), 0, "{said}");
}

#[test]
fn hostile_strings_are_scraped_by_prometheus() {
    if !require(&["openssl", "prometheus"]) {
        return;
    }
    let estate = Estate::new();
    let (exporter, _) = served(&estate, &[]);
    let prometheus = start_prometheus(&address(exporter.port));
    wait_until("certificate in Prometheus", Duration::from_secs(30), || {
        let (_, body) = http::get(prometheus.port, "/api/v1/query?query=rdp_certificate_info").ok()?;
        let answer: Value = serde_json::from_str(&body).ok()?;
        let found = answer["data"]["result"][0]["metric"]["target"].as_str().map(str::to_owned);
        found.inspect(|target| assert_eq!(*target, exposed()))
    });
}

#[test]
fn hostile_strings_leave_the_configuration_valid() {
    if !require(&["openssl"]) {
        return;
    }
    let estate = Estate::new();
    let exporter = serve(&estate.config());
    let (status, yaml) = http::get(exporter.port, "/config").unwrap();
    assert_eq!(status, 200, "{yaml}");
    let (accepted, said) = check_config(&yaml);
    assert!(accepted, "{said}\n{yaml}");
    let read: Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(read["targets"][0]["name"], HOSTILE, "{yaml}");
    assert_eq!(read["targets"][0]["labels"]["site"], HOSTILE, "{yaml}");
}

#[test]
fn hostile_strings_leave_the_command_harmless() {
    if !require(&["openssl"]) {
        return;
    }
    let estate = Estate::new();
    // An argument cannot hold a NUL.
    let name = HOSTILE.replace('\0', "");
    let mut config = estate.config();
    config["targets"][0]["name"] = json!(name);
    let run = |output: &str| Probe::with(&[&name, "--no-survey", output]).config(config.clone()).answer();
    let text = run("--output=text");
    assert_eq!(text.exit, 0, "{text:?}");
    assert_plain(&text.output, "text");
    assert_plain(&text.log, "log of text");
    assert!(text.output.contains("\\u{1b}"), "escaped, not dropped: {}", text.output);
    let json = run("--output=json");
    assert_eq!(json.exit, 0, "{json:?}");
    assert_plain(&json.output, "JSON");
    let value: Value = serde_json::from_str(&json.output).unwrap();
    assert_eq!(value[0]["target"], name);
    assert_eq!(value[0]["labels"]["site"], HOSTILE);
    assert_eq!(value[0]["certificate"]["sha256"], estate.certificate.facts().sha256);
    let metrics = run("--output=metrics");
    assert_eq!(Samples::parse(&metrics.output).label("rdp_up", "target"), name);
    // What is no target is told back harmlessly too.
    let wrong = Probe::with(&[&format!("{name}:x"), "--no-survey"]).answer();
    assert_eq!(wrong.exit, 2, "{wrong:?}");
    assert_plain(&wrong.log, "the refusal of a target");
}

#[test]
fn hostile_strings_leave_the_log_harmless() {
    if !require(&["openssl"]) {
        return;
    }
    let estate = Estate::new();
    for format in ["logfmt", "json"] {
        let (exporter, _) = served(&estate, &["--log.level=debug", &format!("--log.format={format}")]);
        let encoded: String = form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
        probe_endpoint(&exporter, &format!("target={encoded}"));
        let (status, debug) = http::get(exporter.port, &format!("/probe?debug=true&target={encoded}")).unwrap();
        assert_eq!(status, 200, "{debug}");
        let about = debug.split("# HELP").next().unwrap();
        assert_plain(about, "/probe?debug=true");
        let (status, refusal) = http::get(exporter.port, "/probe?target=a%1b%5b31m%0d%0ab%e2%80%ae").unwrap();
        assert!((400..500).contains(&status), "{status}: {refusal}");
        assert_plain(&refusal, "the refusal of a target");
        let log = exporter.log();
        assert!(log.contains("healthy"), "the probe is in the log: {log}");
        assert!(log.contains("u{1b}"), "the name is in the log, escaped: {log}");
        assert_plain(&log, format);
        if format == "json" {
            log.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).unwrap()));
        }
    }
}

/// ESC sequences, line ends, NUL, DEL, C1 and bidi marks, and what formats quote with.
const HOSTILE: &str = "a\u{1b}[31m\u{1b}]0;t\u{7}b\n# c 1\r\nd\u{0}e\u{7f}f\u{9b}g\u{202e}h\u{2066}i\u{2028}j\u{feff}k\"l\\m'n{o}=\t,#:&<p>%";
