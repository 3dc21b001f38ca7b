//! The text format, read strictly and by nothing that wrote it.

use std::collections::BTreeMap;

/// What a scrape says.
#[derive(Debug, Default)]
pub struct Exposition {
    /// Type of each family.
    pub families: BTreeMap<String, String>,
    /// Each series with its value.
    pub samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

/// Reads text format 0.0.4 as Prometheus does, but stricter; panics at the first line that is wrong.
#[must_use]
pub fn parse(text: &str) -> Exposition {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
    let mut read = Exposition::default();
    let (mut helped, mut current) = (String::new(), String::new());
    for line in text.split_terminator('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(!words.is_empty() && !read.families.contains_key(name), "HELP once: {line}");
            helped = name.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped, "TYPE after HELP");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(read.families.insert(name.to_owned(), kind.to_owned()).is_none(), "TYPE once: {line}");
            name.clone_into(&mut current);
        } else {
            let (name, labels, value) = parse_sample(line);
            let suffixes: &[&str] =
                if read.families[&current] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            let is_of_family = suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(&current));
            assert!(is_of_family, "{name} below the TYPE of {current}");
            assert!(read.samples.insert((name, labels), value).is_none(), "twice: {line}");
        }
    }
    read
}

/// Name, labels and value of one line.
#[must_use]
pub fn parse_sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let is_name = |text: &str| {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "name: {line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            assert!(is_name(label), "label {label:?}: {line}");
            let (value, after) = parse_value(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "label {label} twice: {line}");
            rest = &after[1..];
            match after.as_bytes()[0] {
                b',' => {}
                b'}' => break,
                other => panic!("{other} after a label: {line}"),
            }
        }
    }
    // No time stamp may follow; Rust reads more spellings of infinity than Prometheus, and no NaN is wanted.
    let number = rest.strip_prefix(' ').unwrap();
    assert!(number.bytes().all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte)), "value: {line}");
    (name.to_owned(), labels, number.parse().unwrap())
}

/// The label value that begins here, and what follows its closing quote.
fn parse_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next().unwrap() {
            (place, '"') => return (value, &text[place + 1..]),
            // Prometheus' lexer takes it for the end of the scrape.
            (_, '\0') => panic!("NUL in a label"),
            (_, '\\') => value.push(match characters.next().unwrap().1 {
                'n' => '\n',
                character @ ('\\' | '"') => character,
                other => panic!("\\{other} is no escape"),
            }),
            (_, character) => value.push(character),
        }
    }
}
