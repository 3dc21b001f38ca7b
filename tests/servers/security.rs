//! What a target's security is expected to be, and what it was before.

use std::io::Write as _;
use std::sync::Arc;

use rustls::version::TLS13;
use serde_json::json;

use crate::harness::exporter::{Probe, address, one_target, probe_endpoint, scrape_until, serve};
use crate::harness::openssl::{Certificate, Recipe, Workshop};
use crate::harness::peer::{CONFIRM_HYBRID, CONFIRM_SSL, Peer, confirm, read_frame};
use crate::harness::process::{free_port, require};
use crate::harness::servers::Xrdp;
use crate::harness::tls::{self, server_config};

/// As Windows with `UserAuthentication` 0 and `SecurityLayer` 2 whose logon service hangs: it takes NLA and plain TLS, and
/// says nothing to CredSSP.
fn hung_logon(certificate: &Certificate) -> Peer {
    let config = server_config(certificate, certificate, &TLS13);
    Peer::start(move |mut client| {
        client.set_nodelay(true)?;
        let request = read_frame(&mut client)?;
        let offered = request.len().checked_sub(4).map_or(0, |place| request[place]);
        let chosen = match offered {
            _ if offered & 2 == 2 => CONFIRM_HYBRID,
            _ if offered & 1 == 1 => CONFIRM_SSL,
            _ => confirm(3, 1),
        };
        client.write_all(&chosen)?;
        if chosen[11] == 2 {
            tls::serve(client, Arc::clone(&config));
        }
        Ok(())
    })
}

#[test]
fn nla_that_is_expected_is_missed() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let (xrdp, optional) = (Xrdp::tls(&certificate).start(), hung_logon(&certificate));
    for (port, finding) in [(xrdp.port, "nla_not_offered"), (optional.port, "nla_not_required")] {
        for (nla, severity) in [("required", Some("warning")), ("any", None)] {
            let config = one_target(port, json!({ "expect": { "nla": nla } }), &[]);
            let report = Probe::with(&[&address(port), "--timeout=3s"]).config(config).run();
            let samples = report.assert_verdict("healthy");
            let found: Vec<_> = samples.findings().into_iter().filter(|(name, _)| name.starts_with("nla_")).collect();
            let expected: Vec<_> =
                severity.map(|severity| (finding.to_owned(), severity.to_owned())).into_iter().collect();
            assert_eq!(found, expected, "{nla}");
        }
    }
}

#[test]
fn nla_that_is_silent_twice_running_is_found_and_no_outage() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let peer = hung_logon(&workshop.self_signed(&Recipe::default()));
    let target = json!({ "name": "desk", "interval": "1h", "timeout": "2s", "survey_interval": "0s" });
    let exporter = serve(&one_target(peer.port, target, &[]));
    let samples = scrape_until(&exporter, "the first probe", |samples| samples.get("rdp_up", &[]).is_some());
    assert_eq!(samples.label("rdp_verdict", "verdict"), "healthy");
    assert_eq!(samples.finding("nla_no_answer"), None, "once may be chance");
    let samples = probe_endpoint(&exporter, "target=desk");
    assert_eq!(samples.label("rdp_verdict", "verdict"), "healthy");
    assert_eq!(samples.finding("nla_no_answer").as_deref(), Some("warning"));
}

/// xrdp that was told to speak Standard RDP Security only, after it had spoken TLS.
#[test]
fn security_that_was_better_before_is_told() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let port = free_port();
    let target = json!({ "name": "desk", "interval": "1h", "survey_interval": "0s" });
    let server = Xrdp::tls(&certificate).start_on(port);
    let exporter = serve(&one_target(port, target, &[]));
    let samples = scrape_until(&exporter, "the first probe", |samples| samples.get("rdp_up", &[]).is_some());
    assert_eq!(samples.label("rdp_security_layer", "layer"), "ssl");
    assert_eq!(samples.finding("security_downgraded"), None);
    drop(server);
    let server = Xrdp { security_layer: "rdp", ..Xrdp::tls(&certificate) }.start_on(port);
    let samples = probe_endpoint(&exporter, "target=desk");
    assert_eq!(samples.label("rdp_verdict", "verdict"), "healthy");
    assert_eq!(samples.label("rdp_security_layer", "layer"), "rdp");
    for finding in ["security_downgraded", "standard_security_only"] {
        assert_eq!(samples.finding(finding).as_deref(), Some("critical"), "{finding}");
    }
    drop(server);
}
