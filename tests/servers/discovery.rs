//! Targets that come and go while a real Prometheus scrapes, shards beside its own hashmod, and reloads without end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::exporter::{address, probe_endpoint, scrape, scrape_until, serve};
use crate::harness::http;
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::peer::{CONFIRM_RDP, CONFIRM_SSL, Peer, answer, drain, relay_between};
use crate::harness::process::{Process, Server, command, directory, free_port, require, wait_until};
use crate::harness::samples::Samples;
use crate::harness::servers::{start_prometheus_with, start_s_server};
use crate::prometheus::{query, wait_for};

/// An exporter that reads the files of `folder`, `config.yaml` first of all.
pub(crate) fn serve_folder(folder: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Server {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdp_exporter"));
    command.arg(format!("--config.file={}", folder.join("config.yaml").display()));
    command.arg(format!("--web.listen-address={}", address(port))).args(flags).envs(environment.iter().copied());
    let mut process = Process::start("rdp_exporter", &command, directory());
    process.wait_until("/-/ready", || http::get(port, "/-/ready").ok().filter(|(status, _)| *status == 200));
    Server::of(process, port)
}

/// Puts a file in the place of another at once.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

/// A web server with one list, of which nobody must know that it is not a real inventory.
struct ListServer {
    peer: Peer,
    answer: Arc<Mutex<(u16, String)>>,
}

impl ListServer {
    fn start() -> Self {
        let answer = Arc::new(Mutex::new((200, "[]".to_owned())));
        let said = Arc::clone(&answer);
        let peer = Peer::start(move |mut client| {
            let lines = BufReader::new(client.try_clone()?).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let (status, body) = said.lock().unwrap().clone();
            let length = body.len();
            write!(
                client,
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
        });
        Self { peer, answer }
    }

    fn url(&self) -> String {
        format!("http://{}/rdp", address(self.peer.port))
    }

    fn answer(&self, status: u16, list: &Value) {
        *self.answer.lock().unwrap() = (status, list.to_string());
    }
}

fn list(hosts: &[&str], port: u16, labels: &Value) -> Value {
    let targets: Vec<_> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
    json!([{ "targets": targets, "labels": labels }])
}

/// An RDP server on every address of loopback.
fn rdp() -> Peer {
    Peer::on(Ipv4Addr::UNSPECIFIED, |mut client| {
        answer(&mut client, &CONFIRM_RDP)?;
        drain(client)
    })
}

/// The addresses that Prometheus's job keeps; none before it is ready.
fn kept_by(prometheus: &Server, job: &str) -> BTreeSet<String> {
    let answered = http::get(prometheus.port, "/api/v1/targets?state=active").ok().filter(|(status, _)| *status == 200);
    let Some((_, body)) = answered else { return BTreeSet::new() };
    let answer: Value = serde_json::from_str(&body).unwrap();
    let active = answer["data"]["activeTargets"].as_array().unwrap();
    let of_job = active.iter().filter(|target| target["scrapePool"] == job);
    of_job.map(|target| target["discoveredLabels"]["__address__"].as_str().unwrap().to_owned()).collect()
}

/// However they are written.
fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> BTreeSet<SocketAddr> {
    texts.into_iter().map(|text| text.parse().unwrap()).collect()
}

/// The targets that the exporter probes.
fn probed_by(samples: &Samples) -> BTreeSet<String> {
    samples.all("rdp_probe_interval_seconds", &[]).map(|sample| sample.labels["target"].clone()).collect()
}

#[test]
fn discovered_targets_come_and_go_under_the_eyes_of_prometheus() {
    if !require(&["prometheus"]) {
        return;
    }
    let (rdp, inventory, folder) = (rdp(), ListServer::start(), directory());
    let file = folder.path().join("list.json");
    let config = json!({
        "probe": { "interval": "2s", "timeout": "1s", "confirm_after": "1s", "survey_interval": "0s" },
        "targets": [{ "address": format!("127.0.1.1:{}", rdp.port), "name": "configured" }],
        "discovery": { "files": ["*.json"], "http": [{ "url": inventory.url(), "refresh_interval": "1s" }] },
    });
    fs::write(folder.path().join("config.yaml"), config.to_string()).unwrap();
    replace(
        &file,
        &list(&["127.0.1.2", "127.0.1.3"], rdp.port, &json!({ "site": "berlin", "__rdp_interval": "3s" })).to_string(),
    );
    inventory.answer(200, &list(&["127.0.1.3", "127.0.1.4", "127.0.1.5"], rdp.port, &json!({ "job": "windows" })));
    let exporter = serve_folder(folder.path(), &[], &[]);
    let never = json!({ "scrape_interval": "1h", "scrape_timeout": "1s" });
    let mut same_lists = json!({
        "job_name": "lists",
        "file_sd_configs": [{ "files": [file], "refresh_interval": "1s" }],
        "http_sd_configs": [{ "url": inventory.url(), "refresh_interval": "1s" }],
    });
    same_lists.as_object_mut().unwrap().extend(never.as_object().unwrap().clone());
    let exporter_job = json!({ "job_name": "rdp", "static_configs": [{ "targets": [address(exporter.port)] }] });
    let prometheus = start_prometheus_with(&json!([exporter_job, same_lists]));
    let target = |number: u8| format!("127.0.1.{number}:{}", rdp.port);

    wait_for(&prometheus, "count(rdp_up == 1)", |count| count == 5.0);
    assert_eq!(query(&prometheus, r#"count(rdp_up{site="berlin"})"#), Some(2.0));
    assert_eq!(
        query(&prometheus, r#"count(rdp_up{job="rdp",exported_job="windows"})"#),
        Some(2.0),
        "one is a duplicate"
    );
    assert_eq!(query(&prometheus, "sum(rdp_exporter_discovery_rejected_total)"), Some(1.0));
    assert_eq!(query(&prometheus, "sum(rdp_exporter_discovery_targets)"), Some(4.0));
    assert_eq!(query(&prometheus, &format!("rdp_probe_interval_seconds{{target=\"{}\"}}", target(2))), Some(3.0));
    wait_until("the same targets in Prometheus", Duration::from_secs(30), || {
        let listed: BTreeSet<_> = [2, 3, 4, 5].map(target).into();
        (kept_by(&prometheus, "lists") == listed).then_some(())
    });

    // One leaves and one comes in each source; what stays goes on.
    replace(&file, &list(&["127.0.1.2", "127.0.1.6"], rdp.port, &json!({ "site": "berlin" })).to_string());
    inventory.answer(200, &list(&["127.0.1.4", "127.0.1.7"], rdp.port, &json!({})));
    let expected: BTreeSet<_> = [2, 4, 6, 7].map(target).into_iter().chain(["configured".to_owned()]).collect();
    scrape_until(&exporter, "the new targets", |samples| probed_by(samples) == expected);
    wait_for(&prometheus, "count(rdp_up == 1)", |count| count == 5.0);
    wait_for(&prometheus, &format!("count(rdp_up{{target=~\"{}|{}\"}}) or vector(0)", target(3), target(5)), |count| {
        count == 0.0
    });
    wait_for(&prometheus, &format!("rdp_up{{target=\"{}\"}}", target(7)), |up| up == 1.0);

    // The inventory breaks: its targets stay.
    inventory.answer(500, &json!([]));
    let failures = format!("rdp_exporter_discovery_failures_total{{source=\"{}\"}}", inventory.url());
    wait_for(&prometheus, &failures, |count| count > 1.0);
    fs::write(&file, "[{").unwrap();
    wait_for(&prometheus, "rdp_exporter_discovery_failures_total{source=\"*.json\"}", |count| count == 1.0);
    assert_eq!(probed_by(&Samples::parse(&scrape(&exporter))), expected);

    for name in ["configured", &target(2), &target(4)] {
        let probes = format!("rdp_probes_total{{target=\"{name}\",verdict=\"healthy\"}}");
        // Another label makes another series, which goes on from the same count.
        assert_eq!(query(&prometheus, &format!("max(resets({probes}[10m]))")), Some(0.0), "{name}");
        let before = query(&prometheus, &format!("max({probes})")).unwrap();
        assert!(before >= 4.0, "{name} {before}");
        wait_for(&prometheus, &format!("max({probes})"), |count| count > before);
    }
    assert_eq!(query(&prometheus, "min_over_time(up{job=\"rdp\"}[10m])"), Some(1.0));
}

#[test]
fn shards_are_the_halves_of_prometheus() {
    if !require(&["prometheus"]) {
        return;
    }
    let (folder, nobody) = (directory(), free_port());
    // Some as IPv6, and not as the exporter would write it: what counts is what was written.
    let host = |number: usize| match (number / 250, 1 + number % 250) {
        (high, low) if number.is_multiple_of(5) => format!("[0::FFFF:7F01:{:04X}]:{nobody}", high << 8 | low),
        (high, low) => format!("127.1.{high}.{low}:{nobody}"),
    };
    let hosts: Vec<_> = (0..1000).map(host).collect();
    let (configured, listed) = hosts.split_at(300);
    let file = folder.path().join("list.yaml");
    fs::write(&file, json!([{ "targets": listed }]).to_string()).unwrap();
    let config = json!({
        "probe": { "interval": "10m", "timeout": "1s", "confirm_after": "10m" },
        "targets": [{ "addresses": configured, "labels": { "from": "file" } }],
        "discovery": { "files": ["list.yaml"] },
    });
    fs::write(folder.path().join("config.yaml"), config.to_string()).unwrap();
    let shard = |index: &str| {
        let environment = [("RDP_EXPORTER_SHARD_INDEX", index), ("RDP_EXPORTER_SHARD_COUNT", "2")];
        serve_folder(folder.path(), &[], &environment)
    };
    let exporters = [shard("0"), shard("rdp-exporter-1")];
    let jobs = ["0", "1"].map(|index| {
        json!({
            "job_name": index, "scrape_interval": "1h", "scrape_timeout": "1s",
            "static_configs": [{ "targets": configured }],
            "file_sd_configs": [{ "files": [file] }],
            "relabel_configs": [
                { "source_labels": ["__address__"], "modulus": 2, "target_label": "__tmp_hash", "action": "hashmod" },
                { "source_labels": ["__tmp_hash"], "regex": index, "action": "keep" },
            ],
        })
    });
    let prometheus = start_prometheus_with(&json!(jobs));
    wait_until("all targets in Prometheus", Duration::from_secs(60), || {
        let kept = ["0", "1"].map(|job| kept_by(&prometheus, job).len());
        (kept.iter().sum::<usize>() == hosts.len()).then_some(())
    });
    let mut all = BTreeSet::new();
    for (exporter, job) in exporters.iter().zip(["0", "1"]) {
        let samples = Samples::parse(&scrape(exporter));
        let probed = probed_by(&samples);
        assert_eq!(samples.value("rdp_exporter_targets"), probed.len() as f64);
        assert_eq!(samples.value("rdp_exporter_discovery_targets"), listed.len() as f64, "of all shards");
        assert!((400..600).contains(&probed.len()), "{}", probed.len());
        assert_eq!(addresses(&probed), addresses(&kept_by(&prometheus, job)));
        all.extend(probed);
    }
    assert_eq!(addresses(&all), addresses(&hosts));
    let [first, second] = exporters.each_ref().map(|exporter| Samples::parse(&scrape(exporter)));
    assert!(probed_by(&first).is_disjoint(&probed_by(&second)));

    // /probe answers for targets of the other shard with their labels, and does not begin to schedule them.
    let of_second = addresses(&probed_by(&second));
    for is_v6 in [false, true] {
        let is_elsewhere =
            |host: &&String| host.starts_with('[') == is_v6 && of_second.contains(&host.parse().unwrap());
        let elsewhere = configured.iter().find(is_elsewhere).unwrap();
        let target = elsewhere.parse::<SocketAddr>().unwrap().to_string();
        let samples = probe_endpoint(&exporters[0], &format!("target={elsewhere}"));
        assert_eq!(samples.get("rdp_up", &[("target", &target), ("from", "file")]), Some(0.0));
        assert_eq!(samples.value("rdp_probe_interval_seconds"), 600.0);
        assert!(!probed_by(&Samples::parse(&scrape(&exporters[0]))).contains(&target));
    }
    let (status, config) = http::get(exporters[1].port, "/config").unwrap();
    assert!(status == 200 && config.contains("sharding:\n  index: 1\n  count: 2\n"), "{config}");
    assert!(!config.contains(&listed[0]), "only what the file says");
}

/// Status and text of `POST /-/reload`.
pub(crate) fn reload(exporter: &Server) -> (u16, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, exporter.port)).unwrap();
    write!(stream, "POST /-/reload HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// How many healthy probes each target had.
fn healthy(samples: &Samples) -> BTreeMap<String, f64> {
    let counts = samples.all("rdp_probes_total", &[("verdict", "healthy")]);
    counts.map(|sample| (sample.labels["target"].clone(), sample.value)).collect()
}

/// Scrapes until told to stop; how often. Each time all forty targets are there, and no counter goes back.
fn scrape_without_end(port: u16, stop: &AtomicBool) -> usize {
    let mut last = BTreeMap::new();
    let mut scrapes = 0;
    while !stop.load(Ordering::Relaxed) {
        let (status, text) = http::get(port, "/metrics").unwrap();
        let samples = Samples::parse(&text);
        let counts = healthy(&samples);
        assert_eq!((status, counts.len()), (200, 40));
        assert!(last.iter().all(|(target, count)| counts[target] >= *count), "a counter went back");
        assert_eq!(samples.value("rdp_exporter_targets"), 40.0);
        last = counts;
        scrapes += 1;
    }
    scrapes
}

#[test]
fn a_thousand_reloads_lose_nothing() {
    const RELOADS: usize = 1000;
    let (rdp, folder) = (rdp(), directory());
    let file = folder.path().join("config.yaml");
    let hosts: Vec<_> = (1..=40).map(|number| format!("127.0.3.{number}:{}", rdp.port)).collect();
    fs::write(folder.path().join("list.json"), json!([{ "targets": hosts[20..] }]).to_string()).unwrap();
    let config = |label: usize| {
        json!({
            "probe": { "interval": "2s", "timeout": "1500ms", "survey_interval": "0s" },
            "trust": { "system_roots": false },
            "targets": [{ "addresses": hosts[..20], "labels": { "version_of_file": label.to_string() } }],
            "discovery": { "files": ["list.json"] },
        })
    };
    fs::write(&file, config(0).to_string()).unwrap();
    let exporter = serve_folder(folder.path(), &[], &[]);
    let probed = |least: f64| {
        move |samples: &Samples| {
            let counts = healthy(samples);
            counts.len() == 40 && counts.values().all(|count| *count >= least)
        }
    };
    let before = scrape_until(&exporter, "two probes of each target", probed(2.0));

    let stop = Arc::new(AtomicBool::new(false));
    let scraping = thread::spawn({
        let (stop, port) = (Arc::clone(&stop), exporter.port);
        move || scrape_without_end(port, &stop)
    });
    for number in 0..RELOADS {
        let is_broken = number % 2 == 1;
        let text = match (is_broken, number % 4) {
            (false, _) => config(number).to_string(),
            (true, 1) => "targets: [ { address: a, timeuot: 1s } ]\n".to_owned(),
            (true, _) => config(number).to_string().replace('}', ""),
        };
        fs::write(&file, text).unwrap();
        let (status, said) = reload(&exporter);
        assert_eq!(status, if is_broken { 500 } else { 200 }, "{said}");
    }
    stop.store(true, Ordering::Relaxed);
    let scrapes = scraping.join().unwrap();
    assert!(scrapes > 20, "{scrapes} scrapes");

    let counted = healthy(&before);
    let after = scrape_until(&exporter, "two more probes of each target", |samples| {
        let counts = healthy(samples);
        counted.iter().all(|(target, before)| counts.get(target).is_some_and(|count| *count >= before + 2.0))
    });
    assert_eq!(after.all("rdp_up", &[("version_of_file", "998")]).count(), 20, "the last one that was right");
    assert_eq!(after.value("rdp_exporter_config_last_reload_successful"), 0.0);
    // Of the probes and scrapes that happen to be under way there may be as many as before, and a few more.
    let open = |samples: &Samples| samples.value("process_open_fds");
    let patient = scrape_until(&exporter, "descriptors", |samples| open(samples) <= open(&before) + 5.0);
    assert!(patient.value("process_max_fds") >= 1024.0);
    let threads = after.value("process_threads");
    assert!(threads < 80.0, "{threads} threads");
}

#[test]
fn the_file_is_loaded_again_when_it_changes() {
    let (rdp, folder) = (rdp(), directory());
    let at = |name: &str| folder.path().join(name);
    let workshop = Workshop::new();
    let authorities = [(); 2].map(|()| workshop.self_signed(&Recipe::authority("root.example")));
    let config = |name: &str| {
        json!({
            "probe": { "interval": "2s", "timeout": "1s" },
            "trust": { "system_roots": false, "ca_files": ["ca.pem"] },
            "targets": [{ "address": format!("127.0.4.1:{}", rdp.port), "name": name }],
        })
        .to_string()
    };
    // As Kubernetes mounts a ConfigMap, and a Secret beside it.
    for version in ["v1", "v2"] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("config.yaml"), config(version)).unwrap();
    }
    for name in ["v1", "v2"] {
        fs::copy(&authorities[0].certificate, at(name).join("ca.pem")).unwrap();
    }
    std::os::unix::fs::symlink("v1", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/config.yaml", at("config.yaml")).unwrap();
    std::os::unix::fs::symlink("..data/ca.pem", at("ca.pem")).unwrap();
    let exporter = serve_folder(folder.path(), &["--config.auto-reload"], &[]);
    let has = |name: &'static str| move |samples: &Samples| probed_by(samples).contains(name);
    let loaded = |samples: &Samples| samples.value("rdp_exporter_config_last_reload_success_timestamp_seconds");
    let first = scrape_until(&exporter, "the first target", has("v1"));

    std::os::unix::fs::symlink("v2", at("..next")).unwrap();
    fs::rename(at("..next"), at("..data")).unwrap();
    let second = scrape_until(&exporter, "the second target", has("v2"));
    assert!(!has("v1")(&second) && loaded(&second) > loaded(&first));
    fs::copy(&authorities[1].certificate, at("v2").join("ca.pem")).unwrap();
    let third = scrape_until(&exporter, "a load for the authority", |samples| loaded(samples) > loaded(&second));
    fs::write(at("v2").join("config.yaml"), "targets: [").unwrap();
    let refused = scrape_until(&exporter, "a load that fails", |samples| {
        samples.value("rdp_exporter_config_last_reload_successful") == 0.0
    });
    assert!(has("v2")(&refused) && loaded(&refused) == loaded(&third));
    fs::write(at("v2").join("config.yaml"), config("v3")).unwrap();
    scrape_until(&exporter, "the third target", has("v3"));
}

/// A host that is silent cannot be judged by the new authorities: then nothing is said, until it can.
#[test]
fn other_authorities_take_back_what_the_former_ones_said() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let [right, wrong] = ["right.example", "wrong.example"].map(|name| workshop.self_signed(&Recipe::authority(name)));
    let server =
        start_s_server(&workshop.issued(&Recipe::named("host.example", &["subjectAltName=DNS:host.example"]), &right));
    let to = server.port;
    let is_up = Arc::new(AtomicBool::new(true));
    let up = Arc::clone(&is_up);
    let front = Peer::start(move |mut client| {
        if !up.load(Ordering::Relaxed) {
            return Ok(());
        }
        answer(&mut client, &CONFIRM_SSL)?;
        relay_between(client, TcpStream::connect((Ipv4Addr::LOCALHOST, to))?)
    });
    let folder = directory();
    let file = folder.path().join("config.yaml");
    let config = |authority: &Path| {
        json!({
            "probe": { "interval": "2s", "timeout": "1s", "confirm_after": "1s", "survey_interval": "0s", "challenge_interval": "0s" },
            "trust": { "system_roots": false, "ca_files": [authority] },
            "targets": [{ "address": address(front.port), "expect": { "certificate": "trusted" } }],
        })
        .to_string()
    };
    let trusted = |samples: &Samples| samples.get("rdp_certificate_trusted", &[]);
    fs::write(&file, config(&wrong.certificate)).unwrap();
    let exporter = serve_folder(folder.path(), &[], &[]);
    let before = scrape_until(&exporter, "a judgement", |samples| trusted(samples) == Some(0.0));
    assert_eq!(before.finding("certificate_untrusted").as_deref(), Some("warning"));
    is_up.store(false, Ordering::Relaxed);
    scrape_until(&exporter, "silence", |samples| samples.get("rdp_up", &[]) == Some(0.0));
    fs::write(&file, config(&right.certificate)).unwrap();
    assert_eq!(reload(&exporter).0, 200);
    let after = Samples::parse(&scrape(&exporter));
    assert_eq!((trusted(&after), after.finding("certificate_untrusted")), (None, None));
    assert!(after.has_family("rdp_certificate_info"), "what it says is still known");
    // There and back: what was said before is not said again without asking.
    for authority in [&wrong, &right] {
        fs::write(&file, config(&authority.certificate)).unwrap();
        assert_eq!(reload(&exporter).0, 200);
        assert_eq!(trusted(&Samples::parse(&scrape(&exporter))), None);
    }
    is_up.store(true, Ordering::Relaxed);
    scrape_until(&exporter, "a judgement by the new authority", |samples| trusted(samples) == Some(1.0));
}

#[test]
fn an_inventory_that_is_down_at_the_start_does_not_hold_anybody_up() {
    let (rdp, inventory, nobody) = (rdp(), ListServer::start(), free_port());
    inventory.answer(503, &json!([]));
    let configured = format!("127.0.5.1:{}", rdp.port);
    let exporter = serve(&json!({
        "targets": [{ "address": configured }],
        "discovery": { "http": [
            { "url": inventory.url(), "refresh_interval": "1s" },
            { "url": format!("http://{}/", address(nobody)), "refresh_interval": "1s" },
        ] },
    }));
    let samples = scrape_until(&exporter, "failures of both", |samples| {
        samples.all("rdp_exporter_discovery_failures_total", &[]).filter(|sample| sample.value > 0.0).count() == 2
    });
    assert_eq!(probed_by(&samples), [configured].into());
    assert!(!samples.has_family("rdp_exporter_discovery_targets"), "nothing is known, which is not nothing");
    inventory.answer(200, &list(&["127.0.5.2"], rdp.port, &json!({})));
    scrape_until(&exporter, "the target that was listed at last", |samples| probed_by(samples).len() == 2);
}

/// openssl serves the list, file and header alike.
#[test]
fn a_list_comes_over_tls_from_a_server_that_the_authority_vouches_for() {
    if !require(&["openssl"]) {
        return;
    }
    let (rdp, workshop, folder) = (rdp(), Workshop::new(), directory());
    let [right, wrong] = ["right.example", "wrong.example"].map(|name| workshop.self_signed(&Recipe::authority(name)));
    let certificate = workshop.issued(&Recipe::named("inventory.example", &["subjectAltName=IP:127.0.0.1"]), &right);
    let listed = list(&["127.0.6.1", "127.0.6.2"], rdp.port, &json!({ "site": "oslo" }));
    let answer = format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{listed}");
    fs::write(folder.path().join("rdp"), answer).unwrap();
    let port = free_port();
    let mut openssl = command("sh");
    openssl
        .args(["-c", "cd \"$1\" && shift && exec \"$@\"", "sh"])
        .arg(folder.path())
        .arg(command("openssl").get_program());
    openssl.args(["s_server", "-quiet", "-HTTP", "-accept", &address(port)]);
    openssl.arg("-cert").arg(&certificate.certificate).arg("-key").arg(&certificate.key);
    let _server = Server::start("openssl s_server", port, &openssl, directory());
    let config = |host: &str, authority: &Path| {
        let url = format!("https://{host}:{port}/rdp");
        json!({ "discovery": { "http": [{ "url": url, "refresh_interval": "1s", "tls_config": { "ca_file": authority } }] } })
    };
    let exporter = serve(&config("127.0.0.1", &right.certificate));
    let samples = scrape_until(&exporter, "the list", |samples| probed_by(samples).len() == 2);
    assert_eq!(samples.value("rdp_exporter_discovery_failures_total"), 0.0);
    for (host, authority) in [("127.0.0.1", &wrong), ("localhost", &right)] {
        let exporter = serve(&config(host, &authority.certificate));
        let samples = scrape_until(&exporter, "two refusals", |samples| {
            samples.value("rdp_exporter_discovery_failures_total") >= 2.0
        });
        assert!(probed_by(&samples).is_empty(), "{host}");
    }
}
