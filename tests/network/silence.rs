//! Before the connection stands: filters, routers, hosts that are off and services that were stopped.

use serde_json::json;

use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::servers::Xrdp;
use crate::namespace::{HOST, HOST_V6, Network};
use crate::probing::Expected;

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
    for address in [HOST.to_string(), format!("[{HOST_V6}]:3389")] {
        let told = network.probe(&address, &json!({}));
        told.assert(&address, &SILENT);
        assert!(told.stopped_after() >= 2.5, "the default connect_timeout: {}", told.report);
    }
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
    for (connect_timeout, at_least, number) in [("2500ms", 2.5, 77), ("5s", 2.6, 78)] {
        for subnet in ["10.1.0.", "10.2.0.", "2001:db8:1::"] {
            let address = format!("{subnet}{number}");
            let address = if subnet.contains(':') { format!("[{address}]") } else { address };
            let told = network.probe(&address, &json!({ "connect_timeout": connect_timeout }));
            let what = format!("{address}, {connect_timeout}");
            told.assert(&what, &SILENT);
            assert!(told.stopped_after() >= at_least, "{what}: {}", told.report);
        }
    }
}
