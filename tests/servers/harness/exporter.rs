//! The exporter under test: the built binary, run as a user runs it.
//! INVARIANT: only what the binary prints and serves is looked at.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http;
use super::process::{self, Process, Server, directory, free_port, lossy, wait_until};
use super::samples::Samples;

/// One `rdp_exporter probe` to be run.
pub(crate) struct Probe {
    arguments: Vec<String>,
    config: Option<Value>,
    files: Vec<(&'static str, String)>,
}

impl Probe {
    /// Of a port on 127.0.0.1, without a survey.
    pub(crate) fn of(port: u16) -> Self {
        Self::with(&[&address(port), "--no-survey", "--timeout=5s"])
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self { arguments: arguments.iter().map(|text| (*text).to_owned()).collect(), config: None, files: Vec::new() }
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With a configuration file of this content: JSON is YAML.
    pub(crate) fn config(mut self, config: Value) -> Self {
        self.config = Some(config);
        self
    }

    /// Where /etc/hosts has this content.
    pub(crate) fn hosts(self, hosts: &str) -> Self {
        self.file("/etc/hosts", hosts)
    }

    /// Where this file has this content, in a mount namespace of its own.
    pub(crate) fn file(mut self, path: &'static str, content: &str) -> Self {
        self.files.push((path, content.to_owned()));
        self
    }

    /// Runs it with `--output=metrics`.
    #[track_caller]
    pub(crate) fn run(self) -> Report {
        let answer = self.argument("--output=metrics").answer();
        let samples = Samples::parse(&answer.output);
        assert!(!samples.0.is_empty(), "no metrics, exit code {}, log:\n{}", answer.exit, answer.log);
        Report { exit: answer.exit, samples, log: answer.log }
    }

    pub(crate) fn answer(self) -> Answer {
        let directory = directory();
        let mut command = if self.files.is_empty() { binary() } else { with_files(&self.files, &directory) };
        command.arg("probe").args(&self.arguments);
        if let Some(config) = &self.config {
            command.arg(config_argument(config, &directory));
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let exit = output.status.code().expect("the probe command was killed");
        Answer { exit, output: lossy(&output.stdout), log: lossy(&output.stderr) }
    }
}

/// What the command printed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) exit: i32,
    pub(crate) output: String,
    pub(crate) log: String,
}

/// What the command printed with `--output=metrics`.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) exit: i32,
    pub(crate) samples: Samples,
    pub(crate) log: String,
}

impl Report {
    /// Asserts the verdict and everything the contract ties to it.
    #[track_caller]
    pub(crate) fn assert_verdict(&self, verdict: &str) -> &Samples {
        let up = f64::from(u8::from(verdict == "healthy"));
        let found = self.samples.label("rdp_verdict", "verdict");
        assert_eq!(found, verdict, "log:\n{}\n{:#?}", self.log, self.samples.0);
        assert_eq!(self.samples.value("rdp_up"), up);
        assert_eq!(self.samples.value("probe_success"), up);
        assert_eq!(self.exit, i32::from(verdict != "healthy"), "log:\n{}", self.log);
        &self.samples
    }

    #[track_caller]
    pub(crate) fn assert_healthy(&self, layer: &str) -> &Samples {
        let samples = self.assert_verdict("healthy");
        assert_eq!(samples.value("rdp_reachable"), 1.0);
        assert_eq!(samples.label("rdp_security_layer", "layer"), layer);
        samples
    }
}

/// Starts the exporter in serving mode and waits until it is ready.
pub(crate) fn serve(config: &Value) -> Server {
    serve_with(config, &[])
}

/// The same with more flags.
pub(crate) fn serve_with(config: &Value, flags: &[&str]) -> Server {
    let directory = directory();
    let command = binary();
    serve_by(command, config, flags, directory)
}

/// The same where each of these files is replaced, in a mount namespace of its own.
#[allow(dead_code, reason = "for the suite of networks, the one of real servers has no resolver")]
pub(crate) fn serve_where(config: &Value, files: &[(&str, String)]) -> Server {
    let directory = directory();
    let command = with_files(files, &directory);
    serve_by(command, config, &[], directory)
}

fn serve_by(mut command: Command, config: &Value, flags: &[&str], directory: TempDir) -> Server {
    let port = free_port();
    command.arg(config_argument(config, &directory)).arg(format!("--web.listen-address={}", address(port))).args(flags);
    let mut process = Process::start("rdp_exporter", &command, directory);
    process.wait_until("/-/ready", || http::get(port, "/-/ready").ok().filter(|(status, _)| *status == 200));
    Server::of(process, port)
}

/// Starts the exporter without targets, with these flags, and waits until its port is open: whether it answers is up to them.
pub(crate) fn serve_web(flags: &[&str]) -> Server {
    let port = free_port();
    let mut command = binary();
    command.arg(format!("--web.listen-address={}", address(port))).args(flags);
    Server::start("rdp_exporter", port, &command, directory())
}

/// Whether `check-config` accepts a file of this content, and what it said.
pub(crate) fn check_config(text: &str) -> (bool, String) {
    let directory = directory();
    let file = directory.path().join("config.yaml");
    fs::write(&file, text).unwrap();
    let output = binary().arg("check-config").arg(file).stdin(Stdio::null()).output().unwrap();
    (output.status.success(), lossy(&output.stdout) + &lossy(&output.stderr))
}

/// What `/probe` answers to this query, with status 200.
pub(crate) fn probe_endpoint(exporter: &Server, query: &str) -> Samples {
    let (status, body) = http::get(exporter.port, &format!("/probe?{query}")).unwrap();
    assert_eq!(status, 200, "{query}: {body}");
    Samples::parse(&body)
}

/// Scrapes until the answer is as `wanted`.
#[track_caller]
pub(crate) fn scrape_until(exporter: &Server, what: &str, wanted: impl Fn(&Samples) -> bool) -> Samples {
    wait_until(what, Duration::from_secs(40), || Some(Samples::parse(&scrape(exporter))).filter(&wanted))
}

/// What `/metrics` says now, as text.
pub(crate) fn scrape(exporter: &Server) -> String {
    let (status, body) = http::get(exporter.port, "/metrics").unwrap();
    assert_eq!(status, 200, "{body}");
    body
}

pub(crate) fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A configuration with one target on 127.0.0.1 and no roots but those of `ca_files`.
pub(crate) fn one_target(port: u16, target: Value, ca_files: &[PathBuf]) -> Value {
    let mut target = target;
    target["address"] = json!(address(port));
    json!({ "trust": { "system_roots": false, "ca_files": ca_files }, "targets": [target] })
}

fn config_argument(config: &Value, directory: &TempDir) -> String {
    let file = directory.path().join("config.yaml");
    // YAML forbids some characters that JSON does not: ASCII is the same in both.
    let mut text = String::new();
    for character in serde_json::to_string_pretty(config).unwrap().chars() {
        match character {
            '\n' | ' '..='~' => text.push(character),
            other => other.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    fs::write(&file, text).unwrap();
    format!("--config.file={}", file.display())
}

/// The exporter where each of `files` is replaced.
fn with_files(files: &[(&str, String)], directory: &TempDir) -> Command {
    let mut unshare = process::command("unshare");
    unshare.arg("--mount").args((!rustix::process::geteuid().is_root()).then_some("--map-root-user"));
    unshare.args(["sh", "-c", WITH_FILES, "sh"]);
    for (path, content) in files {
        let file = directory.path().join(path.replace('/', "_"));
        fs::write(&file, content).unwrap();
        unshare.arg(file).arg(path);
    }
    unshare.arg("--").arg(binary().get_program());
    unshare
}

pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rdp_exporter"))
}

const WITH_FILES: &str =
    "while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$2\" || exit; shift 2; done; shift; exec \"$@\"";
