//! Web configurations, judged by `promtool check web-config` and by the exporter.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::{Site, bcrypt};
use crate::harness::exporter::{binary, serve_web};
use crate::harness::openssl::{Key, Recipe};
use crate::harness::process::{command, lossy, require, wait_until};

/// Who accepts a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Both,
    /// And what the exporter says, in part.
    Neither(&'static str),
    /// The exporter refuses what it could not honour, or what would protect nothing; the words it says that in.
    PromtoolOnly(&'static str),
    /// Keys that are newer than Debian's promtool, which calls them unknown.
    ExporterOnly,
    /// Newer than promtool, and wrong.
    NeitherAsNewer(&'static str),
}
use By::{Both, ExporterOnly, Neither, NeitherAsNewer, PromtoolOnly};

/// What follows the certificate and key of a good `tls_server_config`.
const TLS: [(&str, By); 38] = [
    ("", Both),
    ("client_auth_type: NoClientCert", Both),
    ("client_auth_type: ''", Both),
    ("client_auth_type: RequestClientCert", Both),
    ("client_auth_type: RequireAnyClientCert", Both),
    ("client_auth_type: RequireClientCert", Both),
    ("client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem", Both),
    ("client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem", Both),
    ("client_auth_type: RequireAnyClientCert, client_ca_file: ca.pem", Both),
    ("client_auth_type: Always", Neither("client_auth_type: must be one of NoClientCert")),
    ("client_ca_file: ca.pem", Neither("client_auth_type: must be set beside client_ca_file")),
    ("client_auth_type: RequireAndVerifyClientCert, client_ca_file: none.pem", Neither("none.pem cannot be read")),
    ("client_auth_type: RequireAndVerifyClientCert", PromtoolOnly("must have client_ca_file")),
    ("client_auth_type: VerifyClientCertIfGiven", PromtoolOnly("must have client_ca_file")),
    (
        "client_auth_type: RequireAndVerifyClientCert, client_ca_file: server.key",
        PromtoolOnly("has no PEM certificate"),
    ),
    ("min_version: TLS12", Both),
    ("min_version: TLS13, max_version: TLS13", Both),
    ("max_version: TLS12", Both),
    ("min_version:", Both),
    ("min_version: '1.2'", Neither("min_version: must be one of TLS12, TLS13, not \"1.2\"")),
    ("min_version: 1.2", Neither("min_version: must be one of TLS12, TLS13")),
    ("min_version: TLS10", PromtoolOnly("rustls has no TLS below 1.2")),
    ("max_version: TLS11", PromtoolOnly("rustls has no TLS below 1.2")),
    ("min_version: TLS13, max_version: TLS12", PromtoolOnly("no client could connect")),
    ("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]", Both),
    ("cipher_suites: [TLS_AES_128_GCM_SHA256]", Both),
    ("cipher_suites: []", Both),
    ("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]", PromtoolOnly("rustls has no CBC")),
    ("cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]", PromtoolOnly("cipher_suites[0]: must be one of")),
    ("cipher_suites: [ECDHE-RSA-AES128-GCM-SHA256]", Neither("cipher_suites[0]: must be one of")),
    ("prefer_server_cipher_suites: false", Both),
    ("prefer_server_cipher_suites: maybe", Neither("prefer_server_cipher_suites: must be true or false")),
    ("curve_preferences: [CurveP256, CurveP384, X25519]", Both),
    (
        "curve_preferences: [CurveP521]",
        PromtoolOnly("curve_preferences[0]: must be one of CurveP256, CurveP384, X25519"),
    ),
    ("curve_preferences: [P256]", Neither("curve_preferences[0]: must be one of CurveP256")),
    ("client_auth_type: RequireAnyClientCert, client_allowed_sans: [a.example]", ExporterOnly),
    ("client_allowed_sans: [a.example]", NeitherAsNewer("a client without a certificate would get in")),
    ("certificate: server.pem", Neither("unknown key")),
];

/// Whole files.
const FILES: [(&str, By); 47] = [
    ("", Both),
    ("# nothing\n", Both),
    ("{}", Both),
    ("tls_server_config:\n", Both),
    ("tls_server_config: {}", Both),
    ("tls_server_config: { cert_file: '', key_file: '' }", Both),
    ("tls_server_config: { min_version: TLS13 }", Both),
    ("tls_server_config: { cert_file: server.pem }", Neither("tls_server_config: must have key_file or key")),
    ("tls_server_config: { key_file: server.key }", Neither("tls_server_config: must have cert_file or cert")),
    ("tls_server_config: { client_auth_type: RequireAnyClientCert }", Neither("must have cert_file or cert")),
    ("tls_server_config: { cert_file: none.pem, key_file: server.key }", Neither("none.pem cannot be read")),
    ("tls_server_config: { cert_file: server.pem, key_file: none.key }", Neither("none.key cannot be read")),
    ("tls_server_config: { cert_file: server.pem, key_file: other.key }", Neither("cannot be served with its key")),
    ("tls_server_config: { cert_file: server.key, key_file: server.key }", Neither("has no PEM certificate")),
    ("tls_server_config: { cert_file: server.pem, key_file: server.pem }", Neither("has no private key")),
    ("tls_server_config: { cert_file: chain.pem, key_file: server.key }", Both),
    ("tls_server_config: { cert_file: rsa.pem, key_file: rsa.key }", Both),
    ("tls_server_config: { cert_file: ed25519.pem, key_file: ed25519.key }", Both),
    ("tls_server_config: { cert_file: weak.pem, key_file: weak.key }", PromtoolOnly("weak.pem cannot be served")),
    ("tls_server_config: { cert_file: p521.pem, key_file: p521.key }", PromtoolOnly("p521.pem cannot be served")),
    ("tls_server_config: { cert_file: v1.pem, key_file: v1.key }", PromtoolOnly("v1.pem cannot be served")),
    ("tls_server_config: { cert: INLINE_CERT, key: INLINE_KEY }", ExporterOnly),
    ("tls_server_config: { cert: nonsense, key: INLINE_KEY }", NeitherAsNewer("tls_server_config.cert: has no PEM")),
    (
        "tls_server_config: { cert: INLINE_CERT, cert_file: server.pem, key_file: server.key }",
        NeitherAsNewer("must not stand beside"),
    ),
    ("http_server_config: { http2: false }", Both),
    ("http_server_config: { http2: often }", Neither("http_server_config.http2: must be true or false")),
    ("http_server_config: { headers: { Strict-Transport-Security: max-age=31536000 } }", Both),
    ("http_server_config: { headers: { X-Frame-Options: deny, X-Content-Type-Options: nosniff } }", Both),
    ("http_server_config: { headers: { X-Frame-Options: sameorigin, X-XSS-Protection: 0 } }", Both),
    ("http_server_config: { headers: { Content-Security-Policy: \"default-src 'self'\" } }", Both),
    ("http_server_config: { headers: { X-Frame-Options: allow } }", Neither("must be deny or sameorigin")),
    ("http_server_config: { headers: { X-Content-Type-Options: '' } }", Neither("must be nosniff")),
    (
        "http_server_config: { headers: { Server: none } }",
        Neither("http_server_config.headers.Server: this header cannot be set"),
    ),
    ("http_server_config: { headers: { x-frame-options: deny } }", Neither("this header cannot be set")),
    (
        "http_server_config: { headers: { Content-Security-Policy: \"a\\nb\" } }",
        PromtoolOnly("one line of printable ASCII"),
    ),
    ("http_server_config: { http3: true }", Neither("http_server_config.http3: unknown key, did you mean http2?")),
    ("basic_auth_users:\n", Both),
    ("basic_auth_users: { alice: HASH, bob: HASH }", Both),
    ("basic_auth_users: { alice: secret }", Neither("basic_auth_users.alice: must be a bcrypt hash")),
    ("basic_auth_users: { alice: '' }", Neither("basic_auth_users.alice: must be a bcrypt hash")),
    (
        "basic_auth_users: { alice: '$2y$03$abcdefghijklmnopqrstuuqflPDzB6gcMhKa1rZqKiun2YGL5sa2u' }",
        Neither("a cost from 4"),
    ),
    (
        "basic_auth_users: { alice: '$2y$31$abcdefghijklmnopqrstuuqflPDzB6gcMhKa1rZqKiun2YGL5sa2u' }",
        PromtoolOnly("a cost from 4 to 17"),
    ),
    ("basic_auth_users: [alice]", Neither("basic_auth_users: must be a map of names")),
    ("basic_auth_user: {}", Neither("basic_auth_user: unknown key, did you mean basic_auth_users?")),
    ("basic_auth_users: {}\nbasic_auth_users: {}", Neither("basic_auth_users: is set twice")),
    ("rate_limit: { interval: 1s, burst: 20 }", ExporterOnly),
    ("rate_limit: { interval: 1s }", NeitherAsNewer("rate_limit.burst: must be at least 1")),
];

#[test]
fn promtool_and_the_exporter_agree_but_for_what_is_documented() {
    if !require(&["openssl", "perl", "promtool"]) {
        return;
    }
    let site = Site::new();
    furnish(&site);
    let whole = |tls: &str| format!("tls_server_config: {{ cert_file: server.pem, key_file: server.key, {tls} }}");
    let tls = TLS.into_iter().map(|(tls, by)| (whole(tls), by));
    let quoted = |path: &Path| serde_json::to_string(&fs::read_to_string(path).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for (text, by) in tls.chain(FILES.into_iter().map(|(text, by)| (text.to_owned(), by))) {
        let filled = text
            .replace("HASH", &format!("'{}'", bcrypt("secret", 4)))
            .replace("INLINE_CERT", &quoted(&site.path("server.pem")))
            .replace("INLINE_KEY", &quoted(&site.path("server.key")));
        fs::write(site.path("web.yml"), &filled).unwrap();
        let (by_promtool, promtool) = check(command("promtool").args(["check", "web-config"]), &site);
        let (by_exporter, exporter) = check(binary().args(["check-config", "--web"]), &site);
        let (expected, reason) = match by {
            Both => ((true, true), ""),
            Neither(reason) => ((false, false), reason),
            PromtoolOnly(reason) => ((true, false), reason),
            ExporterOnly => ((false, true), ""),
            NeitherAsNewer(reason) => ((false, false), reason),
        };
        let is_newer = matches!(by, ExporterOnly | NeitherAsNewer(_));
        let is_right = (by_promtool, by_exporter) == expected
            && exporter.contains(reason)
            && (!is_newer || promtool.contains("not found in type"))
            && (by_exporter || exporter.contains("web.yml"))
            && !exporter.contains("PRIVATE KEY");
        if !is_right {
            wrong.push(format!("{text}\n  expected {by:?}\n  promtool: {promtool}\n  exporter: {exporter}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_bad_web_configuration_at_the_start_is_exit_code_1() {
    if !require(&["openssl"]) {
        return;
    }
    let site = Site::new();
    fs::write(site.path("web.yml"), "tls_server_config:\n  cert_file: server.pem\n  kex_file: server.key\n").unwrap();
    let output = binary().args([&site.flag(), "--web.listen-address=127.0.0.1:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = lossy(&output.stderr);
    assert!(said.contains("web.yml:3:3: tls_server_config.kex_file: unknown key, did you mean key_file?"), "{said}");
}

/// In the log and by `check-config` alike, each where it holds a secret and lies open.
#[test]
fn secrets_that_every_user_may_read_are_warned_of() {
    if !require(&["openssl", "perl"]) {
        return;
    }
    let site = Site::new();
    let users = json!({ "alice": bcrypt("secret", 4) });
    let with_users = json!({ "tls_server_config": {}, "basic_auth_users": users });
    for (config, of_file, of_key, expected) in [
        (json!({}), 0o644, 0o644, &[][..]),
        (json!({ "tls_server_config": {} }), 0o644, 0o600, &[]),
        (json!({ "tls_server_config": {} }), 0o644, 0o644, &["server.key"]),
        (with_users.clone(), 0o640, 0o640, &[]),
        (with_users, 0o644, 0o604, &["web.yml", "server.key"]),
        (json!({ "basic_auth_users": users }), 0o644, 0o644, &["web.yml"]),
    ] {
        site.write(config);
        for (name, mode) in [("web.yml", of_file), ("server.key", of_key)] {
            fs::set_permissions(site.path(name), Permissions::from_mode(mode)).unwrap();
        }
        let (is_valid, checked) = check(binary().args(["check-config", "--web"]), &site);
        let exporter = serve_web(&[&site.flag()]);
        // Said after the warnings.
        let logged = wait_until("Listening", Duration::from_secs(10), || {
            Some(exporter.log()).filter(|log| log.contains("Listening"))
        });
        let warning = |name| format!("{} holds a secret and is readable by every user", site.path(name).display());
        for said in [checked, logged] {
            assert_eq!(said.matches("holds a secret").count(), expected.len(), "{said}");
            assert!(is_valid && expected.iter().all(|name| said.contains(&warning(name))), "{said}");
            assert!(!said.contains("$2b$"), "{said}");
        }
    }
}

/// Lays out what the files name.
fn furnish(site: &Site) {
    let install = |name: &str, recipe: &Recipe| {
        let made = site.workshop.self_signed(recipe);
        fs::copy(made.certificate, site.path(&format!("{name}.pem"))).unwrap();
        fs::copy(made.key, site.path(&format!("{name}.key"))).unwrap();
    };
    let of = |key: Key| Recipe { key, ..Recipe::default() };
    install("other", &of(Key::Curve("P-256")));
    install("rsa", &of(Key::Rsa(2048)));
    install("weak", &of(Key::Rsa(1024)));
    install("p521", &of(Key::Curve("P-521")));
    install("ed25519", &of(Key::Ed25519));
    install("v1", &Recipe { extensions: Vec::new(), ..of(Key::Curve("P-256")) });
    fs::copy(site.server.with_chain(&[&site.authority]).certificate, site.path("chain.pem")).unwrap();
}

fn check(command: &mut Command, site: &Site) -> (bool, String) {
    let output = command.arg(site.path("web.yml")).stdin(Stdio::null()).output().unwrap();
    (output.status.success(), lossy(&output.stdout) + &lossy(&output.stderr))
}
