//! Names, by a real resolver: unbound on the host, asked by the exporter's own system.

use std::fs;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::{Process, command, directory};
use crate::harness::servers::{Shadow, Xrdp};
use crate::namespace::{HOST, HOST_V6, Network};
use crate::probing::{Expected, Told, tls_server};

const fn stopped(verdict: &'static str, words: &'static str) -> Expected {
    Expected { verdict, stage: "resolve", words, reachable: Some(false) }
}

const NOT_FOUND: Expected = stopped("dns_not_found", "no such name, or no address of the wanted family");
const FAILED: Expected = stopped("dns_failure", "the resolver failed");
const SILENT: Expected = stopped("dns_failure", "no answer within the time");

/// Answers on the host, also to the exporter.
fn start_resolver() -> Process {
    let directory = directory();
    let file = directory.path().join("unbound.conf");
    fs::write(&file, ZONES.replace("HOST_V6", &HOST_V6.to_string()).replace("HOST", &HOST.to_string())).unwrap();
    let mut unbound = command("unbound");
    unbound.args(["-d", "-p", "-c"]).arg(file);
    let mut process = Process::start("unbound", &unbound, directory);
    process.wait_until("open port", || TcpStream::connect((HOST, 53)).ok());
    process
}

/// Probes a name that this resolver is asked for, and no file.
fn probe(network: &Network, name: &str, settings: &Value) -> Told {
    network.probe_with(name, settings, |probe| {
        let probe = probe.file("/etc/resolv.conf", &format!("nameserver {HOST}\n"));
        probe.file("/etc/nsswitch.conf", "hosts: files dns\n").hosts("127.0.0.1 localhost\n")
    })
}

#[test]
fn what_the_resolver_answers() {
    let Some(network) = Network::new(&["unbound", "openssl"]) else { return };
    let _resolver = start_resolver();
    let workshop = Workshop::new();
    let server =
        tls_server(([127, 0, 0, 1], 0).into(), &workshop.self_signed(&Recipe::named("ts01.corp.example", &[])));
    network.publish(server.port);
    probe(&network, "ts01.corp.example", &json!({})).assert_healthy("a name with an address");
    for (what, name, ip_protocol, expected) in [
        ("NXDOMAIN", "gone.corp.example", "any", NOT_FOUND),
        ("no address at all", "text.corp.example", "any", NOT_FOUND),
        ("no address of the family", "ts01.corp.example", "ip6", NOT_FOUND),
        ("REFUSED", "ts01.refused.example", "any", FAILED),
        ("SERVFAIL", "ts01.broken.example", "any", FAILED),
    ] {
        probe(&network, name, &json!({ "ip_protocol": ip_protocol })).assert(what, &expected);
    }
}

#[test]
fn a_resolver_that_does_not_answer_is_dns_failure() {
    let Some(network) = Network::new(&["unbound"]) else { return };
    probe(&network, "ts01.corp.example", &json!({})).assert("nobody on the resolver's port", &FAILED);
    let _resolver = start_resolver();
    network.host.filter("input", &["meta l4proto { tcp, udp } th dport 53 drop"]);
    let told = probe(&network, "ts01.corp.example", &json!({ "timeout": "3s" }));
    told.assert("questions are dropped", &SILENT);
    assert!(told.stopped_after() >= 3.0, "not before the probe's timeout: {}", told.report);
}

/// IPv6 comes first by the rules of address selection, and is lost on the way.
#[test]
fn the_second_address_of_a_name_is_tried() {
    let Some(network) = Network::new(&["unbound", "openssl"]) else { return };
    let _resolver = start_resolver();
    let workshop = Workshop::new();
    let server = tls_server(([127, 0, 0, 1], 0).into(), &workshop.self_signed(&Recipe::default()));
    network.publish(server.port);
    network.host.filter("input", &["meta nfproto ipv6 tcp dport 3389 drop"]);
    let told = probe(&network, "both.corp.example", &json!({}));
    told.assert_healthy("one of two addresses");
    let connection = &told.report["connections"][0];
    assert_eq!(connection["attempts"][0]["address"], format!("[{HOST_V6}]:3389"), "{}", told.report);
    assert_eq!(connection["attempts"][0]["reason"], "no answer within the time", "{}", told.report);
    assert_eq!(connection["address"], format!("{HOST}:3389"), "{}", told.report);
    assert!(told.stage("connect") >= 2.5, "the attempt in vain counts: {}", told.report);
}

/// The record of a host that is gone leads to another one, which answers with its own certificate and name.
#[test]
fn a_stale_address_shows_another_host() {
    let Some(network) = Network::new(&["unbound", "openssl", "xrdp"]) else { return };
    let _resolver = start_resolver();
    let workshop = Workshop::new();
    let recipe = |name: &str| Recipe::named(name, &[&format!("subjectAltName=DNS:{name}")]);
    for (holder, expected) in [("ts01.corp.example", &[][..]), ("ts02.corp.example", &["certificate_name_mismatch"])] {
        let server = Xrdp::tls(&workshop.self_signed(&recipe(holder))).start();
        network.publish(server.port);
        let told = probe(&network, "ts01.corp.example", &json!({}));
        told.assert_healthy(holder);
        assert_eq!(told.findings(), expected, "{holder}");
    }
}

/// The same, told by the name that the server gives in the NTLM challenge.
#[test]
fn a_stale_address_is_wrong_host_where_the_host_names_itself() {
    let Some(network) = Network::new(&["unbound", "openssl", "freerdp-shadow-cli", "Xvfb"]) else { return };
    let _resolver = start_resolver();
    let workshop = Workshop::new();
    let shadow = Shadow::start("nla", &workshop.self_signed(&Recipe::default()));
    network.publish(shadow.server.port);
    let settings = json!({ "expect": { "computer": "auto" } });
    let told = probe(&network, "ts01.corp.example", &settings);
    told.assert_healthy("FreeRDP under another host's name");
    assert!(told.findings().contains(&"wrong_host"), "{}", told.report);
}

/// SERVFAIL is what a secondary answers whose primary never gave it the zone.
const ZONES: &str = r#"
server:
  directory: "/"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-daemonize: no
  interface: HOST
  access-control: 0.0.0.0/0 allow
  module-config: "iterator"
  local-zone: "corp.example." static
  local-data: "ts01.corp.example. A HOST"
  local-data: "both.corp.example. A HOST"
  local-data: "both.corp.example. AAAA HOST_V6"
  local-data: "text.corp.example. TXT retired"
  local-zone: "refused.example." refuse
remote-control:
  control-enable: no
auth-zone:
  name: "broken.example."
  primary: 127.0.0.1@1
  fallback-enabled: no
"#;
