//! How the exporter leaves: one connection per probe, ended in order.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::version::{TLS12, TLS13};

use crate::harness::exporter::Probe;
use crate::harness::openssl::{Recipe, Workshop};
use crate::harness::peer::{CONFIRM_RDP, CONFIRM_SSL, Peer, answer, drain};
use crate::harness::process::{require, wait_until};
use crate::harness::tls::{self, Ending, server_config};

#[test]
fn close_is_announced_and_no_reset() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    for version in [&TLS12, &TLS13] {
        let config = server_config(&certificate, &certificate, version);
        let endings = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&endings);
        let peer = Peer::start(move |mut client| {
            answer(&mut client, &CONFIRM_SSL)?;
            list.lock().unwrap().push(tls::serve(client, Arc::clone(&config)));
            Ok(())
        });
        Probe::of(peer.port).run().assert_healthy("ssl");
        assert_eq!(peer.accepted(), 1, "connections of one probe, {version:?}");
        let seen = wait_until("ending", Duration::from_secs(10), || endings.lock().unwrap().first().cloned());
        assert_eq!(seen, [Ending::CloseNotify, Ending::Eof], "{version:?}");
    }
}

#[test]
fn close_without_tls_is_no_reset() {
    let endings = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&endings);
    let peer = Peer::start(move |mut client| {
        answer(&mut client, &CONFIRM_RDP)?;
        list.lock().unwrap().push(drain(client).map_err(|error| error.to_string()));
        Ok(())
    });
    Probe::of(peer.port).run().assert_healthy("rdp");
    assert_eq!(peer.accepted(), 1, "connections of one probe");
    let seen = wait_until("ending", Duration::from_secs(10), || endings.lock().unwrap().first().cloned());
    assert_eq!(seen, Ok(()));
}
