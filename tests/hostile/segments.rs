//! The same conversations in other cuts: a byte a segment, and as much in one segment as there can be.

use std::io::Write as _;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::ServerConfig;

use crate::bytes::{HYBRID, SSL, old_flight, record, selecting};
use crate::endpoint::{
    Sender, Serve, Session, TLS_1_2 as SERVER_1_2, TLS_1_3 as SERVER_1_3, after_request, certificate, established,
    established_by, honest_challenge,
};
use crate::estate::{Facts, Row, alone, crowd};
use crate::harness::peer::drain;

#[test]
fn segments_do_not_matter() {
    alone(&other_cuts());
}

#[test]
fn two_hundred_at_once() {
    crowd(&[other_cuts()].concat());
}

fn other_cuts() -> Vec<Row> {
    let old = [selecting(SSL), old_flight(certificate())].concat();
    let row = |name: &str, serve: Serve| Row::new(name, "healthy", serve).with(has_certificate);
    let told = |name: &str, serve: Serve| {
        row(name, serve).with(|facts| {
            has_certificate(facts);
            assert_eq!(facts.label("rdp_server_info", "dns_computer").as_deref(), Some("ts01.corp.example"));
        })
    };
    vec![
        told("TLS 1.2 in bytes", conversing(bytewise, &SERVER_1_2)),
        told("TLS 1.3 in bytes", conversing(bytewise, &SERVER_1_3)),
        told("TLS 1.3 in records of a byte", conversing(bytewise, &crumbled())),
        row(
            "old TLS in bytes",
            after_request({
                let old = old.clone();
                move |client| {
                    bytewise()(&client, &old)?;
                    drain(client)
                }
            }),
        ),
        // The confirm and the first flight, before the hello that it answers.
        row(
            "old TLS in one",
            after_request(move |mut client| {
                client.write_all(&old)?;
                drain(client)
            }),
        ),
        told(
            "challenge and goodbye in one",
            established(HYBRID, &SERVER_1_3, |mut session| {
                session.read_request()?;
                session.say_last(&honest_challenge())
            }),
        ),
        // What comes behind the server's last message undoes nothing: a fatal alert in the clear, and noise.
        row("Finished and an alert in one", conversing(|| with_last(2, &record(21, 0x0303, &[2, 40])), &SERVER_1_2)),
        row("Finished and noise in one", conversing(|| with_last(2, &[0xff; 600]), &SERVER_1_2)),
        row("TLS 1.3 and noise in one", conversing(|| with_last(1, &[0xff; 600]), &SERVER_1_3)),
    ]
}

/// A byte a segment.
fn bytewise() -> Sender {
    Box::new(|mut client, bytes| bytes.iter().try_for_each(|byte| client.write_all(&[*byte])))
}

/// Puts `more` into the segment of the nth turn, the confirm's being the first.
fn with_last(number: usize, more: &[u8]) -> Sender {
    let (mut turn, more) = (0, more.to_vec());
    Box::new(move |mut client, bytes| {
        let is_last = turn == number;
        turn += 1;
        if is_last { client.write_all(&[bytes, &more].concat()) } else { client.write_all(bytes) }
    })
}

/// A server that cuts what it says into the smallest records that its library can make.
fn crumbled() -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(&SERVER_1_3);
    config.max_fragment_size = Some(32);
    Arc::new(config)
}

fn conversing(sender: impl Fn() -> Sender + Send + Sync + 'static, config: &Arc<ServerConfig>) -> Serve {
    established_by(sender, HYBRID, config, |mut session: Session| {
        session.read_request()?;
        session.say(&honest_challenge())?;
        session.end()
    })
}

fn has_certificate(facts: &Facts<'_>) {
    let hex: String = digest(&SHA256, certificate()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(facts.label("rdp_certificate_info", "sha256"), Some(hex));
}
