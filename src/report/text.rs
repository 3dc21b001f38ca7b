//! The report for a person: what became of each stage, what was learnt, what is wrong, and at the end what to do.
//! The verdict stands at both ends: at the top for who scrolls up, above the prompt for who does not.

use std::time::{Duration, SystemTime};

use super::{
    facts,
    page::{Ink, NAME_COLUMNS, Page, Tone},
};
use crate::{
    diagnosis::{Diagnosis, Entry, Severity, Verdict},
    examine::Report,
    observation::{Conversation, Observation, Stage, Way},
    state::TargetState,
    target::Target,
    wire::{clear_tls::HelloForm, negotiation::Protocols},
};

/// The last report of a target without colours; lines of at most 80 columns, each ending in a line feed.
#[must_use]
pub fn text(state: &TargetState, now: SystemTime) -> String {
    text_in(state, now, Ink::Plain)
}

/// The same in `ink`: the text does not differ but for its colours.
#[must_use]
pub fn text_in(state: &TargetState, now: SystemTime, ink: Ink) -> String {
    let mut page = Page::new(ink);
    let name = shown_name(&state.target);
    let Some(report) = &state.last else {
        page.heading(&name, (Tone::Plain, "not probed yet"));
        return page.into_text();
    };
    page.heading(&name, (tone_of(report.diagnosis.verdict), &in_short(&report.diagnosis)));
    page.blank();
    write_stages(&mut page, report);
    write_connections(&mut page, &report.observation);
    facts::write(&mut page, state, report, now);
    write_findings(&mut page, &report.diagnosis);
    write_verdict(&mut page, report);
    page.into_text()
}

/// The target's name, and where it is unless that is its name.
fn shown_name(target: &Target) -> String {
    match target.name == target.address.to_string() {
        true => target.name.clone(),
        false => format!("{} ({})", target.name, target.address),
    }
}

/// The verdict, and how many findings there are of each severity.
fn in_short(diagnosis: &Diagnosis) -> String {
    match counted(diagnosis).as_str() {
        "" => diagnosis.verdict.to_string(),
        counted => format!("{}; findings: {counted}", diagnosis.verdict),
    }
}

fn counted(diagnosis: &Diagnosis) -> String {
    let count = |wanted| diagnosis.findings.iter().filter(|(_, severity)| *severity == wanted).count();
    let worst_first = [Severity::Critical, Severity::Warning, Severity::Info].map(|of| (count(of), of.label()));
    let told = worst_first.iter().filter(|(count, _)| *count > 0).map(|(count, label)| format!("{count} {label}"));
    told.collect::<Vec<_>>().join(", ")
}

pub(super) const fn tone_of(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Healthy => Tone::Good,
        // Nothing is known of the host.
        Verdict::ExporterFault => Tone::Warning,
        _ => Tone::Bad,
    }
}

pub(super) const fn tone_of_finding(severity: Severity) -> Tone {
    match severity {
        Severity::Critical => Tone::Bad,
        Severity::Warning => Tone::Warning,
        Severity::Info => Tone::Plain,
    }
}

fn write_stages(page: &mut Page, report: &Report) {
    let seen = &report.observation;
    let stages = seen.stages();
    let stopped = report.stopped_in();
    for (stage, took) in &stages {
        let told = match stopped == Some(*stage) {
            true => (Tone::Bad, format!("STOPPED: {}", stop_told(seen, *stage))),
            false => (Tone::Plain, stage_told(seen, *stage)),
        };
        write_stage(page, stage.label(), (*took, seen.duration), (told.0, &told.1));
        if *stage == Stage::Connect {
            write_attempts(page, seen);
        }
    }
    if let Some(stopped) = stopped {
        let missed = Stage::ALL.into_iter().filter(|stage| *stage > stopped && *stage <= Stage::Tls);
        missed.for_each(|stage| page.row(stage.label(), &format!("{:>TIME_COLUMNS$}  not reached", "-")));
    }
    if seen.conversations.len() > 1 {
        let rest = seen.duration.saturating_sub(stages.iter().map(|(_, took)| *took).sum());
        write_stage(page, "other", (rest, seen.duration), (Tone::Plain, "other connections, pauses between"));
    }
    page.row("all", &format!("{:>TIME_COLUMNS$}", milliseconds(seen.duration)));
}

/// Name, time, a bar of a tenth of the whole probe for each sign, and what was told.
fn write_stage(page: &mut Page, name: &str, (took, whole): (Duration, Duration), (tone, told): (Tone, &str)) {
    let tenths = (took.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE) * 10.0).round();
    let bar: String = (1..=10).map(|tenth| if f64::from(tenth) <= tenths { '#' } else { ' ' }).collect();
    let mark = if tone == Tone::Bad { '>' } else { ' ' };
    let lead = format!("{mark} {name:<NAME_COLUMNS$} {:>TIME_COLUMNS$}  |{bar}|  ", milliseconds(took));
    page.cell((tone, &lead), (tone, told));
}

/// Every address that did not answer; one alone stands in the stage's own row.
fn write_attempts(page: &mut Page, seen: &Observation) {
    let attempts = || seen.conversations.iter().flat_map(|conversation| &conversation.attempts);
    if attempts().count() > 1 || seen.deciding().is_some_and(|deciding| deciding.connect.is_some()) {
        for attempt in attempts() {
            let lead = format!("{:>TIME_COLUMNS$}  ", milliseconds(attempt.after));
            page.item("", &lead, &format!("{}: {}", attempt.address, attempt.fault));
        }
    }
}

/// What a stage that went well has told.
fn stage_told(seen: &Observation, stage: Stage) -> String {
    let deciding = seen.deciding();
    match stage {
        Stage::Resolve => listed(seen.addresses.iter().map(ToString::to_string)),
        Stage::Connect => {
            deciding.and_then(|c| c.connect.as_ref()).map(|timed| timed.fact.to_string()).unwrap_or_default()
        }
        Stage::Negotiate => deciding.map(Conversation::negotiated).unwrap_or_default(),
        Stage::Tls => deciding.map(tls_told).unwrap_or_default(),
        Stage::Challenge => match deciding.and_then(|c| c.challenge.as_ref()).map(|timed| &timed.fact) {
            Some(Ok(_)) => "the server told its names and its clock".to_owned(),
            Some(Err(fault)) => fault.to_string(),
            None => String::new(),
        },
    }
}

fn tls_told(seen: &Conversation) -> String {
    match seen.tls_names() {
        Some((version, cipher)) if seen.tls.is_none() => format!("{version}, {cipher}, read in the clear"),
        Some((version, cipher)) => format!("{version}, {cipher}"),
        None => String::new(),
    }
}

fn stop_told(seen: &Observation, stage: Stage) -> String {
    match seen.stop() {
        Some(stop) if stage == Stage::Connect => match seen.deciding().map(|deciding| deciding.attempts.as_slice()) {
            Some([only]) => format!("{}, {}", only.address, stop.fault),
            _ => stop.fault.to_string(),
        },
        Some(stop) => stop.fault.to_string(),
        None => stage_told(seen, stage),
    }
}

/// What each connection was asked and came to, where one was not enough.
fn write_connections(page: &mut Page, seen: &Observation) {
    if seen.conversations.len() < 2 {
        return;
    }
    page.blank();
    for (number, conversation) in (1..).zip(&seen.conversations) {
        let name = if number == 1 { "connections" } else { "" };
        let came_to = match &conversation.stop {
            Some(stop) if !conversation.leads_in() => {
                format!("{}, then {}: {}", conversation.answer(), stop.stage.label(), stop.fault)
            }
            _ => conversation.answer(),
        };
        let decides = seen.deciding().is_some_and(|deciding| std::ptr::eq(deciding, conversation));
        let decides = if decides { "; this one decides" } else { "" };
        let asked = format!("offered {}{}: {came_to}{decides}", offered(conversation.offered), way(conversation.way));
        page.item(name, &format!("{number}. "), &asked);
    }
}

fn offered(protocols: Protocols) -> String {
    let named = Protocols::NAMED.into_iter().filter(|one| protocols.0 & one.0 != 0).filter_map(Protocols::label);
    match protocols {
        Protocols::RDP => "rdp".to_owned(),
        _ => listed(named.map(str::to_owned)),
    }
}

const fn way(way: Way) -> &'static str {
    match way {
        Way::Clear(HelloForm::Tls10) => " with a hand-made hello of TLS 1.0",
        Way::Clear(HelloForm::Tls11) => " with a hand-made hello of TLS 1.1",
        Way::Clear(HelloForm::Tls12) => " with a hand-made hello of TLS 1.2",
        Way::Rustls | Way::Stop => "",
    }
}

fn write_findings(page: &mut Page, diagnosis: &Diagnosis) {
    if diagnosis.findings.len() + diagnosis.accepted.len() > 0 {
        page.blank();
    }
    for (finding, severity) in &diagnosis.findings {
        page.toned_row("finding", (tone_of_finding(*severity), &format!("{finding} [{}]", severity.label())));
        page.row("", finding.runbook().sentence);
    }
    for (finding, severity) in &diagnosis.accepted {
        page.row("accepted", &format!("{finding} [{}]", severity.label()));
    }
}

fn write_verdict(page: &mut Page, report: &Report) {
    let Diagnosis { verdict, findings, .. } = &report.diagnosis;
    page.blank();
    page.toned_row("verdict", (tone_of(*verdict), verdict.label()));
    page.row("", verdict.runbook().sentence);
    page.row("because", &report.evidence());
    match (verdict, findings.first()) {
        (Verdict::Healthy, None | Some((_, Severity::Info))) => {}
        // Clients get in, but not all is well.
        (Verdict::Healthy, Some((finding, _))) => write_remedy(page, finding.runbook()),
        _ => write_remedy(page, verdict.runbook()),
    }
}

/// What the runbook says of a verdict or a finding that wants mending.
fn write_remedy(page: &mut Page, entry: &Entry) {
    page.blank();
    page.row("remedy", &format!("for {}", entry.label));
    if !entry.windows_shows.is_empty() {
        page.row("clients", &format!("Windows clients show: {}", entry.windows_shows));
    }
    for (name, items) in [("likely", entry.causes), ("next", entry.next)] {
        for (number, item) in items.iter().take(REMEDIES).enumerate() {
            page.item(if number == 0 { name } else { "" }, "- ", item);
        }
    }
    page.row("more", &format!("`rdp_exporter explain {}`", entry.label));
}

/// Several things in a row, the first few of very many.
fn listed(things: impl Iterator<Item = String>) -> String {
    let all: Vec<_> = things.collect();
    let shown = all.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

/// `10000.0 ms`.
const TIME_COLUMNS: usize = 10;
/// How many causes and steps are shown; the rest is in the runbook.
const REMEDIES: usize = 3;
const LISTED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{diagnosis::Finding, report::page::COLUMNS};

    #[test]
    fn runbook_of_every_verdict_and_finding_fits_beside_the_names() {
        let findings = Finding::ALL.map(Finding::runbook);
        for entry in Verdict::ALL.map(Verdict::runbook).into_iter().chain(findings) {
            let mut page = Page::new(Ink::Plain);
            write_remedy(&mut page, entry);
            let out = page.into_text();
            assert!(out.lines().all(|line| line.chars().count() <= COLUMNS), "{out}");
            let bullets = out.lines().filter(|line| line.get(15..17) == Some("- ")).count();
            assert_eq!(bullets, entry.causes.len().min(REMEDIES) + entry.next.len().min(REMEDIES), "{out}");
            for name in ["likely", "next", "more"] {
                assert!(out.lines().any(|line| line.trim_start().starts_with(name)), "{name} in\n{out}");
            }
            assert_eq!(out.contains("Windows clients show: "), !entry.windows_shows.is_empty(), "{out}");
        }
    }
}
