//! What two vantage points see differently: pairs of reports, and the binary's `diff` on files.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Output},
};

use rdp_exporter::{
    report::{
        self, Ink,
        diff::{self, Outcome},
    },
    wire::negotiation::Protocols,
};
use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, answering, refusing, selecting},
    golden,
    sample::{HOSTILE, noon},
    text,
};

/// What differs on B's side, the facts that are said to differ, and how each conclusion begins.
type Row = (&'static str, fn(&mut Value), &'static [&'static str], &'static [&'static str]);

const ROWS: &[Row] = &[
    ("nothing", |_| {}, &[], &[]),
    ("addresses in another order", |b| b["addresses"].as_array_mut().unwrap().reverse(), &[], &[]),
    (
        "silence",
        |b| stop(b, "connect_timeout", "connect"),
        &["verdict", "stopped"],
        &["The host lets clients in, as A"],
    ),
    (
        "cut",
        |b| stop(b, "closed_after_request", "negotiate"),
        &["verdict", "stopped"],
        &["The host lets clients in, as A"],
    ),
    ("cut in TLS", |b| stop(b, "tls_reset", "tls"), &["verdict", "stopped"], &["The host lets clients in, as A"]),
    ("a verdict of later", |b| stop(b, "host_down", "connect"), &["verdict", "stopped"], &["The host lets clients in"]),
    (
        "a portal",
        |b| stop(b, "not_rdp", "negotiate"),
        &["verdict", "stopped"],
        &["The host speaks RDP, as A shows. On B's"],
    ),
    (
        "no name",
        |b| stop(b, "dns_not_found", "resolve"),
        &["verdict", "stopped"],
        &["A finds the host's address, B does"],
    ),
    ("no descriptors", |b| stop(b, "exporter_fault", "connect"), &["verdict", "stopped"], &["B's own machine failed"]),
    ("refusal", |b| stop(b, "no_certificate", ""), &["verdict", "stopped"], &["A refusal is the host's own answer"]),
    (
        "other addresses",
        |b| b["addresses"] = json!(["192.0.2.1"]),
        &["addresses"],
        &["The name leads to other addresses"],
    ),
    (
        "silence at another address",
        |b| {
            stop(b, "connect_timeout", "connect");
            b["addresses"] = json!(["192.0.2.1"]);
        },
        &["verdict", "stopped", "addresses"],
        &["The name leads to other addresses"],
    ),
    ("another way in", |b| b["connections"][0]["address"] = json!("192.0.2.1:3389"), &["connected to"], &[]),
    ("layer", |b| b["layer"] = json!("ssl"), &["layer"], &["A host answers everybody alike"]),
    ("accepted", |b| b["survey"]["layers"]["rdp"] = json!(true), &["accepts"], &["A host answers everybody alike"]),
    ("version", |b| b["survey"]["tls_versions"]["TLS 1.0"] = json!(true), &["tls versions"], &[]),
    ("nla", |b| b["survey"]["nla_required"] = json!(false), &["nla"], &["A host answers everybody alike"]),
    ("tls", |b| b["tls"]["version"] = json!("TLS 1.2"), &["tls"], &[]),
    (
        "certificate",
        |b| certificate(b, "00", "2026-01-01T00:00:00Z"),
        &["certificate", "issuer"],
        &["One address shows two"],
    ),
    (
        "renewed",
        |b| certificate(b, "00", "2026-12-01T00:00:00Z"),
        &["certificate", "issuer"],
        &["One of the certificates"],
    ),
    (
        "a farm",
        |b| {
            certificate(b, "00", "2026-01-01T00:00:00Z");
            b["connections"][0]["address"] = json!("192.0.2.1:3389");
        },
        &["connected to", "certificate", "issuer"],
        &["The two addresses show different"],
    ),
    ("computer", |b| b["server"]["computer"] = json!("TS02"), &["computer"], &["Two computers answer"]),
    ("slow", |b| slow(b, "tls", 0.2), &["tls time"], &[]),
    ("not much slower", |b| slow(b, "tls", 0.08), &[], &[]),
    ("slower by little", |b| slow(b, "connect", 0.04), &[], &[]),
    ("no survey", |b| b["survey"] = Value::Null, &[], &[]),
    ("fields of later", |b| b["something_new"] = json!({ "deep": [1] }), &[], &[]),
];

/// Verdict and stage of A and of B, and the conclusion.
const BOTH: &[(&str, &str, &str)] = &[
    ("tls_reset tls", "tls_reset tls", "Both see the same, so the cause"),
    ("connect_timeout connect", "connect_timeout connect", "Both see the same, so the cause"),
    ("host_down connect", "connect_timeout connect", "Both see the same, so the cause"),
    ("host_down connect", "port_filtered connect", "Both meet silence, and a companion port"),
    ("port_filtered connect", "tls_reset tls", "Neither gets in, and not for the same reason"),
    ("dns_failure resolve", "dns_failure resolve", "Both fail to find"),
    ("exporter_fault connect", "exporter_fault connect", "Both vantage points failed"),
    ("tls_reset tls", "connect_timeout connect", "Neither gets in, and not for the same reason"),
    ("exporter_fault connect", "tls_reset tls", "A's own machine failed"),
    ("connect_timeout connect", "healthy", "The host lets clients in, as B shows"),
    ("dns_not_found resolve", "healthy", "B finds the host's address, A does not"),
    ("tls_error tls", "healthy", "The host speaks RDP, as B shows. On A's way"),
];

#[test]
fn what_differs_is_told_and_what_it_means() {
    let a = fullest();
    for (name, change, whats, conclusions) in ROWS {
        let mut b = a.clone();
        change(&mut b);
        check(name, (&a, &b), (whats, conclusions));
        // Whoever comes first: as much differs, and as much can be said of it.
        let (found, said) = compared(&b, &a);
        assert_eq!((found.as_slice(), said.len()), (*whats, conclusions.len()), "{name}, the other way round");
    }
}

#[test]
fn two_verdicts_have_their_conclusion() {
    for (at_a, at_b, conclusion) in BOTH {
        let of = |verdict: &str| {
            let mut seen = fullest();
            if let Some((verdict, stage)) = verdict.split_once(' ') {
                stop(&mut seen, verdict, stage);
            }
            seen
        };
        let (_, said) = compared(&of(at_a), &of(at_b));
        assert_eq!(said.len(), 1, "{at_a}, {at_b}: {said:?}");
        assert!(said[0].starts_with(conclusion), "{at_a}, {at_b}: {said:?}");
    }
}

#[track_caller]
fn check(name: &str, (a, b): (&Value, &Value), (whats, conclusions): (&[&str], &[&str])) {
    let (found, said) = compared(a, b);
    assert_eq!(found, whats, "{name}");
    assert_eq!(said.len(), conclusions.len(), "{name}: {said:?}");
    for (said, conclusion) in said.iter().zip(conclusions) {
        assert!(said.starts_with(conclusion), "{name}: {said}");
    }
}

/// What differs between two sightings of one target, and the conclusions.
#[track_caller]
fn compared(a: &Value, b: &Value) -> (Vec<&'static str>, Vec<&'static str>) {
    let [a, b] = [a, b].map(|one| diff::read(json!([one]).to_string().as_bytes()).unwrap());
    match diff::compare(&a, &b).outcomes.remove("ts01").unwrap() {
        Outcome::Both { differences, conclusions, .. } => {
            (differences.iter().map(|difference| difference.what).collect(), conclusions)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_comparison_is_shown_as_its_golden_file_says() {
    let named = |name: &str, change: fn(&mut Value)| {
        let mut seen = fullest();
        change(&mut seen);
        seen["target"] = json!(name);
        seen
    };
    let same = || named("dc01", |_| {});
    let down = || named("hung01", |seen| stop(seen, "negotiation_timeout", "negotiate"));
    let a = [same(), down(), named("only-here", |_| {}), named("ts01", |_| {}), named("ts02", |_| {})];
    let cut = named("ts01", |seen| stop(seen, "closed_after_request", "negotiate"));
    let other = named("ts02", |seen| {
        certificate(seen, "00", "2026-01-01T00:00:00Z");
        seen["server"]["computer"] = json!("a\u{1b}[2Jb\u{202e}c");
        slow(seen, "connect", 0.3);
    });
    let b = [same(), down(), cut, other, named("only-there", |_| {})];
    let [a, b] = [&a, &b].map(|all| diff::read(json!(all).to_string().as_bytes()).unwrap());
    let comparison = diff::compare(&a, &b);
    let [plain, coloured] =
        [Ink::Plain, Ink::Coloured].map(|ink| diff::text(&comparison, ("office.json", &a), ("branch.json", &b), ink));
    golden::check_page(&plain);
    golden::check("diff.txt", &plain);
    assert_eq!(golden::without_colours(&coloured), plain);
}

/// Nothing that stands in a file drives a terminal or leaves the page.
#[test]
fn a_strangers_file_is_shown_harmlessly() {
    for text in HOSTILE.iter().copied().chain(["x".repeat(500).as_str(), "東".repeat(500).as_str()]) {
        let mut a = fullest();
        for place in ["verdict", "evidence", "layer", "started"] {
            a[place] = json!(format!("a{text}"));
        }
        a["stop"] = json!({ "stage": text, "reason": text, "seconds": 1 });
        a["addresses"] = json!([text]);
        a["tls"] = json!({ "version": text, "cipher": text });
        a["survey"]["layers"][text] = json!(true);
        a["certificate"]["sha256"] = json!(text);
        let mut b = a.clone();
        for place in ["verdict", "evidence", "layer"] {
            b[place] = json!(format!("b{text}"));
        }
        b["survey"]["layers"][text] = json!(false);
        b["certificate"] = json!({ "sha256": "00", "subject": format!("{text}{text}") });
        a["target"] = json!(text);
        b["target"] = json!(text);
        let [a, b] = [a, b].map(|one| diff::read(json!([one]).to_string().as_bytes()).unwrap());
        golden::check_page(&diff::text(&diff::compare(&a, &b), (text, &a), (text, &b), Ink::Plain));
    }
}

/// The fullest report, as `--output=json` gives it.
fn fullest() -> Value {
    let all: Value = serde_json::from_str(&report::json(&[&text::healthy_nla()], noon())).unwrap();
    all[0].clone()
}

/// As if the probe had stopped in that stage; in none of them, where the server refused.
fn stop(seen: &mut Value, verdict: &str, stage: &str) {
    seen["verdict"] = json!(verdict);
    seen["evidence"] = json!("refused with failure 3");
    if !stage.is_empty() {
        seen["stop"] = json!({ "stage": stage, "reason": "no answer within the time", "seconds": 5.0 });
    }
    for later in ["layer", "tls", "certificate", "survey", "server", "network"] {
        seen[later] = Value::Null;
    }
}

fn certificate(seen: &mut Value, sha256: &str, not_before: &str) {
    seen["certificate"]["sha256"] = json!(sha256);
    seen["certificate"]["issuer"] = json!("CN=Inspection");
    seen["certificate"]["not_before"] = json!(not_before);
}

fn slow(seen: &mut Value, stage: &str, seconds: f64) {
    let stages = seen["stages"].as_array_mut().unwrap();
    stages.iter_mut().find(|of| of["stage"] == stage).unwrap()["seconds"] = json!(seconds);
}

// The binary.

fn run(a: &Path, b: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rdp_exporter")).arg("diff").args([a, b]).output().unwrap()
}

/// Two probes of real endpoints, written to files as the README says.
#[test]
fn files_that_the_probe_wrote_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    // The third connection meets another host.
    let taking = || vec![answering(selecting(Protocols::RDP))];
    let endpoint = Endpoint::start([taking(), taking(), vec![answering(refusing(5))]].concat());
    let address = endpoint.address.to_string();
    let [first, second, third] = ["1.json", "2.json", "3.json"].map(|name| {
        let file = folder.path().join(name);
        let arguments = ["probe", &address, "--output=json", "--no-survey", "--timeout=5s"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_rdp_exporter"));
        command.args(arguments).stdout(File::create(&file).unwrap()).status().unwrap();
        file
    });
    for (other, code, said) in [(&second, 0, "no difference; healthy at both"), (&third, 1, "negotiation_refused")] {
        let output = run(&first, other);
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{shown}");
        assert!(shown.contains(said) && shown.contains(&address), "{shown}");
        golden::check_page(&shown);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_2_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        file
    };
    let good = write("good.json", b"[]");
    let large = folder.path().join("large.json");
    File::create(&large).unwrap().set_len((64 << 20) + 1).unwrap();
    let rows = [
        (folder.path().join("missing.json"), "No such file"),
        (folder.path().to_owned(), "Is a directory"),
        (large, "larger than 64 MiB"),
        (write("empty.json", b""), "not JSON"),
        (write("text.json", b"ts01  healthy"), "not JSON"),
        (write("binary.json", &[0xC0, 0xC1]), "not UTF-8"),
        (write("half.json", b"[{\"target\":"), "not JSON"),
        (write("odd.json", &[0xFF, 0xFE, b'[']), "broken UTF-16"),
        (write("object.json", b"{}"), "not that of a probe"),
        (write("other.json", b"[{\"targets\": [\"ts01\"]}]"), "missing field `target`"),
        (write("verdictless.json", b"[{\"target\": \"ts01\"}]"), "missing field `verdict`"),
        (write("deep.json", format!("[{{\"new\":{}", "[".repeat(100_000)).as_bytes()), "not JSON"),
        (write("twice.json", br#"[{"target":"t","verdict":null},{"target":"t","verdict":null}]"#), "\"t\" twice"),
        (write("rude.json", br#"[{"target":"t","verdict":{"\u001b[31m\u202e":1}}]"#), "not that of a probe"),
    ];
    for (file, said) in rows {
        for (a, b) in [(&file, &good), (&good, &file)] {
            let output = run(a, b);
            let log = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{}: {log}", file.display());
            assert!(output.stdout.is_empty(), "{}", file.display());
            let shown = file.display().to_string();
            assert!(log.contains(said) && log.contains(&shown) && log.contains("--output=json"), "{shown}: {log}");
            assert!(!log.trim_end().contains(char::is_control), "{log:?}");
        }
    }
}

/// As Windows PowerShell's `>` writes it.
#[test]
fn byte_order_marks_are_understood() {
    let text = "[{\"target\": \"東京\", \"verdict\": null}]";
    let units = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    let files = [
        [&[0xEF, 0xBB, 0xBF], text.as_bytes()].concat(),
        [vec![0xFF, 0xFE], units(u16::to_le_bytes)].concat(),
        [vec![0xFE, 0xFF], units(u16::to_be_bytes)].concat(),
    ];
    for file in files {
        assert_eq!(diff::read(&file).unwrap()[0].target, "東京");
    }
}
