//! What each fuzzing target does with one input: it panics where something is wrong. `cargo test` takes these files in as
//! well and replays what was found, so they know neither libFuzzer nor nightly.

mod certificate;
mod conversation;
pub mod faces;
mod operator;
mod peer;
mod readers;
mod strangers;
pub mod text_format;
mod web;

/// What a target does with one input.
pub type Target = fn(&[u8]);

/// Every target, by the name of its folder in `tests/captures/fuzz/`.
pub const TARGETS: [(&str, Target); 16] = [
    // What one message of a server says.
    ("certificate", certificate::certificate),
    ("challenge", readers::challenge),
    ("clear_flight", readers::clear_flight),
    ("connect_response", readers::connect_response),
    ("x224_answer", readers::x224_answer),
    ("x224_request", readers::x224_request),
    // Whole conversations, from a server's bytes to the scrape.
    ("conversation_clear", conversation::in_the_clear),
    ("conversation_inside", conversation::inside_tls),
    ("conversation_tls", conversation::by_rustls),
    // What is shown of strangers' texts.
    ("exposition", strangers::exposition),
    // What is written on the operator's side, and may come from a stranger.
    ("configuration", operator::configuration),
    ("listing", operator::listing),
    ("probe_query", operator::probe_query),
    ("sightings", operator::sightings),
    ("state_file", operator::state_file),
    // What anybody can send to the exporter's own port.
    ("web_requests", web::requests),
];

/// One input of one target.
pub fn run(target: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    target(bytes);
}
