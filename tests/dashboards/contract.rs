//! What the exporter renders: names, kinds, labels and the values of labels.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use prometheus::proto::MetricType;
use rdp_exporter::{
    config::Rejection,
    diagnosis::{Finding, Severity, Verdict},
    metrics::{exporter_families, families},
    observation::Stage,
    state::{SourceVitals, Vitals},
    wire::{
        gcc::{EncryptionLevel, EncryptionMethods},
        negotiation::{Protocols, ResponseFlags},
    },
};

/// Labels that the examples configure; each of them may be any other.
pub(crate) const CONFIGURED: [&str; 2] = ["site", "tier"];

/// The contract's metrics of a target, with their own labels.
const OF_A_TARGET: [(&str, MetricType, &[&str]); 39] = [
    ("rdp_up", GAUGE, &[]),
    ("rdp_reachable", GAUGE, &[]),
    ("rdp_verdict", GAUGE, &["verdict"]),
    ("rdp_finding", GAUGE, &["finding", "severity"]),
    ("rdp_findings_accepted", GAUGE, &[]),
    ("rdp_probes_total", MetricType::COUNTER, &["verdict"]),
    ("rdp_consecutive_failures", GAUGE, &[]),
    ("rdp_probe_interval_seconds", GAUGE, &[]),
    ("rdp_last_probe_timestamp_seconds", GAUGE, &[]),
    ("rdp_probe_duration_seconds", GAUGE, &[]),
    ("rdp_stage_duration_seconds", GAUGE, &["stage"]),
    ("rdp_handshake_duration_seconds", MetricType::HISTOGRAM, &[]),
    ("rdp_address_info", GAUGE, &["address"]),
    ("rdp_tcp_rtt_seconds", GAUGE, &[]),
    ("rdp_tcp_retransmits", GAUGE, &[]),
    ("rdp_security_layer", GAUGE, &["layer"]),
    ("rdp_security_layer_accepted", GAUGE, &["layer"]),
    ("rdp_nla_required", GAUGE, &[]),
    ("rdp_negotiation_flag", GAUGE, &["flag"]),
    ("rdp_negotiation_failure_code", GAUGE, &[]),
    ("rdp_tls_info", GAUGE, &["version", "cipher"]),
    ("rdp_tls_version_accepted", GAUGE, &["version"]),
    ("rdp_encryption_info", GAUGE, &["method", "level"]),
    ("rdp_encryption_method_accepted", GAUGE, &["method"]),
    ("rdp_certificate_not_after_timestamp_seconds", GAUGE, &[]),
    ("rdp_certificate_not_before_timestamp_seconds", GAUGE, &[]),
    ("rdp_certificate_days_to_expiry", GAUGE, &[]),
    ("rdp_certificate_chain_not_after_timestamp_seconds", GAUGE, &[]),
    ("rdp_certificate_info", GAUGE, &["subject", "issuer", "serial", "sha256", "key", "signature", "san"]),
    ("rdp_certificate_self_signed", GAUGE, &[]),
    ("rdp_certificate_trusted", GAUGE, &[]),
    ("rdp_certificate_name_match", GAUGE, &[]),
    ("rdp_certificate_key_proven", GAUGE, &[]),
    ("rdp_certificate_observed_timestamp_seconds", GAUGE, &[]),
    ("rdp_certificate_changes_total", MetricType::COUNTER, &[]),
    ("rdp_mcs_certificate_not_after_timestamp_seconds", GAUGE, &[]),
    ("rdp_survey_timestamp_seconds", GAUGE, &[]),
    ("rdp_server_info", GAUGE, &["computer", "domain", "dns_computer", "dns_domain", "version"]),
    ("rdp_clock_skew_seconds", GAUGE, &[]),
];

const GAUGE: MetricType = MetricType::GAUGE;

/// The labels that a selector of the metric of this name may name, or why there is no such metric.
pub(crate) fn labels(name: &str) -> Result<BTreeSet<String>, String> {
    let (base, is_bucket) = match name.strip_suffix("_bucket") {
        Some(base) => (base, true),
        None => (name, false),
    };
    let (kind, own) = if name == "up" {
        (GAUGE, Vec::new())
    } else if let Some((_, kind, own)) = OF_A_TARGET.iter().find(|(known, ..)| *known == base) {
        let own = own.iter().chain(&["target"]).chain(&CONFIGURED).map(|label| (*label).to_owned());
        (*kind, own.collect())
    } else {
        of_the_exporter(base).ok_or_else(|| format!("no metric {name}"))?
    };
    match (kind == MetricType::HISTOGRAM, is_bucket) {
        (true, false) => return Err(format!("{name} is a histogram: its series have suffixes")),
        (false, true) => return Err(format!("{base} is no histogram")),
        _ => {}
    }
    let scraped = ["job", "instance"].into_iter().chain(is_bucket.then_some("le"));
    Ok(own.into_iter().chain(scraped.map(str::to_owned)).collect())
}

/// Every value that a label can have, where that is a closed list.
pub(crate) fn values(label: &str) -> Option<Vec<&'static str>> {
    Some(match label {
        "verdict" => Verdict::ALL.map(Verdict::label).to_vec(),
        "finding" => Finding::ALL.map(Finding::label).to_vec(),
        "severity" => [Severity::Critical, Severity::Warning, Severity::Info].map(Severity::label).to_vec(),
        "stage" => Stage::ALL.map(Stage::label).to_vec(),
        "layer" => Protocols::NAMED.iter().filter_map(|layer| layer.label()).collect(),
        "flag" => ResponseFlags::NAMED.map(|(_, name)| name).to_vec(),
        "method" => EncryptionMethods::NAMED.iter().filter_map(|method| method.label()).collect(),
        "level" => (0..=4).filter_map(|level| EncryptionLevel(level).label()).collect(),
        _ => return None,
    })
}

/// The exporter's own families are rendered, and their labels read off.
fn of_the_exporter(name: &str) -> Option<(MetricType, Vec<String>)> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let vitals = Vitals::new(now);
    vitals.record_save(true, now);
    vitals.record_access(Some(true));
    vitals.record_discovery(vec![SourceVitals {
        source: "targets/*.yaml".into(),
        targets: Some(1),
        failures: 0,
        rejected: Rejection::ALL.map(|reason| (reason.label(), 0)).to_vec(),
    }]);
    let family = exporter_families(&vitals, 0).into_iter().find(|family| family.name() == name)?;
    let labels = family.get_metric().first()?.get_label().iter().map(|pair| pair.name().to_owned()).collect();
    Some((family.get_field_type(), labels))
}

#[test]
fn the_contract_is_what_is_exposed() {
    let exposed: Vec<_> = families().map(|family| (family.name, family.kind)).collect();
    for (name, kind) in &exposed {
        let known = OF_A_TARGET.iter().find(|(known, ..)| known == name);
        assert_eq!(known.map(|(_, kind, _)| kind), Some(kind), "{name}");
    }
    for (name, ..) in OF_A_TARGET {
        assert!(exposed.iter().any(|(exposed, _)| *exposed == name), "{name} is not exposed");
    }
}
