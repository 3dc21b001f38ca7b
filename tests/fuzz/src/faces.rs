//! Every face of a target's state: none is without form, none drives a terminal, and what a stranger said is cut in all.

use std::{sync::Arc, time::SystemTime};

use rdp_exporter::{
    diagnosis::Verdict,
    metrics::{self, View},
    page,
    report::{self, Ink},
    state::TargetState,
};

use super::text_format::{Exposition, parse};

/// Holds the scrape, JSON, the text for a person and the pages against what must be true of each.
pub fn check(state: &TargetState, now: SystemTime) {
    check_scrape(state, now);
    check_for_people(state, now);
}

/// Holds the scrape alone against it, which is what takes the least time.
pub fn check_scrape(state: &TargetState, now: SystemTime) {
    let scrape = scrape(state, now);
    check_verdict(state, &scrape);
    check_labels(state, &scrape);
}

fn scrape(state: &TargetState, now: SystemTime) -> Exposition {
    let states = [Arc::new(state.clone())];
    let mut out = Vec::new();
    for family in metrics::families() {
        metrics::write_family(family, &states, View { now, histograms: true }, &mut out).unwrap();
    }
    let scrape = parse(&String::from_utf8(out).unwrap());
    let mut out = Vec::new();
    metrics::write_probe(&states[0], true, now, &mut out).unwrap();
    let _ = parse(&String::from_utf8(out).unwrap());
    scrape
}

/// Exactly one verdict, of the closed list, and what hangs on it.
fn check_verdict(state: &TargetState, scrape: &Exposition) {
    let verdicts: Vec<_> = scrape.samples.keys().filter(|(name, _)| name == "rdp_verdict").collect();
    let Some(verdict) = state.last_verdict() else {
        assert!(verdicts.is_empty());
        return;
    };
    let [(_, labels)] = verdicts.as_slice() else { panic!("{} verdicts", verdicts.len()) };
    assert!(VERDICTS.contains(&labels["verdict"].as_str()), "{labels:?}");
    let value = |wanted: &str| scrape.samples.iter().find(|((name, _), _)| name == wanted).map(|(_, value)| *value);
    if verdict != Verdict::ExporterFault {
        assert_eq!(value("rdp_up"), Some(f64::from(labels["verdict"] == "healthy")));
    }
}

/// What the configuration says stands as it is, every other value is cut.
fn check_labels(state: &TargetState, scrape: &Exposition) {
    for (name, labels) in scrape.samples.keys() {
        for (label, value) in labels {
            let is_ours = label == "target" || state.target.labels.contains_key(label);
            // A NUL becomes three bytes after the cut.
            assert!(is_ours || value.len() <= 256 + 2 * value.matches('\u{fffd}').count(), "{name} {label}: {value:?}");
        }
    }
    let target = state.target.name.replace('\0', "\u{fffd}");
    let is_named = |(name, labels): &(String, _)| name.starts_with("probe_") || named(labels, &target);
    assert!(scrape.samples.keys().all(is_named));
}

fn named(labels: &std::collections::BTreeMap<String, String>, target: &str) -> bool {
    labels.get("target").is_some_and(|label| label == target)
}

fn check_for_people(state: &TargetState, now: SystemTime) {
    let json = report::json_with_history(state, now);
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read["target"], state.target.name.as_str());
    assert_eq!(read["verdict"], serde_json::json!(state.last_verdict().map(Verdict::label)));
    let text = report::text(state, now);
    let summary = report::summary(&[state], Ink::Plain);
    let view = page::View { now, telemetry_path: "/metrics", prefix: "" };
    let page = page::target(state, view);
    let overview = page::overview(&[Arc::new(state.clone())], &page::Query::default(), view);
    for (face, shown) in
        [("JSON", &json), ("text", &text), ("summary", &summary), ("page", &page), ("overview", &overview)]
    {
        check_harmless(face, shown);
        let configured: usize = state.target.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(shown.len() < MAX_LENGTH + 100 * (configured + state.target.name.len()), "{face}: {}", shown.len());
    }
    if let Some(report) = &state.last {
        let evidence = report.evidence();
        check_harmless("evidence", &evidence);
        assert!(!evidence.contains('\n'), "{evidence:?}");
    }
}

/// Nothing that drives a terminal or turns text around.
pub fn check_harmless(face: &str, shown: &str) {
    let harmful = shown.chars().find(|character| !is_harmless(*character) && *character != '\n');
    assert_eq!(harmful, None, "{face}: {shown:?}");
}

/// Whether a character may stand in text for a person's eyes.
#[must_use]
pub fn is_harmless(character: char) -> bool {
    let turns =
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !turns
}

/// The closed list, as dashboards and alerts know it.
const VERDICTS: [&str; 19] = [
    "healthy",
    "dns_not_found",
    "dns_failure",
    "host_unreachable",
    "connect_refused",
    "connect_timeout",
    "host_down",
    "port_filtered",
    "closed_after_request",
    "negotiation_timeout",
    "not_rdp",
    "protocol_error",
    "no_certificate",
    "negotiation_refused",
    "tls_reset",
    "tls_alert",
    "tls_timeout",
    "tls_error",
    "exporter_fault",
];
/// A page with all its facts has some 20 KB.
const MAX_LENGTH: usize = 128 * 1024;
