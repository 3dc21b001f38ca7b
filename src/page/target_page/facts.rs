//! What is remembered of a target beside its last probe: certificate, survey, server.

use maud::{Markup, html};

use crate::{
    examine::Report,
    observation::Conversation,
    page::{View, words},
    report::settings,
    state::TargetState,
    wire::negotiation::Protocols,
};

pub(super) fn certificate(state: &TargetState, report: &Report, view: View<'_>) -> Markup {
    let Some(seen) = &state.memory.certificates.last else { return Markup::default() };
    let facts = &seen.facts;
    let texts = [
        ("subject", facts.subject.as_deref()),
        ("issuer", facts.issuer.as_deref()),
        ("names", facts.san.as_deref()),
        ("key", facts.key.as_deref()),
        ("signature", facts.signature.as_deref()),
        ("serial", facts.serial.as_deref()),
        ("SHA-256", Some(facts.sha256.as_str())),
    ];
    let answers = [
        ("trusted", seen.trusted, true),
        ("name matches", seen.name_match, true),
        ("key proven", seen.key_proven, true),
        ("self-signed", facts.self_signed, false),
    ];
    html! {
        section.panel aria-labelledby="certificate" {
            h2 #certificate { "Certificate" }
            @if let Some(ends) = facts.not_after {
                @let days = words::days_until(ends, view.now);
                p.big { b .bad[days < 0.0] { (words::days_left(days)) } @if days >= 0.0 { " left" } }
            }
            ul.answers {
                @for (name, answer, matters) in answers { @if let Some(answer) = answer { (is(name, answer, matters)) } }
            }
            dl.facts {
                @for (name, text) in texts { @if let Some(text) = text.filter(|text| !text.is_empty()) { dt { (name) } dd { (text) } } }
                @if let Some(begins) = facts.not_before { dt { "valid from" } dd { (words::moment(begins)) } }
                @if let Some(ends) = facts.not_after { dt { "valid until" } dd { (words::moment(ends)) } }
                @if let Some(ends) = facts.chain_not_after.filter(|ends| Some(*ends) != facts.not_after) {
                    dt { "chain until" } dd { (words::moment(ends)) }
                }
                dt { "seen" } dd {
                    (words::ago(seen.observed, view.now)) " at " (seen.address)
                    @if seen.observed < report.observation.started { ", not by the last probe" }
                }
                dt { "changes" } dd { (state.memory.certificates.changes) }
            }
        }
    }
}

pub(super) fn survey(state: &TargetState, view: View<'_>) -> Markup {
    let Some((survey, ended)) = &state.memory.survey.last else { return Markup::default() };
    let layers = survey.layers.iter().filter_map(|(layer, accepted)| Some((layer.label()?, accepted)));
    let versions = survey.versions.iter().map(|(version, accepted)| (version.label(), accepted));
    let layer = state.last.as_ref().and_then(|report| report.observation.deciding()).and_then(Conversation::layer);
    let setting = settings(layer, survey.layers.get(Protocols::RDP), survey.nla_required);
    let methods = survey.methods.iter().filter_map(|(method, accepted)| Some((method.label()?, accepted)));
    html! {
        section.panel aria-labelledby="survey" {
            h2 #survey { "Survey" }
            (accepted("Layers", layers.collect()))
            (accepted("TLS versions", versions.collect()))
            (accepted("Encryption of Standard RDP Security", methods.collect()))
            dl.facts {
                @if let Some(required) = survey.nla_required { dt { "NLA required" } dd { (words::yes_or_no(required)) } }
                @if let Some(setting) = setting { dt { "on Windows" } dd { (words::runbook(setting)) } }
                @if let Some((method, level)) = survey.encryption {
                    dt { "encryption" }
                    dd { (method.label().unwrap_or("unknown")) ", level " (level.label().unwrap_or("unknown")) }
                }
                @if let Some(version) = survey.standard_version { dt { "MCS version" } dd { (format!("{version:#010x}")) } }
                @if let Some(ends) = survey.standard_not_after { dt { "MCS certificate until" } dd { (words::moment(ends)) } }
                @for (address, sha256) in &survey.fingerprints { dt { (address) } dd { (sha256) } }
                dt { "ended" } dd {
                    (words::ago(*ended, view.now))
                    @if state.memory.survey.was_cut_short { ", before all was asked" }
                    @if state.memory.survey.is_under_way() { "; another is under way" }
                }
            }
        }
    }
}

pub(super) fn server(state: &TargetState, view: View<'_>) -> Markup {
    let Some((facts, observed)) = &state.memory.challenge.last else { return Markup::default() };
    let challenge = &facts.challenge;
    let texts = [
        ("computer", challenge.netbios_computer.as_deref()),
        ("domain", challenge.netbios_domain.as_deref()),
        ("DNS computer", challenge.dns_computer.as_deref()),
        ("DNS domain", challenge.dns_domain.as_deref()),
    ];
    html! {
        section.panel aria-labelledby="server" {
            h2 #server { "Server" }
            dl.facts {
                @for (name, text) in texts { @if let Some(text) = text { dt { (name) } dd { (text) } } }
                @if let Some(version) = challenge.version { dt { "version" } dd { (version) } }
                @if let Some(skew) = facts.clock_skew_seconds {
                    dt { "clock" } dd { (clock(skew)) }
                }
                dt { "seen" } dd { (words::ago(*observed, view.now)) }
            }
        }
    }
}

fn clock(skew: f64) -> String {
    match skew.abs() {
        ..0.05 => "as ours".to_owned(),
        skew_size => {
            let direction = if skew > 0.0 { "ahead of" } else { "behind" };
            format!("{skew_size:.1} s {direction} ours")
        }
    }
}

/// What is accepted and what is not, of those that are known.
fn accepted(title: &str, known: Vec<(&'static str, bool)>) -> Markup {
    html! {
        @if !known.is_empty() {
            h3 { (title) }
            ul.answers { @for (name, accepted) in known { (is(name, accepted, false)) } }
        }
    }
}

/// A fact that holds or does not; one that should is marked where it does not.
fn is(name: &str, holds: bool, should_hold: bool) -> Markup {
    html! {
        li .yes[holds] .no[!holds] .wrong[should_hold && !holds] { (name) ": " b { (words::yes_or_no(holds)) } }
    }
}
