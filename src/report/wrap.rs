//! Lines of a paragraph.

/// The text in lines of at most `width` columns. What stands in backticks is kept whole where it fits on a line; a word
/// that fits on none is broken, after a comma where there is one.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words(text, width) {
        let room = width.saturating_sub(lines.last().map_or(0, |line| columns(line) + 1));
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if columns(word) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// How many columns a terminal needs for the text, at most. East Asian characters take two; so that no table is needed,
/// everything beyond the alphabets of Europe and the Near East counts as if it did.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|character| if character < '\u{1100}' { 1 } else { 2 }).sum()
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
        match columns(word) <= width {
            true => words.push(word),
            false => words.extend(word.split(' ').flat_map(|word| pieces(word, width))),
        }
        rest = after.trim_start_matches(' ');
    }
    words
}

/// A word in pieces that fit on a line. Two pieces in a row never fit on one, so no blank comes between them.
fn pieces(word: &str, width: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = word;
    while columns(rest) > width {
        let starts = rest.char_indices().map(|(start, _)| start).skip(1);
        // At least one character, however narrow the line.
        let fits = |end: &usize| rest.get(..*end).is_some_and(|piece| columns(piece) <= width);
        let longest = starts.clone().take_while(fits).last().or_else(|| starts.clone().next()).unwrap_or(rest.len());
        let comma = rest.get(..longest).and_then(|piece| piece.rfind(',')).map(|comma| comma + 1);
        let (piece, after) = rest.split_at(comma.unwrap_or(longest));
        pieces.push(piece);
        rest = after;
        if rest.is_empty() {
            return pieces;
        }
    }
    pieces.push(rest);
    pieces
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
            ("a `b c", 3, vec!["a", "`b", "c"]),
            ("immeasurable", 5, vec!["immea", "surab", "le"]),
            ("so immeasurable too", 5, vec!["so", "immea", "surab", "le", "too"]),
            ("CN=a,OU=b,O=cdefgh", 11, vec!["CN=a,OU=b,", "O=cdefgh"]),
            (",,,,", 1, vec![",", ",", ",", ","]),
            ("東京東京", 5, vec!["東京", "東京"]),
            ("東京", 1, vec!["東", "京"]),
        ] {
            assert_eq!(wrap(text, width), expected, "{text:?} in {width}");
        }
    }
}
