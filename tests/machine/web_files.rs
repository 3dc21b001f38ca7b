//! Files of the web configuration that are gone, or are something else: who may ask stays as it was.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::descriptors::take_descriptors;
use crate::exporting::{Exporter, LIMIT, Plan, USER, is_possible};
use crate::files::{FAULTS, feed, peak, replace, restore};
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::{command, lossy, wait_until};
use crate::harness::samples::Samples;

/// A scrape over TLS; its certificate is not at stake here.
fn scrape(exporter: &Exporter) -> Samples {
    let mut curl = command("curl");
    curl.args(["--disable", "--noproxy", "*", "--silent", "--show-error", "--insecure", "--fail", "--max-time", "30"]);
    let output = curl.arg(format!("https://127.0.0.1:{}/metrics", exporter.server.port)).output().unwrap();
    assert!(output.status.success(), "{}", lossy(&output.stderr));
    Samples::parse(&lossy(&output.stdout))
}

fn is_current(samples: &Samples) -> f64 {
    samples.value("rdp_exporter_web_config_last_reload_successful")
}

/// With all those files.
fn secured() -> Exporter {
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let plan = Plan::new(&json!({ "trust": { "system_roots": false } }));
    fs::copy(&certificate.certificate, plan.path("server.pem")).unwrap();
    fs::copy(&certificate.key, plan.path("server.key")).unwrap();
    fs::copy(&certificate.certificate, plan.path("clients.pem")).unwrap();
    for file in ["server.pem", "server.key", "clients.pem"] {
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(plan.path(file), everyone).unwrap();
    }
    let tls = json!({
        "cert_file": "server.pem", "key_file": "server.key", "client_ca_file": "clients.pem",
        "client_auth_type": "VerifyClientCertIfGiven",
    });
    let exporter = plan.web(&json!({ "tls_server_config": tls }), true).under_user(USER + 3).start();
    assert_eq!(is_current(&scrape(&exporter)), 1.0);
    exporter
}

fn assert_kept(name: &str, key: &str) {
    if !is_possible(&["curl"]) {
        return;
    }
    let exporter = secured();
    let (file, before) = (exporter.path(name), peak(&exporter));
    for (fault, words) in FAULTS {
        let known = exporter.server.log().len();
        replace(&file, fault);
        let said = wait_until(fault, LIMIT, || {
            let begun = Instant::now();
            let samples = scrape(&exporter);
            // One request may wait for the files, not for ever.
            assert!(begun.elapsed() < Duration::from_secs(25), "{fault}: {:?}", begun.elapsed());
            let said = exporter.server.log()[known..].to_owned();
            (is_current(&samples) == 0.0 && said.contains("Kept the old web configuration")).then_some(said)
        });
        for part in [name, key, words] {
            assert!(said.contains(part), "{name} {fault}: no {part} in {said}");
        }
        restore(&file);
        wait_until("the file that is back", LIMIT, || (is_current(&scrape(&exporter)) == 1.0).then_some(()));
    }
    assert!(peak(&exporter) < before + 128 * 1024, "{} KiB after {before}", peak(&exporter));
    exporter.assert_no_panic();
}

#[test]
fn the_web_configuration_itself() {
    assert_kept("web.yml", "web.yml");
}

#[test]
fn the_certificate() {
    assert_kept("server.pem", "tls_server_config.cert_file");
}

#[test]
fn the_key() {
    assert_kept("server.key", "tls_server_config.key_file");
}

#[test]
fn the_authority_of_clients() {
    assert_kept("clients.pem", "tls_server_config.client_ca_file");
}

/// The authority is read before the key. It is a pipe, so the reading stands there for as long as nobody writes.
#[test]
fn a_key_that_goes_while_the_others_are_read() {
    if !is_possible(&["curl"]) {
        return;
    }
    let exporter = secured();
    let (authority, key) = (exporter.path("clients.pem"), exporter.path("server.key"));
    replace(&authority, "pipe");
    thread::scope(|scope| {
        scope.spawn(|| feed(&authority, &[&key]));
        // Whoever asks has the files looked at, and is answered by the old ones.
        wait_until("a reading that failed", LIMIT, || (is_current(&scrape(&exporter)) == 0.0).then_some(()));
    });
    exporter.wait_for_log("Kept the old web configuration");
    let log = exporter.server.log();
    for part in ["server.key", "tls_server_config.key_file", "No such file"] {
        assert!(log.contains(part), "no {part} in {log}");
    }
    restore(&authority);
    restore(&key);
    wait_until("the files that are back", LIMIT, || (is_current(&scrape(&exporter)) == 1.0).then_some(()));
    exporter.assert_no_panic();
}

/// A renewed certificate that could not be read for want of descriptors is read when they are back, though it has not
/// changed since.
#[test]
fn what_could_not_be_read_for_want_of_descriptors_is_read_later() {
    if !is_possible(&["curl"]) {
        return;
    }
    let plan = Plan::new(&json!({ "trust": { "system_roots": false } })).web(&json!({}), false);
    let exporter = plan.start();
    let mut kept = exporter.client();
    assert_eq!(is_current(&kept.scrape()), 1.0);
    take_descriptors(&exporter);
    fs::write(
        exporter.path("web.yml"),
        json!({ "http_server_config": { "headers": { "X-Frame-Options": "deny" } } }).to_string(),
    )
    .unwrap();
    wait_until("a reading that failed", LIMIT, || (is_current(&kept.scrape()) == 0.0).then_some(()));
    exporter.limit("nofile", "1024");
    wait_until("a reading that succeeds", LIMIT, || (is_current(&kept.scrape()) == 1.0).then_some(()));
    assert_eq!(exporter.server.log().matches("Kept the old web configuration").count(), 1, "said once");
}
