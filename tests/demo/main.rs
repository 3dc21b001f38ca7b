//! Starts the demo as the README says and compares each member with what it is to show.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail by panic and must wait")]

#[allow(dead_code, reason = "shared with the offline suite")]
#[path = "../offline/golden.rs"]
mod golden;
#[path = "../servers/harness/masked.rs"]
mod masked;
// Of the readers that the suites share, this one needs a few methods only.
#[allow(dead_code, reason = "shared with the suite of real servers")]
#[path = "../servers/harness/samples.rs"]
mod samples;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use samples::Samples;

/// What a member shows: verdict, layer, whole days left, findings; and whether NLA is required, once it was surveyed.
type Row = (&'static str, &'static str, Option<&'static str>, Option<f64>, &'static [Finding], Option<f64>);
type Finding = (&'static str, &'static str);

const EXPECTED: [Row; 14] = [
    ("dc01", "healthy", Some("hybrid_ex"), Some(180.5), &[], Some(1.0)),
    ("ts01", "healthy", Some("hybrid_ex"), Some(12.5), &[("certificate_expiring", "warning")], Some(1.0)),
    ("ts02", "healthy", Some("hybrid_ex"), Some(71.0 / 24.0), &[("certificate_expiring", "warning")], Some(1.0)),
    ("ts03", "healthy", Some("hybrid_ex"), Some(-9.5), &[("certificate_expired", "critical")], Some(1.0)),
    ("ws01", "healthy", Some("hybrid_ex"), Some(-4.5), &[("certificate_expired", "critical")], Some(1.0)),
    ("linux01", "healthy", Some("ssl"), Some(90.5), &[], Some(0.0)),
    ("old01", "healthy", Some("rdp"), None, &[("standard_security_only", "critical")], Some(0.0)),
    ("legacy01", "healthy", Some("hybrid"), Some(150.5), &[("tls_legacy", "warning")], Some(1.0)),
    ("clock01", "healthy", Some("hybrid_ex"), Some(170.5), &[("clock_skew", "warning")], Some(1.0)),
    ("broken01", "no_certificate", None, None, &[], None),
    ("broken02", "tls_reset", Some("hybrid_ex"), None, &[], None),
    ("hung01", "negotiation_timeout", None, None, &[], None),
    ("off01", "connect_refused", None, None, &[], None),
    ("slow01", "healthy", Some("hybrid_ex"), Some(200.5), &[], Some(1.0)),
];

/// What the surveys tell: metric, member, label, its values that are accepted.
const SURVEYED: [(&str, &str, &str, &[&str]); 7] = [
    ("rdp_security_layer_accepted", "dc01", "layer", &["hybrid", "hybrid_ex", "rdstls"]),
    ("rdp_security_layer_accepted", "linux01", "layer", &["ssl"]),
    ("rdp_security_layer_accepted", "legacy01", "layer", &["hybrid"]),
    ("rdp_tls_version_accepted", "dc01", "version", &["TLS 1.2", "TLS 1.3"]),
    ("rdp_tls_version_accepted", "legacy01", "version", &["TLS 1.0", "TLS 1.1", "TLS 1.2"]),
    ("rdp_security_layer_accepted", "old01", "layer", &["rdp"]),
    ("rdp_encryption_method_accepted", "old01", "method", &["40bit", "56bit", "128bit"]),
];

/// The demo, ended when the test ends.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Demo {
    /// Starts it; gives what it said up to where it can be reached, its address, and what it will say.
    fn start() -> (Self, Vec<String>, String, impl Iterator<Item = std::io::Result<String>>) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["run", "--quiet", "--example", "demo"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        // With what Cargo says of this package in the environment it would build some dependencies anew.
        let is_of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        std::env::vars().filter(|(name, _)| is_of_package(name)).for_each(|(name, _)| {
            cargo.env_remove(name);
        });
        let mut demo = Self(cargo.stdout(Stdio::piped()).spawn().unwrap());
        let mut said = BufReader::new(demo.0.stdout.take().unwrap()).lines();
        let mut lines = said.by_ref().map(Result::unwrap);
        let guide: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("Open")).collect();
        let reached = lines.find_map(|line| Some(line.split_once("http://")?.1.split_once('/')?.0.to_owned()));
        (demo, guide, reached.unwrap(), said)
    }

    /// Ctrl-C goes to every process in front: to cargo and to the demo. Here it is sent to the demo, cargo's only child.
    fn interrupt(&mut self) {
        let pid = self.0.id().to_string();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let child = children.split_whitespace().next().unwrap_or(&pid);
        assert!(Command::new("kill").args(["-INT", child]).status().unwrap().success());
        assert!(self.0.wait().unwrap().success(), "the demo ends well");
    }
}

#[test]
fn every_member_shows_what_the_demo_promises() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains("cargo run --example demo"), "the README names the command that this test runs");
    let (mut demo, guide, address, said) = Demo::start();
    for (name, ..) in EXPECTED {
        assert!(guide.iter().any(|line| line.contains(name)), "the demo tells of {name}");
    }
    let samples = when(&address, Duration::from_secs(30), "every member is probed", |samples| {
        samples.all("rdp_verdict", &[]).count() == EXPECTED.len()
    });
    for row in EXPECTED {
        check(&samples, row);
    }
    check_challenges(&samples);
    check_surveys(&address);
    demo.interrupt();
    assert_eq!(said.last().unwrap().unwrap(), "Stopped.");
}

/// The binary itself, pointed at every member: verdict, cause and remedy of each, as a person reads them.
#[test]
fn every_member_is_explained_by_the_command() {
    let (mut demo, _, address, _said) = Demo::start();
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), get(&address, "/config")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdp_exporter"));
    command.arg("probe").args(EXPECTED.map(|row| row.0)).arg("--timeout=10s");
    let output = command.arg(format!("--config.file={}", file.path().display())).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    golden::check_page(&text);
    for (name, verdict, _, _, findings, _) in EXPECTED {
        let head = text.lines().find(|line| line.starts_with(&format!("{name} ("))).unwrap();
        assert!(head.contains(&format!(")  {verdict}")), "{head}");
        let summary = text.lines().find(|line| line.starts_with(&format!("  {name:<8}  "))).unwrap();
        assert!(findings.iter().all(|(finding, _)| summary.contains(finding)), "{summary}");
    }
    golden::check("probe/demo.txt", &masked::masked(&text));
    demo.interrupt();
}

fn check(samples: &Samples, (name, verdict, layer, days, findings, _): Row) {
    let labels = |own: &[(&'static str, &'static str)]| [&[("target", name)], own].concat();
    assert_eq!(samples.get("rdp_verdict", &labels(&[("verdict", verdict)])), Some(1.0), "{name} is {verdict}");
    assert_eq!(samples.get("rdp_up", &labels(&[])), Some(f64::from(verdict == "healthy")), "{name}");
    let layers: Vec<_> = samples.all("rdp_security_layer", &labels(&[])).map(|s| s.labels["layer"].clone()).collect();
    assert_eq!(layers, layer.into_iter().collect::<Vec<_>>(), "layer of {name}");
    match (samples.get("rdp_certificate_days_to_expiry", &labels(&[])), days) {
        (None, None) => {}
        (Some(found), Some(days)) => assert!((found - days).abs() < 0.01, "{name}: {found} days, not {days}"),
        (found, days) => panic!("{name}: {found:?} days, not {days:?}"),
    }
    let mut found: Vec<_> = samples
        .all("rdp_finding", &labels(&[]))
        .map(|sample| (sample.labels["finding"].clone(), sample.labels["severity"].clone()))
        .collect();
    found.sort();
    let expected: Vec<_> =
        findings.iter().map(|(finding, severity)| ((*finding).to_owned(), (*severity).to_owned())).collect();
    assert_eq!(found, expected, "findings of {name}");
}

fn check_challenges(samples: &Samples) {
    let names = [("target", "clock01"), ("computer", "CLOCK01"), ("domain", "DEMO"), ("version", "10.0.20348")];
    assert_eq!(samples.get("rdp_server_info", &names), Some(1.0));
    for (target, skew) in [("clock01", 1200.0), ("dc01", 0.0), ("slow01", 0.0)] {
        let found = samples.get("rdp_clock_skew_seconds", &[("target", target)]).unwrap();
        assert!((found - skew).abs() < 2.0, "{target}: {found} s");
    }
    // Who cannot be asked was not.
    assert_eq!(samples.all("rdp_server_info", &[]).count(), 7);
    let how = [("target", "legacy01"), ("version", "TLS 1.2"), ("cipher", "TLS_RSA_WITH_AES_128_CBC_SHA256")];
    assert_eq!(samples.get("rdp_tls_info", &how), Some(1.0), "read in the clear");
}

fn check_surveys(address: &str) {
    let surveyed = EXPECTED.iter().filter(|row| row.5.is_some()).count();
    let samples = when(address, Duration::from_secs(90), "every member is surveyed", |samples| {
        samples.all("rdp_survey_timestamp_seconds", &[]).count() == surveyed
    });
    for (name, .., nla) in EXPECTED {
        assert_eq!(samples.get("rdp_nla_required", &[("target", name)]), nla, "{name}");
    }
    for (metric, name, label, expected) in SURVEYED {
        let labels = [("target", name)];
        let accepted = samples.all(metric, &labels).filter(|sample| sample.value == 1.0);
        let mut accepted: Vec<_> = accepted.map(|sample| sample.labels[label].as_str()).collect();
        let mut expected = expected.to_vec();
        accepted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(accepted, expected, "{metric} of {name}");
    }
}

fn when(address: &str, patience: Duration, what: &str, is_there: impl Fn(&Samples) -> bool) -> Samples {
    let deadline = Instant::now() + patience;
    loop {
        let samples = Samples::parse(&get(address, "/metrics"));
        if is_there(&samples) {
            return samples;
        }
        assert!(Instant::now() < deadline, "{patience:?} passed before {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: demo\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    body.to_owned()
}
