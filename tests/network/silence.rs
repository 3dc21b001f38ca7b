//! Before the connection stands: filters, routers, hosts that are off and services that were stopped.

use std::net::TcpListener;
use std::thread;

use serde_json::json;

use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::servers::Xrdp;
use crate::namespace::{HOST, HOST_V6, Network, RDP};
use crate::probing::{Expected, Serving, tls_server};

const SILENT: Expected = stopped("connect_timeout", "no answer within the time");
const REFUSED: Expected = stopped("connect_refused", "connection refused");

const fn stopped(verdict: &'static str, words: &'static str) -> Expected {
    Expected { verdict, stage: "connect", words, reachable: Some(false) }
}

const fn unreachable(words: &'static str) -> Expected {
    stopped("host_unreachable", words)
}

#[test]
fn an_open_way_is_healthy_until_the_service_is_stopped() {
    let Some(network) = Network::new(&["xrdp", "openssl"]) else { return };
    let workshop = Workshop::new();
    let server = Xrdp::tls(&workshop.self_signed(&Recipe::default())).start();
    network.publish(server.port);
    let told = network.probe(&HOST.to_string(), &json!({}));
    told.assert_healthy("xrdp behind a router");
    assert_eq!(told.report["layer"], "ssl");
    drop(server);
    network.probe(&HOST.to_string(), &json!({})).assert("xrdp stopped", &REFUSED);
}

#[test]
fn a_port_that_nobody_listens_on_is_connect_refused() {
    let Some(network) = Network::new(&[]) else { return };
    for address in [HOST.to_string(), format!("[{HOST_V6}]:3389")] {
        network.probe(&address, &json!({})).assert(&address, &REFUSED);
    }
}

#[test]
fn what_is_dropped_is_connect_timeout() {
    let Some(network) = Network::new(&[]) else { return };
    network.host.filter("input", &["tcp dport 3389 drop"]);
    at_once(&[HOST.to_string(), format!("[{HOST_V6}]:3389")], |address| {
        let told = network.probe(address, &json!({ "companion_ports": [] }));
        told.assert(address, &SILENT);
        assert!(told.stopped_after() >= 2.5, "the default connect_timeout: {}", told.report);
    });
}

/// The host's other ports refuse, or answer, or are dropped as well: by default 445 and 135 are asked.
#[test]
fn a_dropped_port_of_a_living_host_is_port_filtered() {
    let Some(network) = Network::new(&[]) else { return };
    let filtered = |words| stopped("port_filtered", words);
    let v6 = format!("[{HOST_V6}]:3389");
    network.host.filter("input", &["tcp dport 3389 drop"]);
    let refused = "companion ports: 10.2.0.2:445 refused, 10.2.0.2:135 refused";
    network.probe(&HOST.to_string(), &json!({})).assert("both refuse", &filtered(refused));
    let refused = "companion ports: [2001:db8:2::2]:445 refused, [2001:db8:2::2]:135 refused";
    network.probe(&v6, &json!({})).assert("both refuse, IPv6", &filtered(refused));
    let _listener = TcpListener::bind((HOST, 445)).unwrap();
    network.host.filter("input", &["tcp dport { 135, 3389 } drop"]);
    let answered = "companion ports: 10.2.0.2:445 answered, 10.2.0.2:135 silent";
    network.probe(&HOST.to_string(), &json!({})).assert("one answers", &filtered(answered));
    network.host.filter("input", &["meta l4proto tcp drop"]);
    let silent = stopped("host_down", "companion ports: 10.2.0.2:445 silent, 10.2.0.2:135 silent");
    network.probe(&HOST.to_string(), &json!({})).assert("all is dropped", &silent);
}

/// What a router or a filter says, as nft names it, and what the system makes of it.
#[test]
fn what_is_rejected_is_told_apart() {
    let Some(network) = Network::new(&[]) else { return };
    network.delay_neighbours();
    let v6 = format!("[{HOST_V6}]:3389");
    for (address, rejection, expected) in [
        (HOST.to_string(), "tcp reset", REFUSED),
        (HOST.to_string(), "icmp type port-unreachable", REFUSED),
        (HOST.to_string(), "icmp type host-unreachable", unreachable("No route to host")),
        (HOST.to_string(), "icmp type net-unreachable", unreachable("Network is unreachable")),
        (HOST.to_string(), "icmp type admin-prohibited", unreachable("No route to host")),
        (v6.clone(), "tcp reset", REFUSED),
        (v6.clone(), "icmpv6 type port-unreachable", REFUSED),
        (v6.clone(), "icmpv6 type addr-unreachable", unreachable("No route to host")),
        (v6.clone(), "icmpv6 type no-route", unreachable("Network is unreachable")),
        (v6, "icmpv6 type admin-prohibited", unreachable("Permission denied")),
    ] {
        network.router.filter("forward", &[&format!("tcp dport 3389 reject with {rejection}")]);
        network.exporter.ip("-6 neighbour flush dev wire");
        network.probe(&address, &json!({})).assert(&format!("{address}, {rejection}"), &expected);
    }
}

/// Nobody answers for the address: the system gives up on it after about three seconds with "No route to host", in the
/// exporter's own subnet and, by the word of the router, behind it. Both are silence, however long the exporter waits.
#[test]
fn a_host_that_is_off_is_connect_timeout() {
    let Some(network) = Network::new(&[]) else { return };
    // Each with addresses of its own: what the system knows of a neighbour outlasts a probe.
    let rows = [
        ("10.1.0.77", "2500ms", 2.5),
        ("10.2.0.77", "2500ms", 2.5),
        ("[2001:db8:1::77]:3389", "2500ms", 2.5),
        ("10.1.0.78", "5s", 2.6),
        ("10.2.0.78", "5s", 2.6),
        ("[2001:db8:1::78]:3389", "5s", 2.6),
    ];
    at_once(&rows, |(address, connect_timeout, at_least)| {
        let settings = json!({ "connect_timeout": connect_timeout, "companion_ports": [] });
        let told = network.probe(address, &settings);
        told.assert(address, &SILENT);
        assert!(told.stopped_after() >= *at_least, "{address}: {}", told.report);
    });
}

/// What the companion ports add, in the exporter's own subnet and behind the router.
#[test]
fn a_host_that_is_off_is_host_down() {
    let Some(network) = Network::new(&[]) else { return };
    at_once(&["10.1.0.79", "10.2.0.79", "[2001:db8:1::79]:3389"], |address| {
        network.probe(address, &json!({})).assert(address, &stopped("host_down", "companion ports: "));
    });
}

/// Side by side, as they wait most of the time.
fn at_once<T: Sync>(rows: &[T], check: impl Fn(&T) + Sync) {
    thread::scope(|scope| {
        for row in rows {
            scope.spawn(|| check(row));
        }
    });
}

/// Falls asleep and wakes up, under a serving exporter: the first silence is a timeout, the second asks the others.
#[test]
fn a_host_that_falls_asleep_is_host_down_until_it_wakes() {
    let Some(network) = Network::new(&["openssl"]) else { return };
    let workshop = Workshop::new();
    let _server = tls_server((HOST, RDP).into(), &workshop.self_signed(&Recipe::default()));
    let settings = json!({ "interval": "5s", "timeout": "4900ms", "connect_timeout": "1s", "survey_interval": "0s" });
    let serving = Serving::start(&network, &settings);
    serving.wait_for("healthy");
    network.host.ip("link set wire down");
    let samples = serving.wait_for("connect_timeout");
    assert_eq!((samples.value("rdp_up"), samples.value("rdp_reachable")), (0.0, 0.0));
    let samples = serving.wait_for("host_down");
    assert_eq!((samples.value("rdp_up"), samples.value("rdp_reachable")), (0.0, 0.0));
    network.host.ip("link set wire up");
    network.host.ip("route add default via 10.2.0.1");
    let samples = serving.wait_for("healthy");
    assert_eq!((samples.value("rdp_up"), samples.value("rdp_reachable")), (1.0, 1.0));
}
