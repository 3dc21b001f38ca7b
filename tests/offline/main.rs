//! Everything that can be proved on loopback, in seconds. One binary; a module per subject.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail by panic and may read the clock")]

mod bench;
mod causes;
mod certificate;
mod challenge;
mod command;
mod companions;
mod config;
mod diff;
mod discovery;
mod documentation;
mod endpoint;
mod exposition;
mod fence;
mod findings;
#[allow(unreachable_pub, reason = "the fuzzing targets take these files in from another package")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;
mod fuzzed;
mod golden;
mod history;
mod json_page;
mod judgement;
mod layers;
mod legacy;
mod markdown;
mod page;
mod process_metrics;
mod sample;
mod schedule;
mod served_pages;
mod serving;
mod state_file;
mod states;
mod survey;
mod text;
mod verdicts;
mod watch;
mod wire;
mod wire_after_negotiation;
