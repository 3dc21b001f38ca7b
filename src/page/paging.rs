//! A long list, a hundred at a time.

use maud::{Markup, html};

use super::words;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paged<T> {
    /// What is on the page.
    pub items: Vec<T>,
    /// How many there are on all pages.
    pub total: usize,
    /// The number of this page, from 1.
    pub page: usize,
    /// How many pages there are, at least 1.
    pub pages: usize,
}

/// The page of that number, or the last where there are fewer.
#[must_use]
pub fn paged<T>(items: Vec<T>, page: usize) -> Paged<T> {
    let total = items.len();
    let pages = total.div_ceil(PAGE).max(1);
    let page = page.clamp(1, pages);
    let items = items.into_iter().skip((page - 1) * PAGE).take(PAGE).collect();
    Paged { items, total, page, pages }
}

impl<T> Paged<T> {
    /// `1–100 of 5,000 targets`.
    pub(super) fn range(&self, one: &str, many: &str) -> String {
        let noun = if self.total == 1 { one } else { many };
        let total = words::count(self.total);
        if self.pages == 1 {
            return format!("{total} {noun}");
        }
        let first = (self.page - 1) * PAGE + 1;
        format!("{}–{} of {total} {noun}", words::count(first), words::count(first + self.items.len() - 1))
    }

    /// Links to the other pages; nothing where there is one.
    pub(super) fn links(&self, url: impl Fn(usize) -> String) -> Markup {
        html! {
            @if self.pages > 1 {
                nav.paging aria-label="More pages" {
                    @if self.page > 1 { a rel="prev" href=(url(self.page - 1)) { "Previous" } }
                    @for page in self.nearby() {
                        @if page == self.page { b aria-current="page" { (page) } }
                        @else { a href=(url(page)) aria-label={ "Page " (page) } { (page) } }
                    }
                    @if self.page < self.pages { a rel="next" href=(url(self.page + 1)) { "Next" } }
                }
            }
        }
    }

    /// The first page, the last, and a few around this one.
    fn nearby(&self) -> impl Iterator<Item = usize> + '_ {
        (1..=self.pages).filter(|page| *page == 1 || *page == self.pages || page.abs_diff(self.page) <= 2)
    }
}

/// Items of one page.
const PAGE: usize = 100;
