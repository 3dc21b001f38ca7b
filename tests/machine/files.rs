//! Files of the configuration that are gone, or are something else, when it is loaded again.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::exporting::{Exporter, LIMIT, Plan, USER, is_possible, is_up, probes};
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::{command, run, status, wait_until};
use crate::harness::samples::Samples;
use crate::harness::tls::tls_server;

/// What stands in a file's place, and what is said of it.
pub(crate) const FAULTS: [(&str, &str); 6] = [
    ("gone", "No such file"),
    ("folder", "Is a directory"),
    ("pipe", "nobody wrote it to its end within 10 s"),
    ("huge", "is larger than 16 MiB"),
    ("secret", "Permission denied"),
    ("loop", "Too many levels of symbolic links"),
];

/// Puts that in the place of `file`, which is kept aside.
pub(crate) fn replace(file: &Path, fault: &str) {
    fs::rename(file, aside(file)).unwrap();
    match fault {
        "gone" => {}
        "folder" => fs::create_dir(file).unwrap(),
        "pipe" => {
            run(command("mkfifo").arg(file));
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        // Of the disk it takes nothing.
        "huge" => File::create(file).unwrap().set_len(1 << 30).unwrap(),
        "secret" => {
            fs::write(file, "x").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o000)).unwrap();
        }
        "loop" => symlink(file, file).unwrap(),
        other => panic!("{other}"),
    }
}

/// Puts the file back.
pub(crate) fn restore(file: &Path) {
    if file.is_dir() {
        fs::remove_dir(file).unwrap();
    }
    fs::rename(aside(file), file).unwrap();
}

fn aside(file: &Path) -> std::path::PathBuf {
    file.with_extension("aside")
}

/// The most memory it ever had, in KiB (proc_pid_status(5)).
pub(crate) fn peak(exporter: &Exporter) -> u64 {
    status(exporter.server.id(), "VmHWM")
}

fn config(port: u16) -> Value {
    json!({
        "trust": { "system_roots": false, "ca_files": ["ca.pem"] },
        "probe": { "interval": "2s", "timeout": "1s", "survey_interval": "0s" },
        "targets": [{ "address": format!("127.0.0.1:{port}"), "name": "desk" }],
        "discovery": { "http": [{
            "url": "http://127.0.0.1:1/", "basic_auth": { "username": "alice", "password_file": "password" },
        }] },
    })
}

const RELOADED: &str = "rdp_exporter_config_last_reload_successful";

/// One file after the other is none, by `/-/reload`; `key` is what the answer and the log call it by.
fn assert_kept(name: &str, key: &str) {
    if !is_possible(&[]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let rdp = tls_server(([127, 0, 0, 1], 0).into(), &certificate);
    let plan = Plan::new(&config(rdp.port));
    fs::copy(&certificate.certificate, plan.path("ca.pem")).unwrap();
    fs::write(plan.path("password"), "secret\n").unwrap();
    let exporter = plan.under_user(USER + 1).start();
    exporter.scrape_until("a target that is up", |samples| is_up(samples, "desk"));
    let (file, before) = (exporter.path(name), peak(&exporter));
    for (fault, words) in FAULTS {
        // A secret is a line.
        let words = if (name, fault) == ("password", "huge") { "is larger than 16 KiB" } else { words };
        replace(&file, fault);
        let begun = Instant::now();
        let (mut asking, mut others) = (exporter.client(), exporter.client());
        let port = exporter.server.port;
        let reload = thread::spawn(move || asking.ask("POST", "/-/reload"));
        // Whoever asks meanwhile is answered, and a second reload does not take the place of the first.
        let second = (fault == "pipe").then(|| thread::spawn(move || Client::connect(port).ask("POST", "/-/reload")));
        while !reload.is_finished() {
            let asked = Instant::now();
            others.scrape();
            assert!(asked.elapsed() < Duration::from_secs(6), "{name} {fault}: a scrape took {:?}", asked.elapsed());
            thread::sleep(Duration::from_millis(100));
        }
        let (status, said) = reload.join().unwrap();
        let second = second.map(|second| second.join().unwrap());
        assert!(second.as_ref().is_none_or(|answer| *answer == (status, said.clone())), "{second:?}, not {said}");
        assert!(begun.elapsed() < Duration::from_secs(40), "{name} {fault}: {:?}", begun.elapsed());
        assert_eq!(status, 500, "{name} {fault}: {said}");
        for part in [name, key, words, "The old configuration is still in force"] {
            assert!(said.contains(part), "{name} {fault}: no {part} in {said}");
        }
        exporter.wait_for_log(said.lines().next().unwrap().split(": ").last().unwrap());
        let samples = exporter.scrape();
        assert_eq!(samples.value(RELOADED), 0.0, "{name} {fault}");
        assert!(is_up(&samples, "desk"), "{name} {fault}");
        restore(&file);
        assert_eq!(exporter.ask("POST", "/-/reload").0, 200, "{name} {fault}: it is back");
        assert_eq!(exporter.scrape().value(RELOADED), 1.0, "{name} {fault}");
    }
    assert!(peak(&exporter) < before + 128 * 1024, "{} KiB after {before}", peak(&exporter));
    exporter.assert_no_panic();
}

#[test]
fn the_configuration_itself() {
    assert_kept("config.yaml", "config.yaml");
}

#[test]
fn an_authority() {
    assert_kept("ca.pem", "trust.ca_files[0]");
}

#[test]
fn a_password() {
    assert_kept("password", "discovery.http[0]");
}

/// The first authority is a pipe, so the reload stands in the middle of its work for as long as nobody writes there.
#[test]
fn files_that_go_while_they_are_read() {
    if !is_possible(&[]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let rdp = tls_server(([127, 0, 0, 1], 0).into(), &certificate);
    let targets = |name: &str| {
        json!({
            "trust": { "system_roots": false, "ca_files": ["first.pem", "second.pem"] },
            "probe": { "interval": "2s", "timeout": "1s", "survey_interval": "0s" },
            "targets": [{ "address": format!("127.0.0.1:{}", rdp.port), "name": name }],
        })
    };
    let plan = Plan::new(&targets("desk"));
    // The first is of somebody else: by the first alone nothing here is trusted.
    let foreign = workshop.self_signed(&Recipe::named("elsewhere.example", &[]));
    fs::copy(&foreign.certificate, plan.path("first.pem")).unwrap();
    fs::copy(&certificate.certificate, plan.path("second.pem")).unwrap();
    let exporter = plan.start();
    let trusted =
        |samples: &Samples, name: &str| samples.get("rdp_certificate_trusted", &[("target", name)]) == Some(1.0);
    let known = exporter.scrape_until("a trusted certificate", |samples| trusted(samples, "desk"));

    let [config, first, second] = ["config.yaml", "first.pem", "second.pem"].map(|name| exporter.path(name));
    fs::write(&config, targets("other").to_string()).unwrap();
    let (status, said) = reload_without(&exporter, &first, &[&second, &config]);
    assert_eq!(status, 500, "{said}");
    for part in ["second.pem", "trust.ca_files[1]", "No such file", "The old configuration is still in force"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    exporter.wait_for_log("Kept the old configuration");
    let healthy = |samples: &Samples| probes(samples, "desk", "healthy");
    let kept = exporter.scrape_until("two more probes", |samples| healthy(samples) >= healthy(&known) + 2.0);
    assert_eq!(kept.value(RELOADED), 0.0);
    assert!(is_up(&kept, "desk") && trusted(&kept, "desk"), "judged by the old authorities");
    assert!(kept.get("rdp_probe_interval_seconds", &[("target", "other")]).is_none(), "nothing new is in force");
    restore(&second);
    restore(&config);
    assert_eq!(exporter.ask("POST", "/-/reload").0, 200, "they are back");
    assert_eq!(exporter.scrape().value(RELOADED), 1.0);
    let new = exporter.scrape_until("the new target", |samples| trusted(samples, "other"));
    assert!(new.get("rdp_probe_interval_seconds", &[("target", "desk")]).is_none(), "the old one has left");

    // What was read whole before it went is in force.
    fs::write(&config, targets("third").to_string()).unwrap();
    let (status, said) = reload_without(&exporter, &first, &[&config]);
    assert_eq!((status, said.as_str()), (200, "reloaded\n"));
    exporter.scrape_until("the third target", |samples| trusted(samples, "third"));
    assert_eq!(exporter.ask("POST", "/-/reload").0, 500, "there is none to be read");
    assert!(is_up(&exporter.scrape(), "third"));
    restore(&config);
    assert_eq!(exporter.ask("POST", "/-/reload").0, 200, "it is back");
    exporter.assert_no_panic();
}

/// Reloads, with `gone` taken away once `first` has been opened and before it is read; what is answered.
fn reload_without(exporter: &Exporter, first: &Path, gone: &[&Path]) -> (u16, String) {
    replace(first, "pipe");
    let mut asking = exporter.client();
    let reload = thread::spawn(move || asking.ask("POST", "/-/reload"));
    feed(first, gone);
    let answer = reload.join().unwrap();
    restore(first);
    answer
}

/// Takes `gone` away once somebody reads the pipe, and then writes there what the file had that it stands for.
pub(crate) fn feed(pipe: &Path, gone: &[&Path]) {
    // A pipe that nobody has opened to read cannot be opened to write without waiting (fifo(7)).
    let mut options = File::options();
    options.write(true).custom_flags(libc::O_NONBLOCK);
    let mut opened = wait_until("the exporter at the pipe", LIMIT, || options.open(pipe).ok());
    gone.iter().for_each(|file| replace(file, "gone"));
    opened.write_all(&fs::read(aside(pipe)).unwrap()).unwrap();
}

/// Looked at every two seconds: its targets are kept, and what is listed when it is back is probed.
#[test]
fn a_list_of_targets() {
    if !is_possible(&[]) {
        return;
    }
    let config = json!({
        "trust": { "system_roots": false },
        "probe": { "interval": "2s", "timeout": "1s", "survey_interval": "0s" },
        "discovery": { "files": ["list.json"] },
    });
    let plan = Plan::new(&config);
    let write = |file: &Path, number: usize| {
        let labels = json!({ "number": number.to_string() });
        fs::write(file, json!([{ "targets": ["127.0.0.1:1"], "labels": labels }]).to_string()).unwrap();
    };
    write(&plan.path("list.json"), 0);
    let exporter = plan.under_user(USER + 2).start();
    let file = exporter.path("list.json");
    let lists = |samples: &Samples, number: usize| {
        samples.get("rdp_probe_interval_seconds", &[("number", &number.to_string())]).is_some()
    };
    let failures = |samples: &Samples| {
        samples.all("rdp_exporter_discovery_failures_total", &[]).map(|sample| sample.value).sum::<f64>()
    };
    let mut known = exporter.scrape_until("the first list", |samples| lists(samples, 0));
    let before = peak(&exporter);
    for (number, (fault, words)) in FAULTS.into_iter().enumerate() {
        let words = match fault {
            "pipe" | "folder" => "is no regular file",
            _ => words,
        };
        replace(&file, fault);
        let failed = exporter.scrape_until(fault, |samples| failures(samples) > failures(&known));
        assert!(lists(&failed, number), "{fault}: its targets are kept");
        exporter.wait_for_log(words);
        assert!(exporter.server.log().contains("list.json"), "{fault}");
        restore(&file);
        write(&file, number + 1);
        known = exporter.scrape_until("the next list", |samples| lists(samples, number + 1));
    }
    assert!(peak(&exporter) < before + 128 * 1024, "{} KiB after {before}", peak(&exporter));
    assert_eq!(known.value(RELOADED), 1.0, "lists are no configuration");
}
