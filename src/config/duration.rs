//! Durations as Prometheus writes them: `30s`, `1h30m`, `2w`.
//! No unit whose length depends on the calendar.

use std::time::Duration;

use super::error::quoted;

/// Why a text is no duration. Every message reads on after "must ..".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number alone.
    #[error("must have a unit, such as {0}s or {0}m")]
    NoUnit(String),
    /// Not numbers and units in turn.
    #[error("must be whole numbers with units, such as 30s, 2500ms or 1h30m, not {0}")]
    Shape(String),
    /// Longer than ten years.
    #[error("must be at most 3650d")]
    TooLong,
    /// A unit that is not known here, `M` and `y` among them.
    #[error("must not have the unit {0}; the units are ms, s, m, h, d and w")]
    Unit(String),
}

/// Reads a duration such as `30s`, `2500ms`, `1h30m`, `30d` or `2w`.
///
/// # Errors
/// Anything but whole numbers with the units ms, s, m, h, d and w, and more than ten years.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let shape = || DurationError::Shape(quoted(text));
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(shape());
    }
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| c.is_ascii_digit());
        if number.is_empty() {
            return Err(shape());
        }
        if unit.is_empty() {
            return Err(DurationError::NoUnit(text.to_owned()));
        }
        // `humantime` would take more: a month and a year of some length, and units in words.
        if !UNITS.contains(&unit) {
            return Err(DurationError::Unit(quoted(unit)));
        }
        rest = after;
    }
    // Only its size can be wrong now.
    humantime::parse_duration(text).ok().filter(|&duration| duration <= MAX).ok_or(DurationError::TooLong)
}

/// Writes a duration so that [`parse_duration`] reads it; what is below a millisecond is dropped.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest_ms = duration.as_millis();
    let mut text = String::new();
    for (unit, unit_ms) in
        [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
    {
        // Weeks only where nothing is left over: 30d is easier to read than 4w2d.
        if rest_ms < unit_ms || (unit == "w" && !rest_ms.is_multiple_of(unit_ms)) {
            continue;
        }
        // A part that seconds cannot hold is written in milliseconds as a whole: 2500ms.
        if unit == "s" && !rest_ms.is_multiple_of(unit_ms) {
            continue;
        }
        text.push_str(&format!("{}{unit}", rest_ms / unit_ms));
        rest_ms %= unit_ms;
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

const UNITS: [&str; 6] = ["ms", "s", "m", "h", "d", "w"];
/// Far beyond any sense, and far below where adding it to a clock overflows.
const MAX: Duration = Duration::from_secs(3650 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, seconds, written) in [
            ("0s", 0, "0s"),
            ("30s", 30, "30s"),
            ("90s", 90, "1m30s"),
            ("1h30m", 5400, "1h30m"),
            ("24h", 86_400, "1d"),
            ("1d12h", 129_600, "1d12h"),
            ("14d", 1_209_600, "2w"),
            ("2w", 1_209_600, "2w"),
            ("30d", 2_592_000, "30d"),
            ("3650d", 315_360_000, "3650d"),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(format_duration(Duration::from_secs(seconds)), written);
        }
        assert_eq!(parse_duration("2500ms"), Ok(Duration::from_millis(2500)));
        assert_eq!(format_duration(Duration::from_millis(2500)), "2500ms");
        assert_eq!(format_duration(Duration::from_micros(900)), "0s");
    }

    #[test]
    fn other_texts_are_refused_with_what_would_be_right() {
        for (text, expected) in [
            ("90", "must have a unit, such as 90s or 90m"),
            ("1h30", "must have a unit, such as 1h30s or 1h30m"),
            ("1M", "must not have the unit \"M\"; the units are ms, s, m, h, d and w"),
            ("1y", "must not have the unit \"y\"; the units are ms, s, m, h, d and w"),
            ("5minutes", "must not have the unit \"minutes\"; the units are ms, s, m, h, d and w"),
            ("", "must be whole numbers with units, such as 30s, 2500ms or 1h30m, not \"\""),
            ("5 m", "must be whole numbers with units, such as 30s, 2500ms or 1h30m, not \"5 m\""),
            ("2.5s", "must be whole numbers with units, such as 30s, 2500ms or 1h30m, not \"2.5s\""),
            ("-5s", "must be whole numbers with units, such as 30s, 2500ms or 1h30m, not \"-5s\""),
            ("s", "must be whole numbers with units, such as 30s, 2500ms or 1h30m, not \"s\""),
            ("3651d", "must be at most 3650d"),
            ("99999999999999999999w", "must be at most 3650d"),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in 0..315_360_000_000_u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_reading_panic(text in "\\PC*|[0-9msdwhMy. ]{0,40}") {
            let _ = parse_duration(&text);
        }
    }
}
