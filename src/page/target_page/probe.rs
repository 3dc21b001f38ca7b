//! The last probe: its stages, its connections, and what they told.

use std::time::Duration;

use maud::{Markup, html};

use crate::{
    examine::Report,
    observation::{Conversation, Negotiation, Observation, Stage},
    page::{charts, words},
    state::TargetState,
    wire::negotiation::ResponseFlags,
};

pub(super) fn last(state: &TargetState, report: &Report) -> Markup {
    let seen = &report.observation;
    html! {
        section.panel aria-labelledby="probe" {
            h2 #probe { "Last probe" }
            (stages(report))
            (addresses(seen))
            @if !report.diagnosis.companions.is_empty() {
                h3 { "Companion ports" }
                ul.plain { @for companion in &report.diagnosis.companions { li { (companion) } } }
            }
            dl.facts {
                @if let Some(conversation) = seen.deciding() { (negotiated(conversation)) }
                @if let Some(code) = state.failure_code() { dt { "failure code" } dd { (code) } }
                @if let Some(network) = seen.deciding().and_then(|conversation| conversation.network) {
                    dt { "round trip" } dd { (words::took(network.round_trip)) }
                    dt { "retransmits" } dd { (network.retransmits) }
                }
                dt { "began" } dd { (words::moment(seen.started)) }
                dt { "probes so far" } dd { (words::count(usize::try_from(state.probes()).unwrap_or(usize::MAX))) }
                @if state.consecutive_failures > 0 { dt { "not healthy in a row" } dd { (state.consecutive_failures) } }
            }
        }
    }
}

/// A bar per stage, one after another.
fn stages(report: &Report) -> Markup {
    let seen = &report.observation;
    let stages = seen.stages();
    let stopped = report.stopped_in();
    let whole: Duration = stages.iter().map(|(_, took)| *took).sum();
    let mut start = Duration::ZERO;
    let stages = stages.into_iter().map(|(stage, took)| {
        start += took;
        (stage, start - took, took)
    });
    html! {
        table.stages {
            caption.unseen { "Stages, with their times" }
            tbody {
                @for (stage, start, took) in stages {
                    @let has_stopped = stopped == Some(stage);
                    tr {
                        th scope="row" { (stage.label()) }
                        td.bar { (charts::stage_bar(start, took, whole, has_stopped)) }
                        td.number { (words::took(took)) }
                        td.told { @if has_stopped { b.bad { "stopped: " } } (told(seen, stage)) }
                    }
                }
            }
        }
    }
}

/// What came of a stage.
fn told(seen: &Observation, stage: Stage) -> String {
    let deciding = seen.deciding();
    if let Some(stop) = seen.stop().filter(|stop| stop.stage == stage) {
        return stop.fault.to_string();
    }
    let told = match stage {
        Stage::Resolve => match seen.addresses.len() {
            1 => Some("1 address".to_owned()),
            count => Some(format!("{count} addresses")),
        },
        Stage::Connect => deciding.and_then(|it| it.connect).map(|timed| timed.fact.to_string()),
        Stage::Negotiate => deciding.map(Conversation::negotiated),
        Stage::Tls => {
            deciding.and_then(Conversation::tls_names).map(|(version, cipher)| format!("{version}, {cipher}"))
        }
        Stage::Challenge => deciding.and_then(|it| it.challenge.as_ref()).map(|timed| match &timed.fact {
            Ok(_) => "the server told its names and its clock".to_owned(),
            Err(fault) => fault.to_string(),
        }),
    };
    told.unwrap_or_default()
}

/// Every address that was tried or could have been, where there is more to say than which one answered.
fn addresses(seen: &Observation) -> Markup {
    let attempts: Vec<_> = seen.conversations.iter().flat_map(|conversation| &conversation.attempts).collect();
    let answered = seen.deciding().and_then(|conversation| conversation.connect).map(|timed| timed.fact);
    html! {
        @if seen.addresses.len() > 1 || !attempts.is_empty() {
            h3 { "Addresses" }
            ul.plain {
                @for ip in &seen.addresses {
                    @if answered.is_some_and(|answered| answered.ip() == *ip) { li { code { (ip) } " answered" } }
                    @else if !attempts.iter().any(|attempt| attempt.address.ip() == *ip) { li { code { (ip) } " not tried" } }
                }
                @for attempt in attempts {
                    li { code { (attempt.address) } " " (attempt.fault) " after " (words::took(attempt.after)) }
                }
            }
        }
        @if seen.conversations.len() > 1 {
            h3 { "Connections" }
            ol.plain {
                @for conversation in &seen.conversations {
                    li {
                        "offered " (conversation.offered) ": " (conversation.answer())
                        @if let Some(stop) = &conversation.stop { "; " (stop.stage.label()) " stopped: " (stop.fault) }
                    }
                }
            }
        }
    }
}

fn negotiated(conversation: &Conversation) -> Markup {
    let flags = match conversation.negotiation.map(|timed| timed.fact) {
        Some(Negotiation::Selected { flags, .. }) => Some(flags),
        Some(Negotiation::Absent | Negotiation::Disconnected | Negotiation::Refused(_)) | None => None,
    };
    html! {
        @if let Some(layer) = conversation.layer() { dt { "layer" } dd { (layer) } }
        @if let Some(flags) = flags {
            @let named = ResponseFlags::NAMED.into_iter().filter(|(flag, _)| flags.contains(*flag));
            dt { "flags" } dd { (named.map(|(_, name)| name).collect::<Vec<_>>().join(", ")) }
        }
        @if let Some((version, cipher)) = conversation.tls_names() {
            dt { "TLS" } dd {
                (version) ", " (cipher) @if conversation.clear.is_some() { ", read in the clear" }
            }
        }
    }
}
