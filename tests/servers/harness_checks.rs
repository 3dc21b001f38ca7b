//! What the servers themselves do, without the exporter: where one of these fails, no other failure means much.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rustls::version::{TLS12, TLS13};

use crate::harness::openssl::{Certificate, Key, Recipe, Workshop};
use crate::harness::peer::{CONFIRM_HYBRID, CONFIRM_SSL, Peer, REQUEST, answer, ask, confirm, request};
use crate::harness::process::{Server, command, require, run, wait_until};
use crate::harness::servers::{Shadow, Xrdp, s_client, start_prometheus, start_s_server, start_weston};
use crate::harness::tls::{self, Ending, server_config};

/// Kind, and selected protocol or failure code, of a confirm.
fn choice(confirm: &[u8]) -> (u8, u8) {
    assert_eq!(confirm.len(), 19, "{confirm:02x?}");
    assert_eq!(confirm[5], 0xd0, "{confirm:02x?}");
    (confirm[11], confirm[15])
}

#[test]
fn xrdp_answers_as_configured() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let start = |security_layer, key| Xrdp { security_layer, key, ..Xrdp::tls(&certificate) }.start();
    let (good, bad) = (certificate.key.clone(), certificate.key.with_extension("missing"));
    for (layer, key, all_asked, rdp_asked) in [
        ("tls", &good, (2, 1), (3, 1)),
        ("tls", &bad, (3, 3), (3, 3)),
        ("rdp", &good, (2, 0), (2, 0)),
        ("negotiate", &good, (2, 1), (2, 0)),
    ] {
        let server = start(layer, key.clone());
        assert_eq!(choice(&ask(server.port, &REQUEST)), all_asked, "{layer}");
        assert_eq!(choice(&ask(server.port, &request(0))), rdp_asked, "{layer}, RDP only");
    }
}

#[test]
fn xrdp_presents_its_certificate() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let authority = workshop.self_signed(&Recipe::authority("root"));
    let issued = workshop.issued(&Recipe::default(), &authority).with_chain(&[&authority]);
    let weak = workshop.self_signed(&Recipe { key: Key::Rsa(1024), ..Recipe::default() });
    let xrdp = Xrdp { ssl_protocols: "TLSv1.2", ..Xrdp::tls(&issued) };
    let report = seen_in(&xrdp.start());
    assert!(report.contains("TLSv1.2") && !report.contains("TLSv1.3"), "{report}");
    assert!(report.contains(" 1 s:CN = root"), "{report}");
    let xrdp = Xrdp { ssl_protocols: "TLSv1.3", weak: true, ..Xrdp::tls(&weak) };
    let report = seen_in(&xrdp.start());
    assert!(report.contains("TLSv1.3") && report.contains("1024 bit"), "{report}");
}

#[test]
fn shadow_and_weston_answer_as_configured() {
    if !require(&["freerdp-shadow-cli", "Xvfb", "weston", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    for (security, expected) in [("nla", (2, 2)), ("tls", (2, 1)), ("rdp", (3, 2))] {
        let shadow = Shadow::start(security, &certificate);
        assert_eq!(choice(&ask(shadow.server.port, &REQUEST)), expected, "{security}");
    }
    let weston = start_weston(&certificate);
    assert_eq!(choice(&ask(weston.port, &REQUEST)), (2, 1), "weston");
}

#[test]
fn front_relays_to_s_server() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    for key in [Key::Curve("P-521"), Key::Ed25519] {
        let server = start_s_server(&workshop.self_signed(&Recipe { key, digest: "default", ..Recipe::default() }));
        let front = Peer::relay(&CONFIRM_HYBRID, server.port);
        assert_eq!(ask(front.port, &REQUEST), confirm(2, 2));
        let report = s_client(Peer::tls_of(front.port).port);
        assert!(report.contains("s:CN = host.example"), "{report}");
    }
}

#[test]
fn own_tls_server_notes_how_a_client_leaves() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    for version in [&TLS12, &TLS13] {
        let config = server_config(&certificate, &certificate, version);
        let endings = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&endings);
        let peer = Peer::start(move |mut client| {
            answer(&mut client, &CONFIRM_SSL)?;
            list.lock().unwrap().push(tls::serve(client, Arc::clone(&config)));
            Ok(())
        });
        s_client(Peer::tls_of(peer.port).port);
        assert_eq!(peer.accepted(), 1);
        let seen = wait_until("ending", Duration::from_secs(10), || endings.lock().unwrap().first().cloned());
        assert_eq!(seen, [Ending::CloseNotify, Ending::Eof]);
    }
}

#[test]
fn own_tls_server_signs_with_a_foreign_key() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let (certificate, other) = (workshop.self_signed(&Recipe::default()), workshop.self_signed(&Recipe::default()));
    for version in [&TLS12, &TLS13] {
        for (key_of, completed) in [(&certificate, true), (&other, false)] {
            let config = server_config(&certificate, key_of, version);
            let peer = Peer::start(move |client| {
                tls::serve(client, Arc::clone(&config));
                Ok(())
            });
            let report = s_client(peer.port);
            assert_eq!(report.contains("bad signature"), !completed, "{version:?}: {report}");
            assert!(report.contains("s:CN = host.example"), "{report}");
        }
    }
}

#[test]
fn recipes_make_what_they_say() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let text = |certificate: &Certificate| {
        run(command("openssl").args(["x509", "-noout", "-text", "-in"]).arg(&certificate.certificate))
    };
    let version_1 = workshop.self_signed(&Recipe { extensions: Vec::new(), ..Recipe::default() });
    assert!(text(&version_1).contains("Version: 1 (0x0)"), "{}", text(&version_1));
    let authority = workshop.self_signed(&Recipe::authority("root.example"));
    let sha1 = workshop.issued(&Recipe { digest: "sha1", ..Recipe::default() }, &authority);
    assert_eq!(sha1.facts().signature, "ecdsa-with-SHA1");
    assert!(!sha1.facts().is_self_signed() && authority.facts().is_self_signed());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let expired = workshop.self_signed(&Recipe { valid_until: -3.0, ..Recipe::default() }).facts();
    assert!((expired.not_after - (now - 3.0 * 86_400.0)).abs() < 30.0, "{expired:?}");
    assert!((expired.not_before - (now - 100.0 * 86_400.0)).abs() < 30.0, "{expired:?}");
    let remote_desktop = Recipe::named("x", &["extendedKeyUsage=1.3.6.1.4.1.311.54.1.2"]);
    assert!(text(&workshop.issued(&remote_desktop, &authority)).contains("1.3.6.1.4.1.311.54.1.2"));
    for (key, expected) in [(Key::Curve("P-521"), "EC P-521"), (Key::Ed25519, "Ed25519"), (Key::Rsa(1024), "RSA 1024")]
    {
        let made = workshop.self_signed(&Recipe { key, digest: "default", ..Recipe::default() });
        assert_eq!(made.facts().key, expected);
    }
}

#[test]
fn prometheus_starts() {
    if require(&["prometheus", "promtool"]) {
        start_prometheus("127.0.0.1:1");
    }
}

/// What openssl's client reports about the TLS of an RDP server.
fn seen_in(server: &Server) -> String {
    s_client(Peer::tls_of(server.port).port)
}
