//! HTTPS, as curl and openssl see it.

use std::fs;
use std::process::Stdio;

use serde_json::json;

use super::{Site, ask, recipe};
use crate::harness::openssl::{Certificate, Key, Recipe};
use crate::harness::process::{Server, command, directory, lossy, require};

#[test]
fn https_is_spoken_in_both_versions_of_http() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let site = Site::new();
    for (http, flag, version) in [
        (json!({}), "--http2", "2"),
        (json!({}), "--http1.1", "1.1"),
        (json!({ "http2": true }), "--http2", "2"),
        (json!({ "http2": false }), "--http2", "1.1"),
    ] {
        let exporter = site.serve(json!({ "tls_server_config": {}, "http_server_config": http }));
        for (path, status) in [("/-/healthy", 200), ("/metrics", 200), ("/probe", 400), ("/nowhere", 404)] {
            let answer = site.ask(&exporter, path, &[flag, "--compressed"]);
            assert_eq!((answer.status, answer.version.as_str()), (status, version), "{http} {path}: {answer:?}");
        }
        assert!(site.ask(&exporter, "/metrics", &[flag, "--compressed"]).body.contains("\nrdp_exporter_targets 0\n"));
        assert_eq!(ask(&exporter, "/metrics", &[]).status, 0, "plain HTTP");
    }
}

#[test]
fn versions_suites_and_groups_are_as_configured() {
    if !require(&["openssl"]) {
        return;
    }
    let site = Site::new();
    let suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    for (tls, arguments, expected) in [
        (json!({}), ["-tls1_3", ""], Some("Protocol version: TLSv1.3")),
        (json!({}), ["-tls1_2", ""], Some("Protocol version: TLSv1.2")),
        (json!({}), ["-tls1_1", "-cipher=ALL:@SECLEVEL=0"], None),
        (json!({ "min_version": "TLS13" }), ["-tls1_3", ""], Some("Protocol version: TLSv1.3")),
        (json!({ "min_version": "TLS13" }), ["-tls1_2", ""], None),
        (json!({ "max_version": "TLS12" }), ["", ""], Some("Protocol version: TLSv1.2")),
        (json!({ "max_version": "TLS12" }), ["-tls1_3", ""], None),
        (json!({ "cipher_suites": [suite] }), ["-tls1_2", ""], Some("Ciphersuite: ECDHE-ECDSA-CHACHA20-POLY1305")),
        (json!({ "cipher_suites": [suite] }), ["-tls1_2", "-cipher=ECDHE-ECDSA-AES128-GCM-SHA256"], None),
        (json!({ "cipher_suites": [suite] }), ["-tls1_3", ""], Some("Protocol version: TLSv1.3")),
        (json!({ "curve_preferences": ["CurveP384"] }), ["", ""], Some("Server Temp Key: ECDH, secp384r1, 384 bits")),
        (json!({ "curve_preferences": ["CurveP384"] }), ["-groups=X25519", ""], None),
    ] {
        let exporter = site.serve(json!({ "tls_server_config": tls }));
        let said = s_client(&exporter, &arguments);
        match expected {
            Some(expected) => assert!(said.contains(expected), "{tls} {arguments:?}: {said}"),
            None => assert!(!said.contains("CONNECTION ESTABLISHED"), "{tls} {arguments:?}: {said}"),
        }
    }
}

/// Each way to treat client certificates, and who gets in.
#[test]
fn client_certificates_are_asked_for_as_configured() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let site = Site::new();
    let known = site.client("known", "DNS:prometheus.example");
    let stranger = site.workshop.self_signed(&recipe("stranger", "DNS:prometheus.example", "clientAuth"));
    let usage = recipe("expired", "DNS:prometheus.example", "clientAuth");
    let expired = site.workshop.issued(&Recipe { valid_until: -1.0, ..usage.clone() }, &site.authority);
    let early = site.workshop.issued(&Recipe { valid_from: 1.0, ..usage }, &site.authority);
    let server = site.workshop.issued(&recipe("server", "DNS:prometheus.example", "serverAuth"), &site.authority);
    // None, one of the authority, a stranger's, an expired one, one of tomorrow, one of a server.
    for (kind, with_ca, welcome) in [
        ("NoClientCert", false, [true, true, true, true, true, true]),
        ("RequestClientCert", false, [true, true, true, true, true, true]),
        ("RequireAnyClientCert", false, [false, true, true, true, true, true]),
        ("RequireClientCert", true, [false, true, true, true, true, true]),
        ("VerifyClientCertIfGiven", true, [true, true, false, false, false, false]),
        ("RequireAndVerifyClientCert", true, [false, true, false, false, false, false]),
    ] {
        let mut tls = json!({ "client_auth_type": kind });
        if with_ca {
            tls["client_ca_file"] = json!("ca.pem");
        }
        for version in ["TLS12", "TLS13"] {
            tls["max_version"] = json!(version);
            let exporter = site.serve(json!({ "tls_server_config": tls }));
            let mut statuses = vec![site.ask(&exporter, "/-/healthy", &[]).status];
            let clients = [&known, &stranger, &expired, &early, &server];
            statuses.extend(clients.map(|client| site.ask_as(&exporter, client).status));
            assert_eq!(statuses, welcome.map(|is_welcome| if is_welcome { 200 } else { 0 }), "{kind} {version}");
        }
    }
}

/// `client_ca_file` may be the client's own certificate, an authority or not, as long as that is valid.
#[test]
fn a_client_may_be_known_by_its_own_certificate() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let site = Site::new();
    let authority = "basicConstraints=critical,CA:true";
    let other = site.workshop.self_signed(&Recipe::named("other", &[authority]));
    for (extensions, valid_until, status) in [
        (&[authority][..], 10.0, 200),
        (&["basicConstraints=CA:false"], 10.0, 200),
        (&[authority, "extendedKeyUsage=clientAuth"], 10.0, 200),
        (&[authority, "extendedKeyUsage=serverAuth"], 10.0, 0),
        (&[authority], -1.0, 0),
    ] {
        let client = site.workshop.self_signed(&Recipe { valid_until, ..Recipe::named("client", extensions) });
        fs::copy(&client.certificate, site.path("ca.pem")).unwrap();
        let tls = json!({ "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem" });
        let exporter = site.serve(json!({ "tls_server_config": tls }));
        assert_eq!(site.ask_as(&exporter, &client).status, status, "{extensions:?}");
        assert_eq!(site.ask_as(&exporter, &other).status, 0, "{extensions:?}");
    }
}

#[test]
fn a_client_must_have_one_of_the_allowed_names() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let site = Site::new();
    let allowed =
        ["prometheus.example", "ops@monitor.example", "192.0.2.7", "2001:db8::7", "spiffe://monitor/prometheus"];
    let tls = json!({
        "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem", "client_allowed_sans": allowed,
    });
    let exporter = site.serve(json!({ "tls_server_config": tls }));
    for (sans, status) in [
        ("DNS:prometheus.example", 200),
        ("DNS:other.example,DNS:prometheus.example", 200),
        ("email:ops@monitor.example", 200),
        ("IP:192.0.2.7", 200),
        ("IP:2001:db8::7", 200),
        ("URI:spiffe://monitor/prometheus", 200),
        ("DNS:other.example", 0),
        ("DNS:prometheus.example.evil.example", 0),
        ("DNS:*.example", 0),
        ("IP:192.0.2.8", 0),
        ("URI:spiffe://monitor/other", 0),
    ] {
        let answer = site.ask_as(&exporter, &site.client("prometheus.example", sans));
        assert_eq!(answer.status, status, "{sans}: {answer:?}");
    }
    let nameless = Recipe::named("prometheus.example", &["extendedKeyUsage=clientAuth"]);
    assert_eq!(site.ask_as(&exporter, &site.workshop.issued(&nameless, &site.authority)).status, 0, "no names at all");
    let stranger = site.workshop.self_signed(&recipe("stranger", "DNS:prometheus.example", "clientAuth"));
    assert_eq!(site.ask_as(&exporter, &stranger).status, 0, "the right name, given by the wrong authority");
}

#[test]
fn a_certificate_is_shown_anew_on_every_connection() {
    if !require(&["openssl"]) {
        return;
    }
    let site = Site::new();
    let exporter = site.serve(json!({ "tls_server_config": {} }));
    for version in ["-tls1_2", "-tls1_3"] {
        let said = s_client_with(&exporter, &["-reconnect", version]);
        assert!(!said.contains("\nReused,"), "{version}: {said}");
        assert!(said.matches("\nNew, ").count() >= 2, "{version}: {said}");
    }
}

#[test]
fn keys_of_every_kind_are_served() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let site = Site::new();
    for key in [Key::Rsa(2048), Key::Rsa(4096), Key::Curve("P-256"), Key::Curve("P-384"), Key::Ed25519] {
        let recipe = Recipe { key, ..recipe("exporter", "DNS:localhost", "serverAuth") };
        site.install(&site.workshop.issued(&recipe, &site.authority));
        let exporter = site.serve(json!({ "tls_server_config": {} }));
        assert_eq!(site.ask(&exporter, "/-/healthy", &[]).status, 200, "{}", recipe.subject);
    }
}

fn s_client(exporter: &Server, arguments: &[&str]) -> String {
    // An argument with its value is written as one word here.
    let words: Vec<&str> =
        arguments.iter().flat_map(|word| word.splitn(2, '=')).filter(|word| !word.is_empty()).collect();
    s_client_with(exporter, &[&["-brief"], words.as_slice()].concat())
}

fn s_client_with(exporter: &Server, arguments: &[&str]) -> String {
    let mut openssl = command("openssl");
    openssl.args(["s_client", "-connect", &format!("127.0.0.1:{}", exporter.port)]).args(arguments);
    let output = openssl.stdin(Stdio::null()).output().unwrap();
    lossy(&output.stdout) + &lossy(&output.stderr)
}

/// The fingerprint of the certificate that is served, by openssl; none where there is no handshake.
pub(super) fn served_fingerprint(exporter: &Server) -> Option<String> {
    let said = s_client_with(exporter, &["-showcerts"]);
    let begin = said.find("-----BEGIN CERTIFICATE-----")?;
    let end = said.find("-----END CERTIFICATE-----")? + "-----END CERTIFICATE-----\n".len();
    let folder = directory();
    let file = folder.path().join("served.pem");
    fs::write(&file, &said[begin..end]).unwrap();
    Some(Certificate { certificate: file.clone(), key: file }.facts().sha256)
}
