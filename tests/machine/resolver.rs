//! The resolver gone, silent, unknown, and back.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exporting::{Exporter, LIMIT, Plan, has_verdict, is_possible, probes};
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::{Process, command, directory, run, wait_until};
use crate::harness::samples::Samples;
use crate::harness::tls::tls_server;

/// An address of loopback where port 53 is free, whatever else runs on this machine.
struct Place {
    ip: Ipv4Addr,
    folder: TempDir,
}

impl Place {
    fn new(number: u8) -> Self {
        let process = std::process::id().to_be_bytes();
        Self { ip: Ipv4Addr::new(127, number, process[2], process[3].max(1)), folder: directory() }
    }

    fn resolv_conf(&self) -> PathBuf {
        self.folder.path().join("resolv.conf")
    }

    /// What the exporter sees as its system's configuration; written in place, as the exporter has it mounted.
    fn configure(&self, text: &str) {
        fs::write(self.resolv_conf(), text).unwrap();
    }

    fn nameserver(&self) -> String {
        format!("nameserver {}\n", self.ip)
    }

    /// unbound with these further lines.
    fn start(&self, lines: &str) -> Process {
        let file = self.folder.path().join("unbound.conf");
        fs::write(&file, UNBOUND.replace("PLACE", &self.ip.to_string()) + lines).unwrap();
        let mut unbound = command("unbound");
        unbound.args(["-d", "-p", "-c"]).arg(file);
        let mut process = Process::start("unbound", &unbound, directory());
        process.wait_until("open port", || TcpStream::connect((self.ip, 53)).ok());
        process
    }

    /// The exporter, asking this resolver and no file.
    fn serve(&self, config: &Value) -> Exporter {
        self.configure(&self.nameserver());
        let folder = self.folder.path();
        fs::write(folder.join("nsswitch.conf"), "hosts: dns\n").unwrap();
        let script = format!(
            "mount --bind '{0}/resolv.conf' /etc/resolv.conf && mount --bind '{0}/nsswitch.conf' /etc/nsswitch.conf && \
             exec \"$@\"",
            folder.display()
        );
        Plan::new(config).by("unshare", &["--mount"]).script(&script).start()
    }
}

#[test]
fn a_resolver_that_goes_comes_back() {
    if !is_possible(&["unbound"]) {
        return;
    }
    let place = Place::new(77);
    let workshop = Workshop::new();
    let rdp = tls_server(([127, 0, 0, 1], 0).into(), &workshop.self_signed(&Recipe::default()));
    let unbound = place.start("");
    let exporter = place.serve(&json!({
        "trust": { "system_roots": false },
        "probe": { "interval": "2s", "timeout": "1900ms", "survey_interval": "0s", "confirm_after": "1s" },
        "targets": [
            { "address": format!("127.0.0.1:{}", rdp.port), "name": "ip" },
            { "address": format!("ts01.corp.example:{}", rdp.port), "name": "named" },
        ],
    }));
    // Each change is in the log, at the level that is logged without being asked for.
    let tells = |change: &str, times: usize| {
        let words = format!("level=info message=\"Verdict changed\" target=named {change} ");
        wait_until(&words, LIMIT, || (exporter.server.log().matches(&words).count() >= times).then_some(()));
    };
    let fails = |what: &str, times: usize| {
        let known = probes(&exporter.scrape(), "ip", "healthy");
        let failing = |samples: &Samples| has_verdict(samples, "named", "dns_failure");
        let samples =
            exporter.scrape_until(what, |samples| failing(samples) && probes(samples, "ip", "healthy") > known);
        assert_eq!(samples.get("rdp_up", &[("target", "named")]), Some(0.0), "{what}");
        assert!(has_verdict(&samples, "ip", "healthy"), "{what}: an address needs no resolver");
        tells("before=healthy verdict=dns_failure", times);
    };
    let recovers = |what: &str, times: usize| {
        exporter.scrape_until(what, |samples| has_verdict(samples, "named", "healthy"));
        tells("before=dns_failure verdict=healthy", times);
    };
    recovers("a name that is found", 0);

    let signal = |process: &Process, name: &str| {
        run(command("kill").args([name, &process.id().to_string()]));
    };
    signal(&unbound, "-STOP");
    fails("a resolver that is silent", 1);
    signal(&unbound, "-CONT");
    recovers("a resolver that answers again", 1);

    drop(unbound);
    fails("no resolver", 2);
    let _unbound = place.start("");
    recovers("a resolver that was started again", 2);

    place.configure("");
    let nobody = format!("nameserver {}\n", Ipv4Addr::new(127, 76, 1, 1));
    place.configure(&nobody);
    fails("a configuration that names nobody", 3);
    place.configure(&place.nameserver());
    recovers("a configuration that is right again", 3);
    exporter.assert_no_panic();
}

/// Far more names than there are look-ups at once, each of which takes ten seconds to come to nothing.
#[test]
fn silent_names_leave_room_for_the_others() {
    if !is_possible(&["unbound"]) {
        return;
    }
    let place = Place::new(78);
    // Questions for that zone are dropped, as a resolver does whose own question is dropped.
    let _unbound = place.start("server:\n  local-zone: \"silent.example.\" deny\n");
    let workshop = Workshop::new();
    let rdp = tls_server(([127, 0, 0, 1], 0).into(), &workshop.self_signed(&Recipe::default()));
    let silent = (0..SILENT)
        .map(|number| json!({ "address": format!("h{number}.silent.example"), "name": format!("s{number}") }));
    let good = (0..GOOD)
        .map(|number| json!({ "address": format!("ts01.corp.example:{}", rdp.port), "name": format!("g{number}") }));
    let exporter = place.serve(&json!({
        "trust": { "system_roots": false },
        "probe": { "interval": "5s", "timeout": "4s", "survey_interval": "0s" },
        "targets": silent.chain(good).collect::<Vec<_>>(),
    }));
    let failed = |samples: &Samples, prefix: &str, count: usize| -> f64 {
        (0..count).map(|number| probes(samples, &format!("{prefix}{number}"), "dns_failure")).sum()
    };
    let is_healthy = |samples: &Samples, number: usize| has_verdict(samples, &format!("g{number}"), "healthy");
    // Until each silent name was waited for once the others may fail; then no more, however many rounds come to nothing.
    let deadline = Instant::now() + 3 * LIMIT;
    let after = loop {
        let before = exporter.scrape();
        let after = exporter.scrape_until("two more failures of each silent name", |samples| {
            failed(samples, "s", SILENT) >= failed(&before, "s", SILENT) + 2.0 * SILENT as f64
        });
        let lost = failed(&after, "g", GOOD) - failed(&before, "g", GOOD);
        if lost == 0.0 && (0..GOOD).all(|number| is_healthy(&after, number)) {
            break after;
        }
        assert!(Instant::now() < deadline, "names that answer are kept waiting: {lost} failures in this round");
    };
    let threads = after.value("process_threads");
    assert!(threads <= 64.0 + 16.0, "{threads} threads");
}

/// A name that was not asked for yet is not known to be silent, and `/probe` can be asked for a new one each time.
#[test]
fn silent_names_of_strangers_leave_room_for_the_targets() {
    if !is_possible(&["unbound"]) {
        return;
    }
    let place = Place::new(79);
    let _unbound = place.start("server:\n  local-zone: \"silent.example.\" deny\n");
    let workshop = Workshop::new();
    let rdp = tls_server(([127, 0, 0, 1], 0).into(), &workshop.self_signed(&Recipe::default()));
    let good = (0..GOOD)
        .map(|number| json!({ "address": format!("ts01.corp.example:{}", rdp.port), "name": format!("g{number}") }));
    let exporter = place.serve(&json!({
        "trust": { "system_roots": false },
        "probe": { "interval": "2s", "timeout": "1900ms", "survey_interval": "0s" },
        "probe_endpoint": { "allow": ["*.silent.example"] },
        "targets": good.collect::<Vec<_>>(),
    }));
    let probed = |samples: &Samples, verdict: &str| -> f64 {
        (0..GOOD).map(|number| probes(samples, &format!("g{number}"), verdict)).sum()
    };
    exporter.scrape_until("a healthy start", |samples| probed(samples, "healthy") >= GOOD as f64);
    let asking: Vec<_> = (0..100)
        .map(|number| {
            let asked = format!("GET /probe?target=s{number}.silent.example HTTP/1.0\r\n\r\n");
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, exporter.server.port)).unwrap();
            client.write_all(asked.as_bytes()).unwrap();
            client
        })
        .collect();
    let before = exporter.scrape();
    let after = exporter.scrape_until("three more rounds", |samples| {
        probed(samples, "healthy") + probed(samples, "dns_failure")
            >= probed(&before, "healthy") + probed(&before, "dns_failure") + 3.0 * GOOD as f64
    });
    assert_eq!(probed(&after, "dns_failure"), 0.0, "targets are kept waiting");
    drop(asking);
}

const SILENT: usize = 150;
const GOOD: usize = 3;
const UNBOUND: &str = r#"
server:
  directory: "/"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-daemonize: no
  interface: PLACE
  access-control: 0.0.0.0/0 allow
  module-config: "iterator"
  local-zone: "corp.example." static
  local-data: "ts01.corp.example. A 127.0.0.1"
remote-control:
  control-enable: no
"#;
