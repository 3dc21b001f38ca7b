//! What is asked of the list of targets: the query of a URL, read, applied and written.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Paged, Standing, paged, sort_key};
use crate::{
    state::TargetState,
    text::{is_harmless, printable},
};

/// Which targets are asked for. What is empty asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// `q`: words that must all occur, each anywhere.
    pub text: String,
    /// `verdict`: the label of the last verdict.
    pub verdict: String,
    /// `state`: the label of how it stands.
    pub standing: String,
    /// `label.NAME`: configured labels.
    pub labels: BTreeMap<String, String>,
    /// `page`, from 1.
    pub page: usize,
}

impl Query {
    /// Reads the query of a URL. What is not known is ignored, and what is too long cut: a page repeats it in each link.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let mut read = Self::default();
        let query = query.char_indices().nth(MAX_LENGTH).map_or(query, |(end, _)| &query[..end]);
        for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            let value = value.into_owned();
            match &*name {
                "q" => value.trim().clone_into(&mut read.text),
                "verdict" => read.verdict = value,
                "state" => read.standing = value,
                "page" => read.page = value.parse().unwrap_or_default(),
                name => {
                    if let Some(label) = name.strip_prefix(LABEL) {
                        read.labels.insert(label.to_owned(), value);
                    }
                }
            }
        }
        read
    }

    /// One page of the targets that are asked for, worst first.
    #[must_use]
    pub fn select<'a>(&self, states: &'a [Arc<TargetState>]) -> Paged<&'a Arc<TargetState>> {
        self.choose(self.matching(states))
    }

    /// One page of the matching targets that stand as is asked for, worst first.
    pub(super) fn choose<'a>(&self, mut matching: Vec<&'a Arc<TargetState>>) -> Paged<&'a Arc<TargetState>> {
        matching.retain(|state| self.has_standing(state));
        matching.sort_by_cached_key(|state| sort_key(state));
        paged(matching, self.page)
    }

    /// The targets that are asked for, however they stand. What costs least is asked first.
    pub(super) fn matching<'a>(&self, states: &'a [Arc<TargetState>]) -> Vec<&'a Arc<TargetState>> {
        let words = self.text.split_whitespace().take(MAX_WORDS);
        let words: Vec<_> = words.map(|word| printable(word).to_lowercase()).collect();
        let of_verdict = |state: &TargetState| {
            self.verdict.is_empty() || state.last_verdict().is_some_and(|verdict| verdict.label() == self.verdict)
        };
        let is = |known: &String, value: &String| known == value || printable(known) == *value;
        let of_labels = |state: &TargetState| {
            self.labels.iter().all(|(name, value)| state.target.labels.get(name).is_some_and(|known| is(known, value)))
        };
        let of_text = |state: &TargetState| {
            let fields = if words.is_empty() { Vec::new() } else { searched(state) };
            words.iter().all(|word| fields.iter().any(|field| contains(field, word)))
        };
        states.iter().filter(|state| of_verdict(state) && of_labels(state) && of_text(state)).collect()
    }

    fn has_standing(&self, state: &TargetState) -> bool {
        self.standing.is_empty() || Standing::of(state).label() == self.standing
    }

    /// Whether anything is asked for.
    pub(super) fn is_any(&self) -> bool {
        let Self { text, verdict, standing, labels, page: _ } = self;
        !(text.is_empty() && verdict.is_empty() && standing.is_empty() && labels.is_empty())
    }

    /// The page that asks for just this.
    pub(super) fn url(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("q", &self.text), ("verdict", &self.verdict), ("state", &self.standing)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        for (name, value) in &self.labels {
            query.append_pair(&format!("{LABEL}{name}"), value);
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        match query.finish() {
            query if query.is_empty() => "/".to_owned(),
            query => format!("/?{query}"),
        }
    }
}

/// The path of a target's page.
#[must_use]
pub fn target_path(name: &str) -> String {
    format!("/targets/{}", utf8_percent_encode(name, SEGMENT))
}

/// What a word is looked for in.
fn searched(state: &TargetState) -> Vec<Cow<'_, str>> {
    let target = &state.target;
    let mut fields: Vec<Cow<'_, str>> = vec![target.name.as_str().into(), target.address.to_string().into()];
    fields.extend(target.labels.values().map(|value| value.as_str().into()));
    if let Some(report) = &state.last {
        let findings = report.diagnosis.findings.iter().chain(&report.diagnosis.accepted);
        fields.push(report.diagnosis.verdict.label().into());
        fields.extend(findings.map(|(finding, _)| finding.label().into()));
    }
    if let Some((facts, _)) = &state.memory.challenge.last {
        let challenge = &facts.challenge;
        let names = [&challenge.dns_computer, &challenge.netbios_computer, &challenge.netbios_domain];
        fields.extend(names.into_iter().flatten().map(|name| name.as_str().into()));
    }
    if let Some(seen) = &state.memory.certificates.last {
        let names = [seen.facts.subject.as_deref(), seen.facts.san.as_deref(), Some(&seen.facts.sha256)];
        fields.extend(names.into_iter().flatten().map(Cow::from));
    }
    fields
}

/// Whether `word`, which is in lower case, occurs in `field` as it is shown.
fn contains(field: &str, word: &str) -> bool {
    if field.is_ascii() && field.bytes().all(|byte| is_harmless(char::from(byte))) {
        let mut windows = field.as_bytes().windows(word.len());
        return windows.any(|window| window.eq_ignore_ascii_case(word.as_bytes()));
    }
    printable(field).to_lowercase().contains(word)
}

/// Characters of a query that are read.
const MAX_LENGTH: usize = 4096;
/// Words that are looked for; what a longer text says beyond them is ignored.
const MAX_WORDS: usize = 16;
/// The prefix of a label in a query.
pub(super) const LABEL: &str = "label.";
/// What stands in a segment of a path as it is (RFC 3986, 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
