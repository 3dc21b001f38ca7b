//! Lines of a paragraph.

/// The text in lines of at most `width` characters. What stands in backticks is kept whole where it fits on a line.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words(text, width) {
        let room = width.saturating_sub(lines.last().map_or(0, |line| line.chars().count() + 1));
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The text's words; what stands in backticks, with all that touches it, counts as one.
fn words(text: &str, width: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut quoted = false;
        let is_end = |character: char| {
            quoted ^= character == '`';
            !quoted && character == ' '
        };
        let (word, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
        match word.chars().count() <= width {
            true => words.push(word),
            false => words.extend(word.split(' ')),
        }
        rest = after.trim_start_matches(' ');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_long_as_allowed_and_commands_stay_whole() {
        for (text, width, expected) in [
            ("", 5, vec![""]),
            ("one two three", 7, vec!["one two", "three"]),
            ("one two three", 20, vec!["one two three"]),
            ("a `b c d` e", 7, vec!["a", "`b c d`", "e"]),
            ("(`b c`), d", 8, vec!["(`b c`),", "d"]),
            ("a `b c d e`", 6, vec!["a `b c", "d e`"]),
            ("immeasurable", 5, vec!["immeasurable"]),
            ("a `b c", 3, vec!["a", "`b", "c"]),
        ] {
            assert_eq!(wrap(text, width), expected, "{text:?} in {width}");
        }
    }
}
