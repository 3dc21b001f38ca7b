//! `/changes`: what changed in the estate within a day, newest first.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use maud::{Markup, html};

use super::{
    View,
    frame::{Place, document},
    paged, target_path, words,
};
use crate::{
    diagnosis::Verdict,
    history::{Change, Changed},
    observation::age,
    state::TargetState,
};

/// Which changes are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeQuery {
    /// `kind`: the label of what changed; empty for all.
    pub kind: String,
    /// `page`, from 1.
    pub page: usize,
}

impl ChangeQuery {
    /// Reads the query of a URL. What is not known is ignored.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let mut read = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "kind" => read.kind = value.into_owned(),
                "page" => read.page = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        read
    }

    fn url(kind: &str, page: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !kind.is_empty() {
            query.append_pair("kind", kind);
        }
        if page > 1 {
            query.append_pair("page", &page.to_string());
        }
        match query.finish() {
            query if query.is_empty() => "/changes".to_owned(),
            query => format!("/changes?{query}"),
        }
    }
}

/// The page of the changes that are asked for.
#[must_use]
pub fn changes(states: &[Arc<TargetState>], query: &ChangeQuery, view: View<'_>) -> String {
    let mut all: Vec<(&Change, &str)> = states.iter().flat_map(|state| of_target(state, view)).collect();
    let counts = KINDS.map(|kind| all.iter().filter(|(change, _)| change.what.label() == kind.0).count());
    let total = all.len();
    all.retain(|(change, _)| query.kind.is_empty() || change.what.label() == query.kind);
    all.sort_by_key(|(change, name)| (Reverse(change.at), *name));
    let shown = paged(all, query.page);
    let current = |kind: &str| (query.kind == kind).then_some("true");
    let body = html! {
        h1 { "Changes of the last 24 hours" }
        nav.counts aria-label="Changes by kind" {
            a.all href=(ChangeQuery::url("", 1)) aria-current=[current("")] { b { (words::count(total)) } span { "all" } }
            @for ((label, words), count) in KINDS.into_iter().zip(counts) {
                a.zero[count == 0] href=(ChangeQuery::url(label, 1)) aria-current=[current(label)] {
                    b { (words::count(count)) } span { (words) }
                }
            }
        }
        @if shown.total == 0 {
            section.notice { p { "Nothing changed. The first probe of a target is no change." } }
        } @else {
            div.list-head {
                p role="status" { (shown.range("change", "changes")) ", newest first" }
                (shown.links(|page| ChangeQuery::url(&query.kind, page)))
            }
            (table(&shown.items, view))
            (shown.links(|page| ChangeQuery::url(&query.kind, page)))
        }
    };
    document("Changes", Place::Changes, &body, view)
}

fn of_target<'a>(state: &'a TargetState, view: View<'_>) -> impl Iterator<Item = (&'a Change, &'a str)> + use<'a> {
    let now = view.now;
    let all = state.history.verdicts().chain(state.history.others());
    all.filter(move |change| age(change.at, now) <= SHOWN).map(|change| (change, state.target.name.as_str()))
}

fn table(changes: &[(&Change, &str)], view: View<'_>) -> Markup {
    html! {
        table.changes {
            caption.unseen { "Changes, newest first" }
            thead {
                tr {
                    th scope="col" { "When" }
                    th scope="col" { "Target" }
                    th scope="col" { "What" }
                    th scope="col" { "From and to" }
                }
            }
            tbody {
                @for (change, name) in changes {
                    tr {
                        td.when { (words::ago(change.at, view.now)) }
                        td.c-target { a href=(target_path(name)) { (name) } }
                        td.what { (words_of(&change.what)) }
                        td { (told(&change.what)) }
                    }
                }
            }
        }
    }
}

/// What changed from what to what; a verdict in the colour of whether it is good.
pub(super) fn told(what: &Changed) -> Markup {
    let (before, after) = what.before_and_after();
    let class = match what {
        Changed::Verdict { after: Verdict::Healthy, .. } => "to good",
        Changed::Verdict { .. } => "to bad",
        _ => "to",
    };
    html! {
        span.change {
            span.from { (before) } span.unseen { " to " } span.arrow aria-hidden="true" { " → " } span class=(class) { (after) }
        }
        @if let Some(evidence) = what.evidence() { span.evidence title=(evidence) { (evidence) } }
    }
}

/// What changed, as it is read.
pub(super) fn words_of(what: &Changed) -> &'static str {
    KINDS.into_iter().find(|(label, _)| *label == what.label()).map_or("", |(_, words)| words)
}

/// What can change, with the value of the query's `kind`.
const KINDS: [(&str, &str); 5] = [
    ("verdict", "verdict"),
    ("layer", "security layer"),
    ("certificate", "certificate"),
    ("tls_version", "TLS version"),
    ("server_version", "server version"),
];
const SHOWN: Duration = Duration::from_secs(24 * 60 * 60);
