//! The report for a program. Names are those of the metrics' labels; a fact that was not observed is `null`.
//! Users' programs rely on it: fields are added, never renamed or removed, and `docs/json.md` tells of each.

use std::{fmt::Write, time::SystemTime};

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    diagnosis::{Finding, Severity},
    history::Change,
    memory::SeenCertificate,
    observation::{ChallengeFacts, Companion, Conversation, Negotiation, Observation, Stop},
    state::TargetState,
    survey::Survey,
    text::is_harmless,
    wire::negotiation::{Protocols, ResponseFlags},
};

/// The last reports of `states` as one JSON array, for people's terminals as well: what could drive one is escaped.
#[must_use]
pub fn json(states: &[&TargetState], now: SystemTime) -> String {
    safe(&Value::Array(states.iter().map(|state| target(state, now)).collect()))
}

/// One target with its history.
#[must_use]
pub fn json_with_history(state: &TargetState, now: SystemTime) -> String {
    safe(&whole(state, now))
}

/// One page of `total` targets, each with its history.
#[must_use]
pub fn json_page(states: &[&TargetState], (total, page, pages): (usize, usize, usize), now: SystemTime) -> String {
    let targets: Value = states.iter().map(|state| whole(state, now)).collect();
    safe(&json!({ "total": total, "page": page, "pages": pages, "targets": targets }))
}

fn safe(all: &Value) -> String {
    let mut safe = String::new();
    for character in format!("{all:#}").chars() {
        if is_harmless(character) || character == '\n' {
            safe.push(character);
        } else {
            // Such a character stands only inside a string, where its escape means the same.
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    safe
}

fn target(state: &TargetState, now: SystemTime) -> Value {
    let report = state.last.as_ref();
    let seen = report.map(|report| &report.observation);
    let deciding = seen.and_then(Observation::deciding);
    let stages = seen.map(Observation::stages).unwrap_or_default();
    json!({
        "target": state.target.name,
        "address": state.target.address.to_string(),
        "labels": state.target.labels,
        "verdict": state.last_verdict().map(|verdict| verdict.label()),
        "evidence": report.map(|report| report.evidence()),
        "up": state.up,
        "reachable": state.reachable,
        "started": seen.map(|seen| date(seen.started.into())),
        "duration_seconds": seen.map(|seen| seen.duration.as_secs_f64()),
        "addresses": seen.map(|seen| &seen.addresses),
        "stages": stages.iter().map(|(stage, took)| {
            json!({ "stage": stage.label(), "seconds": took.as_secs_f64() })
        }).collect::<Value>(),
        "stop": seen.and_then(Observation::stop).map(stop),
        "companions": report.map(|report| report.diagnosis.companions.iter().map(companion).collect::<Value>()),
        "connections": seen.map(|seen| seen.conversations.iter().map(conversation).collect::<Value>()),
        "layer": deciding.and_then(Conversation::layer).and_then(Protocols::label),
        "failure_code": state.failure_code().map(|code| code.0),
        "tls": deciding.and_then(Conversation::tls_names).map(|(version, cipher)| {
            json!({ "version": version, "cipher": cipher })
        }),
        "network": deciding.and_then(|conversation| conversation.network).map(|network| json!({
            "round_trip_seconds": network.round_trip.as_secs_f64(),
            "retransmits": network.retransmits,
        })),
        "survey": state.memory.survey.last.as_ref().map(|(facts, ended)| {
            survey(facts, *ended, state.memory.survey.was_cut_short)
        }),
        "server": state.memory.challenge.last.as_ref().map(|(facts, observed)| server(facts, *observed)),
        "certificate": state.memory.certificates.last.as_ref().map(|seen| certificate(seen, now)),
        "findings": report.map(|report| findings(&report.diagnosis.findings)),
        "accepted_findings": report.map(|report| findings(&report.diagnosis.accepted)),
    })
}

fn whole(state: &TargetState, now: SystemTime) -> Value {
    let mut whole = target(state, now);
    let change = |change: &Change| {
        let (before, after) = change.what.before_and_after();
        let mut shown =
            json!({ "at": date(change.at.into()), "what": change.what.label(), "before": before, "after": after });
        if let Some(evidence) = change.what.evidence() {
            shown["evidence"] = evidence.into();
        }
        shown
    };
    whole["history"] = json!({
        "results": state.history.outcomes().map(|outcome| json!({
            "ended": date(outcome.ended().into()),
            "verdict": outcome.verdict.label(),
            "seconds": outcome.took().as_secs_f64(),
        })).collect::<Value>(),
        "verdict_changes": state.history.verdicts().map(change).collect::<Value>(),
        "changes": state.history.others().map(change).collect::<Value>(),
    });
    whole
}

fn conversation(seen: &Conversation) -> Value {
    let flags = match seen.negotiation.map(|timed| timed.fact) {
        Some(Negotiation::Selected { flags, .. }) => Some(flags),
        Some(Negotiation::Absent | Negotiation::Disconnected | Negotiation::Refused(_)) | None => None,
    };
    json!({
        "offered": seen.offered.0,
        "attempts": seen.attempts.iter().map(|attempt| json!({
            "address": attempt.address.to_string(),
            "reason": attempt.fault.to_string(),
            "seconds": attempt.after.as_secs_f64(),
        })).collect::<Value>(),
        "address": seen.connect.as_ref().map(|timed| timed.fact.to_string()),
        "answer": seen.negotiation.map(|_| seen.negotiated()),
        "flags": flags.map(|flags| {
            ResponseFlags::NAMED.into_iter().map(|(flag, name)| (name.to_owned(), Value::Bool(flags.contains(flag))))
                .collect::<serde_json::Map<_, _>>()
        }),
        "stop": seen.stop.as_ref().map(stop),
    })
}

fn companion(tried: &Companion) -> Value {
    json!({ "address": tried.address.to_string(), "answer": tried.answer() })
}

fn survey(survey: &Survey, ended: SystemTime, was_cut_short: bool) -> Value {
    let named = |pairs: Vec<(&'static str, bool)>| {
        pairs.into_iter().map(|(name, accepted)| (name.to_owned(), Value::Bool(accepted))).collect::<Value>()
    };
    let shown = survey.fingerprints.iter().cloned();
    json!({
        "ended": date(ended.into()),
        "cut_short": was_cut_short,
        "layers": named(survey.layers.iter().filter_map(|(layer, accepted)| Some((layer.label()?, accepted))).collect()),
        "tls_versions": named(survey.versions.iter().map(|(version, accepted)| (version.label(), accepted)).collect()),
        "nla_required": survey.nla_required,
        "encryption": survey.encryption.map(|(method, level)| {
            json!({ "method": method.label(), "level": level.label() })
        }),
        "encryption_methods":
            named(survey.methods.iter().filter_map(|(method, accepted)| Some((method.label()?, accepted))).collect()),
        "mcs_version": survey.standard_version.map(|version| format!("{version:#010x}")),
        "mcs_certificate_not_after": survey.standard_not_after.map(date),
        "certificates": shown.map(|(address, sha256)| (address.to_string(), Value::String(sha256))).collect::<Value>(),
    })
}

fn server(facts: &ChallengeFacts, observed: SystemTime) -> Value {
    let challenge = &facts.challenge;
    json!({
        "computer": challenge.netbios_computer,
        "domain": challenge.netbios_domain,
        "dns_computer": challenge.dns_computer,
        "dns_domain": challenge.dns_domain,
        "version": challenge.version.map(|version| version.to_string()),
        "clock_skew_seconds": facts.clock_skew_seconds,
        "observed": date(observed.into()),
    })
}

fn stop(stop: &Stop) -> Value {
    json!({
        "stage": stop.stage.label(),
        "reason": stop.fault.to_string(),
        "seconds": stop.after.as_secs_f64(),
    })
}

fn certificate(seen: &SeenCertificate, now: SystemTime) -> Value {
    let facts = &seen.facts;
    let days = |end: OffsetDateTime| (end - OffsetDateTime::from(now)).as_seconds_f64() / 86_400.0;
    json!({
        "subject": facts.subject,
        "issuer": facts.issuer,
        "serial": facts.serial,
        "sha256": facts.sha256,
        "key": facts.key,
        "signature": facts.signature,
        "san": facts.san,
        "not_before": facts.not_before.map(date),
        "not_after": facts.not_after.map(date),
        "days_to_expiry": facts.not_after.map(days),
        "chain_not_after": facts.chain_not_after.map(date),
        "self_signed": facts.self_signed,
        "trusted": seen.trusted,
        "name_match": seen.name_match,
        "key_proven": seen.key_proven,
        "address": seen.address.to_string(),
        "observed": date(seen.observed.into()),
    })
}

fn findings(findings: &[(Finding, Severity)]) -> Value {
    let entry =
        |(finding, severity): &(Finding, Severity)| json!({ "finding": finding.label(), "severity": severity.label() });
    findings.iter().map(entry).collect()
}

fn date(date: OffsetDateTime) -> Option<String> {
    date.format(&Rfc3339).ok()
}
