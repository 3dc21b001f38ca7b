//! The report for a person: a line per stage, then what was learnt, then the verdict.

use std::{
    fmt::{self, Write},
    time::{Duration, SystemTime},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::wrap;
use crate::{
    diagnosis::{Entry, Verdict},
    examine::Report,
    memory::SeenCertificate,
    observation::{ChallengeFacts, Conversation, Negotiation, Observation, Stage},
    state::TargetState,
    survey::Survey,
    text::printable,
    wire::negotiation::ResponseFlags,
};

/// The last report of a target, several lines, each ending in a line feed.
#[must_use]
pub fn text(state: &TargetState, now: SystemTime) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_report(&mut out, state, now);
    out
}

fn write_report(out: &mut String, state: &TargetState, now: SystemTime) -> fmt::Result {
    let target = &state.target;
    match target.name == target.address.to_string() {
        true => writeln!(out, "{}", printable(&target.name))?,
        false => writeln!(out, "{} ({})", printable(&target.name), target.address)?,
    }
    let Some(report) = &state.last else { return writeln!(out, "  not probed yet") };
    write_stages(out, &report.observation)?;
    write_layer(out, report.observation.deciding())?;
    if let Some((survey, _)) = &state.memory.survey.last {
        write_survey(out, survey)?;
    }
    if let Some((facts, _)) = &state.memory.challenge.last {
        write_challenge(out, facts)?;
    }
    if let Some(certificate) = &state.memory.certificates.last {
        write_certificate(out, certificate, now, report)?;
    }
    for (finding, severity) in &report.diagnosis.findings {
        line(out, "finding", &format!("{finding} [{}]", severity.label()))?;
        paragraph(out, "", "", finding.runbook().sentence)?;
    }
    for (finding, severity) in &report.diagnosis.accepted {
        line(out, "accepted", &format!("{finding} [{}]", severity.label()))?;
    }
    line(out, "verdict", report.diagnosis.verdict.label())?;
    paragraph(out, "", "", report.diagnosis.verdict.runbook().sentence)?;
    line(out, "because", &report.evidence())?;
    match report.diagnosis.verdict {
        Verdict::Healthy => Ok(()),
        verdict => write_remedy(out, verdict.runbook()),
    }
}

/// What the runbook says of a client that cannot get in.
fn write_remedy(out: &mut String, entry: &Entry) -> fmt::Result {
    if !entry.windows_shows.is_empty() {
        paragraph(out, "clients", "", &format!("Windows clients show: {}", entry.windows_shows))?;
    }
    for (name, items) in [("likely", entry.causes), ("next", entry.next)] {
        for (number, item) in items.iter().take(REMEDIES).enumerate() {
            paragraph(out, if number == 0 { name } else { "" }, "- ", item)?;
        }
    }
    line(out, "more", &format!("rdp_exporter explain {}", entry.label))
}

fn write_stages(out: &mut String, seen: &Observation) -> fmt::Result {
    let stop = seen.stop();
    for (stage, took) in seen.stages() {
        let stopped = stop.filter(|stop| stop.stage == stage);
        let told = printable(&stopped.map_or_else(|| stage_told(seen, stage), |stop| stop.fault.to_string()));
        let sign = if stopped.is_some() { "stopped" } else { "ok" };
        line(out, stage.label(), &format!("{:>10}  {sign:<7}  {told}", milliseconds(took)))?;
        if stage == Stage::Connect {
            for attempt in seen.conversations.iter().flat_map(|conversation| &conversation.attempts) {
                let told = printable(&attempt.fault.to_string());
                line(out, "", &format!("{:>10}  {}: {told}", milliseconds(attempt.after), attempt.address))?;
            }
        }
    }
    Ok(())
}

/// What a stage that went well has told.
fn stage_told(seen: &Observation, stage: Stage) -> String {
    let deciding = seen.deciding();
    match stage {
        Stage::Resolve => seen.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Stage::Connect => {
            deciding.and_then(|c| c.connect.as_ref()).map(|timed| timed.fact.to_string()).unwrap_or_default()
        }
        Stage::Negotiate => deciding.map(Conversation::negotiated).unwrap_or_default(),
        Stage::Tls => deciding.map(Conversation::answer).unwrap_or_default(),
        Stage::Challenge => match deciding.and_then(|c| c.challenge.as_ref()).map(|timed| &timed.fact) {
            Some(Ok(_)) => "the server told its names and its clock".to_owned(),
            Some(Err(fault)) => fault.to_string(),
            None => String::new(),
        },
    }
}

fn write_layer(out: &mut String, deciding: Option<&Conversation>) -> fmt::Result {
    let Some(conversation) = deciding else { return Ok(()) };
    if let Some(layer) = conversation.layer() {
        line(out, "layer", &layer.to_string())?;
    }
    if let Some(Negotiation::Selected { flags, .. }) = conversation.negotiation.map(|timed| timed.fact) {
        let named = ResponseFlags::NAMED.into_iter().filter(|(flag, _)| flags.contains(*flag));
        line(out, "flags", &named.map(|(_, name)| name).collect::<Vec<_>>().join(", "))?;
    }
    match conversation.tls_names() {
        Some((version, cipher)) => line(out, "tls", &format!("{version}, {cipher}")),
        None => Ok(()),
    }
}

fn write_survey(out: &mut String, survey: &Survey) -> fmt::Result {
    let answers = |answers: Vec<(&'static str, bool)>| {
        let texts = answers.iter().map(|(name, accepted)| format!("{name} {}", if *accepted { "yes" } else { "no" }));
        texts.collect::<Vec<_>>().join(", ")
    };
    let layers = survey.layers.iter().filter_map(|(layer, accepted)| Some((layer.label()?, accepted)));
    line(out, "accepts", &answers(layers.collect()))?;
    let versions: Vec<_> = survey.versions.iter().map(|(version, accepted)| (version.label(), accepted)).collect();
    if !versions.is_empty() {
        line(out, "", &answers(versions))?;
    }
    if let Some(required) = survey.nla_required {
        line(out, "nla", if required { "required" } else { "not required" })?;
    }
    if let Some((method, level)) = survey.encryption {
        let methods = survey.methods.iter().filter_map(|(method, accepted)| Some((method.label()?, accepted)));
        let chosen = format!("{}, level {}", method.label().unwrap_or("unknown"), level.label().unwrap_or("unknown"));
        line(out, "encryption", &format!("{chosen}; {}", answers(methods.collect())))?;
    }
    Ok(())
}

fn write_challenge(out: &mut String, facts: &ChallengeFacts) -> fmt::Result {
    let challenge = &facts.challenge;
    let known = |name: &Option<String>| name.as_deref().map(printable);
    let names = [known(&challenge.dns_computer), known(&challenge.netbios_computer), known(&challenge.netbios_domain)];
    let names: Vec<_> = names.into_iter().flatten().collect();
    let version = challenge.version.map(|version| format!(", version {version}")).unwrap_or_default();
    line(out, "server", &format!("{}{version}", names.join(", ")))?;
    match facts.clock_skew_seconds {
        Some(skew) => line(out, "clock", &format!("{skew:+.1} s from ours")),
        None => Ok(()),
    }
}

fn write_certificate(out: &mut String, seen: &SeenCertificate, now: SystemTime, report: &Report) -> fmt::Result {
    let facts = &seen.facts;
    let known = |fact: &Option<String>| fact.as_deref().map_or_else(|| "unreadable".to_owned(), printable);
    line(out, "certificate", &known(&facts.subject))?;
    line(out, "issuer", &known(&facts.issuer))?;
    if let Some(not_after) = facts.not_after {
        let days = (not_after - OffsetDateTime::from(now)).as_seconds_f64() / 86_400.0;
        let date = not_after.format(&Rfc3339).unwrap_or_default();
        let direction = if days < 0.0 { "expired" } else { "left" };
        line(out, "valid until", &format!("{date}, {:.1} days {direction}", days.abs()))?;
    }
    if facts.san.as_deref().is_some_and(|san| !san.is_empty()) {
        line(out, "names", &known(&facts.san))?;
    }
    line(out, "key", &format!("{}, signed with {}", known(&facts.key), known(&facts.signature)))?;
    line(out, "sha256", &facts.sha256)?;
    let facts = [
        ("self-signed", facts.self_signed),
        ("trusted", seen.trusted),
        ("name matches", seen.name_match),
        ("key proven", seen.key_proven),
    ];
    let answers = facts
        .iter()
        .filter_map(|(name, answer)| answer.map(|answer| format!("{name}: {}", if answer { "yes" } else { "no" })));
    line(out, "", &answers.collect::<Vec<_>>().join(", "))?;
    match seen.observed < report.observation.started {
        true => line(out, "", "seen by an earlier probe, not by this one"),
        false => Ok(()),
    }
}

fn line(out: &mut String, name: &str, value: &str) -> fmt::Result {
    writeln!(out, "  {name:<NAME_COLUMNS$} {}", value.trim_end())
}

/// A text of ours, which may be several lines; `lead` opens the first of them.
fn paragraph(out: &mut String, name: &str, lead: &str, text: &str) -> fmt::Result {
    let (mut name, mut lead) = (name, lead.to_owned());
    for wrapped in wrap(text, COLUMNS - NAME_COLUMNS - 3 - lead.len()) {
        line(out, name, &format!("{lead}{wrapped}"))?;
        (name, lead) = ("", " ".repeat(lead.len()));
    }
    Ok(())
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

const COLUMNS: usize = 80;
const NAME_COLUMNS: usize = 12;
/// How many causes and steps are shown; the rest is in the runbook.
const REMEDIES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runbook_of_every_verdict_fits_beside_the_names() {
        for verdict in Verdict::ALL {
            let entry = verdict.runbook();
            let mut out = String::new();
            write_remedy(&mut out, entry).unwrap();
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
