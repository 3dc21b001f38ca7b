//! `explain [VERDICT|FINDING]`: the runbook of one, or the list of all.
//! The texts are `diagnosis`'s; here is only how they look.

use std::{fmt::Write, process::ExitCode};

use super::{ExplainArguments, ExplainFormat, print};
use crate::{
    diagnosis::{Entry, Finding, Verdict},
    report::wrap,
};

/// What the runbook explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Verdict(Verdict),
    Finding(Finding),
}

pub(super) fn run(arguments: &ExplainArguments) -> anyhow::Result<ExitCode> {
    let text = match (arguments.subject, arguments.format) {
        (None, ExplainFormat::Text) => list(),
        (None, ExplainFormat::Markdown) => markdown(),
        (Some(subject), ExplainFormat::Text) => explanation(subject),
        (Some(subject), ExplainFormat::Markdown) => section(subject),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

impl Subject {
    /// The one of that label, or what to say where there is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let farness = |label: &str| (!label.contains(text), distance(text, label));
        let nearest = Self::all().min_by_key(|subject| farness(subject.entry().label));
        match nearest {
            Some(subject) if subject.entry().label == text => Ok(subject),
            _ => {
                let label = nearest.map_or("healthy", |subject| subject.entry().label);
                Err(format!("the nearest is {label}; `rdp_exporter explain` lists all"))
            }
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        verdicts().chain(findings())
    }

    const fn entry(self) -> &'static Entry {
        match self {
            Self::Verdict(verdict) => verdict.runbook(),
            Self::Finding(finding) => finding.runbook(),
        }
    }

    fn kind(self) -> String {
        match self {
            Self::Verdict(_) => "verdict".to_owned(),
            Self::Finding(finding) => format!("finding, {}", finding.severity().label()),
        }
    }
}

fn verdicts() -> impl Iterator<Item = Subject> {
    Verdict::ALL.into_iter().map(Subject::Verdict)
}

fn findings() -> impl Iterator<Item = Subject> {
    Finding::ALL.into_iter().map(Subject::Finding)
}

fn list() -> String {
    let mut out = "Verdicts: can a client get in, and if not, why\n".to_owned();
    for subject in verdicts() {
        list_one(&mut out, subject.entry().label, subject.entry().sentence);
    }
    out.push_str("\nFindings: something wrong on a target, whether it is up or not\n");
    for subject in Finding::ALL {
        let Entry { label, sentence, .. } = subject.runbook();
        list_one(&mut out, label, &format!("[{}] {sentence}", subject.severity().label()));
    }
    out.push_str("\nOne of them in full: rdp_exporter explain LABEL\n");
    out
}

fn list_one(out: &mut String, label: &str, sentence: &str) {
    let mut shown = label;
    for line in wrap(sentence, COLUMNS - LABEL_COLUMNS - 3) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "  {shown:<LABEL_COLUMNS$} {line}");
        shown = "";
    }
}

fn explanation(subject: Subject) -> String {
    let Entry { label, sentence, windows_shows, causes, next, not } = subject.entry();
    let mut out = format!("{label} ({})\n", subject.kind());
    paragraph(&mut out, "  ", sentence);
    if !windows_shows.is_empty() {
        out.push_str("\nWindows clients show:\n");
        paragraph(&mut out, "  ", windows_shows);
    }
    for (title, items) in [("likely", causes), ("next", next)] {
        let _ = writeln!(out, "\n{title}:");
        for (number, item) in (1..).zip(*items) {
            paragraph(&mut out, &format!("  {number}. "), item);
        }
    }
    out.push_str("\ndoes not mean:\n");
    paragraph(&mut out, "  ", not);
    out
}

/// A paragraph whose first line starts with `lead`, and the others below the text.
fn paragraph(out: &mut String, lead: &str, text: &str) {
    let mut lead = lead.to_owned();
    for line in wrap(text, COLUMNS - lead.len()) {
        let _ = writeln!(out, "{lead}{line}");
        lead = " ".repeat(lead.len());
    }
}

/// `docs/runbook.md`: a heading per label, so that an alert can link to it.
fn markdown() -> String {
    let mut out = MARKDOWN_HEAD.to_owned();
    for (title, subjects) in [("Verdicts", verdicts().collect::<Vec<_>>()), ("Findings", findings().collect())] {
        let _ = writeln!(out, "\n| {} | what it is |\n|---|---|", title.to_lowercase());
        for subject in subjects {
            let Entry { label, sentence, .. } = subject.entry();
            let _ = writeln!(out, "| [`{label}`](#{label}) | {sentence} |");
        }
    }
    for subject in Subject::all() {
        out.push('\n');
        out.push_str(&section(subject));
    }
    out
}

fn section(subject: Subject) -> String {
    let Entry { label, sentence, windows_shows, causes, next, not } = subject.entry();
    let mut out = format!("## {label}\n\n*{}.* {sentence}\n", capitalised(&subject.kind()));
    if !windows_shows.is_empty() {
        let _ = writeln!(out, "\n**Windows clients show:** {windows_shows}");
    }
    for (title, items) in [("Likely", causes), ("Next", next)] {
        let _ = writeln!(out, "\n**{title}:**\n");
        for (number, item) in (1..).zip(*items) {
            let _ = writeln!(out, "{number}. {item}");
        }
    }
    let _ = writeln!(out, "\n**Does not mean** {not}");
    out
}

fn capitalised(text: &str) -> String {
    text.get(..1).map(str::to_uppercase).unwrap_or_default() + text.get(1..).unwrap_or_default()
}

/// How many characters have to be put in, taken out or replaced to make one text the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (number, character) in (1..).zip(from.chars()) {
        let mut next = vec![number];
        let (mut left, mut corner) = (number, number - 1);
        for (above, wanted) in row.iter().skip(1).zip(to.chars()) {
            left = (corner + usize::from(character != wanted)).min(left + 1).min(above + 1);
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.pop().unwrap_or_default()
}

const COLUMNS: usize = 80;
/// The longest label.
const LABEL_COLUMNS: usize = 26;
const MARKDOWN_HEAD: &str = "\
# Runbook

What each verdict and each finding means, what Windows' own client shows for it, and what to do next. The same as
`rdp_exporter explain LABEL` prints. This file is rendered from the code: `rdp_exporter explain --format=markdown`.

In commands HOST is yours to replace. How to come from the dialog \"error code 0x904, extended error code 0x7\" to the
right section: [error-0x904.md](error-0x904.md).
";

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use super::*;

    fn docs(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
    }

    #[test]
    fn runbook_docs_are_rendered_from_the_code() {
        let file = docs("runbook.md");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, markdown()).unwrap();
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(found == markdown(), "docs/runbook.md is stale: UPDATE_GOLDEN=1 cargo test --lib runbook");
        for subject in Subject::all() {
            let heading = format!("## {}", subject.entry().label);
            assert_eq!(found.lines().filter(|line| *line == heading).count(), 1, "{heading}");
        }
    }

    /// The page on 0x904 names every verdict, and every link of it into the runbook leads somewhere.
    #[test]
    fn runbook_links_of_the_0x904_page_lead_somewhere() {
        let page = fs::read_to_string(docs("error-0x904.md")).unwrap();
        let anchor = |rest: &str| rest.split(')').next().unwrap_or_default().to_owned();
        let anchors: Vec<_> = page.split("runbook.md#").skip(1).map(anchor).collect();
        for anchor in &anchors {
            assert!(Subject::parse(anchor).is_ok(), "{anchor}");
        }
        for subject in verdicts() {
            assert!(anchors.iter().any(|anchor| anchor == subject.entry().label), "{subject:?}");
        }
    }

    #[test]
    fn runbook_texts_fit_into_80_columns() {
        for text in Subject::all().map(explanation).chain([list()]) {
            for line in text.lines() {
                assert!(line.len() <= COLUMNS && line.trim_end() == line, "{line:?}");
            }
        }
    }

    #[test]
    fn runbook_lists_all_and_explains_one() {
        let list = list();
        for subject in Subject::all() {
            let label = subject.entry().label;
            assert!(label.len() <= LABEL_COLUMNS, "{label}");
            assert!(list.lines().any(|line| line.split_whitespace().next() == Some(label)), "{label}");
            let shown = explanation(subject);
            for expected in [label, "\nlikely:\n", "\nnext:\n", "\ndoes not mean:\n"] {
                assert!(shown.contains(expected), "{expected} in\n{shown}");
            }
            assert_eq!(shown.contains("Windows clients show"), !subject.entry().windows_shows.is_empty(), "{label}");
        }
        assert!(list.contains("[critical] The certificate's validity has ended."), "{list}");
    }

    #[test]
    fn runbook_names_the_nearest_label() {
        for (text, nearest) in [
            ("certificate_expird", "certificate_expired"),
            ("Connect-Refused", "connect_refused"),
            ("tls", "tls_reset"),
            ("expired", "certificate_expired"),
            ("tls_rest", "tls_reset"),
            ("", "healthy"),
        ] {
            let said = Subject::parse(text).unwrap_err();
            assert!(said.contains(&format!("nearest is {nearest};")), "{text:?}: {said}");
        }
        assert_eq!(Subject::parse("healthy"), Ok(Subject::Verdict(Verdict::Healthy)));
        assert_eq!(Subject::parse("clock_skew"), Ok(Subject::Finding(Finding::ClockSkew)));
        assert_eq!([distance("kitten", "sitting"), distance("", "abc"), distance("abc", "")], [3, 3, 3]);
    }
}
