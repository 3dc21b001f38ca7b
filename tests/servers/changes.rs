//! A certificate that is replaced, and what is kept of a host that is down.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::harness::exporter::{address, scrape_until, serve};
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::{free_port, require};
use crate::harness::samples::Samples;
use crate::harness::servers::Xrdp;

fn config(port: u16, facts_max_age: &str) -> Value {
    json!({
        "probe": {
            "interval": "2s", "timeout": "1900ms", "confirm_after": "1s",
            "survey_interval": "0s", "facts_max_age": facts_max_age,
        },
        "targets": [{ "address": address(port), "name": "desk" }],
    })
}

fn shows(samples: &Samples, sha256: &str) -> bool {
    samples.get("rdp_certificate_info", &[("sha256", sha256)]) == Some(1.0)
}

fn failures(samples: &Samples) -> f64 {
    samples.get("rdp_consecutive_failures", &[]).unwrap_or_default()
}

#[test]
fn changes_of_the_certificate_are_counted() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let (first, second) = (workshop.self_signed(&Recipe::default()), workshop.self_signed(&Recipe::default()));
    let port = free_port();
    let server = Xrdp::tls(&first).start_on(port);
    let exporter = serve(&config(port, "30d"));
    let samples = scrape_until(&exporter, "first certificate", |samples| shows(samples, &first.facts().sha256));
    assert_eq!(samples.value("rdp_certificate_changes_total"), 0.0);
    assert_eq!(samples.finding("certificate_changed_early"), None);

    drop(server);
    let server = Xrdp::tls(&second).start_on(port);
    let samples = scrape_until(&exporter, "second certificate", |samples| shows(samples, &second.facts().sha256));
    assert!(!shows(&samples, &first.facts().sha256));
    assert_eq!(samples.value("rdp_certificate_changes_total"), 1.0);
    assert_eq!(samples.finding("certificate_changed_early").as_deref(), Some("warning"));
    assert_eq!(samples.value("rdp_certificate_not_after_timestamp_seconds"), second.facts().not_after);

    // The finding stays for a day, and the same certificate is no further change.
    let seen = samples.value("rdp_last_probe_timestamp_seconds");
    let later = |samples: &Samples| samples.value("rdp_last_probe_timestamp_seconds") > seen + 3.0;
    let samples = scrape_until(&exporter, "two more probes", later);
    assert_eq!(samples.value("rdp_certificate_changes_total"), 1.0);
    assert_eq!(samples.finding("certificate_changed_early").as_deref(), Some("warning"));
    drop(server);
}

/// Within 30 days of its end a replacement is what one waits for.
#[test]
fn changes_in_time_are_no_finding() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let first = workshop.self_signed(&Recipe { valid_until: 20.0, ..Recipe::default() });
    let second = workshop.self_signed(&Recipe::default());
    let port = free_port();
    let server = Xrdp::tls(&first).start_on(port);
    let exporter = serve(&config(port, "30d"));
    scrape_until(&exporter, "first certificate", |samples| shows(samples, &first.facts().sha256));
    drop(server);
    let server = Xrdp::tls(&second).start_on(port);
    let samples = scrape_until(&exporter, "second certificate", |samples| shows(samples, &second.facts().sha256));
    assert_eq!(samples.value("rdp_certificate_changes_total"), 1.0);
    assert_eq!(samples.finding("certificate_changed_early"), None);
    drop(server);
}

#[test]
fn facts_of_a_host_that_is_down_stand_still() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let port = free_port();
    let server = Xrdp::tls(&certificate).start_on(port);
    let exporter = serve(&config(port, "30d"));
    scrape_until(&exporter, "certificate", |samples| shows(samples, &certificate.facts().sha256));
    drop(server);
    let down = scrape_until(&exporter, "first failure", |samples| failures(samples) >= 1.0);
    let later = scrape_until(&exporter, "third failure", |samples| failures(samples) >= 3.0);
    for samples in [&down, &later] {
        assert_eq!(samples.value("rdp_up"), 0.0);
        assert!(shows(samples, &certificate.facts().sha256));
        assert_eq!(samples.value("rdp_certificate_not_after_timestamp_seconds"), certificate.facts().not_after);
        assert_eq!(samples.value("rdp_certificate_changes_total"), 0.0);
        assert!(!samples.has_family("rdp_tls_info") && !samples.has_family("rdp_security_layer"), "not observed");
    }
    let observed = |samples: &Samples| samples.value("rdp_certificate_observed_timestamp_seconds");
    assert_eq!(observed(&down), observed(&later));
    assert!(observed(&later) < later.value("rdp_last_probe_timestamp_seconds") - 2.0);
}

#[test]
fn facts_of_a_host_that_is_down_go() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let port = free_port();
    let server = Xrdp::tls(&certificate).start_on(port);
    let exporter = serve(&config(port, "5s"));
    scrape_until(&exporter, "certificate", |samples| shows(samples, &certificate.facts().sha256));
    drop(server);
    let down = scrape_until(&exporter, "first failure", |samples| failures(samples) >= 1.0);
    let observed = down.value("rdp_certificate_observed_timestamp_seconds");
    assert!(shows(&down, &certificate.facts().sha256), "kept for five seconds");
    let is_gone = |samples: &Samples| !samples.has_family("rdp_certificate_not_after");
    let gone = scrape_until(&exporter, "end of the certificate's facts", is_gone);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(now >= observed + 5.0, "gone {} s after it was seen", now - observed);
    for family in ["rdp_certificate_info", "rdp_certificate_days", "rdp_certificate_observed", "rdp_certificate_self"] {
        assert!(!gone.has_family(family), "{family}");
    }
    assert!(gone.findings().keys().all(|name| !name.starts_with("certificate_")), "{:?}", gone.findings());
}
