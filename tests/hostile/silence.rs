//! Silence at every stage, a byte a second at every stage, and connections that their server never ends.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use crate::bytes::{HYBRID, RDP, SSL, TLS_1_2, message, old_flight, record, selecting};
use crate::endpoint::{
    Sender, Serve, TLS_1_2 as SERVER_1_2, TLS_1_3 as SERVER_1_3, after_clear, after_hello, after_request, answering,
    answering_clear, answering_hello, certificate, established, established_by, honest_challenge, serve, slowly,
};
use crate::estate::{Row, alone, crowd};
use crate::harness::peer::drain;

#[test]
fn silence_ends_with_the_time() {
    alone(&silence());
}

#[test]
fn a_byte_a_second_ends_with_the_time() {
    alone(&slowness());
}

#[test]
fn whoever_keeps_a_connection_is_left() {
    alone(&clinging());
}

#[test]
fn two_hundred_at_once() {
    crowd(&[silence(), slowness(), clinging()].concat());
}

fn silence() -> Vec<Row> {
    let half_hello = server_hello()[..40].to_vec();
    vec![
        Row::new("silent", "negotiation_timeout", serve(drain)).lasting(),
        Row::new(
            "deaf",
            "negotiation_timeout",
            serve(|_client| {
                thread::sleep(Duration::from_secs(10));
                Ok(())
            }),
        )
        .lasting(),
        Row::new("silent in the header", "negotiation_timeout", answering(vec![3, 0, 0])).lasting(),
        Row::new("silent in the payload", "negotiation_timeout", answering(selecting(SSL)[..12].to_vec())).lasting(),
        Row::new("silent before TLS", "tls_timeout", answering(selecting(SSL))).lasting(),
        Row::new("silent in the ServerHello", "tls_timeout", answering_hello(half_hello)).lasting(),
        Row::new("silent after the ServerHello", "tls_timeout", answering_hello(server_hello())).lasting(),
        Row::new("silent in the clear", "tls_reset", answering_clear(Vec::new())).lasting(),
        Row::new(
            "silent in the challenge",
            "healthy",
            established(HYBRID, &SERVER_1_3, |session| drain(session.socket)),
        )
        .lasting(),
    ]
}

/// Servers that keep every connection, wherever it stands when the client ends it.
fn clinging() -> Vec<Row> {
    let silent_in_tls = |protocol, config| established(protocol, config, |session| drain(session.socket));
    let rows = vec![
        Row::new("never ends", "healthy", answering(selecting(RDP))),
        Row::new("never ends a banner", "not_rdp", answering(b"220 mail.example ESMTP\r\n".to_vec())),
        Row::new("never ends a broken frame", "protocol_error", answering(vec![3, 0, 0, 0])),
        Row::new("never ends TLS 1.2", "healthy", silent_in_tls(SSL, &SERVER_1_2)),
        Row::new("never ends TLS 1.3", "healthy", silent_in_tls(SSL, &SERVER_1_3)),
        Row::new("never ends broken TLS", "tls_error", answering_hello(vec![0xff; 100])),
        Row::new("never ends old TLS", "healthy", answering_clear(old_flight(certificate()))),
        Row::new(
            "never ends after the challenge",
            "healthy",
            established(HYBRID, &SERVER_1_3, |mut session| {
                session.read_request()?;
                session.say(&honest_challenge())?;
                drain(session.socket)
            }),
        ),
        Row::new("silent and never ends", "negotiation_timeout", serve(drain)).lasting(),
        Row::new("silent before TLS and never ends", "tls_timeout", answering(selecting(SSL))).lasting(),
        Row::new("silent in the challenge and never ends", "healthy", silent_in_tls(HYBRID, &SERVER_1_3)).lasting(),
    ];
    rows.into_iter().map(Row::clinging).collect()
}

fn slowness() -> Vec<Row> {
    let certificate = record(22, TLS_1_2, &message(11, certificate()));
    vec![
        Row::new("slow from the start", "negotiation_timeout", after(Vec::new(), selecting(SSL))).lasting(),
        Row::new(
            "slow payload",
            "negotiation_timeout",
            after(selecting(SSL)[..4].to_vec(), selecting(SSL)[4..].to_vec()),
        )
        .lasting(),
        Row::new("slow ServerHello", "tls_timeout", slow_in_tls(Vec::new(), server_hello())).lasting(),
        Row::new("slow certificate", "tls_timeout", slow_in_tls(server_hello(), certificate.clone())).lasting(),
        Row::new(
            "slow flight of TLS 1.3",
            "tls_timeout",
            established_by(slow_after_the_hello, SSL, &SERVER_1_3, |session| drain(session.socket)),
        )
        .lasting(),
        Row::new(
            "slow flight in the clear",
            "tls_reset",
            after_clear(move |client| {
                slowly(&client, &[server_hello(), certificate.clone()].concat())?;
                drain(client)
            }),
        )
        .lasting(),
        Row::new(
            "slow challenge",
            "healthy",
            established(HYBRID, &SERVER_1_3, |mut session| {
                session.read_request()?;
                for byte in honest_challenge() {
                    session.say(&[byte])?;
                    thread::sleep(Duration::from_secs(1));
                }
                Ok(())
            }),
        )
        .lasting(),
        Row::new("slow end", "healthy", established(SSL, &SERVER_1_3, |session| slowly(&session.socket, &[0; 20]))),
        Row::new("slow end without TLS", "healthy", after(selecting(RDP), vec![0; 20])),
    ]
}

/// Sends `first` at once, and `then` a byte a second.
fn after(first: Vec<u8>, then: Vec<u8>) -> Serve {
    after_request(move |mut client| {
        client.write_all(&first)?;
        slowly(&client, &then)?;
        drain(client)
    })
}

fn slow_in_tls(first: Vec<u8>, then: Vec<u8>) -> Serve {
    after_hello(move |mut client, _| {
        client.write_all(&first)?;
        slowly(&client, &then)?;
        drain(client)
    })
}

/// Sends the confirm and the ServerHello at once, and what is sealed a byte a second.
fn slow_after_the_hello() -> Sender {
    let mut turns = 0;
    Box::new(move |mut client, bytes| {
        turns += 1;
        let quick = match turns {
            1 => bytes.len(),
            _ => 5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]])),
        };
        client.write_all(&bytes[..quick])?;
        slowly(client, &bytes[quick..])
    })
}

/// TLS 1.2, ECDHE with AES, which every client of today goes on with.
fn server_hello() -> Vec<u8> {
    let mut hello = TLS_1_2.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x2b, 0, 0, 4, 0, 0x17, 0, 0]); // no session, suite, no compression, extended_master_secret
    record(22, TLS_1_2, &message(2, &hello))
}
