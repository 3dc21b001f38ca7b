//! What the exporter costs and how it scales, measured on this machine: beside a floor that no exporter can go below, and
//! beside what a user would run instead.
//!
//! ```sh
//! cargo bench                      # everything but the soak; an hour and a half
//! cargo bench -- cost scale        # some of it
//! cargo bench -- soak              # one hour, or as many minutes as SOAK_MINUTES says
//! ```
//!
//! Everything runs on loopback. Whole processes are measured, by what the kernel says of them (proc_pid_stat(5)). These
//! figures are of one machine at one time: what may be quoted is the ratio of two that were taken in turn. It fails where a
//! goal of the project was missed.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made is to stop")]
#![allow(clippy::disallowed_methods, reason = "measuring needs the real clock")]

mod cost;
#[path = "../demo/endpoint.rs"]
#[allow(dead_code, reason = "shared with the demo")]
mod endpoint;
mod estate;
mod exporter;
mod floor;
mod goals;
#[allow(dead_code, reason = "shared with the suites of real servers")]
#[path = "../servers/harness/mod.rs"]
mod harness;
mod layers;
mod lifecycle;
mod machine;
#[path = "../demo/messages.rs"]
mod messages;
mod parts;
mod scale;
mod scrape;
mod soak;
mod usage;
#[path = "../offline/watch.rs"]
#[allow(dead_code, reason = "shared with the offline suite")]
mod watch;

use goals::Goals;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.split_first() {
        // This program is also what is measured against, and what is talked to.
        Some((role, rest)) if role == "as-floor" => floor::run(rest),
        Some((role, rest)) if role == "as-layer" => layers::run(rest),
        Some((role, rest)) if role == "as-estate" => estate::run(rest),
        _ => measure(&arguments),
    }
}

/// Measures, and says which goals were missed.
type Measure = fn(&mut Goals);

fn measure(wanted: &[String]) {
    let all: [(&str, Measure); 7] = [
        ("cost", cost::measure),
        ("layers", layers::measure),
        ("parts", parts::measure),
        ("scale", scale::measure),
        ("scrape", scrape::measure),
        ("lifecycle", lifecycle::measure),
        ("soak", soak::measure),
    ];
    let unknown: Vec<_> = wanted.iter().filter(|name| !all.iter().any(|(known, _)| known == name)).collect();
    assert!(unknown.is_empty(), "no measurement is called {unknown:?}; there are {:?}", all.map(|(name, _)| name));
    machine::print();
    let mut goals = Goals::default();
    for (name, run) in all {
        if wanted.is_empty() && name != "soak" || wanted.iter().any(|wanted| wanted == name) {
            println!("\n## {name}\n");
            run(&mut goals);
        }
    }
    goals.conclude();
}
