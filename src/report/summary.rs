//! Several targets at a glance.

use std::cmp::Reverse;

use super::{
    page::{Ink, Page, Tone},
    text::{tone_of, tone_of_finding},
    wrap::columns,
};
use crate::{
    diagnosis::{Diagnosis, Severity, Verdict},
    state::TargetState,
    text::printable,
};

/// A line per target, worst first.
#[must_use]
pub fn summary(states: &[&TargetState], ink: Ink) -> String {
    let mut page = Page::new(ink);
    let healthy = states.iter().filter(|state| state.last_verdict() == Some(Verdict::Healthy)).count();
    let counts = format!("{} healthy, {} not; worst first", healthy, states.len() - healthy);
    page.heading(&format!("{} targets", states.len()), (Tone::Plain, &counts));
    page.blank();
    let mut sorted = states.to_vec();
    sorted.sort_by_key(|state| rank(state));
    let names: Vec<_> = sorted.iter().map(|state| printable(&state.target.name)).collect();
    let width = names.iter().map(|name| columns(name)).filter(|width| *width <= MAX_NAME).max().unwrap_or(0);
    for (state, name) in sorted.into_iter().zip(&names) {
        let (tone, said) = said(state);
        let gap = width.saturating_sub(columns(name));
        if columns(name) <= MAX_NAME {
            page.cell((Tone::Plain, &format!("  {name}{:gap$}  ", "")), (tone, &said));
        } else {
            page.cell((Tone::Plain, "  "), (Tone::Plain, name));
            page.cell((Tone::Plain, &format!("  {:width$}  ", "")), (tone, &said));
        }
    }
    page.into_text()
}

/// Who cannot be entered comes first, in the order of the stages; then who was not probed; then by the worst finding.
fn rank(state: &TargetState) -> (usize, Option<Verdict>, Reverse<Option<Severity>>) {
    let worst = state.last.as_ref().and_then(|report| Some(report.diagnosis.findings.first()?.1));
    match state.last_verdict() {
        Some(Verdict::Healthy) => (2, None, Reverse(worst)),
        None => (1, None, Reverse(None)),
        verdict => (0, verdict, Reverse(worst)),
    }
}

/// The verdict and every finding.
fn said(state: &TargetState) -> (Tone, String) {
    let Some(report) = &state.last else { return (Tone::Plain, "not probed yet".to_owned()) };
    let Diagnosis { verdict, findings, .. } = &report.diagnosis;
    let findings = findings.iter().map(|(finding, severity)| format!("; {finding} [{}]", severity.label()));
    let tone = match report.diagnosis.findings.first() {
        Some((_, severity)) if *verdict == Verdict::Healthy => tone_of_finding(*severity),
        _ => tone_of(*verdict),
    };
    (tone, verdict.to_string() + &findings.collect::<String>())
}

/// Longer names stand on a line of their own.
const MAX_NAME: usize = 30;
