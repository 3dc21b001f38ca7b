//! What is known, as text for Prometheus, as JSON and as text for a person: from states made by hand, no sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rdp_exporter::{
    certificate::trust::Roots,
    diagnosis::{Diagnosis, Finding, Severity, Verdict, diagnose},
    examine::Report,
    memory::Memory,
    metrics::{self, View},
    observation::{Attempt, ChallengeFacts, Fault, LocalFault, LocalReason, Negotiation, Observation},
    report,
    state::{TargetState, Vitals},
    target::{Expectations, Settings, Target},
    wire::{negotiation::Protocols, ntlm::Challenge},
};

use crate::{
    fuzz::{
        faces,
        text_format::{Exposition, parse, parse_sample},
    },
    judgement,
    sample::{
        self, HOSTILE, address, answered, noon, observation, refused, selected, shaken, stopped_early, stopped_in_tls,
        unanswered, unconnected,
    },
    text,
};

const ORDINARY: Protocols = Protocols::ORDINARY;

/// Section 4 of the contract: name, type, labels beside `target` and the configured ones.
const TARGET_FAMILIES: &[(&str, &str, &str)] = &[
    ("rdp_up", "gauge", ""),
    ("rdp_reachable", "gauge", ""),
    ("rdp_verdict", "gauge", "verdict"),
    ("rdp_finding", "gauge", "finding severity"),
    ("rdp_findings_accepted", "gauge", ""),
    ("rdp_probes_total", "counter", "verdict"),
    ("rdp_consecutive_failures", "gauge", ""),
    ("rdp_probe_interval_seconds", "gauge", ""),
    ("rdp_last_probe_timestamp_seconds", "gauge", ""),
    ("rdp_probe_duration_seconds", "gauge", ""),
    ("rdp_stage_duration_seconds", "gauge", "stage"),
    ("rdp_handshake_duration_seconds", "histogram", ""),
    ("rdp_address_info", "gauge", "address"),
    ("rdp_tcp_rtt_seconds", "gauge", ""),
    ("rdp_tcp_retransmits", "gauge", ""),
    ("rdp_security_layer", "gauge", "layer"),
    ("rdp_security_layer_accepted", "gauge", "layer"),
    ("rdp_nla_required", "gauge", ""),
    ("rdp_negotiation_flag", "gauge", "flag"),
    ("rdp_negotiation_failure_code", "gauge", ""),
    ("rdp_tls_info", "gauge", "cipher version"),
    ("rdp_tls_version_accepted", "gauge", "version"),
    ("rdp_encryption_info", "gauge", "level method"),
    ("rdp_encryption_method_accepted", "gauge", "method"),
    ("rdp_certificate_not_after_timestamp_seconds", "gauge", ""),
    ("rdp_certificate_not_before_timestamp_seconds", "gauge", ""),
    ("rdp_certificate_days_to_expiry", "gauge", ""),
    ("rdp_certificate_chain_not_after_timestamp_seconds", "gauge", ""),
    ("rdp_certificate_info", "gauge", "issuer key san serial sha256 signature subject"),
    ("rdp_certificate_self_signed", "gauge", ""),
    ("rdp_certificate_trusted", "gauge", ""),
    ("rdp_certificate_name_match", "gauge", ""),
    ("rdp_certificate_key_proven", "gauge", ""),
    ("rdp_certificate_observed_timestamp_seconds", "gauge", ""),
    ("rdp_certificate_changes_total", "counter", ""),
    ("rdp_mcs_certificate_not_after_timestamp_seconds", "gauge", ""),
    ("rdp_survey_timestamp_seconds", "gauge", ""),
    ("rdp_server_info", "gauge", "computer dns_computer dns_domain domain version"),
    ("rdp_clock_skew_seconds", "gauge", ""),
];

const EXPORTER_FAMILIES: &[(&str, &str, &str)] = &[
    ("rdp_exporter_build_info", "gauge", "revision version"),
    ("rdp_exporter_targets", "gauge", ""),
    ("rdp_exporter_probes_in_flight", "gauge", ""),
    ("rdp_exporter_tasks", "gauge", ""),
    ("rdp_exporter_probes_deferred_total", "counter", ""),
    ("rdp_exporter_probe_start_delay_seconds", "histogram", ""),
    ("rdp_exporter_local_failures_total", "counter", "reason"),
    ("rdp_exporter_config_last_reload_successful", "gauge", ""),
    ("rdp_exporter_config_last_reload_success_timestamp_seconds", "gauge", ""),
    ("rdp_exporter_log_lines_lost_total", "counter", ""),
    ("rdp_exporter_web_config_last_reload_successful", "gauge", ""),
    ("rdp_exporter_state_file_last_save_successful", "gauge", ""),
    ("rdp_exporter_state_file_last_save_success_timestamp_seconds", "gauge", ""),
    ("rdp_exporter_discovery_targets", "gauge", "source"),
    ("rdp_exporter_discovery_failures_total", "counter", "source"),
    ("rdp_exporter_discovery_rejected_total", "counter", "reason source"),
];

const BLACKBOX_FAMILIES: &[(&str, &str, &str)] = &[
    ("probe_success", "gauge", ""),
    ("probe_duration_seconds", "gauge", ""),
    ("probe_ssl_earliest_cert_expiry", "gauge", ""),
    ("probe_tls_version_info", "gauge", "version"),
];

impl Exposition {
    /// The values of a family's series of one target, each with its own labels.
    fn of(&self, target: &str, name: &str) -> BTreeMap<String, f64> {
        let is_it = |(of, labels): &&(String, BTreeMap<String, String>)| {
            of == name && labels.get("target").is_some_and(|label| label == target)
        };
        let own = |labels: &BTreeMap<String, String>| {
            let own = labels.iter().filter(|(name, _)| !["target", "site", "tier"].contains(&name.as_str()));
            own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        self.samples.iter().filter(|(key, _)| is_it(key)).map(|((_, labels), value)| (own(labels), *value)).collect()
    }

    fn names(&self) -> BTreeSet<&str> {
        self.families.keys().map(String::as_str).collect()
    }

    /// Holds names, types and labels against the contract's.
    fn check_against(&self, contract: &[(&str, &str, &str)], of_target: &[&str]) {
        for (name, kind) in &self.families {
            let row =
                contract.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name} is not in the contract"));
            assert_eq!(kind, row.1, "{name}");
            let mut expected: BTreeSet<&str> = row.2.split_whitespace().chain(of_target.iter().copied()).collect();
            if kind == "histogram" {
                expected.insert("le");
            }
            for (of, labels) in self.samples.keys() {
                let of_family = if kind == "histogram" { of.strip_suffix("_bucket") } else { Some(of.as_str()) };
                if of_family == Some(name.as_str()) {
                    assert_eq!(labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{name}");
                }
            }
        }
    }
}

/// The whole of `/metrics` about targets.
fn scrape(states: Vec<TargetState>) -> (String, Exposition) {
    let states: Vec<_> = states.into_iter().map(Arc::new).collect();
    let view = View { now: noon() + Duration::from_secs(60), histograms: true };
    let mut out = Vec::new();
    for family in metrics::families() {
        metrics::write_family(family, &states, view, &mut out).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    let read = parse(&text);
    (text, read)
}

/// How many series each family has for a healthy host of which all is known, in a probe without a challenge.
pub(crate) fn series_of_a_known_target() -> BTreeMap<String, usize> {
    let (_, read) = scrape(vec![text::healthy_nla()]);
    let mut counted = BTreeMap::new();
    for (name, labels) in read.samples.keys() {
        let family = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| name.strip_suffix(suffix));
        let is_usual = labels.get("stage").is_none_or(|stage| stage != "challenge");
        *counted.entry(family.unwrap_or(name).to_owned()).or_default() += usize::from(is_usual);
    }
    counted
}

/// The names of the contract.
pub(crate) fn family_names() -> impl Iterator<Item = &'static str> {
    TARGET_FAMILIES.iter().chain(EXPORTER_FAMILIES).map(|(name, ..)| *name)
}

fn target(name: &str) -> Arc<Target> {
    let labels = [("site", "berlin"), ("tier", "prod")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings { interval: Duration::from_secs(300), ..sample::settings() };
    Arc::new(Target { labels: labels.into(), ..sample::target(name, "ts01.corp.example", settings) })
}

pub(crate) fn fresh(name: &str) -> TargetState {
    TargetState::new(target(name))
}

/// The state after one more observation, learnt from and judged as an examination would.
pub(crate) fn absorb(state: TargetState, seen: Observation) -> TargetState {
    let memory = state.memory.clone().learn(&state.target, &seen, &Roots::new(Vec::new(), Vec::new()));
    absorb_with(state, seen, memory)
}

pub(crate) fn absorb_with(state: TargetState, seen: Observation, memory: Memory) -> TargetState {
    let diagnosis = diagnose(&seen, &memory, &state.target, seen.ended);
    state.absorb(Report { observation: seen, diagnosis }, memory)
}

fn healthy() -> Observation {
    observation(vec![shaken(Protocols::HYBRID_EX)])
}

pub(crate) fn our_fault(text: &str) -> Observation {
    let fault = Fault::Local(LocalFault { reason: LocalReason::Descriptors, text: text.to_owned() });
    Observation { addresses: Vec::new(), ..observation(vec![unconnected(fault)]) }
}

/// One target of each kind.
fn estate() -> Vec<TargetState> {
    let rdp_remembered = || observation(vec![answered(Protocols::RDP, selected(Protocols::RDP))]);
    let refused_then_rdp =
        || observation(vec![answered(ORDINARY, refused(2)), answered(Protocols::RDP, selected(Protocols::RDP))]);
    vec![
        absorb(absorb(fresh("healthy"), observation(vec![unconnected(Fault::Timeout)])), healthy()),
        absorb(
            fresh("ssl"),
            Observation { resolve: Some(Duration::from_millis(7)), ..observation(vec![shaken(Protocols::SSL)]) },
        ),
        absorb(fresh("standard"), refused_then_rdp()),
        // The refusal was asked for by an earlier probe.
        absorb(absorb(fresh("standard-still"), refused_then_rdp()), rdp_remembered()),
        absorb(fresh("refused"), observation(vec![answered(ORDINARY, refused(5))])),
        absorb(fresh("silent"), observation(vec![unanswered(ORDINARY, Fault::Timeout)])),
        absorb(fresh("reset-in-tls"), observation(vec![stopped_in_tls(Fault::Reset)])),
        absorb(fresh("gone"), stopped_early(Fault::NameNotFound)),
        absorb(absorb(fresh("our-fault"), healthy()), our_fault("open a socket: too many open files")),
        absorb(fresh("our-fault-at-once"), our_fault("open a socket: too many open files")),
        fresh("unprobed"),
    ]
}

#[test]
fn only_names_types_and_labels_of_the_contract_are_shown() {
    let (_, read) = scrape(estate());
    read.check_against(TARGET_FAMILIES, &["target", "site", "tier"]);
    assert!(read.families.len() >= 18, "{:?}", read.names());
}

/// `UPDATE_GOLDEN=1 cargo test` writes the file anew.
#[test]
fn metrics_are_the_golden_ones() {
    let vitals = Vitals::new(noon());
    vitals.record_start_delay(Duration::from_millis(30));
    vitals.count_local_failure(estate()[9].last.as_ref().unwrap());
    vitals.record_access(Some(true));
    vitals.record_save(true, noon());
    let mut out = Vec::new();
    for family in metrics::exporter_families(&vitals, 11) {
        // What the process itself counts differs from run to run.
        if !family.name().starts_with("process_") {
            metrics::encode(&family, &mut out).unwrap();
        }
    }
    let own = String::from_utf8(out).unwrap().replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let text = scrape(estate()).0 + &own;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics.txt");
    if env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(&file, &text).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    for (number, (found, expected)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

#[test]
fn the_exporters_own_metrics_are_those_of_the_contract() {
    let mut out = Vec::new();
    for family in metrics::exporter_families(&Vitals::new(noon()), 3) {
        metrics::encode(&family, &mut out).unwrap();
    }
    let mut read = parse(&String::from_utf8(out).unwrap());
    read.families.retain(|name, _| !name.starts_with("process_"));
    read.check_against(EXPORTER_FAMILIES, &[]);
}

#[test]
fn buckets_are_those_of_the_contract() {
    let bounds = |text: &str, name: &str| -> Vec<String> {
        let buckets = text.lines().filter(|line| line.starts_with(&format!("{name}_bucket{{")));
        buckets.map(|line| parse_sample(line).1.remove("le").unwrap()).collect()
    };
    let (text, read) = scrape(vec![absorb(fresh("t"), healthy())]);
    let expected = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
    assert_eq!(bounds(&text, "rdp_handshake_duration_seconds"), expected);
    // connect 1 ms, negotiate 2 ms, tls 27 ms
    assert_eq!(read.of("t", "rdp_handshake_duration_seconds_sum"), BTreeMap::from([(String::new(), 0.03)]));
    assert_eq!(read.of("t", "rdp_handshake_duration_seconds_bucket")["le=0.025"], 0.0);
    assert_eq!(read.of("t", "rdp_handshake_duration_seconds_bucket")["le=0.05"], 1.0);
    let mut out = Vec::new();
    for family in metrics::exporter_families(&Vitals::new(noon()), 0) {
        metrics::encode(&family, &mut out).unwrap();
    }
    let expected = ["0.01", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "+Inf"];
    assert_eq!(bounds(&String::from_utf8(out).unwrap(), "rdp_exporter_probe_start_delay_seconds"), expected);
}

/// Rows: target, family, the series it must have, as `own labels value`; none where a fact was not observed.
#[test]
fn a_fact_that_was_not_observed_is_a_missing_series() {
    let (_, read) = scrape(estate());
    let rows = [
        ("healthy", "rdp_up", "1"),
        ("healthy", "rdp_verdict", "verdict=healthy 1"),
        ("healthy", "rdp_probes_total", "verdict=connect_timeout 1, verdict=healthy 1"),
        ("healthy", "rdp_consecutive_failures", "0"),
        ("healthy", "rdp_security_layer", "layer=hybrid_ex 1"),
        ("healthy", "rdp_nla_required", ""),
        ("healthy", "rdp_address_info", "address=10.1.0.10 1"),
        ("healthy", "rdp_negotiation_failure_code", ""),
        ("healthy", "rdp_stage_duration_seconds", "stage=connect 0.001, stage=negotiate 0.002, stage=tls 0.027"),
        ("healthy", "rdp_tls_info", "cipher=TLS_AES_256_GCM_SHA384 version=TLS 1.3 1"),
        ("healthy", "rdp_certificate_changes_total", ""),
        ("ssl", "rdp_nla_required", "0"),
        ("standard", "rdp_up", "1"),
        ("standard", "rdp_security_layer", "layer=rdp 1"),
        ("standard", "rdp_negotiation_failure_code", "2"),
        ("standard", "rdp_finding", "finding=standard_security_only severity=critical 1"),
        ("standard", "rdp_tls_info", ""),
        ("standard-still", "rdp_negotiation_failure_code", "2"),
        ("standard-still", "rdp_finding", "finding=standard_security_only severity=critical 1"),
        ("refused", "rdp_up", "0"),
        ("refused", "rdp_reachable", "1"),
        ("refused", "rdp_negotiation_failure_code", "5"),
        ("refused", "rdp_security_layer", ""),
        ("refused", "rdp_negotiation_flag", ""),
        ("silent", "rdp_security_layer", ""),
        ("silent", "rdp_stage_duration_seconds", "stage=connect 0.001, stage=negotiate 0.004"),
        ("reset-in-tls", "rdp_security_layer", "layer=hybrid_ex 1"),
        ("reset-in-tls", "rdp_tls_info", ""),
        ("reset-in-tls", "rdp_handshake_duration_seconds_count", "0"),
        ("gone", "rdp_up", "0"),
        ("gone", "rdp_reachable", "0"),
        ("gone", "rdp_address_info", ""),
        ("gone", "rdp_stage_duration_seconds", "stage=resolve 0.002"),
    ];
    for (target, family, expected) in rows {
        let series = read.of(target, family);
        let told = series.iter().map(|(labels, value)| format!("{labels} {value}").trim().to_owned());
        assert_eq!(told.collect::<Vec<_>>().join(", "), expected, "{family} of {target}");
    }
    let flags = read.of("healthy", "rdp_negotiation_flag");
    let expected = ["dynvc_gfx", "extended_client_data", "remote_credential_guard", "restricted_admin"];
    assert_eq!(flags, expected.map(|flag| (format!("flag={flag}"), 1.0)).into());
}

#[test]
fn a_target_that_was_not_probed_has_its_interval_and_nothing_else() {
    let (_, read) = scrape(vec![fresh("unprobed")]);
    assert_eq!(read.names(), BTreeSet::from(["rdp_probe_interval_seconds"]));
    assert_eq!(read.of("unprobed", "rdp_probe_interval_seconds"), BTreeMap::from([(String::new(), 300.0)]));
}

#[test]
fn our_own_fault_leaves_up_and_reachable_alone() {
    let (_, read) = scrape(estate());
    let one = BTreeMap::from([(String::new(), 1.0)]);
    for family in ["rdp_up", "rdp_reachable"] {
        assert_eq!(read.of("our-fault", family), one, "{family}");
        assert!(read.of("our-fault-at-once", family).is_empty(), "{family}");
    }
    for target in ["our-fault", "our-fault-at-once"] {
        assert_eq!(read.of(target, "rdp_verdict"), BTreeMap::from([("verdict=exporter_fault".to_owned(), 1.0)]));
        assert_eq!(read.of(target, "rdp_consecutive_failures"), one);
    }
    let down = absorb(absorb(fresh("down"), observation(vec![unconnected(Fault::Refused)])), our_fault("fork"));
    assert_eq!((down.up, down.reachable), (Some(false), Some(false)));
    let vitals = Vitals::new(noon());
    vitals.count_local_failure(down.last.as_ref().unwrap());
    let counted: Vec<_> = vitals.local_failures().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [(LocalReason::Descriptors, 1)]);
}

#[test]
fn failures_in_a_row_are_counted_until_one_is_healthy() {
    let down = || observation(vec![unconnected(Fault::Refused)]);
    let state = absorb(absorb(absorb(fresh("t"), down()), our_fault("fork")), down());
    assert_eq!(state.consecutive_failures, 3);
    let state = absorb(state, healthy());
    assert_eq!(state.consecutive_failures, 0);
    assert_eq!(state.tally.iter().sum::<u64>(), 4);
}

#[test]
fn accepted_findings_are_counted_and_not_shown() {
    let expect = Expectations { accept: vec![Finding::StandardSecurityOnly], ..sample::settings().expect };
    let target = sample::target("t", "ts01.corp.example", Settings { expect, ..sample::settings() });
    let (_, read) = scrape(vec![absorb(
        TargetState::new(target.into()),
        observation(vec![answered(ORDINARY, Negotiation::Absent)]),
    )]);
    assert!(read.of("t", "rdp_finding").is_empty());
    assert_eq!(read.of("t", "rdp_findings_accepted"), BTreeMap::from([(String::new(), 1.0)]));
}

#[test]
fn one_probe_shows_blackboxs_names_and_nothing_that_counts() {
    let now = noon();
    for (state, is_configured) in estate().into_iter().flat_map(|state| [(state.clone(), true), (state, false)]) {
        let name = state.target.name.clone();
        let up = state.up;
        let mut out = Vec::new();
        metrics::write_probe(&Arc::new(state), is_configured, now, &mut out).unwrap();
        let read = parse(&String::from_utf8(out).unwrap());
        let only = |wanted: fn(&str) -> bool| -> Exposition {
            let families = read.families.iter().filter(|(name, _)| wanted(name)).map(|(n, k)| (n.clone(), k.clone()));
            let samples = read.samples.iter().filter(|((name, _), _)| wanted(name)).map(|(k, v)| (k.clone(), *v));
            Exposition { families: families.collect(), samples: samples.collect() }
        };
        only(|name| name.starts_with("probe_")).check_against(BLACKBOX_FAMILIES, &[]);
        only(|name| name.starts_with("rdp_")).check_against(TARGET_FAMILIES, &["target", "site", "tier"]);
        assert!(read.families.values().all(|kind| kind == "gauge"), "{name}");
        assert_eq!(read.families.contains_key("rdp_probe_interval_seconds"), is_configured, "{name}");
        if name != "unprobed" {
            assert!(read.families.contains_key("rdp_last_probe_timestamp_seconds"), "{name}");
            assert!(read.families.contains_key("probe_duration_seconds"), "{name}");
        }
        if let Some(up) = up {
            let success = read.samples[&("probe_success".to_owned(), BTreeMap::new())];
            assert_eq!(success, f64::from(up), "{name}");
        }
    }
}

/// `probe_success` is `rdp_up`, and what was not observed is missing.
#[test]
fn a_probe_that_our_own_system_refused_has_no_success() {
    let mut out = Vec::new();
    metrics::write_probe(&Arc::new(absorb(fresh("t"), our_fault("fork"))), false, noon(), &mut out).unwrap();
    let read = parse(&String::from_utf8(out).unwrap());
    assert!(!read.families.contains_key("rdp_up"));
    assert!(!read.families.contains_key("probe_success"));
}

#[test]
fn several_probes_share_their_families() {
    let states: Vec<_> = estate().into_iter().map(Arc::new).collect();
    let mut out = Vec::new();
    metrics::write_probes(&states, noon(), &mut out).unwrap();
    let read = parse(&String::from_utf8(out).unwrap());
    read.check_against(TARGET_FAMILIES, &["target", "site", "tier"]);
    assert!(read.families.values().all(|kind| kind == "gauge"));
}

#[test]
fn histograms_can_be_left_out() {
    let states = [Arc::new(absorb(fresh("t"), healthy()))];
    let mut out = Vec::new();
    for family in metrics::families() {
        metrics::write_family(family, &states, View { now: noon(), histograms: false }, &mut out).unwrap();
    }
    let read = parse(&String::from_utf8(out).unwrap());
    assert!(read.families.values().all(|kind| kind != "histogram"));
}

/// A target whose configuration holds `text` wherever it can.
fn labelled(text: &str) -> TargetState {
    let labels = BTreeMap::from([("site".to_owned(), text.to_owned())]);
    TargetState::new(Arc::new(Target { labels, ..sample::target(&format!("t{text}"), "ts01", sample::settings()) }))
}

#[test]
fn configured_texts_survive_the_text_format() {
    let long = "ü".repeat(200);
    for text in HOSTILE.into_iter().chain([long.as_str()]) {
        let (_, read) = scrape(vec![absorb(labelled(text), healthy()), absorb(fresh("other"), healthy())]);
        let labels =
            read.samples.keys().map(|(_, labels)| labels).find(|labels| labels["target"] == format!("t{text}"));
        assert_eq!(labels.unwrap()["site"], text);
    }
}

/// Prometheus' lexer takes NUL for the end of the text: one such label and the whole scrape is lost.
#[test]
fn a_configured_nul_never_reaches_the_scrape() {
    scrape(vec![absorb(labelled("a\0b"), healthy())]);
}

#[test]
fn a_strangers_nul_never_reaches_the_scrape() {
    if !sample::certificate_is_stub() {
        scrape(vec![shown("a\0b")]);
    }
}

#[test]
fn a_strangers_texts_are_cut_and_escaped() {
    if sample::certificate_is_stub() {
        return;
    }
    // 256 is in the middle of a character.
    let long = "東".repeat(100);
    let cut = "東".repeat(85);
    for text in HOSTILE.into_iter().chain([long.as_str()]) {
        let state = shown(text);
        let (_, read) = scrape(vec![state.clone()]);
        let (_, labels) = read.samples.keys().find(|(name, _)| name == "rdp_certificate_info").unwrap();
        let expected = if text == long { &cut } else { text };
        for name in ["subject", "issuer", "serial", "key", "signature", "san"] {
            assert_eq!(labels[name], expected, "{name}");
        }
        faces::check(&state, noon());
    }
}

#[test]
fn what_a_challenge_says_is_cut_and_escaped() {
    let long = "ü".repeat(200);
    for text in HOSTILE.into_iter().chain([long.as_str(), "a\0b"]) {
        let name = Some(text.to_owned());
        let challenge = Challenge {
            dns_computer: name.clone(),
            dns_domain: name.clone(),
            netbios_computer: name.clone(),
            netbios_domain: name,
            ..Challenge::default()
        };
        let mut memory = Memory::default();
        memory.challenge.last = Some((Arc::new(ChallengeFacts { challenge, clock_skew_seconds: None }), noon()));
        let state = absorb_with(fresh("t"), healthy(), memory);
        let (_, read) = scrape(vec![state.clone()]);
        let (_, labels) = read.samples.keys().find(|(name, _)| name == "rdp_server_info").unwrap();
        let expected = if text == long { "ü".repeat(128) } else { text.replace('\0', "\u{fffd}") };
        for name in ["computer", "domain", "dns_computer", "dns_domain"] {
            assert_eq!(labels[name], expected, "{name}");
        }
        assert_eq!(labels["version"], "", "empty where unknown");
        faces::check(&state, noon());
    }
}

/// A target whose certificate says `text` wherever it can.
fn shown(text: &str) -> TargetState {
    let mut memory = judgement::remembered();
    judgement::change(memory.certificates.last.as_mut().unwrap(), |facts| {
        let names = [&mut facts.subject, &mut facts.issuer, &mut facts.san];
        for fact in names.into_iter().chain([&mut facts.serial, &mut facts.key, &mut facts.signature]) {
            *fact = Some(text.to_owned());
        }
    });
    absorb_with(fresh("t"), healthy(), memory)
}

#[test]
fn an_old_certificate_is_shown_no_longer() {
    if sample::certificate_is_stub() {
        return;
    }
    let state = Arc::new(absorb_with(fresh("t"), healthy(), judgement::remembered()));
    let view = |days: u64| View { now: noon() + Duration::from_secs(days * 86_400), histograms: true };
    for (days, is_shown) in [(29, true), (31, false)] {
        let mut out = Vec::new();
        for family in metrics::families() {
            metrics::write_family(family, &[Arc::clone(&state)], view(days), &mut out).unwrap();
        }
        let read = parse(&String::from_utf8(out).unwrap());
        assert_eq!(read.families.contains_key("rdp_certificate_info"), is_shown, "after {days} days");
        assert_eq!(read.families.contains_key("rdp_certificate_not_after_timestamp_seconds"), is_shown);
    }
}

#[test]
fn a_failure_code_is_not_told_where_the_last_probe_rests_on_nothing_of_it() {
    let rdp = |negotiation| observation(vec![answered(Protocols::RDP, negotiation)]);
    for (last, expected) in [
        (rdp(selected(Protocols::RDP)), Some(2.0)),
        (observation(vec![unconnected(Fault::Timeout)]), None),
        (observation(vec![unanswered(Protocols::RDP, Fault::Timeout)]), None),
        (stopped_early(Fault::NameNotFound), None),
        (our_fault("open a socket: too many open files"), None),
    ] {
        let refused = vec![answered(ORDINARY, refused(2)), answered(Protocols::RDP, selected(Protocols::RDP))];
        let state = absorb(absorb(fresh("t"), observation(refused)), last.clone());
        let (_, read) = scrape(vec![state.clone()]);
        let shown = read.of("t", "rdp_negotiation_failure_code").get("").copied();
        assert_eq!(shown, expected, "{last:?}");
        let told: serde_json::Value = serde_json::from_str(&report::json(&[&state], noon())).unwrap();
        assert_eq!(told[0]["failure_code"].as_f64(), expected, "{last:?}");
    }
}

#[test]
fn certificates_are_shown_with_all_their_facts() {
    if sample::certificate_is_stub() {
        return;
    }
    let mut memory = judgement::remembered();
    judgement::change(memory.certificates.last.as_mut().unwrap(), |facts| facts.san = None);
    let state = absorb_with(fresh("t"), observation(vec![unconnected(Fault::Timeout)]), memory);
    let (_, read) = scrape(vec![state.clone()]);
    read.check_against(TARGET_FAMILIES, &["target", "site", "tier"]);
    let value = |family: &str| read.of("t", family).get("").copied();
    let noon = 1_795_176_000.0;
    assert_eq!(value("rdp_certificate_not_after_timestamp_seconds"), Some(noon + 90.0 * 86_400.0));
    assert_eq!(value("rdp_certificate_not_before_timestamp_seconds"), Some(noon - 86_400.0));
    assert_eq!(value("rdp_certificate_chain_not_after_timestamp_seconds"), Some(noon + 80.0 * 86_400.0));
    assert_eq!(value("rdp_certificate_days_to_expiry"), Some(90.0 - 60.0 / 86_400.0));
    assert_eq!(value("rdp_certificate_self_signed"), Some(0.0));
    assert_eq!(value("rdp_certificate_trusted"), None, "no roots are loaded");
    assert_eq!(value("rdp_certificate_name_match"), Some(1.0));
    assert_eq!(value("rdp_certificate_key_proven"), Some(1.0));
    assert_eq!(value("rdp_certificate_observed_timestamp_seconds"), Some(noon));
    assert_eq!(value("rdp_certificate_changes_total"), Some(0.0));
    let info = read.of("t", "rdp_certificate_info");
    assert!(info.keys().next().unwrap().contains("san= "), "empty where unknown: {info:?}");
    let mut out = Vec::new();
    metrics::write_probe(&Arc::new(state.clone()), false, sample::noon(), &mut out).unwrap();
    let one = parse(&String::from_utf8(out).unwrap());
    let earliest = one.samples[&("probe_ssl_earliest_cert_expiry".to_owned(), BTreeMap::new())];
    assert_eq!(earliest, noon + 80.0 * 86_400.0);
    faces::check(&state, sample::noon());
}

#[test]
fn every_face_of_a_hostile_target_is_harmless() {
    for text in HOSTILE {
        let mut state = absorb(labelled(text), observation(vec![unanswered(ORDINARY, Fault::NotTpkt(text.into()))]));
        faces::check(&state, noon());
        let fault = Fault::NotTpkt((0..=255).collect());
        state = absorb(state, observation(vec![unanswered(ORDINARY, fault)]));
        faces::check(&state, noon());
    }
}

/// A library's and the system's words may quote a stranger.
#[test]
fn every_face_of_a_hostile_fault_is_harmless() {
    for text in HOSTILE {
        let local = || Fault::Local(LocalFault { reason: LocalReason::System, text: text.to_owned() });
        let attempt = Attempt { address: address(), fault: local(), after: Duration::ZERO };
        let mut unconnected = unconnected(local());
        unconnected.attempts.push(attempt);
        let observations = [
            observation(vec![unconnected]),
            observation(vec![stopped_in_tls(Fault::TlsBroken(text.to_owned()))]),
            observation(vec![stopped_in_tls(Fault::Incompatible(text.to_owned()))]),
        ];
        for seen in observations {
            faces::check(&absorb(fresh("t"), seen), noon());
        }
    }
}

/// No text of a library's error becomes a label.
#[test]
fn a_librarys_words_stay_out_of_the_scrape() {
    let words = "the library's own words";
    let faults = [Fault::TlsBroken(words.into()), Fault::Incompatible(words.into())];
    let states = faults.map(|fault| absorb(fresh("t"), observation(vec![stopped_in_tls(fault)])));
    for state in states.into_iter().chain([absorb(fresh("t"), our_fault(words))]) {
        assert!(!scrape(vec![state]).0.contains(words));
    }
}

#[test]
fn json_of_every_kind_of_target_says_what_the_metrics_say() {
    let states = estate();
    let all: Vec<_> = states.iter().collect();
    let read: serde_json::Value = serde_json::from_str(&report::json(&all, noon())).unwrap();
    for (shown, state) in read.as_array().unwrap().iter().zip(&states) {
        let name = &state.target.name;
        assert_eq!(shown["target"], name.as_str());
        assert_eq!(shown["up"], serde_json::json!(state.up), "{name}");
        assert_eq!(shown["reachable"], serde_json::json!(state.reachable), "{name}");
        assert_eq!(shown["verdict"], serde_json::json!(state.last_verdict().map(Verdict::label)), "{name}");
        assert!(shown["certificate"].is_null(), "{name}");
        assert!(!report::text(state, noon()).is_empty());
    }
    let healthy = &read[0];
    assert_eq!(healthy["layer"], "hybrid_ex");
    assert_eq!(healthy["tls"], serde_json::json!({ "version": "TLS 1.3", "cipher": "TLS_AES_256_GCM_SHA384" }));
    assert_eq!(read[4]["failure_code"], 5);
}

#[test]
fn text_for_a_person_names_stages_verdict_and_reason() {
    let text = report::text(&absorb(fresh("ts01"), observation(vec![stopped_in_tls(Fault::Alert(40))])), noon());
    // Wherever the lines are broken.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in ["ts01", "connect", "negotiate", "tls", "tls_alert", "alert 40 (handshake_failure)", "hybrid_ex"] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    let finding = (Finding::CertificateExpired, Severity::Critical);
    let diagnosis =
        Diagnosis { verdict: Verdict::Healthy, findings: vec![finding], accepted: vec![finding], companions: vec![] };
    let state = fresh("t").absorb(Report { observation: healthy(), diagnosis }, Memory::default());
    let text = report::text(&state, noon());
    assert!(text.contains("certificate_expired [critical]"), "{text}");
    assert!(report::text(&fresh("t"), noon()).contains("not probed yet"));
}
