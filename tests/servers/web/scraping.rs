//! A real Prometheus that has to show who it is.

use serde_json::{Value, json};

use super::{Site, bcrypt};
use crate::harness::exporter::address;
use crate::harness::process::require;
use crate::harness::servers::start_prometheus_with;
use crate::prometheus::{query, wait_for};

#[test]
fn prometheus_scrapes_over_https_with_certificate_and_password() {
    if !require(&["openssl", "perl", "prometheus"]) {
        return;
    }
    let site = Site::new();
    let client = site.client("prometheus", "DNS:prometheus.example");
    let exporter = site.serve(json!({
        "tls_server_config": {
            "client_auth_type": "RequireAndVerifyClientCert",
            "client_ca_file": "ca.pem",
            "client_allowed_sans": ["prometheus.example"],
        },
        "basic_auth_users": { "prometheus": bcrypt("secret", 5) },
    }));
    let tls = json!({ "ca_file": site.path("ca.pem"), "cert_file": client.certificate, "key_file": client.key });
    let without_certificate = json!({ "ca_file": site.path("ca.pem") });
    let job = |name: &str, tls: &Value, password: &str| {
        json!({
            "job_name": name, "scheme": "https", "tls_config": tls,
            "basic_auth": { "username": "prometheus", "password": password },
            "static_configs": [{ "targets": [address(exporter.port)] }],
        })
    };
    let prometheus = start_prometheus_with(&json!([
        job("right", &tls, "secret"),
        job("wrong_password", &tls, "guess"),
        job("no_certificate", &without_certificate, "secret"),
    ]));
    wait_for(&prometheus, r#"up{job="right"}"#, |up| up == 1.0);
    wait_for(&prometheus, r#"rdp_exporter_targets{job="right"}"#, |targets| targets == 0.0);
    wait_for(&prometheus, r#"up{job="wrong_password"}"#, |up| up == 0.0);
    wait_for(&prometheus, r#"up{job="no_certificate"}"#, |up| up == 0.0);
    assert_eq!(query(&prometheus, r#"sum(max_over_time(up{job!="right"}[1h]))"#), Some(0.0), "never");
}
