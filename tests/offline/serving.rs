//! The binary while it serves: routes, reload, and how it ends.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use rdp_exporter::wire::negotiation::Protocols;
use tempfile::TempDir;

use crate::endpoint::{Endpoint, answering, selecting};

/// A serving exporter, ended when the test ends.
pub(crate) struct Exporter {
    child: Child,
    pub(crate) address: String,
    folder: TempDir,
}

/// One answer: status, head, body.
pub(crate) struct Answer(pub(crate) u16, pub(crate) String, Vec<u8>);

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.2.clone()).unwrap()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Exporter {
    /// Starts one with that configuration, or with none, on a port that it picks and logs itself.
    pub(crate) fn start(config: Option<&str>) -> Self {
        Self::start_in(TempDir::new().unwrap(), config, &[])
    }

    fn start_in(folder: TempDir, config: Option<&str>, flags: &[&str]) -> Self {
        let file = folder.path().join("config.yaml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_rdp_exporter"));
        if let Some(config) = config {
            fs::write(&file, config).unwrap();
            command.arg(format!("--config.file={}", file.display()));
        }
        command.args(flags).arg("--web.listen-address=127.0.0.1:0").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it listened");
            if let Some((_, after)) = line.split_once("address=") {
                break after.split_whitespace().next().unwrap().to_owned();
            }
        };
        // Whoever does not read the log must not stop the exporter.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address, folder }
    }

    pub(crate) fn ask(&self, method: &str, path: &str, header: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = bytes.split_off(end + 4);
        let body = if head.contains("transfer-encoding: chunked") { unchunked(&body) } else { body };
        Answer(status, head, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    /// The first value of a line of `/metrics` that begins so.
    pub(crate) fn metric(&self, begins: &str) -> Option<f64> {
        let text = self.get("/metrics").text();
        let line = text.lines().find(|line| line.starts_with(begins))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition(self) {
            assert!(Instant::now() < deadline, "{what} did not come; metrics:\n{}", self.get("/metrics").text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Exporter {
    /// Ends it with SIGTERM and waits for that.
    pub(crate) fn end(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
}

fn standard_only() -> Endpoint {
    Endpoint::start(vec![answering(selecting(Protocols::RDP)); 100])
}

fn yaml(address: SocketAddr, interval: &str, label: &str) -> String {
    format!(
        "probe: {{ interval: {interval}, timeout: 900ms, survey_interval: 0s }}\n\
         targets: [ {{ name: one, address: \"{address}\", labels: {{ site: {label} }} }} ]\n"
    )
}

#[test]
fn every_route_answers() {
    let endpoint = standard_only();
    let exporter = Exporter::start(Some(&yaml(endpoint.address, "1m", "berlin")));
    for (method, path, status) in [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/-/healthy", 200),
        ("GET", "/-/ready", 200),
        ("GET", "/config", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/metrics", 405),
        ("GET", "/-/reload", 405),
        ("PUT", "/-/reload", 200),
        ("GET", "/probe", 400),
        ("GET", "/probe?target=", 400),
        ("GET", "/probe?target=a%20b", 400),
        ("GET", "/probe?target=one&module=none", 400),
        ("GET", "/probe?target=127.0.0.1", 403),
        ("GET", "/probe?target=one", 200),
    ] {
        assert_eq!(exporter.ask(method, path, "").0, status, "{method} {path}");
    }
    let config = exporter.get("/config").text();
    assert!(config.contains("site: berlin"), "{config}");
    let metrics = exporter.get("/metrics");
    assert!(metrics.1.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.1);
}

#[test]
fn gzip_comes_where_it_is_asked_for() {
    let exporter = Exporter::start(None);
    let plain = exporter.get("/metrics");
    assert!(!plain.1.contains("content-encoding"), "{}", plain.1);
    for refused in ["gzip;q=0", "identity", "br"] {
        let answer = exporter.ask("GET", "/metrics", &format!("Accept-Encoding: {refused}\r\n"));
        assert!(!answer.1.contains("content-encoding"), "{refused}");
    }
    let packed = exporter.ask("GET", "/metrics", "Accept-Encoding: br;q=0.5, gzip\r\n");
    assert!(packed.1.contains("content-encoding: gzip"), "{}", packed.1);
    let mut text = String::new();
    GzDecoder::new(packed.2.as_slice()).read_to_string(&mut text).unwrap();
    assert!(text.contains("\nrdp_exporter_targets 0\n"), "{text}");
}

#[test]
fn a_probe_on_demand_has_the_names_of_blackbox_and_no_counters() {
    let endpoint = standard_only();
    let exporter = Exporter::start(Some(&yaml(endpoint.address, "1m", "berlin")));
    let answer = exporter.get("/probe?target=one").text();
    for line in ["probe_success 1", "rdp_up{target=\"one\",site=\"berlin\"} 1", "rdp_probe_interval_seconds{"] {
        assert!(answer.contains(&format!("\n{line}")), "{line} in {answer}");
    }
    assert!(!answer.contains("_total") && !answer.contains("_bucket") && !answer.contains("rdp_exporter_"), "{answer}");
    let debug = exporter.get("/probe?target=one&debug=true").text();
    assert!(debug.contains("negotiate") && debug.contains("verdict"), "{debug}");
}

#[test]
fn a_reload_keeps_what_is_known_and_a_bad_one_changes_nothing() {
    let endpoint = standard_only();
    let exporter = Exporter::start(Some(&yaml(endpoint.address, "1s", "berlin")));
    exporter
        .wait_for("three probes", |exporter| exporter.metric("rdp_probes_total{").is_some_and(|count| count >= 3.0));
    fs::write(exporter.config(), yaml(endpoint.address, "1s", "oslo")).unwrap();
    assert_eq!(exporter.ask("POST", "/-/reload", "").0, 200);
    let kept = exporter.metric("rdp_probes_total{target=\"one\",site=\"oslo\"").unwrap();
    assert!(kept >= 3.0, "counters are kept under the new label: {kept}");

    fs::write(exporter.config(), "targets: [ { address: ts01, timeuot: 3s } ]\n").unwrap();
    let refused = exporter.ask("POST", "/-/reload", "");
    assert_eq!(refused.0, 500);
    assert!(refused.text().contains("targets[0].timeuot"), "{}", refused.text());
    assert_eq!(exporter.metric("rdp_exporter_config_last_reload_successful "), Some(0.0));
    assert!(exporter.metric("rdp_up{target=\"one\",site=\"oslo\"").is_some(), "the old configuration holds");

    fs::write(exporter.config(), "targets: []\n").unwrap();
    exporter.signal("-HUP");
    exporter.wait_for("the reload by SIGHUP", |exporter| exporter.metric("rdp_exporter_targets ") == Some(0.0));
    assert_eq!(exporter.metric("rdp_exporter_config_last_reload_successful "), Some(1.0));
    assert!(!exporter.get("/metrics").text().contains("\nrdp_up"), "series leave with their target");
}

/// The pipe in the place of the authorities holds the start up after the configuration was read.
#[test]
fn a_change_while_it_starts_is_seen_where_changes_are_looked_for() {
    let folder = TempDir::new().unwrap();
    let [config, pipe] = ["config.yaml", "ca.pem"].map(|name| folder.path().join(name));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let authority = rcgen::generate_simple_self_signed(vec!["root".to_owned()]).unwrap().cert.pem();
    let changing = std::thread::spawn(move || {
        let mut read = File::options().write(true).open(pipe).unwrap();
        fs::write(config, "targets: [ { address: '127.0.0.1:1' } ]\n").unwrap();
        read.write_all(authority.as_bytes()).unwrap();
    });
    let text = "trust: { system_roots: false, ca_files: [ ca.pem ] }\n";
    let exporter = Exporter::start_in(folder, Some(text), &["--config.auto-reload"]);
    changing.join().unwrap();
    exporter.wait_for("the change", |exporter| exporter.metric("rdp_exporter_targets ") == Some(1.0));
}

#[test]
fn it_ends_in_order_when_told_to() {
    for signal in ["-TERM", "-INT"] {
        let endpoint = Endpoint::start(vec![vec![]; 4]);
        let mut exporter = Exporter::start(Some(&yaml(endpoint.address, "1s", "berlin")));
        exporter.wait_for("a probe", |exporter| exporter.metric("rdp_probes_total{").is_some());
        exporter.signal(signal);
        let begun = Instant::now();
        assert!(exporter.child.wait().unwrap().success(), "{signal}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{signal} took {:?}", begun.elapsed());
    }
}

/// A configuration on a disk that does not answer: here a pipe that nobody writes to.
#[test]
fn a_reload_that_hangs_does_not_keep_it_from_ending() {
    for by_signal in [true, false] {
        let mut exporter = Exporter::start(Some("targets: []\n"));
        fs::remove_file(exporter.config()).unwrap();
        assert!(Command::new("mkfifo").arg(exporter.config()).status().unwrap().success());
        let asking = match by_signal {
            true => {
                exporter.signal("-HUP");
                None
            }
            false => {
                let mut stream = TcpStream::connect(&exporter.address).unwrap();
                write!(stream, "POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                Some(stream)
            }
        };
        // Until the reload holds the pipe open, or would.
        std::thread::sleep(Duration::from_millis(500));
        exporter.signal("-TERM");
        let deadline = Instant::now() + Duration::from_secs(30);
        let ended = loop {
            match exporter.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "by signal {by_signal}: it goes on"),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(ended.success(), "by signal {by_signal}: {ended}");
        drop(asking);
    }
}

#[test]
fn a_bad_configuration_at_the_start_is_exit_code_1() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bad.yaml");
    fs::write(&file, "probe: { interval: 5 }\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rdp_exporter"))
        .arg(format!("--config.file={}", file.display()))
        .arg("--web.listen-address=127.0.0.1:0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("bad.yaml:1:10: probe.interval:"), "{said}");
}
