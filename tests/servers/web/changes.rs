//! Files that change while the exporter runs.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::tls::served_fingerprint;
use super::{Site, ask, bcrypt, recipe};
use crate::harness::openssl::Certificate;
use crate::harness::process::{Server, require, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

/// Asks until the certificate is served.
fn wait_for_certificate(exporter: &Server, certificate: &Certificate) {
    let expected = certificate.facts().sha256;
    wait_until("new certificate", LIMIT, || served_fingerprint(exporter).filter(|served| *served == expected));
}

#[test]
fn a_renewed_certificate_is_served_without_a_restart() {
    if !require(&["curl", "openssl"]) {
        return;
    }
    let site = Site::new();
    let renewed = || site.workshop.issued(&recipe("exporter", "DNS:localhost", "serverAuth"), &site.authority);
    let exporter = site.serve(json!({ "tls_server_config": {} }));
    wait_for_certificate(&exporter, &site.server);

    // As cp does, in place, one file after the other.
    let second = renewed();
    fs::write(site.path("server.pem"), fs::read(&second.certificate).unwrap()).unwrap();
    assert_eq!(site.ask(&exporter, "/-/healthy", &[]).status, 200, "between the two files");
    fs::write(site.path("server.key"), fs::read(&second.key).unwrap()).unwrap();
    wait_for_certificate(&exporter, &second);

    // As careful programs do, by another file of that name.
    let third = renewed();
    fs::copy(&third.key, site.path("new.key")).unwrap();
    fs::copy(&third.certificate, site.path("new.pem")).unwrap();
    fs::rename(site.path("new.key"), site.path("server.key")).unwrap();
    fs::rename(site.path("new.pem"), site.path("server.pem")).unwrap();
    wait_for_certificate(&exporter, &third);
    assert_eq!(site.ask(&exporter, "/-/healthy", &[]).status, 200);
}

#[test]
fn a_bad_version_keeps_the_old_one_and_is_logged_once() {
    if !require(&["curl", "openssl", "perl"]) {
        return;
    }
    let site = Site::new();
    let users = |password: &str| json!({ "basic_auth_users": { "alice": bcrypt(password, 4) } });
    let exporter = site.serve(users("first"));
    let status = |login: &str| ask(&exporter, "/-/healthy", &["--user", login]).status;
    assert_eq!(status("alice:first"), 200);

    fs::write(site.path("web.yml"), "basic_auth_users: { alice: secret }\n").unwrap();
    wait_until("note of it", LIMIT, || {
        assert_eq!(status("alice:first"), 200);
        exporter.log().contains("Kept the old web configuration").then_some(())
    });
    // Longer than between two looks.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(status("alice:first"), 200);
    assert_eq!(exporter.log().matches("Kept the old web configuration").count(), 1, "{}", exporter.log());
    assert!(exporter.log().contains("basic_auth_users.alice: must be a bcrypt hash"), "{}", exporter.log());

    site.write(users("second"));
    wait_until("new password", LIMIT, || (status("alice:second") == 200).then_some(()));
    assert_eq!(status("alice:first"), 401, "the old one is not remembered");
}

#[test]
fn protection_is_gained_on_the_fly_and_lost_by_a_restart_only() {
    if !require(&["curl", "openssl", "perl"]) {
        return;
    }
    let site = Site::new();
    let exporter = site.serve(json!({}));
    assert_eq!(ask(&exporter, "/-/healthy", &[]).status, 200);
    let users = json!({ "alice": bcrypt("secret", 4) });
    site.write(json!({ "basic_auth_users": users, "tls_server_config": {} }));
    wait_until("TLS", LIMIT, || (ask(&exporter, "/-/healthy", &[]).status == 0).then_some(()));
    assert_eq!(site.ask(&exporter, "/-/healthy", &[]).status, 401);

    for (less, lost) in [
        (json!({}), "lost=TLS"),
        (json!({ "basic_auth_users": users }), "lost=TLS"),
        (json!({ "tls_server_config": {} }), "lost=basic_auth_users"),
    ] {
        let before = exporter.log().len();
        site.write(less);
        wait_until(lost, LIMIT, || {
            assert_eq!(site.ask(&exporter, "/-/healthy", &[]).status, 401);
            exporter.log()[before..].contains(lost).then_some(())
        });
        assert_eq!(site.ask(&exporter, "/-/healthy", &["--user", "alice:secret"]).status, 200);
    }
}
