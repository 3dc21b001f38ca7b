//! A full disk under the log and the state file; a folder that is gone.

use std::fs;

use serde_json::json;

use crate::exporting::{Exporter, Plan, is_possible, probes};
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::free_port;
use crate::harness::samples::Samples;
use crate::harness::tls::tls_server;

const SAVED: &str = "rdp_exporter_state_file_last_save_successful";
const LOST: &str = "rdp_exporter_log_lines_lost_total";

/// A disk of 256 KiB at `$0/disk`, full but for what may be there before, and the log on it.
const FULL: &str = "mount -t tmpfs -o size=256k none \"$0/disk\" && cp \"$0/state\" \"$0/disk/state\" && \
    { head -c 1000000 /dev/zero >\"$0/disk/fill\" 2>\"$0/said\" || true; } && exec \"$@\" 2>\"$0/disk/log\"";

fn kept(samples: &Samples) -> bool {
    samples.has_family("rdp_certificate_info")
}

#[test]
fn a_full_disk_under_log_and_state_file() {
    if !is_possible(&[]) {
        return;
    }
    let workshop = Workshop::new();
    let port = free_port();
    let config = |state: &str| {
        json!({
            "exporter": { "state_file": state },
            "trust": { "system_roots": false },
            "probe": { "interval": "1s", "timeout": "900ms", "survey_interval": "0s" },
            "targets": [{ "address": format!("127.0.0.1:{port}"), "name": "desk" }],
        })
    };
    // What an earlier process knew of a host that is down now.
    let rdp = tls_server(([127, 0, 0, 1], port).into(), &workshop.self_signed(&Recipe::default()));
    let earlier = Plan::new(&config("state")).start();
    earlier.scrape_until("a certificate", |samples| samples.has_family("rdp_certificate_info"));
    let folder = earlier.end();
    drop(rdp);
    let state = fs::read(folder.path().join("state")).unwrap();

    let plan = Plan::new(&config("disk/state")).flag("--log.level=debug");
    fs::create_dir(plan.path("disk")).unwrap();
    fs::write(plan.path("state"), &state).unwrap();
    let exporter = plan.by("unshare", &["--mount"]).script(FULL).start();
    let full = exporter.scrape_until("a save that failed", |samples| samples.get(SAVED, &[]) == Some(0.0));
    assert!(full.value(LOST) > 0.0, "lines are lost, and counted");
    assert!(kept(&full), "what is known is served");
    assert_eq!(fs::read(exporter.inside("disk/state")).unwrap(), state, "the old file stands");
    assert!(!exporter.inside("disk/state.new").exists(), "and no half of a new one takes room");
    let down = |samples: &Samples| probes(samples, "desk", "connect_refused");
    exporter.scrape_until("more probes", |samples| down(samples) >= down(&full) + 2.0);

    fs::remove_file(exporter.inside("disk/fill")).unwrap();
    exporter.scrape_until("a save", |samples| samples.get(SAVED, &[]) == Some(1.0));
    assert_ne!(fs::read(exporter.inside("disk/state")).unwrap(), state, "replaced");
    let log = log_of(&exporter);
    assert!(log.contains("Lines of the log were lost"), "{log}");
    assert!(log.contains("The state file is written again"), "{log}");
    assert!(!log.contains("panicked") && !log.contains("please report"), "{log}");
}

fn log_of(exporter: &Exporter) -> String {
    String::from_utf8_lossy(&fs::read(exporter.inside("disk/log")).unwrap()).into_owned()
}

/// The folder gone, then a folder in the file's place.
#[test]
fn a_state_file_that_cannot_be_written() {
    if !is_possible(&[]) {
        return;
    }
    let plan = Plan::new(&json!({ "exporter": { "state_file": "state/file" }, "targets": [] }));
    let folder = plan.path("state");
    fs::create_dir(&folder).unwrap();
    let exporter = plan.start();
    fs::remove_dir_all(&folder).unwrap();
    let fails = |samples: &Samples| samples.get(SAVED, &[]) == Some(0.0);
    let first = exporter.scrape_until("a save that failed", fails);
    assert!(!first.has_family("rdp_exporter_state_file_last_save_success_timestamp"), "none succeeded yet");
    fs::create_dir_all(folder.join("file")).unwrap();
    // Longer than until the next try.
    std::thread::sleep(std::time::Duration::from_secs(12));
    assert!(fails(&exporter.scrape()));
    let log = exporter.server.log();
    assert_eq!(log.matches("Could not write the state file").count(), 1, "said once: {log}");
    fs::remove_dir(folder.join("file")).unwrap();
    // A pipe in the new one's place holds up nobody.
    crate::harness::process::run(crate::harness::process::command("mkfifo").arg(folder.join("file.new")));
    exporter.scrape_until("a save", |samples| samples.get(SAVED, &[]) == Some(1.0));
    exporter.wait_for_log("The state file is written again");
    assert!(fs::read_to_string(folder.join("file")).unwrap().starts_with('{'));
}
