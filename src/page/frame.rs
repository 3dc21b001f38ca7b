//! What all pages have in common: head, header, symbols; and that nothing in them turns text around.

use maud::{DOCTYPE, Markup, html};

use super::{ICON_PATH, STYLE_PATH, Standing, View, asset_version};
use crate::{
    diagnosis::{Finding, Severity},
    text::printable,
};

/// The pages that the header leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Targets,
    Changes,
    /// None of them.
    Elsewhere,
}

/// A whole page. `maud` has escaped what stands in it; control and bidirectional characters, which are part of no markup,
/// become `\u{..}` here, so that nobody can forget them. Links are routes until here as well.
pub(super) fn document(title: &str, place: Place, body: &Markup, view: View<'_>) -> String {
    let version = asset_version();
    let current = |of: Place| (of == place).then_some("page");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · rdp_exporter" }
                link rel="icon" type="image/svg+xml" href={ (ICON_PATH) "?v=" (version) };
                link rel="stylesheet" href={ (STYLE_PATH) "?v=" (version) };
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                (symbols())
                header.top {
                    a.brand href="/" { (icon("logo")) "rdp_exporter" }
                    nav aria-label="Pages" {
                        a href="/" aria-current=[current(Place::Targets)] { "Targets" }
                        a href="/changes" aria-current=[current(Place::Changes)] { "Changes" }
                        a href=(view.telemetry_path) { "Metrics" }
                        a href="/config" { "Configuration" }
                    }
                    span.version { (env!("CARGO_PKG_VERSION")) }
                }
                main #content { (body) }
            }
        }
    };
    printable(&below(view.prefix, page.into_string()))
}

/// Puts `prefix` in front of every route that a page links to. Quotes in texts are escaped, so these are attributes.
fn below(prefix: &str, page: String) -> String {
    match prefix {
        "" => page,
        prefix => ["href", "action"].into_iter().fold(page, |page, attribute| {
            page.replace(&format!(" {attribute}=\"/"), &format!(" {attribute}=\"{prefix}/"))
        }),
    }
}

/// A page that says one thing.
#[must_use]
pub fn notice(title: &str, text: &str, view: View<'_>) -> String {
    let body = html! {
        section.notice {
            h1 { (title) }
            p { (text) }
            p { a href="/" { "All targets" } }
        }
    };
    document(title, Place::Elsewhere, &body, view)
}

/// The page where there is no such target.
#[must_use]
pub fn not_found(name: &str, view: View<'_>) -> String {
    let search = super::Query { text: name.to_owned(), ..super::Query::default() };
    let body = html! {
        section.notice {
            h1 { "No such target" }
            p { "No target is called " code { (name) } ". It may have left the configuration, or have another name by now." }
            p { a href=(search.url()) { "Search for it" } " · " a href="/" { "All targets" } }
        }
    };
    document("No such target", Place::Elsewhere, &body, view)
}

/// The picture of that name.
pub(super) fn icon(name: &str) -> Markup {
    html! { svg.icon aria-hidden="true" { use href={ "#i-" (name) } {} } }
}

/// Shape, colour and word for how a target stands.
pub(super) fn standing(standing: Standing) -> Markup {
    let (name, word) = match standing {
        Standing::Down => ("down", "down"),
        Standing::Unknown => ("unknown", "unknown"),
        Standing::Critical | Standing::Warning | Standing::Good => ("up", "up"),
        Standing::NotProbed => ("unknown", "not probed"),
    };
    html! { span class={ "state " (name) } { (icon(name)) (word) } }
}

/// A finding, by name.
pub(super) fn finding((finding, severity): (Finding, Severity), is_accepted: bool) -> Markup {
    let severity = severity.label();
    let title = if is_accepted { format!("{severity}, accepted") } else { severity.to_owned() };
    let class = if is_accepted { "finding accepted".to_owned() } else { format!("finding {severity}") };
    html! {
        span class=(class) title=(title) {
            (icon(severity)) span.unseen { (title) ": " } (finding.label())
        }
    }
}

/// The pictures, drawn once. Each has a shape of its own, so that nobody depends on its colour.
fn symbols() -> Markup {
    html! {
        svg.symbols aria-hidden="true" width="0" height="0" {
            symbol id="i-logo" viewBox="0 0 32 32" {
                rect.up-fill x="2" y="4" width="28" height="19" rx="3" {}
                path.paper-line d="M6 14h5l3-6 4 11 3-5h5" fill="none" stroke-width="2.4" {}
                path.up-line d="M11 28h10M16 23v5" stroke-width="2.6" {}
            }
            symbol id="i-up" viewBox="0 0 16 16" {
                circle.up-fill cx="8" cy="8" r="7" {}
                path.paper-line d="M4.8 8.3l2.2 2.2 4.2-4.6" fill="none" stroke-width="1.8" {}
            }
            symbol id="i-down" viewBox="0 0 16 16" {
                rect.bad-fill x="1" y="1" width="14" height="14" rx="2" {}
                path.paper-line d="M5 5l6 6M11 5l-6 6" stroke-width="2" {}
            }
            symbol id="i-unknown" viewBox="0 0 16 16" {
                circle.none-line cx="8" cy="8" r="6" fill="none" stroke-width="2" stroke-dasharray="3 2" {}
            }
            symbol id="i-critical" viewBox="0 0 16 16" {
                path.bad-fill d="M8 .5 15.5 8 8 15.5.5 8z" {}
                path.paper-line d="M8 4.2v4.6M8 11.4v.2" stroke-width="1.8" {}
            }
            symbol id="i-warning" viewBox="0 0 16 16" {
                path.warn-fill d="M8 1 15.6 14.6H.4z" {}
                path.dark-line d="M8 5.6v4.4M8 12.3v.2" stroke-width="1.6" {}
            }
            symbol id="i-info" viewBox="0 0 16 16" {
                circle.none-line cx="8" cy="8" r="6.6" fill="none" stroke-width="1.4" {}
                path.none-line d="M8 7.4v4M8 4.7v.2" stroke-width="1.6" {}
            }
            symbol id="i-good" viewBox="0 0 16 16" { use href="#i-up" {} }
            symbol id="i-not_probed" viewBox="0 0 16 16" { use href="#i-unknown" {} }
        }
    }
}
