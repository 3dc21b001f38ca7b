//! What became of the last probes of a target, and what changed.

use maud::{Markup, html};

use crate::{
    history::Change,
    page::{
        View,
        changes::{told, words_of},
        charts, words,
    },
    state::TargetState,
};

pub(super) fn history(state: &TargetState, view: View<'_>) -> Markup {
    let history = &state.history;
    html! {
        @if history.outcomes().len() > 0 {
            section.panel.wide aria-labelledby="history" {
                h2 #history { "History" }
                (charts::durations(history))
                div.columns {
                    (list("Changes of the verdict", history.verdicts().rev(), view))
                    (list("Other changes", history.others().rev(), view))
                }
            }
        }
    }
}

fn list<'a>(title: &str, changes: impl ExactSizeIterator<Item = &'a Change>, view: View<'_>) -> Markup {
    html! {
        div {
            h3 { (title) }
            @if changes.len() == 0 { p.faint { "None." } } @else {
                ol.changes {
                    @for change in changes {
                        li {
                            span.when { (words::ago(change.at, view.now)) }
                            @if change.what.evidence().is_none() { span.what { (words_of(&change.what)) } }
                            (told(&change.what))
                        }
                    }
                }
            }
        }
    }
}
