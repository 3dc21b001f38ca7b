//! The exporter's own machine: what it refuses says nothing of the target.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::process::{command, run, wait_until};
use crate::harness::samples::Samples;
use crate::namespace::{EXPORTER, HOST, Network, RDP};
use crate::probing::{Expected, Serving, tls_server};

const fn refused(words: &'static str) -> Expected {
    Expected { verdict: "exporter_fault", stage: "connect", words, reachable: None }
}

/// What the network says of a host that was never seen: nothing.
#[test]
fn what_our_own_system_refuses_is_exporter_fault() {
    let Some(network) = Network::new(&[]) else { return };
    let host = HOST.to_string();
    let foreign = json!({ "source_address": "10.9.9.9" });
    let expected = refused("bind the source address: Cannot assign requested address");
    network.probe(&host, &foreign).assert("a source address that is not ours", &expected);
    let own = json!({ "source_address": EXPORTER.to_string() });
    let expected = Expected { verdict: "connect_refused", reachable: Some(false), ..refused("connection refused") };
    network.probe(&host, &own).assert("one that is ours", &expected);
    for (route, expected) in [
        ("route add prohibit 10.2.0.2", refused("connect: Permission denied")),
        ("route replace unreachable 10.2.0.2", refused("connect: No route to host")),
        ("route del unreachable 10.2.0.2", Expected { reachable: Some(false), ..expected }),
        ("route del default", refused("connect: Network is unreachable")),
    ] {
        network.exporter.ip(route);
        network.probe(&host, &json!({})).assert(route, &expected);
    }
}

/// A rule of the exporter's own machine cannot be told from one on the way: connect does not fail at once.
#[test]
fn a_filter_of_our_own_reads_as_the_networks() {
    let Some(network) = Network::new(&[]) else { return };
    let expected = |verdict, words| Expected { verdict, stage: "connect", words, reachable: Some(false) };
    for (action, expected) in [
        ("drop", expected("connect_timeout", "no answer within the time")),
        ("reject with tcp reset", expected("connect_refused", "connection refused")),
        ("reject with icmp type admin-prohibited", expected("host_unreachable", "No route to host")),
    ] {
        network.exporter.filter("output", &[&format!("tcp dport 3389 {action}")]);
        network.probe(&HOST.to_string(), &json!({ "companion_ports": [] })).assert(action, &expected);
    }
}

fn often() -> Value {
    json!({ "interval": "3s", "timeout": "2900ms", "survey_interval": "0s" })
}

/// The target was healthy and stays so in what is told of it, while our own system refuses for this reason.
fn assert_keeps_up(serving: &Serving<'_>, reason: &str) {
    let counted = |samples: &Samples, name, label| samples.get(name, &[label]).is_some_and(|count| count > 0.0);
    // A failure is counted before its probe is.
    let samples = serving.scrape_until(reason, |samples| {
        counted(samples, "rdp_exporter_local_failures_total", ("reason", reason))
            && counted(samples, "rdp_probes_total", ("verdict", "exporter_fault"))
    });
    assert_eq!((samples.value("rdp_up"), samples.value("rdp_reachable")), (1.0, 1.0), "{reason}");
}

#[test]
fn a_local_refusal_leaves_up_and_reachable_as_they_were() {
    let Some(network) = Network::new(&["openssl"]) else { return };
    let workshop = Workshop::new();
    let server = tls_server((HOST, RDP).into(), &workshop.self_signed(&Recipe::default()));
    let serving = Serving::start(&network, &often());
    serving.wait_for("healthy");
    let exporter = &network.exporter;
    for (reason, route) in [("permission", "prohibit 10.2.0.2"), ("no_route", "unreachable 10.2.0.2")] {
        exporter.ip(&format!("route add {route}"));
        assert_keeps_up(&serving, reason);
        exporter.ip(&format!("route del {route}"));
        serving.wait_for("healthy");
    }
    // One port is all that there is, and it is taken.
    exporter.set("ipv4/ip_local_port_range", "61001 61001");
    let taken = exporter.enter(|| {
        wait_until("the only port", Duration::from_secs(30), || TcpStream::connect((HOST, server.port)).ok())
    });
    assert_keeps_up(&serving, "address_unavailable");
    drop(taken);
    exporter.set("ipv4/ip_local_port_range", "32768 60999");
    serving.wait_for("healthy");
}

/// The limit of a running process is set to what it has open, and back.
#[test]
fn no_descriptors_left_is_exporter_fault() {
    let Some(network) = Network::new(&["openssl", "prlimit"]) else { return };
    let workshop = Workshop::new();
    let _server = tls_server((HOST, RDP).into(), &workshop.self_signed(&Recipe::default()));
    let serving = Serving::start(&network, &often());
    serving.wait_for("healthy");
    let id = serving.exporter.id();
    let limit = |limit: &str| {
        run(command("prlimit").args([format!("--pid={id}"), format!("--nofile={limit}:")]));
    };
    // Again and again: what was open at the first look may be closed at the next.
    wait_until("exporter_fault in the log", Duration::from_secs(40), || {
        limit(&lowest_free_descriptor(id).to_string());
        serving.exporter.log().contains("exporter_fault").then_some(())
    });
    limit("1024");
    assert_keeps_up(&serving, "descriptors");
    serving.wait_for("healthy");
}

fn lowest_free_descriptor(id: u32) -> u32 {
    let folder = format!("/proc/{id}/fd");
    (0..).find(|number| !Path::new(&folder).join(number.to_string()).exists()).unwrap()
}
