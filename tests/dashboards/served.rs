//! The programs behind a running dashboard: the demo, Prometheus, Alertmanager, and somebody who is told.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    files::{text, yaml},
    http,
    process::{Process, Server, command, directory, free_port, wait_until},
};

/// The demo as the README starts it.
pub(crate) struct Demo {
    pub(crate) address: String,
    guide: String,
    _process: Process,
}

impl Demo {
    pub(crate) fn start() -> Self {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["run", "--quiet", "--example", "demo", "--manifest-path"]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        // With what Cargo says of this package in the environment it would build some dependencies anew.
        let is_of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        env::vars().filter(|(name, _)| is_of_package(name)).for_each(|(name, _)| {
            cargo.env_remove(name);
        });
        let mut process = Process::start("demo", &cargo, directory());
        let log = process.log_file();
        let guide = process
            .wait_until("guide", || fs::read_to_string(&log).ok().filter(|said| said.contains("End with Ctrl-C.")));
        let (_, after) = guide.split_once("http://").unwrap();
        let address = after.split('/').next().unwrap().to_owned();
        Self { address, guide, _process: process }
    }

    /// Does what the guide says that renews a certificate.
    pub(crate) fn renew(&self) {
        let (_, pid) = self.guide.split_once("kill -USR1 ").unwrap();
        let pid = pid.lines().next().unwrap();
        assert!(Command::new("kill").args(["-USR1", pid]).status().unwrap().success());
    }
}

/// A receiver of Alertmanager's messages.
pub(crate) struct Receiver {
    port: u16,
    told: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = Arc::<Mutex<Vec<_>>>::default();
        let telling = Arc::clone(&told);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                telling.lock().unwrap_or_else(PoisonError::into_inner).extend(receive(stream));
            }
        });
        Self { port, told }
    }

    /// Whether `receiver` was told that the alert of these labels has this status.
    pub(crate) fn was_told(&self, receiver: &str, status: &str, labels: &[(&str, &str)]) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let of_receiver = told.iter().filter(|(to, _)| to == receiver);
        of_receiver.flat_map(|(_, message)| message["alerts"].as_array().into_iter().flatten()).any(|alert| {
            alert["status"] == status && labels.iter().all(|(label, value)| alert["labels"][*label] == *value)
        })
    }
}

/// One message: who is to be told, and what.
fn receive(mut stream: TcpStream) -> Option<(String, Value)> {
    let mut lines = BufReader::new(&stream);
    let mut line = String::new();
    lines.read_line(&mut line).ok()?;
    let receiver = line.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let mut length = 0;
    while lines.read_line(&mut line).ok()? > 2 {
        let last = line.lines().last()?.to_ascii_lowercase();
        length = last.strip_prefix("content-length: ").and_then(|length| length.parse().ok()).unwrap_or(length);
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()?;
    Some((receiver, serde_json::from_slice(&body).ok()?))
}

/// Alertmanager with the shipped example, but quick and telling `receiver`.
pub(crate) fn start_alertmanager(receiver: &Receiver) -> Server {
    let (directory, port) = (directory(), free_port());
    let config = text("alertmanager/alertmanager.yml")
        .replace("http://localhost:8080/", &format!("http://127.0.0.1:{}/", receiver.port))
        .replace("group_wait: 30s", "group_wait: 1s")
        .replace("group_interval: 5m", "group_interval: 1s");
    fs::write(directory.path().join("alertmanager.yml"), config).unwrap();
    let mut alertmanager = command("prometheus-alertmanager");
    alertmanager.arg(file_option("config.file", directory.path(), "alertmanager.yml"));
    alertmanager.arg(file_option("storage.path", directory.path(), "data"));
    alertmanager.args([format!("--web.listen-address=127.0.0.1:{port}"), "--cluster.listen-address=".to_owned()]);
    Server::start("prometheus-alertmanager", port, &alertmanager, directory)
}

/// Prometheus that scrapes the demo as the job of the example, with the shipped rules, but quick.
pub(crate) fn start_prometheus(demo: &Demo, alertmanager: &Server) -> Server {
    let (directory, port) = (directory(), free_port());
    let config = json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
        "rule_files": ["rules.yml"],
        "alerting": { "alertmanagers": [static_targets(&format!("127.0.0.1:{}", alertmanager.port))] },
        "scrape_configs": [{ "job_name": "rdp", "static_configs": [{ "targets": [demo.address] }] }],
    });
    fs::write(directory.path().join("prometheus.yml"), config.to_string()).unwrap();
    fs::write(directory.path().join("rules.yml"), quick_rules().to_string()).unwrap();
    let mut prometheus = command("prometheus");
    prometheus.arg(file_option("config.file", directory.path(), "prometheus.yml"));
    prometheus.arg(file_option("storage.tsdb.path", directory.path(), "data"));
    prometheus.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    prometheus.arg("--rules.alert.resend-delay=1s");
    let prometheus = Server::start("prometheus", port, &prometheus, directory);
    let is_ready = || http::get(port, "/-/ready").is_ok_and(|(status, _)| status == 200);
    wait_until("readiness", Duration::from_secs(30), || is_ready().then_some(()));
    prometheus
}

/// The shipped rules with seconds for minutes, and nothing else changed.
fn quick_rules() -> Value {
    let mut rules = yaml("prometheus/rules.yml");
    for group in rules["groups"].as_array_mut().unwrap() {
        group["interval"] = json!("1s");
        for rule in group["rules"].as_array_mut().unwrap() {
            rule["for"] = json!("2s");
            if !rule["keep_firing_for"].is_null() {
                rule["keep_firing_for"] = json!("2s");
            }
        }
    }
    rules
}

fn static_targets(address: &str) -> Value {
    json!({ "static_configs": [{ "targets": [address] }] })
}

fn file_option(name: &str, folder: &Path, file: &str) -> String {
    format!("--{name}={}", folder.join(file).display())
}

/// The data of a successful answer of Prometheus.
#[track_caller]
pub(crate) fn ask(prometheus: &Server, path: &str, parameters: &[(&str, &str)]) -> Value {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    let path = format!("/api/v1/{path}?{}", query.finish());
    let (status, body) = http::get(prometheus.port, &path).unwrap();
    assert_eq!(status, 200, "{parameters:?}: {body}");
    let mut answer: Value = serde_json::from_str(&body).unwrap();
    assert!(answer["status"] == "success" && answer["warnings"].is_null(), "{parameters:?}: {answer}");
    answer["data"].take()
}
