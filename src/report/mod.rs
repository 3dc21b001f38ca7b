//! One report, several faces: text for a person, JSON for a program. Pure.
//! Text from the network is made harmless here, and nowhere later.

mod json;
mod text;
mod wrap;

pub use json::json;
pub use text::text;
pub(crate) use wrap::wrap;
