//! A comparison for a person.

use super::{
    compare::{Comparison, Outcome},
    read::Sighting,
};
use crate::report::page::{Ink, Page, Tone};

/// The comparison of what two files hold, each given with its name.
#[must_use]
pub fn text(comparison: &Comparison, a: (&str, &[Sighting]), b: (&str, &[Sighting]), ink: Ink) -> String {
    let mut page = Page::new(ink);
    for (letter, (file, sightings)) in [("A", a), ("B", b)] {
        let first = sightings.iter().filter_map(|sighting| sighting.started.as_deref()).min();
        let when = first.map(|first| format!(", probed at {first}")).unwrap_or_default();
        page.cell((Tone::Plain, &format!("{letter}  ")), (Tone::Plain, &format!("{file}{when}")));
    }
    for (name, outcome) in &comparison.outcomes {
        page.blank();
        write_outcome(&mut page, name, outcome);
    }
    page.blank();
    page.heading(&in_short(comparison), (Tone::Plain, ""));
    page.into_text()
}

fn write_outcome(page: &mut Page, name: &str, outcome: &Outcome) {
    let (verdict, differences, conclusions) = match outcome {
        Outcome::OnlyA => return page.heading(name, (Tone::Warning, "only in A")),
        Outcome::OnlyB => return page.heading(name, (Tone::Warning, "only in B")),
        Outcome::Both { verdict, differences, conclusions } => (verdict, differences, conclusions),
    };
    let verdict = verdict.as_deref();
    let same = verdict.map(|verdict| format!("; {verdict} at both")).unwrap_or_default();
    let (tone, said) = if differences.is_empty() { (Tone::Good, "no difference") } else { (Tone::Bad, "differs") };
    page.heading(name, (tone, &format!("{said}{same}")));
    for difference in differences {
        page.item(difference.what, "A  ", &difference.a);
        page.item("", "B  ", &difference.b);
    }
    for (number, conclusion) in conclusions.iter().enumerate() {
        page.row(if number == 0 { "means" } else { "" }, conclusion);
    }
}

fn in_short(comparison: &Comparison) -> String {
    let all = comparison.outcomes.len();
    let count = |is: fn(&Outcome) -> bool| comparison.outcomes.values().filter(|outcome| is(outcome)).count();
    let only_one = count(|outcome| matches!(outcome, Outcome::OnlyA | Outcome::OnlyB));
    let differ = count(Outcome::differs) - only_one;
    let only_one = if only_one > 0 { format!(", {only_one} in one file only") } else { String::new() };
    format!("{all} {}: {differ} differ{only_one}", if all == 1 { "target" } else { "targets" })
}
