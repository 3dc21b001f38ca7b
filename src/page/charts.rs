//! Small pictures of what became of the last probes. Colour never stands alone: what is not healthy is taller.

use std::time::Duration;

use maud::{Markup, html};

use super::words;
use crate::{
    diagnosis::Verdict,
    history::{History, Outcome},
};

/// The last sixty probes in a row, the newest at the right, outcomes that are alike as one line of dashes.
pub(super) fn strip(history: &History) -> Markup {
    let outcomes: Vec<_> = history.outcomes().copied().collect();
    let healthy = outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Healthy).count();
    let described = format!("{healthy} of the last {} probes healthy", outcomes.len());
    let mut end = SLOTS;
    let runs: Vec<_> = runs(&outcomes)
        .into_iter()
        .rev()
        .map(|run| {
            end -= run.len();
            (end, run)
        })
        .collect();
    html! {
        @if outcomes.is_empty() { span.faint { "–" } } @else {
            svg.strip role="img" aria-label=(described) viewBox={ "0 0 " (SLOTS * 2) " 16" } {
                line.axis x1="0" y1="15.5" x2=(SLOTS * 2) y2="15.5" {}
                @for (start, run) in &runs {
                    path class=(kind(run[0].verdict)) d={ "M" (start * 2) " " (middle(run[0].verdict)) "h" (run.len() * 2) } {
                        title { (run_title(run)) }
                    }
                }
            }
        }
    }
}

/// The last sixty probes, each as tall as it took long; behind those that were not healthy stands a band.
pub(super) fn durations(history: &History) -> Markup {
    let outcomes: Vec<_> = history.outcomes().copied().collect();
    let longest = outcomes.iter().map(|outcome| outcome.took()).max().unwrap_or_default().max(Duration::from_millis(1));
    let first = SLOTS - outcomes.len().min(SLOTS);
    html! {
        figure.durations {
            svg role="img" aria-label="Duration of each of the last probes, the newest at the right"
                viewBox={ "0 0 " (SLOTS * 10) " 100" } preserveAspectRatio="none" {
                line.axis x1="0" y1="99.5" x2=(SLOTS * 10) y2="99.5" {}
                @for (place, outcome) in (first..).zip(&outcomes) {
                    @let height = (outcome.took().as_secs_f64() / longest.as_secs_f64() * 92.0).max(2.0);
                    g class=(kind(outcome.verdict)) {
                        title { (outcome_title(outcome)) }
                        @if outcome.verdict != Verdict::Healthy { rect.band x=(place * 10) y="0" width="10" height="100" {} }
                        rect.bar x=(place * 10 + 1) y=(format!("{:.1}", 99.0 - height)) width="8" height=(format!("{height:.1}")) {}
                    }
                }
            }
            figcaption {
                "Each bar is a probe, as tall as it took long (the longest " (words::took(longest)) "), the newest at the right; a "
                span.band-sample { "band" } " stands behind those that were not healthy."
            }
        }
    }
}

/// A stage as a bar between the start and the end of the whole.
pub(super) fn stage_bar(start: Duration, took: Duration, whole: Duration, has_stopped: bool) -> Markup {
    let share = |time: Duration| time.as_secs_f64() / whole.as_secs_f64().max(1e-6) * 100.0;
    html! {
        svg.stage aria-hidden="true" viewBox="0 0 100 10" preserveAspectRatio="none" {
            line.axis x1="0" y1="5" x2="100" y2="5" {}
            rect class=(if has_stopped { "bad-fill" } else { "up-fill" })
                x=(format!("{:.2}", share(start).min(99.4))) y="1.5" width=(format!("{:.2}", share(took).max(0.6))) height="7" {}
        }
    }
}

fn runs(outcomes: &[Outcome]) -> Vec<&[Outcome]> {
    outcomes.chunk_by(|one, next| one.verdict == next.verdict).collect()
}

fn run_title(run: &[Outcome]) -> String {
    match run {
        [first, .., last] => {
            let (from, to) = (words::date(first.ended().into()), words::date(last.ended().into()));
            format!("{} ×{}, {from} to {to}", first.verdict, run.len())
        }
        [one] => outcome_title(one),
        [] => String::new(),
    }
}

fn outcome_title(outcome: &Outcome) -> String {
    let (ended, took) = (words::date(outcome.ended().into()), words::took(outcome.took()));
    format!("{}, {ended}, {took}", outcome.verdict)
}

/// Good, bad, or neither.
const fn kind(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "ok",
        Verdict::ExporterFault => "none",
        _ => "bad",
    }
}

/// Where the line of a verdict runs: its width, in the stylesheet, is twice the rest.
const fn middle(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Healthy | Verdict::ExporterFault => 12,
        _ => 8,
    }
}

/// Probes that are remembered.
const SLOTS: usize = 60;
