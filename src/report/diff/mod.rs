//! What two vantage points see differently, from the JSON that each of them wrote. Pure.
//! Everything in such a file is a stranger's: it is bounded by who reads it, and made harmless where it is shown.

mod compare;
mod conclude;
mod read;
mod text;

pub use compare::{Comparison, Difference, Outcome, compare};
pub use read::{Sighting, read};
pub use text::text;
