//! One report, several faces: text for a person, JSON for a program. Pure.
//! Text from the network is made harmless here, and nowhere later.

pub mod diff;
mod facts;
mod json;
mod page;
mod settings;
mod summary;
mod text;
mod wrap;

pub use json::{json, json_page, json_with_history};
pub use page::Ink;
pub(crate) use settings::settings;
pub use summary::summary;
pub use text::{text, text_in};
pub(crate) use wrap::wrap;
