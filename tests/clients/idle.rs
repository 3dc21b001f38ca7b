//! Ten thousand connections that say nothing, or do not come to the end of what they say.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use socket2::Socket;

use super::siege::{Estate, connect_from};
use crate::harness::process::{leave_out, lossy, require, wait_until};
use crate::harness::web::{ask, curl, text};

/// `CONNECTIONS` of src/http/connections.rs.
const MAX_CONNECTIONS: u64 = 256;
const MAX_OF_ONE_ADDRESS: u64 = 128;
/// For each of them, whose headers are held: the 64 KiB that are kept of headers, and as much for how they grow.
const KEPT_KIB: u64 = 128;

#[test]
fn ten_thousand_idle_connections_of_one_address() {
    idle(1, 10_000, MAX_OF_ONE_ADDRESS);
}

#[test]
fn ten_thousand_idle_connections_of_three_addresses() {
    idle(3, 10_000, MAX_CONNECTIONS);
}

#[test]
fn ten_thousand_idle_connections_of_a_thousand_addresses() {
    idle(1000, 10_000, MAX_CONNECTIONS);
}

fn idle(addresses: u32, count: u32, left: u64) {
    if !require(&["curl", "openssl"]) || !can_have(count) {
        return;
    }
    let estate = Estate::new(&[], json!({}), None, &[]);
    estate.besieged(&format!("{count} idle connections of {addresses} addresses"), 0, || {
        let idle: Vec<Socket> =
            (0..count).map(|number| connect_from(host(number % addresses), estate.port())).collect();
        let mut most = 0;
        wait_until("connection of most, and end of those beyond the limit", Duration::from_secs(30), || {
            let connected = idle.iter().filter(|socket| socket.peer_addr().is_ok()).count();
            let descriptors = estate.size().descriptors;
            most = descriptors.max(most);
            (connected >= idle.len() * 9 / 10 && descriptors < 100 + left).then_some(())
        });
        assert!(most >= left * 9 / 10, "{most} descriptors at most: they did not come so far as to take places");
        // The client that means well goes on asking.
        thread::sleep(Duration::from_secs(2));
        let from = host(0).to_string();
        // Somebody who shares the address of those.
        assert_eq!(ask(&estate.exporter, "/metrics", &["--interface", &from]).status, 200);
        drop(idle);
    });
}

/// Handshakes that begin and do not go on, from more addresses than there are places for.
#[test]
fn silent_handshakes_stop_nobody() {
    if !require(&["curl", "openssl"]) || !can_have(3000) {
        return;
    }
    let estate = Estate::new(&[], json!({ "tls_server_config": {} }), None, &[]);
    estate.besieged("3000 handshakes of 300 addresses", 0, || {
        let mut begun: Vec<Socket> = Vec::new();
        let mut went_on = BTreeSet::new();
        for round in 0..10 {
            begun.extend((0..300).map(|number| connect_from(host(number), estate.port())));
            thread::sleep(Duration::from_millis(if round == 0 { 500 } else { 200 }));
            for (number, socket) in begun.iter().enumerate() {
                // A record of a handshake that is longer than what comes; those that were closed do not matter.
                if socket.send(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).is_ok() {
                    went_on.insert(number);
                }
            }
        }
        assert!(went_on.len() >= 1500, "only {} of 3000 handshakes began", went_on.len());
        let descriptors = estate.size().descriptors;
        assert!(descriptors >= MAX_CONNECTIONS * 9 / 10, "{descriptors} descriptors: they took no places");
        // Long before the oldest of them is given up somebody who shares the address of some is answered.
        let (url, from) = (estate.url("/metrics"), host(0).to_string());
        let authority = text(&estate.site.authority.certificate);
        let answer = curl(&[&url, "--cacert", &authority, "--interface", &from, "--max-time", "6"]);
        assert_eq!(answer.status, 200, "{answer:?}");
        drop(begun);
    });
}

/// All connections that there are, each with as many headers as are kept of one, and without an end of them.
#[test]
fn headers_that_fill_their_bound() {
    if !require(&["curl", "openssl"]) || !can_have(300) {
        return;
    }
    let estate = Estate::new(&[], json!({}), None, &[]);
    let before = estate.size().resident_kib;
    let filled = 60 * 1024;
    let (begin, most) = (format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(filled)), 400 * 1024);
    estate.besieged("256 connections with 60 KiB of headers", 0, || {
        let mut held: Vec<TcpStream> =
            (0..MAX_CONNECTIONS as u32).map(|number| send(number, &estate, &begin)).collect();
        let least = before + MAX_CONNECTIONS * filled as u64 / 1024 * 9 / 10;
        wait_until("headers that were read", Duration::from_secs(30), || {
            (estate.size().resident_kib >= least).then_some(())
        });
        // Others ask and are probed meanwhile.
        thread::sleep(Duration::from_secs(6));
        let kept = estate.size().resident_kib - before;
        assert!(kept <= MAX_CONNECTIONS * KEPT_KIB, "{kept} KiB");
        // Who goes on is not listened to any longer.
        let rest = "x".repeat(most - filled);
        for client in &mut held {
            // It may be closed before all is sent.
            let _ = client.write_all(rest.as_bytes());
        }
        for client in &mut held {
            let mut said = Vec::new();
            let ended = client.read_to_end(&mut said);
            let is_timeout = ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            assert!(!is_timeout, "it is listened to beyond 64 KiB: {}", lossy(&said));
            assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 431 "), "{}", lossy(&said));
        }
    });
}

/// A connection that has sent this, and waits no longer than ten seconds to be heard or answered.
fn send(number: u32, estate: &Estate, begin: &str) -> TcpStream {
    let socket = connect_from(host(number), estate.port());
    let mut client = TcpStream::from(socket);
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    client.write_all(begin.as_bytes()).unwrap();
    client
}

fn host(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number)
}

/// Raises the limit of descriptors of this process, as far as it may go.
fn can_have(descriptors: u32) -> bool {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not be raised the old one holds.
    let _ = setrlimit(Resource::Nofile, limit);
    let has = getrlimit(Resource::Nofile).current;
    let is_enough = has.is_none_or(|has| has >= u64::from(descriptors) + 1000);
    if !is_enough {
        leave_out(&format!("{descriptors} descriptors are needed, {has:?} may be had"), "raise ulimit -Hn");
    }
    is_enough
}
