//! The binary's commands: exit codes, and the answer on stdout alone.

use std::{
    fs::{self, File},
    io::{Read, Write as _},
    process::{Command, Output, Stdio},
};

use rdp_exporter::wire::negotiation::Protocols;

use crate::{
    bench::at_once,
    endpoint::{Endpoint, Step, answering, refusing, selecting, speaking, tls13},
    golden,
    sample::is_harmless,
};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rdp_exporter")).args(arguments).output().unwrap()
}

/// Probes a healthy and a refusing endpoint with `options`, and holds the exit code.
fn check(options: &[&str], healthy_only: bool, code: i32) -> String {
    let healthy = Endpoint::start(vec![speaking(Protocols::HYBRID_EX, tls13())]);
    let refused = Endpoint::start(vec![answering(refusing(5))]);
    let (first, second) = (healthy.address.to_string(), refused.address.to_string());
    let mut arguments = vec!["probe", first.as_str(), "--timeout=1s"];
    arguments.extend((!healthy_only).then_some(second.as_str()));
    arguments.extend(options);
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn json_is_an_array_with_an_object_per_target() {
    let shown = check(&["--output=json", "--no-survey"], false, 1);
    let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let verdicts: Vec<_> = read.as_array().unwrap().iter().map(|target| target["verdict"].clone()).collect();
    assert_eq!(verdicts, ["healthy", "negotiation_refused"]);
}

#[test]
fn healthy_is_exit_code_0() {
    let rows = [("--no-survey", ["healthy", "hybrid_ex", "TLS 1.3"]), ("--output=metrics", ["\nprobe_success 1\n"; 3])];
    at_once(rows, |(option, said)| {
        let text = check(&[option], true, 0);
        assert!(said.iter().all(|said| text.contains(said)), "{text}");
    });
}

/// By its name or by its address, one that is configured keeps what is configured for it.
#[test]
fn a_configured_target_keeps_its_own_settings() {
    let endpoint = Endpoint::start(vec![answering(selecting(Protocols::RDP))]);
    let address = endpoint.address.to_string();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let desk = format!("{{ name: desk, address: \"{address}\", expect: {{ accept: [standard_security_only] }} }}");
    writeln!(file, "targets: [{desk}]").unwrap();
    let config = format!("--config.file={}", file.path().display());
    for asked in ["desk", &address] {
        let output = run(&["probe", asked, "--strict", "--no-survey", "--timeout=1s", "--output=json", &config]);
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{asked}: {shown}");
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read[0]["target"], "desk", "{asked}: {shown}");
    }
}

#[test]
fn healthy_with_findings_is_3_where_that_is_asked_for() {
    at_once([(vec![], 0), (vec!["--strict"], 3)], |(options, code)| {
        // Standard RDP Security alone is a finding.
        let endpoint = Endpoint::start(vec![answering(selecting(Protocols::RDP))]);
        let address = endpoint.address.to_string();
        let output = run(&[&["probe", address.as_str(), "--timeout=1s"][..], &options].concat());
        assert_eq!(output.status.code(), Some(code), "{options:?}");
    });
}

#[test]
fn wrong_use_is_2_and_leaves_stdout_empty() {
    let wrong: [&[&str]; 7] = [
        &["probe"],
        &["probe", "host:0"],
        &["probe", "2001:db8::1"],
        &["probe", "two words"],
        &["probe", "127.0.0.1:1", "--module=none-of-that-name"],
        &["probe", "127.0.0.1:1", "--timeout=soon"],
        &["probe", "127.0.0.1:1", "--config.file=/nowhere/at/all.yaml"],
    ];
    for arguments in wrong {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

/// Colours are for a terminal; but for them, everybody reads the same.
#[cfg(unix)]
#[test]
fn colours_are_for_a_terminal_only() {
    let endpoint = Endpoint::start(vec![answering(refusing(5))]);
    let address = endpoint.address.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdp_exporter"));
    command.args(["probe", &address, "127.0.0.1:1", "--timeout=2s", "--no-survey"]);
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    let piped = String::from_utf8(command.output().unwrap().stdout).unwrap();
    golden::check_page(&piped);
    assert!(piped.starts_with(&format!("{address}  negotiation_refused\n")), "{piped}");
    assert!(piped.contains("\n2 targets  0 healthy, 2 not; worst first\n"), "{piped}");
    let coloured = on_a_terminal(&mut command);
    assert!(coloured.contains("\x1b[31mnegotiation_refused\x1b[0m"), "{coloured}");
    let without_times = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains(" ms") && !line.contains(" after "));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    assert_eq!(without_times(&golden::without_colours(&coloured)), without_times(&piped));
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let shown = on_a_terminal(command.env("TERM", "xterm").env_remove("NO_COLOR").env(name, value));
        golden::check_page(&shown);
    }
}

/// What the command prints where its stdout is a terminal.
#[cfg(unix)]
fn on_a_terminal(command: &mut Command) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let other_side = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let stdout = File::options().read(true).write(true).open(other_side).unwrap();
    let mut child = command.stdout(stdout).spawn().unwrap();
    // The command holds a copy of its stdout; without it the reader below would wait for ever.
    command.stdout(Stdio::null());
    let mut shown = Vec::new();
    // Linux says EIO once nobody holds the other side any more.
    let _ = File::from(terminal).read_to_end(&mut shown);
    child.wait().unwrap();
    // A terminal makes CR LF of a line feed.
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_strangers_banner_cannot_drive_the_terminal() {
    for format in ["text", "json", "metrics"] {
        let endpoint =
            Endpoint::start(vec![vec![Step::ReadRequest, Step::Send(b"\x1b[31m\x9b\r\n\0rdp_up 1\n".to_vec())]]);
        let output = run(&["probe", &endpoint.address.to_string(), &format!("--output={format}")]);
        assert_eq!(output.status.code(), Some(1));
        let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(shown.chars().all(|character| is_harmless(character) || character == '\n'), "{format}: {shown:?}");
        assert!(shown.contains("not_rdp") && !shown.contains("\nrdp_up 1\n"), "{format}: {shown}");
    }
}

/// Nobody reads the line of a good configuration: that is told, and is no fault of the program's own.
#[test]
#[cfg(target_os = "linux")]
fn a_line_that_cannot_be_written_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.yaml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdp_exporter"));
    let output = command.args(["check-config", example]).stdout(full).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("No space left on device") && !told.contains("panicked"), "{told}");
}

/// A folded text of YAML makes one line of it, and so does a file with `\n` written out; the library's errors quote that.
#[test]
fn a_private_key_on_one_line_is_shown_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let secret = key.lines().nth(1).unwrap().get(30..60).unwrap();
    let decimal = format!("{:?}", secret.as_bytes()).replace(['[', ']'], "");
    let certificate = format!("cert: {certificate:?}");
    let mut texts = Vec::new();
    for (name, between) in [("folded", " "), ("written_out", "\\n"), ("joined", "")] {
        let line = key.trim_end().replace('\n', between);
        fs::write(at(name), &line).unwrap();
        texts.push(format!("tls_server_config: {{ {certificate}, key: {line:?} }}"));
        texts.push(format!("tls_server_config: {{ {certificate}, key_file: {name} }}"));
        texts.push(format!("tls_server_config: {{ cert: {line:?}, key: {key:?} }}"));
        texts.push(format!(
            "tls_server_config: {{ {certificate}, key: {key:?}, client_ca_file: {name}, client_auth_type: RequireAndVerifyClientCert }}"
        ));
    }
    let hides = |arguments: &[&str], text: &str| {
        let output = run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}: {said}");
        assert!(said.contains("is no line of its own"), "{text}: {said}");
        assert!(!said.contains(secret) && !said.contains(&decimal), "{text}: {said}");
    };
    let (web, config) = (at("web.yml"), at("config.yaml"));
    for text in texts {
        fs::write(&web, &text).unwrap();
        hides(&["check-config", "--web", &web], &text);
        hides(&[&format!("--web.config.file={web}"), "--web.listen-address=127.0.0.1:0"], &text);
    }
    let text = "trust: { system_roots: false, ca_files: [ folded ] }\n";
    fs::write(&config, text).unwrap();
    hides(&["check-config", &config], text);
}

#[test]
fn a_file_that_a_configuration_names_is_missed_at_the_key_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    fs::write(at("here.pem"), made.cert.pem()).unwrap();
    fs::write(at("here.key"), made.signing_key.serialize_pem()).unwrap();
    let (config, web) = (at("config.yaml"), at("web.yml"));
    let refused = |arguments: &[&str], file: &str, text: &str, place: &str| {
        fs::write(file, text).unwrap();
        let output = run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}: {said}");
        assert!(
            said.contains(&format!("{file}:{place}: ")) && said.contains("nowhere cannot be read"),
            "{text}: {said}"
        );
    };
    let check = ["check-config", config.as_str()];
    refused(
        &check,
        &config,
        "trust:\n  system_roots: false\n  ca_files:\n    - here.pem\n    - nowhere\n",
        "5:7: trust.ca_files[1]",
    );
    let check = ["check-config", "--web", web.as_str()];
    for (text, place) in [
        ("cert_file: nowhere\n  key_file: here.key", "2:3: tls_server_config.cert_file"),
        ("cert_file: here.pem\n  key_file: nowhere", "3:3: tls_server_config.key_file"),
        (
            "cert_file: here.pem\n  key_file: here.key\n  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: nowhere",
            "5:3: tls_server_config.client_ca_file",
        ),
    ] {
        refused(&check, &web, &format!("tls_server_config:\n  {text}\n"), place);
    }
}
