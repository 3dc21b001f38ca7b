//! The wall clock stepped by an hour, either way. What it is stepped by is libfaketime, for the exporter alone; the
//! monotonic clock goes on, as on a real machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::exporting::{Exporter, LIMIT, Plan, is_possible};
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::{free_port, leave_out, wait_until};
use crate::harness::samples::Samples;
use crate::harness::servers::Shadow;
use crate::harness::tls::tls_server;

/// Debian's place for it, by the machine's name.
fn faketime() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten();
    let found = places.map(|place| place.path().join("faketime/libfaketime.so.1")).find(|file| file.is_file());
    if found.is_none() {
        leave_out("missing libfaketime", "install with: apt-get install --no-install-recommends faketime");
    }
    found
}

/// Another clock from now on. Replaced as a whole, as it is read at every look at the clock.
fn step(file: &Path, seconds: i64) {
    let new = file.with_extension("new");
    fs::write(&new, format!("{seconds:+}\n")).unwrap();
    fs::rename(new, file).unwrap();
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

fn skew(samples: &Samples) -> Option<f64> {
    samples.get("rdp_clock_skew_seconds", &[("target", "nla")])
}

fn total(samples: &Samples, target: &str) -> f64 {
    samples.all("rdp_probes_total", &[("target", target)]).map(|sample| sample.value).sum()
}

#[test]
fn the_clock_is_stepped_by_an_hour() {
    if !is_possible(&["freerdp-shadow-cli", "Xvfb"]) {
        return;
    }
    let Some(library) = faketime() else { return };
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let shadow = Shadow::start("nla", &certificate);
    let gone_port = free_port();
    let gone = tls_server(([127, 0, 0, 1], gone_port).into(), &certificate);
    let plan = Plan::new(&json!({
        "exporter": { "state_file": "state" },
        "trust": { "system_roots": false },
        "probe": { "interval": "2s", "timeout": "1900ms", "survey_interval": "0s", "companion_ports": [] },
        "targets": [
            { "address": format!("127.0.0.1:{}", shadow.server.port), "name": "nla" },
            { "address": format!("127.0.0.1:{gone_port}"), "name": "gone" },
        ],
    }));
    let file = plan.path("clock");
    step(&file, 0);
    let exporter = faked(plan, &library, &file).start();
    let shows = |samples: &Samples, target: &str| {
        samples.get("rdp_certificate_info", &[("target", target), ("sha256", &certificate.facts().sha256)]) == Some(1.0)
    };
    exporter.scrape_until("both certificates and a challenge", |samples| {
        shows(samples, "nla") && shows(samples, "gone") && skew(samples).is_some_and(|skew| skew.abs() < 60.0)
    });
    // From now on nothing but memory knows of that one.
    drop(gone);
    exporter.scrape_until("its end", |samples| samples.get("rdp_up", &[("target", "gone")]) == Some(0.0));

    // Forward, back to where it was, and behind.
    for seconds in [3600, 0, -3600_i64] {
        step(&file, seconds);
        let stepped = Instant::now();
        let first = exporter.scrape();
        let days = first.get("rdp_certificate_days_to_expiry", &[("target", "gone")]).unwrap();
        let expected = (certificate.facts().not_after - now() - seconds as f64) / 86_400.0;
        assert!((days - expected).abs() < 60.0 / 86_400.0, "{seconds}: {days} days, {expected} by openssl");
        // At most one an interval, and one for a change: neither a burst nor a pause of an hour.
        let later =
            exporter.scrape_until("four more probes", |samples| total(samples, "nla") >= total(&first, "nla") + 4.0);
        let most = stepped.elapsed().as_secs_f64() / 2.0 + 2.0;
        assert!(total(&later, "nla") - total(&first, "nla") <= most, "{seconds}: {most}");
        assert!(stepped.elapsed() >= Duration::from_secs(5), "{seconds}: in {:?}", stepped.elapsed());
        let last = later.get("rdp_last_probe_timestamp_seconds", &[("target", "nla")]).unwrap();
        assert!((last - now() - seconds as f64).abs() < 60.0, "{seconds}");
        // The challenge's hour has passed, or is not waited for: what it says is true of the clock as it is.
        let told = exporter.scrape_until("the skew by the new clock", |samples| {
            skew(samples).is_some_and(|skew| (skew + seconds as f64).abs() < 60.0)
        });
        let found = told.get("rdp_finding", &[("target", "nla"), ("finding", "clock_skew"), ("severity", "warning")]);
        assert_eq!(found, (seconds != 0).then_some(1.0), "{seconds}");
        for target in ["nla", "gone"] {
            assert!(shows(&told, target), "{seconds}: what is known of {target} is kept");
        }
        for path in ["/", "/changes", "/targets/gone", "/targets/nla", "/api/v1/targets/gone"] {
            let (status, page) = exporter.ask("GET", path);
            assert_eq!(status, 200, "{seconds}: {path}: {page}");
            assert!(!page.contains("213503982334601"), "{seconds}: {path} tells an age without end");
        }
    }
    restarted(exporter, &library, &file, &|samples| shows(samples, "gone") && shows(samples, "nla"));
}

fn faked(plan: Plan, library: &Path, file: &Path) -> Plan {
    let plan = plan.environment("LD_PRELOAD", library.to_str().unwrap());
    let plan = plan.environment("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap());
    [("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")]
        .into_iter()
        .fold(plan, |plan, (name, value)| plan.environment(name, value))
}

/// What was saved by a clock that was right is there under one that is an hour behind, and the other way round.
fn restarted(exporter: Exporter, library: &Path, file: &Path, knows: &dyn Fn(&Samples) -> bool) {
    let clock = fs::read(file).unwrap();
    let config = fs::read_to_string(exporter.path("config.yaml")).unwrap();
    exporter.assert_no_panic();
    let folder = exporter.end();
    let state = fs::read(folder.path().join("state")).unwrap();
    for seconds in [0, -7200] {
        let plan = Plan::new(&serde_json::from_str(&config).unwrap());
        fs::write(plan.path("state"), &state).unwrap();
        let file = plan.path("clock");
        fs::write(&file, &clock).unwrap();
        step(&file, seconds);
        let exporter = faked(plan, library, &file).start();
        let known = wait_until("first scrape", LIMIT, || Some(exporter.scrape()));
        assert!(knows(&known), "at once, by a clock of {seconds}");
        exporter.assert_no_panic();
    }
}
