//! The exporter among hostile endpoints: none of them gets a wrong verdict, holds a probe, grows the process, breaks the
//! exposition, or is felt by its neighbours.
//!
//! Each group is a table of endpoints in threads of the test. The built binary serves beside it, first with each endpoint
//! once, then with two hundred at once, and twenty healthy ones among them each time. What is expected comes from the
//! contract and from the bytes that the endpoint sends, never from the exporter.
//!
//! Needed: Linux, and Debian's package prometheus for `promtool`. The large estates run one after another, because memory
//! and time are looked at: four minutes on two cores.
//!
//! Time is measured against the machine: what the exporter's probing thread waited for a processor is no delay of its own.
//! Where it may (root), the suite goes before everything else on the machine, and that thread before the suite.

#![allow(clippy::unwrap_used, reason = "a test has nothing better to do with an error than to stop")]
#![allow(clippy::disallowed_methods, reason = "deadlines need the real clock")]

mod bounds;
mod bytes;
mod endless;
mod endpoint;
mod estate;
mod gate;
mod large;
mod lengths;
mod machine;
mod offsets;
mod segments;
mod silence;
mod surveys;
mod text;

#[allow(dead_code, reason = "shared with the suite of real servers")]
#[path = "../servers/harness/mod.rs"]
mod harness;
