//! Names with several addresses, in an /etc/hosts that only the exporter sees.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::version::TLS13;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::harness::exporter::Probe;
use crate::harness::openssl::{Certificate, Recipe, Workshop};
use crate::harness::peer::{Peer, answer_tls_only};
use crate::harness::process::{free_port, require};
use crate::harness::tls::{self, server_config};

/// A server of TLS and nothing else on one of the loopback addresses.
fn start(ip: Ipv4Addr, port: u16, certificate: &Certificate) -> Peer {
    let config = server_config(certificate, certificate, &TLS13);
    Peer::at(SocketAddr::from((ip, port)), move |mut client| {
        if answer_tls_only(&mut client)? {
            tls::serve(client, Arc::clone(&config));
        }
        Ok(())
    })
}

fn probe(hosts: &str, port: u16) -> Probe {
    Probe::with(&[&format!("two.example:{port}"), "--timeout=5s"]).hosts(hosts)
}

#[test]
fn addresses_with_different_certificates_are_told() {
    if !require(&["openssl", "unshare"]) {
        return;
    }
    let workshop = Workshop::new();
    let recipe = Recipe::named("two.example", &["subjectAltName=DNS:two.example"]);
    let (one, other) = (workshop.self_signed(&recipe), workshop.self_signed(&recipe));
    let port = free_port();
    for (second, differs) in [(&other, Some("info")), (&one, None)] {
        let peers = [start(FIRST, port, &one), start(SECOND, port, second)];
        let report = probe(HOSTS, port).run();
        let samples = report.assert_healthy("ssl");
        assert_eq!(samples.finding("certificate_differs").as_deref(), differs, "log:\n{}", report.log);
        assert_eq!(samples.value("rdp_certificate_name_match"), 1.0);
        assert!(peers.iter().all(|peer| peer.accepted() > 0), "both addresses are asked");

        let answer = probe(HOSTS, port).argument("--output=json").answer();
        let told: Value = serde_json::from_str(&answer.output).unwrap();
        let told = &told[0]["survey"]["certificates"];
        for (ip, certificate) in [(FIRST, &one), (SECOND, second)] {
            let shown = told[format!("{ip}:{port}")].as_str();
            assert_eq!(shown, Some(certificate.facts().sha256.as_str()), "{ip}: {}", answer.output);
        }
    }
}

/// Whichever of the two is asked first: the one that answers is told.
#[test]
fn addresses_that_refuse_are_passed_over() {
    if !require(&["openssl", "unshare"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    for (listening, closed) in [(FIRST, SECOND), (SECOND, FIRST)] {
        let peer = start(listening, free_port(), &certificate);
        let report = probe(HOSTS, peer.port).run();
        let samples = report.assert_healthy("ssl");
        assert_eq!(samples.label("rdp_address_info", "address"), listening.to_string(), "{closed} refuses");
        assert_eq!(samples.finding("certificate_differs"), None);
    }
}

#[test]
fn addresses_that_are_silent_are_passed_over() {
    if !require(&["openssl", "unshare"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    for (listening, silent) in [(FIRST, SECOND), (SECOND, FIRST)] {
        let peer = start(listening, free_port(), &certificate);
        let _silence = Silence::at(SocketAddr::from((silent, peer.port)));
        let report = probe(HOSTS, peer.port).argument("--no-survey").run();
        let samples = report.assert_healthy("ssl");
        assert_eq!(samples.label("rdp_address_info", "address"), listening.to_string(), "{silent} is silent");
    }
}

/// A listener whose queue is full: the system drops what else comes, as a filter does.
struct Silence {
    _listener: Socket,
    _queue: TcpStream,
}

impl Silence {
    fn at(address: SocketAddr) -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        Self { _queue: TcpStream::connect(address).unwrap(), _listener: listener }
    }
}

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const HOSTS: &str = "127.0.0.1 two.example\n127.0.0.2 two.example\n";
