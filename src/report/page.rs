//! The page that a person reads: at most 80 columns, the same on a terminal and in a pipe but for the colours.
//! ASCII alone, but for what strangers and the configuration say: a pipe, a mail and a Windows console in an old code page
//! show it as it is.

use super::wrap::{columns, wrap};
use crate::text::printable;

/// Whether a page has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// For a pipe, a file, a page of HTTP.
    Plain,
    /// For a terminal.
    Coloured,
}

/// What a piece of text is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Heading,
    Good,
    Warning,
    Bad,
}

/// Rows of a name and a value. Whatever is put on it is made harmless.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    ink: Ink,
}

impl Page {
    pub(super) const fn new(ink: Ink) -> Self {
        Self { text: String::new(), ink }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// A name at the margin, and what is said of it; below the name where both are too long for a line.
    pub(super) fn heading(&mut self, name: &str, (tone, said): (Tone, &str)) {
        let (name, said) = (printable(name), printable(said));
        let lines = wrap(&name, COLUMNS);
        let last = lines.last().map_or(0, |line| columns(line));
        for (number, line) in (1..).zip(&lines) {
            self.put(Tone::Heading, line);
            if number < lines.len() {
                self.end_line();
            }
        }
        if said.is_empty() {
            self.end_line();
        } else if last + 2 + columns(&said) <= COLUMNS {
            self.text.push_str("  ");
            self.put(tone, &said);
            self.end_line();
        } else {
            self.end_line();
            self.cell((Tone::Plain, "  "), (tone, &said));
        }
    }

    pub(super) fn blank(&mut self) {
        self.end_line();
    }

    /// A name and its value, which may take several lines.
    pub(super) fn row(&mut self, name: &str, value: &str) {
        self.toned_row(name, (Tone::Plain, value));
    }

    pub(super) fn toned_row(&mut self, name: &str, value: (Tone, &str)) {
        let lead = format!("  {name:<NAME_COLUMNS$} ");
        self.cell((Tone::Plain, &lead), value);
    }

    /// An item of a list: `lead` opens its first line.
    pub(super) fn item(&mut self, name: &str, lead: &str, value: &str) {
        let lead = format!("  {name:<NAME_COLUMNS$} {lead}");
        self.cell((Tone::Plain, &lead), (Tone::Plain, value));
    }

    /// Names above their answers.
    pub(super) fn table(&mut self, name: &str, cells: &[(&str, &str)]) {
        let row = |pick: fn(&(&str, &str)) -> String| {
            let cells = cells.iter().map(|cell| format!("{:<CELL_COLUMNS$}", pick(cell)));
            cells.collect::<String>().trim_end().to_owned()
        };
        for (name, cells) in [(name, row(|cell| cell.0.to_owned())), ("", row(|cell| cell.1.to_owned()))] {
            self.text.push_str(&format!("  {name:<NAME_COLUMNS$} "));
            self.put(Tone::Plain, &cells);
            self.end_line();
        }
    }

    /// `value` to the right of `lead`, which is ours and stands on the first line only.
    pub(super) fn cell(&mut self, (lead_tone, lead): (Tone, &str), (tone, value): (Tone, &str)) {
        let indent = columns(lead);
        let room = COLUMNS.saturating_sub(indent);
        let value = printable(value);
        let lines = if columns(&value) <= room { vec![value] } else { wrap(&value, room) };
        for (number, line) in lines.iter().enumerate() {
            match (number, line.as_str()) {
                (0, "") => self.put(lead_tone, lead.trim_end()),
                (0, _) => self.put(lead_tone, lead),
                _ => self.put(Tone::Plain, &" ".repeat(indent)),
            }
            self.put(tone, line);
            self.end_line();
        }
    }

    /// Text that is harmless and fits.
    fn put(&mut self, tone: Tone, text: &str) {
        let code = match tone {
            Tone::Plain => None,
            Tone::Heading => Some("1"),
            Tone::Good => Some("32"),
            Tone::Warning => Some("33"),
            Tone::Bad => Some("31"),
        };
        match code.filter(|_| self.ink == Ink::Coloured && !text.is_empty()) {
            Some(code) => self.text.push_str(&format!("\x1b[{code}m{text}\x1b[0m")),
            None => self.text.push_str(text),
        }
    }

    fn end_line(&mut self) {
        let line = self.text.trim_end_matches(' ').len();
        self.text.truncate(line);
        self.text.push('\n');
    }
}

pub(super) const COLUMNS: usize = 80;
pub(super) const NAME_COLUMNS: usize = 12;
/// A word such as `not asked`, and a blank.
const CELL_COLUMNS: usize = 10;
