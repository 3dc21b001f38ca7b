//! Files that hold what is to be shown. `UPDATE_GOLDEN=1 cargo test` writes them anew; read the difference before it is kept.

use std::{env, fs, path::Path};

/// Holds `found` against `tests/golden/NAME`.
#[track_caller]
pub(crate) fn check(name: &str, found: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, found).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    for (number, (found, expected)) in (1..).zip(found.lines().zip(golden.lines())) {
        assert_eq!(found, expected, "{name}, line {number}");
    }
    assert_eq!(found.lines().count(), golden.lines().count(), "lines of {name}:\n{found}");
}

/// Holds what must be true of everything that a person reads: 80 columns, and nothing that drives a terminal.
#[track_caller]
pub(crate) fn check_page(text: &str) {
    for line in text.lines() {
        // East Asian characters are two columns wide.
        let columns: usize = line.chars().map(|character| if character < '\u{1100}' { 1 } else { 2 }).sum();
        assert!(columns <= 80, "{columns} columns: {line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
        assert_eq!(line, line.trim_end(), "blanks at the end");
    }
    assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text:?}");
}

/// The text without the colours.
pub(crate) fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default();
    let others = parts.map(|part| {
        let (code, rest) = part.split_once('m').unwrap();
        assert!(["0", "1", "31", "32", "33"].contains(&code), "{code:?} is no colour");
        rest
    });
    first.to_owned() + &others.collect::<String>()
}
