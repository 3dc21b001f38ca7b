//! Numbers, times and the runbook's texts, as they are read.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use crate::observation::age;

/// `5,000`.
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// How long something took: `0.04 ms`, `4.2 ms`, `27 ms`, `2.50 s`.
pub(super) fn took(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    match milliseconds {
        ..0.995 => format!("{milliseconds:.2} ms"),
        ..9.95 => format!("{milliseconds:.1} ms"),
        ..999.5 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

/// A span in its largest unit: `12 s`, `5 min`, `3 h`, `12 d`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / DAY),
    }
}

/// A moment, as how long ago it was; the date is in its title.
pub(super) fn ago(then: SystemTime, now: SystemTime) -> Markup {
    let moment = OffsetDateTime::from(then);
    html! { time datetime=(rfc3339(moment)) title=(date(moment)) { (span(age(then, now))) " ago" } }
}

/// A moment, as its date.
pub(super) fn moment(then: impl Into<OffsetDateTime>) -> Markup {
    let then = then.into();
    html! { time datetime=(rfc3339(then)) { (date(then)) } }
}

/// `2026-11-20 12:00:05 UTC`.
pub(super) fn date(moment: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    moment.to_offset(time::UtcOffset::UTC).format(form).unwrap_or_default()
}

fn rfc3339(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).unwrap_or_default()
}

/// Days from now to `end`, negative once it has passed.
pub(super) fn days_until(end: OffsetDateTime, now: SystemTime) -> f64 {
    (end - OffsetDateTime::from(now)).as_seconds_f64() / 86_400.0
}

/// What is left of a certificate: `12.5 d`, `180 d`, `expired 3.0 d ago`.
pub(super) fn days_left(days: f64) -> String {
    let number = |days: f64| match days {
        ..30.0 => format!("{days:.1} d"),
        // A date has no more than a few million days.
        _ => format!("{} d", count(days.round() as usize)),
    };
    match days < 0.0 {
        true => format!("expired {} ago", number(-days)),
        false => number(days),
    }
}

/// A text of the runbook: what stands in backticks is typed literally.
pub(super) fn runbook(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

pub(super) const fn yes_or_no(answer: bool) -> &'static str {
    if answer { "yes" } else { "no" }
}

const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_easily() {
        assert_eq!([0, 999, 1000, 5000, 1_234_567].map(count), ["0", "999", "1,000", "5,000", "1,234,567"]);
        let spans = [0, 119, 120, 7_199, 7_200, 172_799, 172_800];
        let shown = ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"];
        assert_eq!(spans.map(|seconds| span(Duration::from_secs(seconds))), shown);
        let times = [40, 994, 9_949, 9_951, 999_000, 2_500_000];
        let shown = ["0.04 ms", "0.99 ms", "9.9 ms", "10 ms", "999 ms", "2.50 s"];
        assert_eq!(times.map(|micros| took(Duration::from_micros(micros))), shown);
        let left = [12.54, 180.4, 0.0, -0.04, -2155.4].map(days_left);
        assert_eq!(left, ["12.5 d", "180 d", "0.0 d", "expired 0.0 d ago", "expired 2,155 d ago"]);
    }

    #[test]
    fn what_is_in_backticks_is_code_and_nothing_else() {
        let shown = runbook("run `a < b` and `c`").into_string();
        assert_eq!(shown, "run <code>a &lt; b</code> and <code>c</code>");
        for entry in crate::diagnosis::Verdict::ALL.map(crate::diagnosis::Verdict::runbook) {
            let texts = entry.causes.iter().chain(entry.next).chain([&entry.sentence, &entry.not]);
            for text in texts {
                assert!(text.matches('`').count() % 2 == 0, "{text}");
            }
        }
    }
}
