//! Why a configuration is refused, and where in the file.
//! Every reason is written here or beside its check; a library's text appears only for broken YAML syntax.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Where in the file, where the parser can tell.
    pub position: Option<Position>,
    /// The key, such as `targets[1].timeout`; empty for the file as a whole.
    pub key: String,
    /// One sentence that says what would be right.
    pub reason: String,
}

/// A place in a file; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl ConfigError {
    pub(super) fn of_file(file: &Path, reason: impl Into<String>) -> Self {
        Self { file: file.to_owned(), position: None, key: String::new(), reason: reason.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.reason)
    }
}

impl std::error::Error for ConfigError {}

/// A [`ConfigError`] before it is known of which file, and mostly before it is known of which line.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) path: KeyPath,
    pub(super) reason: String,
    pub(super) position: Option<Position>,
}

/// The way from the top of a document to a value in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeyPath(Vec<Step>);

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Index(usize),
    Key(String),
}

impl KeyPath {
    /// The way that a key without quotes names.
    pub(super) fn of_plain(key: &str) -> Self {
        let steps =
            key.split(['.', '[']).map(|step| match step.strip_suffix(']').and_then(|index| index.parse().ok()) {
                Some(index) => Step::Index(index),
                None => Step::Key(step.to_owned()),
            });
        Self(steps.collect())
    }

    /// The way to a key of the map that stands here.
    pub(super) fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// The way to an item of the list that stands here.
    pub(super) fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    /// The way to the map or list that this is in.
    pub(super) fn parent(&self) -> Self {
        let mut parent = self.clone();
        parent.pop();
        parent
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(super) fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    pub(super) fn pop(&mut self) {
        self.0.pop();
    }

    /// The mistake that the value here is.
    pub(super) fn mistake(&self, reason: impl Into<String>) -> Mistake {
        Mistake { path: self.clone(), reason: reason.into(), position: None }
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            // Only nonsense nests deeper, and a line must stay a line.
            if depth == MAX_SHOWN_STEPS {
                return f.write_str("…");
            }
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    f.write_str(if depth == 0 { "" } else { "." })?;
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
                    if !key.is_empty() && key.len() <= MAX_SHOWN_CHARS && key.bytes().all(plain) {
                        f.write_str(key)?;
                    } else {
                        f.write_str(&quoted(key))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A text from the file as it may be shown on one line: in quotes, escaped, and cut.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((cut, _)) => format!("{:?}…", text.get(..cut).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// The one of `known` that was probably meant by `text`.
pub(super) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may be wrong; beyond that a guess confuses more than it helps.
    let near = |candidate: &str| Some(distance(text, candidate)).filter(|&steps| steps <= candidate.len().div_ceil(3));
    if text.len() > MAX_SHOWN_CHARS {
        return None;
    }
    known.into_iter().filter_map(|candidate| Some((near(candidate)?, candidate))).min().map(|(_, candidate)| candidate)
}

/// How many letters must be inserted, deleted or replaced to make one text of the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, old) in from.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let replaced = to.chars().zip(row.iter().copied().skip(1).collect::<Vec<_>>());
        let mut next = vec![left];
        for (new, above) in replaced {
            left = (diagonal + usize::from(old != new)).min(above + 1).min(left + 1);
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

const MAX_SHOWN_STEPS: usize = 8;
const MAX_SHOWN_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_offered_only_where_it_is_near() {
        let known = ["interval", "timeout", "connect_timeout"];
        for (text, expected) in [
            ("intervall", Some("interval")),
            ("time_out", Some("timeout")),
            ("connect-timeout", Some("connect_timeout")),
            ("", None),
            ("banana", None),
        ] {
            assert_eq!(nearest(text, known), expected, "{text}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (from, to, expected) in [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3)] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn a_plain_key_names_its_way() {
        for key in ["trust.system_roots", "trust.ca_files[1]", "discovery.http[12].tls_config.ca_file", "a"] {
            assert_eq!(KeyPath::of_plain(key).to_string(), key);
        }
        let expected = KeyPath::default().key("a").index(0).key("b");
        assert_eq!(KeyPath::of_plain("a[0].b"), expected);
    }

    #[test]
    fn a_path_stays_one_printable_line() {
        let mut path = KeyPath::default().key("targets").index(1).key("la\nbels").key("\u{202e}");
        assert_eq!(path.to_string(), r#"targets[1]."la\nbels"."\u{202e}""#);
        (0..100).for_each(|index| path.push(Step::Index(index)));
        assert_eq!(path.to_string(), r#"targets[1]."la\nbels"."\u{202e}"[0][1][2][3]…"#);
    }
}
