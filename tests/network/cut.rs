//! After the connection stands: what swallows, cuts or answers in the server's place.

use std::io::Write as _;

use serde_json::json;

use crate::harness::openssl::{Certificate, Recipe, Workshop};
use crate::harness::peer::{CONFIRM_SSL, Peer, answer, confirm, drain, read_frame};
use crate::harness::process::Server;
use crate::harness::servers::{Xrdp, start_s_server_with};
use crate::namespace::{HOST, Network};
use crate::probing::Expected;

const fn stopped(verdict: &'static str, stage: &'static str, words: &'static str) -> Expected {
    Expected { verdict, stage, words, reachable: Some(true) }
}

const CLOSED_AFTER_REQUEST: Expected = stopped("closed_after_request", "negotiate", "reset the connection (RST)");
const NEGOTIATION_TIMEOUT: Expected = stopped("negotiation_timeout", "negotiate", "no answer within the time");
const TLS_RESET: Expected = stopped("tls_reset", "tls", "reset the connection (RST)");
const TLS_TIMEOUT: Expected = stopped("tls_timeout", "tls", "no answer within the time");

/// A real server, published, and healthy as long as nothing is in its way.
fn healthy_server(network: &Network, certificate: &Certificate) -> Server {
    let server = Xrdp::tls(certificate).start();
    network.publish(server.port);
    network.probe(&HOST.to_string(), &json!({})).assert_healthy("nothing in the way");
    server
}

#[test]
fn packets_that_are_swallowed_or_answered_with_a_reset() {
    let Some(network) = Network::new(&["xrdp", "openssl"]) else { return };
    let workshop = Workshop::new();
    let _server = healthy_server(&network, &workshop.self_signed(&Recipe::default()));
    for (what, rule, expected) in [
        ("silence after SYN-ACK", "tcp dport 3389 tcp flags & (syn | ack) == ack drop", NEGOTIATION_TIMEOUT),
        ("cut at the request", "tcp dport 3389 tcp flags & psh == psh reject with tcp reset", CLOSED_AFTER_REQUEST),
        // A TLS record that carries a handshake begins with 0x16, what X.224 sends with 0x03.
        ("silence after the ClientHello", "tcp dport 3389 @ih,0,8 0x16 drop", TLS_TIMEOUT),
        ("cut at the ClientHello", "tcp dport 3389 @ih,0,8 0x16 reject with tcp reset", TLS_RESET),
    ] {
        network.router.filter("forward", &[rule]);
        network.probe(&HOST.to_string(), &json!({ "timeout": "4s" })).assert(what, &expected);
    }
    network.router.filter("forward", &[]);
    network.probe(&HOST.to_string(), &json!({})).assert_healthy("out of the way");
}

/// The server's certificates fill whole packets, and a tunnel on the way loses those without a word.
#[test]
fn large_packets_that_are_lost_are_tls_timeout() {
    let Some(network) = Network::new(&["xrdp", "openssl"]) else { return };
    let workshop = Workshop::new();
    let names: Vec<String> = (0..80).map(|number| format!("DNS:host-{number:04}.corp.example")).collect();
    let certificate = Recipe { extensions: vec![format!("subjectAltName={}", names.join(","))], ..Recipe::default() };
    let _server = healthy_server(&network, &workshop.self_signed(&certificate));
    network.router.filter("forward", &["tcp sport 3389 meta length > 1400 drop"]);
    network.probe(&HOST.to_string(), &json!({ "timeout": "4s" })).assert("packets over 1400 bytes", &TLS_TIMEOUT);
}

#[test]
fn a_server_without_its_key_is_no_certificate() {
    let Some(network) = Network::new(&["xrdp", "openssl"]) else { return };
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let missing = certificate.key.with_extension("missing");
    let server = Xrdp { key: missing, ..Xrdp::tls(&certificate) }.start();
    network.publish(server.port);
    let told = network.probe(&HOST.to_string(), &json!({}));
    assert_eq!(told.report["verdict"], "no_certificate", "{}", told.report);
    assert_eq!(told.report["failure_code"], 3, "{}", told.report);
    assert_eq!(told.report["evidence"], "refused with failure 3 (SSL_CERT_NOT_ON_SERVER)");
    assert_eq!(told.report["reachable"], json!(true));
}

/// Windows with `SecurityLayer` and `UserAuthentication` that leave a client without NLA no way in, seen by a probe that
/// offers all: code 6 asks for what the probe does not have.
#[test]
fn a_refusal_that_leaves_no_way_in_is_negotiation_refused() {
    let Some(network) = Network::new(&[]) else { return };
    let refusing = Peer::start(|mut client| {
        answer(&mut client, &confirm(3, 6))?;
        drain(client)
    });
    network.publish(refusing.port);
    let told = network.probe(&HOST.to_string(), &json!({}));
    assert_eq!(told.report["verdict"], "negotiation_refused", "{}", told.report);
    assert_eq!(told.report["failure_code"], 6, "{}", told.report);
    assert!(told.report["evidence"].as_str().unwrap().starts_with("refused with failure 6"), "{}", told.report);
    assert_eq!(told.report["reachable"], json!(true));
}

/// Nothing that both speak: the server knows only suites with a shared secret. Its alert is no reset.
#[test]
fn a_server_with_no_suite_in_common_is_tls_alert() {
    let Some(network) = Network::new(&["openssl"]) else { return };
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let server = start_s_server_with(&certificate, &["-tls1_2", "-cipher", "PSK", "-psk", "00ff"]);
    let relay = Peer::relay(&CONFIRM_SSL, server.port);
    network.publish(relay.port);
    let expected = stopped("tls_alert", "tls", "TLS alert 40 (handshake_failure)");
    network.probe(&HOST.to_string(), &json!({})).assert("openssl with PSK only", &expected);
}

/// Who answers, with what, and what it is then called.
#[test]
fn answers_of_somebody_else() {
    let Some(network) = Network::new(&[]) else { return };
    let ssh = Peer::start(|mut client| {
        client.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")?;
        drain(client)
    });
    let cut_short = Peer::start(|mut client| {
        read_frame(&mut client)?;
        client.write_all(&CONFIRM_SSL[..7])
    });
    let proxy = Peer::start(|mut client| {
        answer(&mut client, &CONFIRM_SSL)?;
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        drain(client)
    });
    for (peer, expected) in [
        (&ssh, stopped("not_rdp", "negotiate", "it begins with SSH-2.0-OpenSSH_9.2")),
        (&cut_short, stopped("protocol_error", "negotiate", "not a valid answer")),
        (&proxy, stopped("tls_error", "tls", "broken TLS")),
    ] {
        network.publish(peer.port);
        network.probe(&HOST.to_string(), &json!({})).assert(expected.words, &expected);
    }
}
