//! A log that nobody takes: a device that is always full, a pipe whose reader is gone, one whose reader is asleep.

use std::fs::{File, OpenOptions};
use std::io::Read as _;

use serde_json::{Value, json};

use crate::exporting::{Exporter, LIMIT, Plan, is_possible, probes};
use crate::harness::process::{command, run, wait_until};
use crate::harness::samples::Samples;

const LOST: &str = "rdp_exporter_log_lines_lost_total";

/// Ports that are closed make many probes, and each of them a line.
fn config(targets: usize) -> Value {
    let targets: Vec<_> =
        (0..targets).map(|number| json!({ "address": "127.0.0.1:1", "name": format!("t{number}") })).collect();
    json!({
        "trust": { "system_roots": false },
        "probe": { "interval": "1s", "timeout": "900ms", "survey_interval": "0s", "confirm_after": "1s" },
        "targets": targets,
    })
}

fn refused(samples: &Samples) -> f64 {
    probes(samples, "t0", "connect_refused")
}

/// It loses lines, and nothing else.
fn goes_on(exporter: &Exporter) {
    let samples = exporter.scrape_until("lines that are lost", |samples| samples.value(LOST) > 0.0);
    let more = |later: &Samples| refused(later) >= refused(&samples) + 3.0 && later.value(LOST) > samples.value(LOST);
    exporter.scrape_until("more probes, more lines", more);
    assert_eq!(exporter.ask("POST", "/-/reload").0, 200);
    assert_eq!(exporter.ask("GET", "/targets/t0").0, 200);
}

#[test]
fn a_log_on_a_full_device() {
    if !is_possible(&[]) {
        return;
    }
    for format in ["logfmt", "json"] {
        let plan = Plan::new(&config(3)).flag("--log.level=debug").flag(&format!("--log.format={format}"));
        let exporter = plan.script("exec \"$@\" 2>/dev/full").start();
        goes_on(&exporter);
        exporter.end();
    }
}

/// A named pipe, opened for both so that nobody waits for the other end.
fn piped(targets: usize) -> (Exporter, File) {
    let plan = Plan::new(&config(targets)).flag("--log.level=debug");
    let pipe = plan.path("pipe");
    run(command("mkfifo").arg(&pipe));
    let reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    (plan.script("exec \"$@\" 2>\"$0/pipe\"").start(), reader)
}

#[test]
fn a_log_whose_reader_is_gone() {
    if !is_possible(&[]) {
        return;
    }
    let (exporter, reader) = piped(3);
    assert_eq!(exporter.scrape().value(LOST), 0.0);
    drop(reader);
    goes_on(&exporter);
    exporter.end();
}

/// The pipe is full, then what is kept for later is, and nobody waits.
#[test]
fn a_log_whose_reader_is_asleep() {
    if !is_possible(&[]) {
        return;
    }
    let (exporter, mut reader) = piped(300);
    goes_on(&exporter);
    let (mut said, mut part) = (Vec::new(), vec![0; 65_536]);
    wait_until("note of what was lost", LIMIT, || {
        let count = reader.read(&mut part).unwrap();
        said.extend_from_slice(&part[..count]);
        String::from_utf8_lossy(&said).contains("Lines of the log were lost").then_some(())
    });
    assert!(!String::from_utf8_lossy(&said).contains("panicked"));
}
