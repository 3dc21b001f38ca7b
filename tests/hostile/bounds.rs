//! Servers that send as much as is read of them, and a little more, and are silent then.
//! What never stops would be ended by the time as well; these are ended by the bounds alone.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use crate::bytes::{HYBRID, TLS_1_0, TLS_1_2, message, old_messages, record, wide_messages};
use crate::endless::ticket;
use crate::endpoint::{
    Serve, TLS_1_3 as SERVER_1_3, UNSEALED, after_hello, answering_clear, answering_hello, established,
};
use crate::estate::{Row, alone, crowd};
use crate::harness::peer::drain;

#[test]
fn what_fills_a_bound_is_waited_for() {
    alone(&full());
}

#[test]
fn what_goes_beyond_a_bound_is_not() {
    alone(&beyond());
}

#[test]
fn two_hundred_full_ones_at_once() {
    crowd(&full());
}

#[test]
fn two_hundred_at_once() {
    crowd(&beyond());
}

/// All of it is held until the time is up, as the end is missing.
fn full() -> Vec<Row> {
    let unfinished = but_one(message(11, &[0x41; 65_500]));
    let challenge = but_one([&[0x30, 0x82, 0xff, 0xf8][..], &[0; 0xfff8]].concat());
    vec![
        Row::new("one long message", "tls_timeout", answering_hello(in_records(64, TLS_1_2, &unfinished)))
            .holding(unfinished.len(), MOST_MESSAGE),
        Row::new(
            "a long flight in the clear",
            "tls_reset",
            answering_clear(in_records(16_384, TLS_1_0, &long_flight())),
        )
        .holding(long_flight().len(), MOST_FLIGHT),
        Row::new(
            "a long challenge",
            "healthy",
            established(HYBRID, &SERVER_1_3, move |mut session| {
                session.read_request()?;
                session.say(&challenge)?;
                drain(session.socket)
            }),
        )
        .holding(0xfff8, MOST_CHALLENGE),
        Row::new("20 session tickets", "healthy", with_tickets(20)),
    ]
    .into_iter()
    .map(Row::lasting)
    .collect()
}

/// Nothing of it is complete, nor too long by what it says of itself: without the bounds it would be waited for.
fn beyond() -> Vec<Row> {
    // A byte a record, six for one: less than a handshake may have, more than a message.
    let crumbs = in_records(1, TLS_1_2, &but_one(message(11, &[0x41; 40_000])));
    let [hello, ..] = old_messages(&[]);
    let empty = [record(22, TLS_1_0, &hello), record(22, TLS_1_0, &[]).repeat(5000)].concat();
    vec![
        Row::new("one message in crumbs", "tls_error", answering_hello(crumbs)),
        Row::new("four messages of 64 KiB", "tls_error", one_after_another(wide_messages(0xffff))),
        Row::new("257 KiB in the clear", "tls_reset", answering_clear(in_records(1024, TLS_1_0, &long_flight()))),
        Row::new("5000 records in the clear", "tls_reset", answering_clear(empty)),
        Row::new("40 session tickets", "healthy", with_tickets(40)),
    ]
}

/// Each message once those before it are read: what is left of them does not count with it then, and no message is too long.
fn one_after_another(messages: Vec<Vec<u8>>) -> Serve {
    after_hello(move |mut client, _| {
        for message in &messages {
            client.write_all(&in_records(64, TLS_1_2, message))?;
            thread::sleep(Duration::from_millis(50));
        }
        drain(client)
    })
}

/// So many in the place of a challenge: far fewer bytes than that may have.
fn with_tickets(count: usize) -> Serve {
    established(HYBRID, &UNSEALED, move |mut session| {
        session.read_request()?;
        let (mut socket, mut sealer) = session.unseal()?;
        socket.write_all(&sealer.seal(22, &ticket().repeat(count)))?;
        drain(socket)
    })
}

/// A ServerHello and almost all of a certificate: in long records less than 256 KiB, in short ones more.
fn long_flight() -> Vec<u8> {
    let [hello, ..] = old_messages(&[]);
    but_one([hello, message(11, &[0x41; 261_700])].concat())
}

fn in_records(length: usize, version: u16, bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(length).flat_map(|piece| record(22, version, piece)).collect()
}

/// All but the last byte.
fn but_one(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.pop();
    bytes
}

/// What is let in, as SECURITY.md says, is held in a buffer that grows by doubling.
const MOST_MESSAGE: usize = 2 * (64 << 10);
const MOST_FLIGHT: usize = 2 * (256 << 10);
const MOST_CHALLENGE: usize = 2 * (80 << 10);
