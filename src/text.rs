//! Strangers' text, made harmless for a person's eyes.
//! Labels of metrics need no more than valid UTF-8 of bounded length; see `certificate::cut_text`.

use std::fmt::Write;

/// The text with control and bidirectional characters as `\u{..}`, so that it can neither drive a terminal, nor forge a
/// log line, nor show something else than it says.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match is_harmless(character) {
            true => safe.push(character),
            // Writing to a string does not fail.
            false => drop(write!(safe, "\\u{{{:x}}}", u32::from(character))),
        }
    }
    safe
}

/// Whether a character neither drives a terminal nor changes the direction of text.
#[must_use]
pub fn is_harmless(character: char) -> bool {
    !character.is_control() && !is_directional(character)
}

/// Characters that change the direction of text, or break lines, without being control characters.
const fn is_directional(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_drives_a_terminal_or_turns_text_around() {
        assert_eq!(
            printable("a\x1b[31mb\r\n\u{202e}c\u{9b}d\u{0}"),
            "a\\u{1b}[31mb\\u{d}\\u{a}\\u{202e}c\\u{9b}d\\u{0}"
        );
        assert_eq!(printable("Zürich, 東京 \"x\""), "Zürich, 東京 \"x\"");
    }
}
