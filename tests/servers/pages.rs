//! What a person reads of each real server: `tests/golden/probe/`, with what differs from run to run masked.

use serde_json::json;

use crate::golden;
use crate::harness::exporter::{Probe, one_target};
use crate::harness::masked::masked;
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::require;
use crate::harness::servers::{Shadow, Xrdp};

/// Probes the port as the target of that name, with its survey, and holds verdict and page.
#[track_caller]
fn check(name: &str, port: u16, head: &str) {
    let config = one_target(port, json!({ "name": name, "expect": { "nla": "required" } }), &[]);
    let answer = Probe::with(&[name, "--timeout=10s"]).config(config).answer();
    assert_eq!(answer.exit, 0, "{answer:?}");
    golden::check_page(&answer.output);
    let page = masked(&answer.output);
    assert!(page.starts_with(&format!("{name} (127.0.0.1:PORT)  {head}\n")), "{page}");
    golden::check(&format!("probe/{name}.txt"), &of_any_machine(&page));
}

/// The name of this machine, which FreeRDP tells, has no place in a golden file.
fn of_any_machine(page: &str) -> String {
    let mut is_of_machine = false;
    let masked = page.lines().filter_map(|line| {
        // A long name goes on below.
        let goes_on = is_of_machine && line.starts_with("               ");
        is_of_machine = goes_on || line.starts_with("  server  ") || line.starts_with("  domain  ");
        match line.get(..15) {
            Some(name) if is_of_machine => (!goes_on).then(|| format!("{name}NAMES OF THIS MACHINE\n")),
            _ => Some(format!("{line}\n")),
        }
    });
    masked.collect()
}

#[test]
fn page_of_xrdp_with_tls() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let server = Xrdp::tls(&workshop.self_signed(&Recipe::default())).start();
    check("xrdp-tls", server.port, "healthy; findings: 1 warning");
}

#[test]
fn page_of_xrdp_with_standard_security() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let server = Xrdp { security_layer: "rdp", ..Xrdp::tls(&certificate) }.start();
    check("xrdp-rdp", server.port, "healthy; findings: 1 critical, 1 warning");
}

#[test]
fn pages_of_freerdps_shadow_server() {
    if !require(&["freerdp-shadow-cli", "Xvfb", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let expired = Recipe { valid_until: -3.0, ..Recipe::default() };
    let certificate = workshop.self_signed(&expired);
    for (security, head) in [
        ("nla", "healthy; findings: 1 critical"),
        ("tls", "healthy; findings: 1 critical, 1 warning"),
        ("rdp", "healthy; findings: 1 critical, 1 warning"),
    ] {
        let shadow = Shadow::start(security, &certificate);
        check(&format!("freerdp-shadow-{security}"), shadow.server.port, head);
    }
}
