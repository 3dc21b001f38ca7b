//! `/targets/NAME`: everything that is known of one target, and what to do about it.

mod facts;
mod history;
mod probe;

use maud::{Markup, html};

use super::{
    Standing, View, down_since,
    frame::{self, Place, document},
    overview::labels,
    target_path, words,
};
use crate::{
    diagnosis::{Entry, Finding, Severity, Verdict},
    examine::Report,
    observation::age,
    state::TargetState,
};

/// The page of one target.
#[must_use]
pub fn target(state: &TargetState, view: View<'_>) -> String {
    let name = &state.target.name;
    let body = html! {
        (head(state, view))
        @if let Some(report) = &state.last {
            (judgement(state, report))
            (findings(report))
            div.panels {
                (probe::last(state, report))
                (facts::certificate(state, report, view))
                (facts::survey(state, view))
                (facts::server(state, view))
            }
        } @else {
            section.notice { p { "Not probed yet. The first probes of a large estate are spread over a while." } }
        }
        (history::history(state, view))
        (settings(state))
    };
    document(name, Place::Targets, &body, view)
}

fn head(state: &TargetState, view: View<'_>) -> Markup {
    let path = target_path(&state.target.name);
    let settings = &state.target.settings;
    html! {
        div.target-head {
            div {
                h1 { (state.target.name) }
                div.under {
                    (frame::standing(Standing::of(state)))
                    @if let Some(since) = down_since(state) {
                        span.since {
                            @if since.is_exact { "for " } @else { "for more than " }
                            (words::span(age(since.at, view.now)))
                        }
                    }
                    span.address { (state.target.address) }
                    (labels(state))
                }
            }
            form.probe-now action={ (path) "/probe" } method="post" {
                button type="submit" { "Probe now" }
                p {
                    @if let Some(report) = &state.last {
                        "Probed " (words::ago(report.observation.ended, view.now)) ", took "
                        (words::took(report.observation.duration)) "; "
                    }
                    "every " (humantime::format_duration(settings.interval)) "."
                }
            }
        }
    }
}

/// The verdict and, where a client cannot get in, what to do.
fn judgement(state: &TargetState, report: &Report) -> Markup {
    let verdict = report.diagnosis.verdict;
    let entry = verdict.runbook();
    let is_down = Standing::of(state) == Standing::Down;
    html! {
        section.judgement.down[is_down] aria-labelledby="verdict" {
            h2 #verdict { span.verdict { (verdict.label()) } }
            p.sentence { (words::runbook(entry.sentence)) }
            p.because { "Because: " (report.evidence()) }
            @if report.diagnosis.findings.is_empty() { p.because { "No findings." } }
            @if verdict == Verdict::Healthy {
                details { summary { "Users fail all the same?" } (remedy(entry)) }
            } @else {
                @if verdict == Verdict::ExporterFault && let Some(up) = state.up {
                    p { "Before that it was " (if up { "up" } else { "down" }) "." }
                }
                (remedy(entry))
            }
        }
    }
}

/// What the runbook says beyond its first sentence.
fn remedy(entry: &Entry) -> Markup {
    html! {
        div.remedy {
            @if !entry.windows_shows.is_empty() {
                div { h3 { "Windows clients show" } p { (words::runbook(entry.windows_shows)) } }
            }
            div { h3 { "Likely" } ol { @for cause in entry.causes { li { (words::runbook(cause)) } } } }
            div.next { h3 { "Next" } ol { @for step in entry.next { li { (words::runbook(step)) } } } }
            div { h3 { "It does not mean" } p { (words::runbook(entry.not)) } }
        }
    }
}

fn findings(report: &Report) -> Markup {
    let (found, accepted) = (&report.diagnosis.findings, &report.diagnosis.accepted);
    html! {
        @if !found.is_empty() || !accepted.is_empty() {
            section.panel.wide aria-labelledby="findings" {
                h2 #findings { "Findings" }
                @for one in found { (finding(*one, false)) }
                @for one in accepted { (finding(*one, true)) }
            }
        }
    }
}

fn finding((found, severity): (Finding, Severity), is_accepted: bool) -> Markup {
    let entry = found.runbook();
    html! {
        details.one-finding .accepted[is_accepted] open[severity == Severity::Critical && !is_accepted] {
            summary { (frame::finding((found, severity), is_accepted)) span.sentence { (words::runbook(entry.sentence)) } }
            (remedy(entry))
        }
    }
}

/// How the target is probed and judged.
fn settings(state: &TargetState) -> Markup {
    let settings = &state.target.settings;
    let times = [
        ("interval", settings.interval),
        ("timeout", settings.timeout),
        ("connect_timeout", settings.connect_timeout),
        ("survey_interval", settings.survey_interval),
        ("challenge_interval", settings.challenge_interval),
        ("facts_max_age", settings.facts_max_age),
    ];
    html! {
        section.panel.wide aria-labelledby="settings" {
            h2 #settings { "How it is probed" }
            dl.facts.across {
                @for (key, time) in times { div { dt { (key) } dd { (humantime::format_duration(time)) } } }
                @let ports: Vec<_> = settings.companion_ports.iter().map(ToString::to_string).collect();
                div { dt { "companion_ports" } dd { (if ports.is_empty() { "none".to_owned() } else { ports.join(", ") }) } }
                div { dt { "server_name" } dd { (state.target.server_name.as_deref().unwrap_or("none")) } }
            }
        }
    }
}
