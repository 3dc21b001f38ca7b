//! docs/migration-blackbox.md, done: what the page tells to write is what runs here, read by a real Prometheus beside the
//! blackbox_exporter that it is to follow. Only addresses are others, and times between scrapes shorter.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::discovery::serve_folder;
use crate::harness::exporter::address;
use crate::harness::http;
use crate::harness::openssl::{Certificate, Recipe, Workshop};
use crate::harness::peer::{CONFIRM_SSL, Peer, drain};
use crate::harness::process::{Server, command, directory, free_port, require, wait_until};
use crate::harness::servers::{Xrdp, start_prometheus_in, start_s_server};
use crate::markdown::Page;
use crate::prometheus::{query, wait_for};

/// What an alert is of: its name, its job, its instance or target.
type Alert = (String, String, String);

fn page() -> Page {
    Page::read("docs/migration-blackbox.md".into())
}

/// The one block of the page that has this in it.
fn block(holding: &str) -> String {
    let blocks: Vec<_> = page().blocks().into_iter().filter(|block| block.text.contains(holding)).collect();
    assert_eq!(blocks.len(), 1, "blocks with {holding}");
    blocks.into_iter().map(|block| block.text).collect()
}

/// The text with other names, ports and times; each has to be there.
fn replaced(text: &str, others: &[(&str, &str)]) -> String {
    others.iter().fold(text.to_owned(), |text, (old, new)| {
        assert_eq!(text.matches(old).count(), 1, "{old} in\n{text}");
        text.replace(old, new)
    })
}

/// The query that the page's last table puts in the place of another one.
fn successor(before: &str) -> String {
    let row = format!("| `{before}` | `");
    let page = page();
    let after = page.text().lines().find_map(|line| line.strip_prefix(&row));
    let after = after.unwrap_or_else(|| panic!("the page has no row that begins with {row}"));
    after.split_once('`').unwrap().0.to_owned()
}

/// Prometheus with these jobs and alerts.
fn start_prometheus(scrape_configs: &[Value], alerts: &[(&str, &str)]) -> Server {
    let directory = directory();
    let rules: Vec<_> = alerts.iter().map(|(alert, expr)| json!({ "alert": alert, "expr": expr })).collect();
    let rules = json!({ "groups": [{ "name": "yours", "interval": "1s", "rules": rules }] });
    fs::write(directory.path().join("rules.yml"), rules.to_string()).unwrap();
    let config = json!({ "rule_files": ["rules.yml"], "scrape_configs": scrape_configs });
    fs::write(directory.path().join("prometheus.yml"), config.to_string()).unwrap();
    start_prometheus_in(directory)
}

/// The jobs of a block.
fn jobs(block: &str) -> Vec<Value> {
    let document: Value = serde_yaml::from_str(block).unwrap();
    document["scrape_configs"].as_array().unwrap().clone()
}

fn firing(prometheus: &Server, label: &str) -> BTreeSet<Alert> {
    let (status, body) = http::get(prometheus.port, "/api/v1/alerts").unwrap();
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let alerts = answer["data"]["alerts"].as_array().unwrap().iter().filter(|alert| alert["state"] == "firing");
    let label_of = |alert: &Value, label: &str| alert["labels"][label].as_str().unwrap().to_owned();
    alerts.map(|alert| (label_of(alert, "alertname"), label_of(alert, "job"), label_of(alert, label))).collect()
}

/// Waits until these alerts fire, and no others.
#[track_caller]
fn wait_for_alerts(prometheus: &Server, label: &str, expected: &[(&str, &str, &str)]) {
    let owned = |(alert, job, of): &(&str, &str, &str)| ((*alert).to_owned(), (*job).to_owned(), (*of).to_owned());
    let expected: BTreeSet<Alert> = expected.iter().map(owned).collect();
    let deadline = Instant::now() + PATIENCE;
    while firing(prometheus, label) != expected && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(firing(prometheus, label), expected);
}

/// blackbox_exporter with the modules of the page.
fn start_blackbox() -> Server {
    let directory = directory();
    let file = directory.path().join("blackbox.yml");
    fs::write(&file, replaced(&block("prober: tcp"), &[("10.1.0.5", "127.0.0.1")])).unwrap();
    let port = free_port();
    let mut blackbox = command("prometheus-blackbox-exporter");
    blackbox.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address={}", address(port)));
    Server::start("prometheus-blackbox-exporter", port, &blackbox, directory)
}

/// The exporter with the modules and the fence of the page.
fn start_exporter(folder: &Path, ports: &[u16]) -> Server {
    let fence = format!("allow: [127.0.0.0/8]\n  ports: {ports:?}");
    let config = replaced(&block("probe_endpoint:"), &[("10.1.0.5", "127.0.0.1"), ("allow: [10.0.0.0/8]", &fence)]);
    fs::write(folder.join("config.yaml"), config).unwrap();
    serve_folder(folder, &[], &[])
}

/// xrdp with TLS, until the day that its certificate is out.
fn xrdp(certificate: &Certificate) -> Server {
    Xrdp::tls(certificate).start()
}

/// Both jobs run side by side, as the page says, and the rules stay as they are.
#[test]
fn rules_for_blackbox_exporter_work_with_the_job_that_follows_its() {
    if !require(&["openssl", "prometheus", "prometheus-blackbox-exporter", "xrdp"]) {
        return;
    }
    let workshop = Workshop::new();
    let soon = Recipe { valid_until: 10.0, ..Recipe::default() };
    let authority = workshop.self_signed(&Recipe { valid_until: 9.0, ..Recipe::authority("root.example") });
    let [long, short] = [Recipe::default(), soon].map(|recipe| workshop.self_signed(&recipe));
    let chain = workshop.issued(&Recipe::default(), &authority).with_chain(&[&authority]);

    let (healthy, expiring) = (xrdp(&long), xrdp(&short));
    let behind = start_s_server(&chain);
    let chained = Peer::relay(&CONFIRM_SSL, behind.port);
    let standard = Xrdp { security_layer: "rdp", ..Xrdp::tls(&long) }.start();
    let (no_rdp, silent, closed) = (start_s_server(&long), Peer::start(drain), free_port());
    let ports = [healthy.port, expiring.port, chained.port, standard.port, no_rdp.port, silent.port, closed];
    let targets = ports.map(address);
    let [healthy_at, expiring_at, chained_at, standard_at, no_rdp_at, silent_at, closed_at] =
        targets.each_ref().map(String::as_str);

    let folder = directory();
    let (exporter, blackbox) = (start_exporter(folder.path(), &ports), start_blackbox());
    let listed = targets.each_ref().map(|target| format!("{target:?}")).join(", ");
    let hosts = (r#""ts01.corp.example:3389", "ts02.corp.example:3389""#, listed.as_str());
    let often = "scrape_interval: 15s";
    let [ours, theirs] = [&exporter, &blackbox].map(|server| address(server.port));
    let before = [hosts, ("blackbox.corp.example:9115", &theirs), ("scrape_interval: 1m", often)];
    let after = [hosts, ("exporter.corp.example:19389", &ours), ("scrape_interval: 2m", often)];
    let both = [
        jobs(&replaced(&block("job_name: rdp_blackbox"), &before)),
        jobs(&replaced(&block("job_name: rdp_probe"), &after)),
    ];
    let rules = block("probe_success{job=");
    let (is_down, ends_soon) = rules.trim().split_once('\n').unwrap();
    let [was_down, ended_soon] = [is_down, ends_soon].map(|rule| replaced(rule, &[("rdp_probe", "rdp_blackbox")]));
    let alerts = [("Down", is_down), ("Ends", ends_soon), ("Down", &was_down), ("Ends", &ended_soon)];
    let prometheus = start_prometheus(&both.concat(), &alerts);

    wait_until("scrapes of all", PATIENCE, || (query(&prometheus, "count(up == 1)") == Some(14.0)).then_some(()));
    let never = ("Down", "rdp_blackbox", closed_at);
    let [down, ends] = ["Down", "Ends"].map(|alert| move |of| (alert, "rdp_probe", of));
    let always = [never, down(no_rdp_at), down(silent_at), down(closed_at), ends(expiring_at), ends(chained_at)];
    wait_for_alerts(&prometheus, "instance", &always);
    let of = |name: &str, instance: &str| query(&prometheus, &format!("{name}{{instance=\"{instance}\"}}"));
    let earliest = |instance| of("probe_ssl_earliest_cert_expiry", instance);
    assert_eq!(earliest(healthy_at), Some(long.facts().not_after));
    assert_eq!(earliest(expiring_at), Some(short.facts().not_after));
    assert_eq!(earliest(chained_at), Some(authority.facts().not_after), "the earliest of the chain");
    assert_eq!(earliest(standard_at), None);
    assert_eq!(query(&prometheus, "count({__name__=~\"probe_.+\",target!=\"\"})"), None, "no labels but yours");

    // Both end: rules on what is known of the certificate go on, and what comes back is up again.
    let port = healthy.port;
    drop((healthy, expiring));
    let gone = [
        down(healthy_at),
        down(expiring_at),
        ("Down", "rdp_blackbox", healthy_at),
        ("Down", "rdp_blackbox", expiring_at),
    ];
    wait_for_alerts(&prometheus, "instance", &[&always[..], &gone].concat());
    assert_eq!(earliest(healthy_at), Some(long.facts().not_after), "stays while the host is silent");
    let _again = Xrdp::tls(&long).start_on(port);
    wait_for_alerts(&prometheus, "instance", &[&always[..], &[gone[1], gone[3]]].concat());
}

/// The second step: the exporter's own schedule, and the names that the page puts into the rules.
#[test]
fn the_schedule_takes_over_with_the_names_that_the_page_gives() {
    if !require(&["openssl", "prometheus", "xrdp"]) {
        return;
    }
    let workshop = Workshop::new();
    let [long, short] =
        [200.0, 10.0].map(|valid_until| workshop.self_signed(&Recipe { valid_until, ..Recipe::default() }));
    let (healthy, expiring, closed) = (xrdp(&long), xrdp(&short), address(free_port()));
    let folder = directory();
    let config = replaced(
        &block("address: ts01.corp.example"),
        &[
            ("ts01.corp.example", &address(healthy.port)),
            ("ts02.corp.example", &format!("{:?}", address(expiring.port))),
            ("ts03.corp.example:3390", &closed),
        ],
    );
    fs::write(folder.path().join("config.yaml"), config).unwrap();
    let exporter = serve_folder(folder.path(), &[], &[]);
    let job = json!({ "job_name": "rdp", "scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": [{ "targets": [address(exporter.port)] }] });
    let is_down = successor("probe_success == 0");
    let ends_soon = successor("probe_ssl_earliest_cert_expiry - time() < 14 * 86400");
    let prometheus = start_prometheus(&[job], &[("Down", &is_down), ("Ends", &ends_soon)]);
    wait_for(&prometheus, "count(rdp_up)", |count| count == 3.0);
    wait_for_alerts(&prometheus, "target", &[("Down", "rdp", &closed), ("Ends", "rdp", &address(expiring.port))]);
    for before in ["probe_duration_seconds", "avg_over_time(probe_success[1h])"] {
        assert_eq!(query(&prometheus, &format!("count({})", successor(before))), Some(3.0), "{before}");
    }
    assert_eq!(query(&prometheus, "rdp_up{target=\"ts01\",site=\"berlin\",tier=\"prod\"}"), Some(1.0));
}

/// A scrape of a silent host takes five seconds here, and the first one of a job comes within its interval.
const PATIENCE: Duration = Duration::from_secs(120);
