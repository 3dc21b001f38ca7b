//! What was learnt of a target, for a person: layers, TLS versions, server, certificate.

use std::time::SystemTime;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    page::{Page, Tone},
    settings::settings,
};
use crate::{
    examine::Report,
    memory::{Memory, SeenCertificate},
    observation::{ChallengeFacts, Conversation, Negotiation, age},
    state::TargetState,
    survey::Survey,
    wire::{
        gcc::EncryptionMethods,
        negotiation::{Protocols, ResponseFlags},
        tls_version::TlsVersion,
    },
};

pub(super) fn write(page: &mut Page, state: &TargetState, report: &Report, now: SystemTime) {
    let Memory { survey, challenge, certificates, .. } = &state.memory;
    let deciding = report.observation.deciding();
    let started = report.observation.started;
    let layer = deciding.and_then(Conversation::layer);
    if layer.is_some() || survey.last.is_some() {
        page.blank();
    }
    if let Some(layer) = layer {
        page.row("layer", &format!("{layer}{}", meaning(layer)));
    }
    if let Some((survey, ended)) = &survey.last {
        write_survey(page, survey, layer);
        write_age(page, *ended, started, now);
    }
    if survey.last.is_some() && survey.was_cut_short {
        page.row("", "the survey was cut short: by silence, or by its limit of time");
    }
    if let Some(conversation) = deciding {
        write_connection(page, conversation);
    }
    if let Some((facts, observed)) = &challenge.last {
        page.blank();
        write_challenge(page, facts);
        write_age(page, *observed, started, now);
    }
    if let Some(certificate) = &certificates.last {
        page.blank();
        write_certificate(page, certificate, now);
        write_age(page, certificate.observed, started, now);
    }
}

/// Facts of an earlier probe say so.
fn write_age(page: &mut Page, seen: SystemTime, started: SystemTime, now: SystemTime) {
    if seen < started {
        let hours = age(seen, now).as_secs_f64() / 3600.0;
        let ago = if hours < 48.0 { format!("{hours:.1} hours") } else { format!("{:.1} days", hours / 24.0) };
        page.row("", &format!("seen {ago} ago, not by this probe"));
    }
}

const fn meaning(layer: Protocols) -> &'static str {
    match layer {
        Protocols::RDP => " (Standard RDP Security, no TLS)",
        Protocols::SSL => " (TLS without NLA)",
        Protocols::HYBRID | Protocols::HYBRID_EX => " (TLS with NLA)",
        _ => "",
    }
}

fn write_survey(page: &mut Page, survey: &Survey, layer: Option<Protocols>) {
    let layers = Protocols::NAMED.map(|layer| (layer.label().unwrap_or_default(), answer(survey.layers.get(layer))));
    page.table("layers", &layers);
    // Where no layer with TLS is accepted, no version can be.
    if survey.versions.iter().next().is_some() {
        let versions = TlsVersion::ALL.map(|version| (version.label(), answer(survey.versions.get(version))));
        page.table("tls versions", &versions);
    }
    if let Some(required) = survey.nla_required {
        page.row("nla", if required { "required" } else { "not required" });
    }
    write_encryption(page, survey);
    let setting = settings(layer, survey.layers.get(Protocols::RDP), survey.nla_required);
    if let Some(setting) = setting {
        page.row("settings", &format!("on Windows: {setting}"));
    }
    for (number, (address, sha256)) in survey.fingerprints.iter().enumerate() {
        page.row(if number == 0 { "shown by" } else { "" }, &format!("{address} {sha256}"));
    }
}

const fn answer(accepted: Option<bool>) -> &'static str {
    match accepted {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not asked",
    }
}

fn write_encryption(page: &mut Page, survey: &Survey) {
    let Some((method, level)) = survey.encryption else { return };
    let named = EncryptionMethods::NAMED.into_iter().filter(|method| *method != EncryptionMethods::NONE);
    let methods: Vec<_> =
        named.filter_map(|method| Some((method.label()?, answer(survey.methods.get(method))))).collect();
    page.table("encryption", &methods);
    let chosen = (method.label().unwrap_or("unknown"), level.label().unwrap_or("unknown"));
    page.row("", &format!("{} is chosen of all, level {}", chosen.0, chosen.1));
    if let Some(not_after) = survey.standard_not_after {
        page.row("", &format!("its certificate is valid until {}", date(not_after)));
    }
}

fn write_connection(page: &mut Page, seen: &Conversation) {
    if let Some(Negotiation::Selected { flags, .. }) = seen.negotiation.map(|timed| timed.fact) {
        let named = ResponseFlags::NAMED.into_iter().filter(|(flag, _)| flags.contains(*flag));
        let named: Vec<_> = named.map(|(_, name)| name).collect();
        page.row("flags", if named.is_empty() { "none".to_owned() } else { named.join(", ") }.as_str());
    }
    if let Some(network) = seen.network {
        let round_trip = network.round_trip.as_secs_f64() * 1000.0;
        page.row("network", &format!("round trip {round_trip:.1} ms, {} retransmits", network.retransmits));
    }
}

fn write_challenge(page: &mut Page, facts: &ChallengeFacts) {
    let challenge = &facts.challenge;
    let names = [
        ("server", &challenge.netbios_computer, &challenge.dns_computer),
        ("domain", &challenge.netbios_domain, &challenge.dns_domain),
    ];
    for (name, netbios, dns) in names {
        let known: Vec<_> = [netbios, dns].into_iter().flatten().map(String::as_str).collect();
        if !known.is_empty() {
            page.row(name, &known.join(", "));
        }
    }
    if let Some(version) = challenge.version {
        page.row("version", &version.to_string());
    }
    if let Some(skew) = facts.clock_skew_seconds {
        // No minus before nothing.
        let tenths = (skew * 10.0).round() / 10.0 + 0.0;
        page.row("clock", &format!("{tenths:+.1} s from ours"));
    }
}

fn write_certificate(page: &mut Page, seen: &SeenCertificate, now: SystemTime) {
    let facts = &seen.facts;
    let known = |fact: &Option<String>| fact.clone().unwrap_or_else(|| "unreadable".to_owned());
    page.row("certificate", &known(&facts.subject));
    page.row("issuer", &known(&facts.issuer));
    write_validity(page, seen, now);
    if facts.san.as_deref() != Some("") {
        page.row("names", &known(&facts.san));
    }
    page.row("key", &format!("{}, signed with {}", known(&facts.key), known(&facts.signature)));
    page.row("sha256", &facts.sha256);
    let judged = [
        ("self-signed", facts.self_signed),
        ("trusted", seen.trusted),
        ("name matches", seen.name_match),
        ("key proven", seen.key_proven),
    ];
    let judged = judged.iter().filter_map(|(name, is)| Some(format!("{name}: {}", if (*is)? { "yes" } else { "no" })));
    page.row("judged", &judged.collect::<Vec<_>>().join(", "));
}

fn write_validity(page: &mut Page, seen: &SeenCertificate, now: SystemTime) {
    let facts = &seen.facts;
    let days = |date: OffsetDateTime| (date - OffsetDateTime::from(now)).as_seconds_f64() / 86_400.0;
    if let Some(not_before) = facts.not_before.filter(|not_before| days(*not_before) > 0.0) {
        page.toned_row("valid from", (Tone::Warning, &date(not_before)));
    }
    match facts.not_after {
        Some(not_after) if days(not_after) < 0.0 => {
            let ended = format!("{}, expired {:.1} days ago", date(not_after), -days(not_after));
            page.toned_row("valid until", (Tone::Bad, &ended));
        }
        Some(not_after) => page.row("valid until", &format!("{}, {:.1} days left", date(not_after), days(not_after))),
        None => page.row("valid until", "unreadable"),
    }
    let chain_not_after = facts.chain_not_after.filter(|chain| facts.not_after.is_some_and(|own| *chain < own));
    if let Some(not_after) = chain_not_after {
        page.row("", &format!("a certificate above it ends earlier: {}", date(not_after)));
    }
}

fn date(date: OffsetDateTime) -> String {
    date.format(&Rfc3339).unwrap_or_default()
}
