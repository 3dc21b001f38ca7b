//! `/`: every target, worst first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use maud::{Markup, html};

use super::{
    Query, Standing, View, charts, down_since,
    frame::{self, Place, document},
    query::LABEL,
    target_path, words,
};
use crate::{
    diagnosis::{Finding, Severity, Verdict},
    observation::{Conversation, age},
    state::TargetState,
    wire::negotiation::Protocols,
};

/// The page of all targets that are asked for.
#[must_use]
pub fn overview(states: &[Arc<TargetState>], query: &Query, view: View<'_>) -> String {
    if states.is_empty() {
        return document("Targets", Place::Targets, &empty(), view);
    }
    let matching = query.matching(states);
    let headline = headline(&matching, query);
    let selected = query.choose(matching);
    let body = html! {
        h1.unseen { "Targets" }
        (headline)
        (form(states, query))
        @if selected.total == 0 {
            section.notice {
                h2 { "No target matches" }
                p { a href="/" { "Show all " (words::count(states.len())) } }
            }
        } @else {
            div.list-head {
                p role="status" { (selected.range("target", "targets")) ", worst first" }
                (selected.links(|page| Query { page, ..query.clone() }.url()))
            }
            table.targets {
                caption.unseen { "Targets, worst first" }
                thead {
                    tr {
                        th scope="col" { "State" }
                        th scope="col" { "Target" }
                        th scope="col" { "Verdict and findings" }
                        th scope="col" { "Layer" }
                        th.number scope="col" title="What is left of the certificate" { "Certificate" }
                        th.number scope="col" title="Connect, negotiate and TLS" { "Handshake" }
                        th.number scope="col" { "Probed" }
                        th scope="col" { "Last 60 probes" }
                    }
                }
                tbody { @for state in &selected.items { (row(state, view)) } }
            }
            (selected.links(|page| Query { page, ..query.clone() }.url()))
        }
    };
    document("Targets", Place::Targets, &body, view)
}

/// How many stand how; each count leads to those.
fn headline(matching: &[&Arc<TargetState>], query: &Query) -> Markup {
    let mut counts: BTreeMap<Standing, usize> = BTreeMap::new();
    for state in matching {
        *counts.entry(Standing::of(state)).or_default() += 1;
    }
    let link = |standing: &str| Query { standing: standing.to_owned(), page: 0, ..query.clone() }.url();
    let current = |standing: &str| (query.standing == standing).then_some("true");
    html! {
        nav.counts aria-label="Targets by state" {
            a.all href=(link("")) aria-current=[current("")] { b { (words::count(matching.len())) } span { "all" } }
            @for standing in Standing::ALL {
                @let count = counts.get(&standing).copied().unwrap_or_default();
                a class=[(count == 0).then_some("zero")]
                    href=(link(standing.label())) aria-current=[current(standing.label())] {
                    b { (frame::icon(standing.label())) (words::count(count)) }
                    span { (words_of(standing)) }
                }
            }
        }
    }
}

const fn words_of(standing: Standing) -> &'static str {
    match standing {
        Standing::Down => "down",
        Standing::Unknown => "unknown",
        Standing::Critical => "up, critical finding",
        Standing::Warning => "up, warning",
        Standing::NotProbed => "not probed yet",
        Standing::Good => "up and good",
    }
}

fn form(states: &[Arc<TargetState>], query: &Query) -> Markup {
    let verdicts = verdict_counts(states);
    let offered = offered_labels(states);
    let others = query.labels.iter().filter(|(name, _)| !offered.contains_key(name.as_str()));
    html! {
        form.filters role="search" action="/" method="get" {
            @if !query.standing.is_empty() { input type="hidden" name="state" value=(query.standing); }
            @for (name, value) in others { input type="hidden" name={ (LABEL) (name) } value=(value); }
            div.field.wide {
                label for="q" { "Search" }
                input #q type="search" name="q" value=(query.text) autocomplete="off" spellcheck="false"
                    placeholder="name, address, label, verdict, finding, server, certificate";
            }
            div.field {
                label for="verdict" { "Verdict" }
                select #verdict name="verdict" {
                    option value="" { "any" }
                    @if !query.verdict.is_empty() && !verdicts.iter().any(|(verdict, _)| verdict.label() == query.verdict) {
                        option value=(query.verdict) selected { (query.verdict) }
                    }
                    @for (verdict, count) in verdicts {
                        option value=(verdict.label()) selected[verdict.label() == query.verdict] {
                            (verdict.label()) " (" (words::count(count)) ")"
                        }
                    }
                }
            }
            @for (place, (name, values)) in offered.iter().enumerate() {
                @let chosen = query.labels.get(*name).map(String::as_str);
                div.field {
                    label for={ "label" (place) } { (name) }
                    select id={ "label" (place) } name={ (LABEL) (name) } {
                        option value="" { "any" }
                        @if let Some(chosen) = chosen.filter(|chosen| !values.contains(chosen)) {
                            option value=(chosen) selected { (chosen) }
                        }
                        @for value in values { option value=(value) selected[chosen == Some(*value)] { (value) } }
                    }
                }
            }
            div.actions {
                button type="submit" { "Show" }
                @if query.is_any() { a href="/" { "Show all" } }
            }
            @for (name, value) in query.labels.iter().filter(|(name, _)| !offered.contains_key(name.as_str())) {
                p.chosen { "Only those with " span.label { (name) "=" (value) } }
            }
        }
    }
}

/// The verdicts that occur, in their order.
fn verdict_counts(states: &[Arc<TargetState>]) -> Vec<(Verdict, usize)> {
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for verdict in states.iter().filter_map(|state| state.last_verdict()) {
        *counts.entry(verdict).or_default() += 1;
    }
    counts.into_iter().collect()
}

/// The first labels with few enough values to choose from.
fn offered_labels(states: &[Arc<TargetState>]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in states.iter().flat_map(|state| &state.target.labels) {
        let values = values.entry(name).or_default();
        if values.len() <= MAX_VALUES {
            values.insert(value);
        }
    }
    values.into_iter().filter(|(_, values)| values.len() <= MAX_VALUES).take(MAX_LABELS).collect()
}

fn row(state: &TargetState, view: View<'_>) -> Markup {
    let standing = Standing::of(state);
    html! {
        tr class=(standing.label()) {
            td.c-state { (frame::standing(standing)) (since(state, view)) }
            td.c-target {
                a href=(target_path(&state.target.name)) { (state.target.name) }
                div.under { (address(state)) (labels(state)) }
            }
            td.c-verdict { (verdict(state)) (findings(state)) }
            td.c-layer { (layer(state)) }
            td.c-certificate.number { (certificate(state, view)) }
            td.c-handshake.number { (handshake(state)) }
            td.c-probed.number { (probed(state, view)) }
            td.c-history { (charts::strip(&state.history)) }
        }
    }
}

fn since(state: &TargetState, view: View<'_>) -> Markup {
    html! {
        @if let Some(since) = down_since(state) {
            span.since title={ "since " (words::date(since.at.into())) @if !since.is_exact { " or longer" } } {
                @if since.is_exact { "for " } @else { "over " }
                (words::span(age(since.at, view.now)))
            }
        }
    }
}

/// The address, where the name does not say it.
pub(super) fn address(state: &TargetState) -> Markup {
    let address = state.target.address.to_string();
    html! { @if state.target.name != address { span.address { (address) } } }
}

pub(super) fn labels(state: &TargetState) -> Markup {
    html! {
        @if !state.target.labels.is_empty() {
            ul.labels aria-label="Labels" {
                @for (name, value) in &state.target.labels { li { span.label-name { (name) "=" } (value) } }
            }
        }
    }
}

fn verdict(state: &TargetState) -> Markup {
    html! {
        @if let Some(report) = &state.last {
            @let evidence = report.evidence();
            span.verdict { (report.diagnosis.verdict.label()) }
            span.evidence title=(evidence) { (evidence) }
        } @else {
            span.faint { "The first probes of a large estate are spread over a while." }
        }
    }
}

fn findings(state: &TargetState) -> Markup {
    let Some(report) = &state.last else { return Markup::default() };
    let (found, accepted) = (&report.diagnosis.findings, &report.diagnosis.accepted);
    html! {
        @if !found.is_empty() || !accepted.is_empty() {
            div.findings {
                @for one in found { (frame::finding(*one, false)) }
                @for one in accepted { (frame::finding(*one, true)) }
            }
        }
    }
}

fn layer(state: &TargetState) -> Markup {
    let deciding = state.last.as_ref().and_then(|report| report.observation.deciding());
    let layer = deciding.and_then(Conversation::layer).and_then(Protocols::label);
    html! { @if let Some(layer) = layer { (layer) } @else { span.faint { "–" } } }
}

/// What is left of the certificate, in the colour of what is found about that.
fn certificate(state: &TargetState, view: View<'_>) -> Markup {
    let seen = state.memory.certificates.last.as_ref();
    let Some(ends) = seen.and_then(|seen| seen.facts.not_after) else { return html! { span.faint { "–" } } };
    let found = state.last.iter().flat_map(|report| &report.diagnosis.findings);
    let about_end = |finding: Finding| matches!(finding, Finding::CertificateExpired | Finding::CertificateExpiring);
    let worst = found.filter(|(finding, _)| about_end(*finding)).map(|(_, severity)| *severity).max();
    html! {
        span class=[worst.map(Severity::label)] title={ "ends " (words::date(ends)) } {
            (words::days_left(words::days_until(ends, view.now)))
        }
    }
}

fn handshake(state: &TargetState) -> Markup {
    let took = state.last.as_ref().and_then(|report| report.observation.handshake());
    html! { @if let Some(took) = took { (words::took(took)) } @else { span.faint { "–" } } }
}

fn probed(state: &TargetState, view: View<'_>) -> Markup {
    html! {
        @if let Some(report) = &state.last { (words::ago(report.observation.ended, view.now)) }
        @else { span.faint { "–" } }
    }
}

fn empty() -> Markup {
    html! {
        section.notice {
            h1 { "No targets yet" }
            p { "Write the hosts that are to be probed into a configuration file:" }
            pre { code {
                "targets:" br;
                "  - address: ts01.corp.example" br;
                "    labels: { site: berlin }" br;
                "  - addresses: [10.1.0.10, 10.1.0.11]" br;
                "    labels: { site: oslo }"
            } }
            p {
                "Start with " code { "rdp_exporter --config.file=config.yaml" } ". Where it runs with that file already, "
                code { "SIGHUP" } " or " code { "POST /-/reload" } " makes it read the file again. "
                "What is in force now: " a href="/config" { "configuration" } "."
            }
        }
    }
}

/// Labels that can be chosen from a list.
const MAX_LABELS: usize = 6;
/// Values that a list to choose from may have.
const MAX_VALUES: usize = 100;
