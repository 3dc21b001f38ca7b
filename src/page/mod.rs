//! The status page: states and time to HTML. Pure: no HTTP, no clock, no script.
//! `maud` escapes whatever stands in a page; what could turn text around is taken out of the whole in one place, `frame`.

mod changes;
mod charts;
mod frame;
mod order;
mod overview;
mod paging;
mod query;
mod style;
mod target_page;
mod words;

use std::time::SystemTime;

pub use changes::{ChangeQuery, changes};
pub use frame::{not_found, notice};
pub use order::{Since, Standing, down_since, sort_key};
pub use overview::overview;
pub use paging::{Paged, paged};
pub use query::{Query, target_path};
pub use style::{ICON, ICON_PATH, STYLE, STYLE_PATH, asset_version};
pub use target_page::target;

/// What every page needs beside its subject.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The moment that ages and days are counted from.
    pub now: SystemTime,
    /// Where the metrics are.
    pub telemetry_path: &'a str,
    /// What stands in front of every route where the browser is; empty, or like `/rdp`.
    pub prefix: &'a str,
}
