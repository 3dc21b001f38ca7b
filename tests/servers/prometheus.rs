//! A real Prometheus between the exporter and the reader.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::exporter::{address, scrape, serve};
use crate::harness::http;
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::{Server, promtool_check_metrics, require, wait_until};
use crate::harness::servers::{Xrdp, start_prometheus};

/// The value of a query that gives one series; none for an empty answer, or before Prometheus is ready.
pub(crate) fn query(prometheus: &Server, expression: &str) -> Option<f64> {
    let encoded: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
    let (status, body) = http::get(prometheus.port, &format!("/api/v1/query?query={encoded}")).ok()?;
    if status == 503 {
        return None;
    }
    assert_eq!(status, 200, "{expression}: {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let series = answer["data"]["result"].as_array().unwrap();
    assert!(series.len() < 2, "{expression}: {body}");
    series.first()?["value"][1].as_str()?.parse().ok()
}

#[track_caller]
pub(crate) fn wait_for(prometheus: &Server, expression: &str, expected: impl Fn(f64) -> bool) -> f64 {
    wait_until(expression, Duration::from_secs(30), || query(prometheus, expression).filter(|value| expected(*value)))
}

#[test]
fn prometheus_scrapes_and_sees_a_server_die() {
    if !require(&["prometheus", "xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let xrdp = Xrdp::tls(&certificate).start();
    let exporter = serve(&config(&xrdp));
    let prometheus = start_prometheus(&address(exporter.port));
    let not_after = certificate.facts().not_after;
    let expiry = r#"rdp_certificate_not_after_timestamp_seconds{target="desk"}"#;
    let healthy = r#"rdp_probes_total{target="desk",verdict="healthy"}"#;

    wait_for(&prometheus, "rdp_up{target=\"desk\",site=\"lab\"}", |value| value == 1.0);
    assert_eq!(query(&prometheus, "up"), Some(1.0));
    assert_eq!(query(&prometheus, expiry), Some(not_after));
    let before = wait_for(&prometheus, healthy, |value| value > 0.0);
    wait_for(&prometheus, healthy, |value| value > before + 1.0);

    drop(xrdp);
    wait_for(&prometheus, "rdp_up", |value| value == 0.0);
    wait_for(&prometheus, r#"rdp_verdict{verdict="connect_refused"}"#, |value| value == 1.0);
    assert_eq!(query(&prometheus, "count(rdp_verdict)"), Some(1.0), "exactly one verdict");
    assert_eq!(query(&prometheus, expiry), Some(not_after), "facts hold while the target is silent");
    assert_eq!(query(&prometheus, "rdp_reachable"), Some(0.0));
    assert_eq!(query(&prometheus, "up"), Some(1.0));
}

#[test]
fn promtool_objects_to_one_name_only() {
    if !require(&["promtool", "xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let xrdp = Xrdp::tls(&workshop.self_signed(&Recipe::default())).start();
    let exporter = serve(&config(&xrdp));
    let text = wait_until("certificate on /metrics", Duration::from_secs(30), || {
        Some(scrape(&exporter)).filter(|text| text.contains("\nrdp_certificate_days_to_expiry{"))
    });
    let said = promtool_check_metrics(&text);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    assert!(lines.len() <= 1, "{said}");
    assert!(lines.iter().all(|line| line.contains("rdp_certificate_days_to_expiry")), "{said}");
}

fn config(xrdp: &Server) -> Value {
    json!({
        "probe": { "interval": "2s", "timeout": "1s", "confirm_after": "1s" },
        "targets": [{ "address": address(xrdp.port), "name": "desk", "labels": { "site": "lab" } }],
    })
}
