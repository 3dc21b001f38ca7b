//! A long way: packets that arrive late, all of them.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

use crate::harness::openssl::{Recipe, Workshop};
use crate::namespace::{HOST, Network, RDP};
use crate::probing::tls_server;

#[test]
fn a_long_way_shows_in_every_time() {
    let Some(network) = Network::new(&["openssl"]) else { return };
    let workshop = Workshop::new();
    let _server = tls_server((HOST, RDP).into(), &workshop.self_signed(&Recipe::default()));
    let _delay = Delay::start(&network, Duration::from_millis(150));
    let told = network.probe(&HOST.to_string(), &json!({}));
    told.assert_healthy("150 ms each way");
    for stage in ["connect", "negotiate", "tls"] {
        assert!(told.stage(stage) >= 0.3, "{stage}: {:#}", told.report);
    }
    let round_trip = told.report["network"]["round_trip_seconds"].as_f64().unwrap();
    assert!(round_trip >= 0.3, "{round_trip} s");
}

/// The router keeps every TCP packet for a while, by a program of its own: the system's part in it is to hand them over
/// as if they were for the router itself, and to send them on.
struct Delay {
    over: Arc<AtomicBool>,
}

impl Delay {
    fn start(network: &Network, time: Duration) -> Self {
        let router = &network.router;
        router.ip("route add local default dev lo table 200");
        for link in ["west", "east"] {
            router.ip(&format!("rule add iif {link} table 200"));
        }
        // The router's own TCP knows nothing of these connections and would reset them.
        router.filter("output", &["meta mark != 1 tcp flags & rst == rst drop"]);
        let (taken, sending) = router.enter(|| {
            let raw = |protocol| Socket::new(Domain::IPV4, Type::RAW, Some(protocol)).unwrap();
            // IPPROTO_RAW: what is sent brings its own IP header.
            (raw(Protocol::TCP), raw(Protocol::from(255)))
        });
        taken.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        sending.set_mark(1).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let (later, due) = channel();
        thread::spawn(move || take(&taken, &later, time, &ended));
        thread::spawn(move || send(&sending, &due));
        Self { over }
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn take(mut taken: &Socket, later: &Sender<(Instant, Vec<u8>)>, time: Duration, over: &AtomicBool) {
    let mut packet = [0; 65536];
    while !over.load(Ordering::Relaxed) {
        if let Ok(length) = taken.read(&mut packet) {
            drop(later.send((Instant::now() + time, packet[..length].to_vec())));
        }
    }
}

fn send(sending: &Socket, due: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((when, mut packet)) = due.recv() {
        thread::sleep(when.saturating_duration_since(Instant::now()));
        write_checksum(&mut packet);
        let destination: [u8; 4] = packet[16..20].try_into().unwrap();
        let destination = SocketAddr::from((Ipv4Addr::from(destination), 0));
        sending.send_to(&packet, &destination.into()).unwrap();
    }
}

/// Of TCP (RFC 9293, 3.1): between namespaces the system leaves it out, and raw packets have to bring it.
fn write_checksum(packet: &mut [u8]) {
    let segment = usize::from(packet[0] & 0x0f) * 4;
    packet[segment + 16..segment + 18].fill(0);
    let length = u16::try_from(packet.len() - segment).unwrap();
    let pseudo_header = [&packet[12..20], &[0, 6], &length.to_be_bytes()].concat();
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low))).sum()
    };
    let mut sum = words(&pseudo_header) + words(&packet[segment..]);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap();
    packet[segment + 16..segment + 18].copy_from_slice(&checksum.to_be_bytes());
}
