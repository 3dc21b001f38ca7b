//! Length fields that lie, in both directions: TPKT, X.224, negotiation, TLS, certificates, CredSSP, NTLM.

use rustls::version::TLS13;

use crate::bytes::{
    SSL, TLS_1_0, TLS_1_2, challenge, message, names, old_flight, old_messages, record, selecting, ts_request, u24,
};
use crate::endpoint::{
    Serve, TLS_1_3 as SERVER_1_3, answering, answering_clear, answering_hello, certificate, challenging,
    honest_challenge, showing,
};
use crate::estate::{Facts, Row, alone, crowd};
use crate::large::{is_of, shown};

#[test]
fn lying_lengths_before_tls() {
    alone(&before_tls());
}

#[test]
fn lying_lengths_inside_tls() {
    alone(&inside_tls());
}

#[test]
fn lying_lengths_in_the_clear() {
    alone(&in_the_clear());
}

#[test]
fn lying_lengths_in_the_challenge() {
    alone(&in_the_challenge());
}

#[test]
fn lying_lengths_in_the_certificate() {
    alone(&in_the_certificate());
}

#[test]
fn two_hundred_at_once() {
    crowd(&[before_tls(), inside_tls(), in_the_clear(), in_the_challenge(), in_the_certificate()].concat());
}

/// The answer to the connection request, 19 bytes long.
fn before_tls() -> Vec<Row> {
    let changed = |changes: &[(usize, u8)], more: usize| {
        let mut bytes = selecting(SSL);
        changes.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        bytes.extend(vec![0; more]);
        answering(bytes)
    };
    let wrong = |name: &str, serve| Row::new(name, "protocol_error", serve);
    vec![
        wrong("TPKT 0", changed(&[(3, 0)], 0)),
        wrong("TPKT 4", changed(&[(3, 4)], 0)),
        wrong("TPKT 6", changed(&[(3, 6)], 0)),
        wrong("TPKT 18", changed(&[(3, 18)], 0)),
        wrong("TPKT 20", changed(&[(3, 20)], 1)),
        // A frame that says it is longer than any answer is one now, not when it is whole.
        wrong("TPKT 260", changed(&[(2, 1), (3, 4)], 0)),
        wrong("TPKT 65535", changed(&[(2, 0xff), (3, 0xff)], 0)),
        Row::new("TPKT 259", "negotiation_timeout", changed(&[(2, 1), (3, 3)], 0)).lasting(),
        wrong("LI 0", changed(&[(4, 0)], 0)),
        wrong("LI 6", changed(&[(4, 6)], 0)),
        wrong("LI 13", changed(&[(4, 13)], 0)),
        wrong("LI 15", changed(&[(4, 15)], 0)),
        wrong("LI 255", changed(&[(4, 255)], 0)),
        wrong("negotiation 0", changed(&[(13, 0)], 0)),
        wrong("negotiation 7", changed(&[(13, 7)], 0)),
        wrong("negotiation 9", changed(&[(13, 9)], 0)),
        wrong("negotiation 65535", changed(&[(13, 255), (14, 255)], 0)),
        wrong("negotiation cut short", answering(vec![3, 0, 0, 15, 10, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 0x1f, 8, 0])),
        // Room for more is left by the specification.
        Row::new("negotiation and more", "tls_timeout", changed(&[(3, 23), (4, 18)], 4)).lasting(),
    ]
}

fn inside_tls() -> Vec<Row> {
    let mut hello = TLS_1_2.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x2b, 0, 0, 4, 0, 0x17, 0, 0]);
    let hello = message(2, &hello);
    let list = |list: usize, one: usize| message(11, &[&u24(list)[..], &u24(one), certificate()].concat());
    let length = certificate().len();
    let with =
        |second: Vec<u8>| answering_hello(record(22, TLS_1_2, &[hello.clone(), second, message(14, &[])].concat()));
    let broken = |name: &str, serve: Serve| Row::new(name, "tls_error", serve);
    let claimed = |claimed: usize| [&[2][..], &u24(claimed), &hello[4..]].concat();
    vec![
        broken("record of 65535", answering_hello([&[22, 3, 3, 0xff, 0xff][..], &hello].concat())),
        broken("record too short", answering_hello([&[22, 3, 3, 0, 20][..], &hello].concat())),
        Row::new("record too long", "tls_timeout", answering_hello([&[22, 3, 3, 1, 0][..], &hello].concat())).lasting(),
        broken("message of 16 MiB", answering_hello(record(22, TLS_1_2, &claimed(0xff_ffff)))),
        broken("message too short", answering_hello(record(22, TLS_1_2, &claimed(20)))),
        Row::new("message too long", "tls_timeout", answering_hello(record(22, TLS_1_2, &claimed(200)))).lasting(),
        broken(
            "session of 255",
            answering_hello(record(22, TLS_1_2, &{
                let mut hello = hello.clone();
                hello[38] = 255;
                hello
            })),
        ),
        broken("list too long", with(list(length + 4, length))),
        broken("list too short", with(list(length - 1, length))),
        broken("list of 16 MiB", with(list(0xff_ffff, length))),
        broken("certificate too long", with(list(length + 3, length + 1))),
        broken("certificate too short", with(list(length + 3, length - 1))),
        broken("certificate of 16 MiB", with(list(length + 3, 0xff_ffff))),
    ]
}

/// The same in what is read of a server that no library speaks with. Where it is not read, what came before is what counts.
fn in_the_clear() -> Vec<Row> {
    let length = certificate().len();
    let [hello, _, done] = old_messages(certificate());
    let list = |list: usize, one: usize| {
        let certificates = message(11, &[&u24(list)[..], &u24(one), certificate()].concat());
        answering_clear(record(22, TLS_1_0, &[hello.clone(), certificates, done.clone()].concat()))
    };
    let claimed =
        |claimed: usize| answering_clear(record(22, TLS_1_0, &[&[2][..], &u24(claimed), &hello[4..]].concat()));
    let unread = |name: &str, serve: Serve| Row::new(name, "tls_reset", serve);
    vec![
        Row::new("as it should be", "healthy", list(length + 3, length)),
        unread("clear record of 65535", answering_clear([&[22, 3, 1, 0xff, 0xff][..], &hello].concat())),
        unread("clear record too short", answering_clear([&[22, 3, 1, 0, 20][..], &hello].concat())),
        unread(
            "clear record too long",
            answering_clear([&[22, 3, 1, 0x40, 0][..], &old_flight(certificate())].concat()),
        )
        .lasting(),
        unread("clear message of 16 MiB", claimed(0xff_ffff)),
        unread("clear message too short", claimed(20)),
        unread("clear message too long", claimed(200)).lasting(),
        unread("clear list too long", list(length + 4, length)),
        unread("clear list too short", list(length - 1, length)),
        unread("clear list of 16 MiB", list(0xff_ffff, length)),
        unread("clear certificate too long", list(length + 3, length + 1)),
        unread("clear certificate too short", list(length + 3, length - 1)),
        unread("clear certificate of 16 MiB", list(length + 3, 0xff_ffff)),
    ]
}

/// Nothing of it changes the verdict. What is told stands to the letter, or not at all.
fn in_the_challenge() -> Vec<Row> {
    let honest = honest_challenge();
    let ntlm = challenge(b"C\0", &names("TS01", "CORP", "ts01.corp.example", "corp.example"));
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = ntlm.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        ts_request(&changed)
    };
    let nothing = |facts: &Facts<'_>| assert_eq!(facts.label("rdp_server_info", "computer"), None);
    let row = |name: &str, answer: Vec<u8>| Row::new(name, "healthy", challenging(&SERVER_1_3, answer));
    let lies = |name: &str, answer: Vec<u8>| row(name, answer).with(nothing);
    let pairs = ntlm.len() - 4 - 4 * 4 - 2 * (4 + 4 + 17 + 12);
    let mut rows = vec![
        row("an honest one", honest.clone()).with(|facts| {
            assert_eq!(facts.label("rdp_server_info", "dns_computer").as_deref(), Some("ts01.corp.example"));
        }),
        lies("longer than it may be", vec![0x30, 0x84, 0, 2, 0, 0]),
        lies("of 4 GiB", vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
        lies("of a length of 127 bytes", vec![0x30, 0xff, 0xff]),
        lies("of an endless form", vec![0x30, 0x80, 0, 0]),
        lies("longer than it is", [&[0x30, 0x82, 0xff, 0][..], &honest].concat()).lasting(),
        lies("shorter than it is", [&[0x30, 4][..], &honest[2..]].concat()),
    ];
    // Each inner length of CredSSP, one too much and far too much.
    for at in [2, 3, 4, 5].map(|level| head_of(&honest, level)) {
        for length in [honest[at].wrapping_add(1), 0x7f, 0xff, 0x84] {
            let mut answer = honest.clone();
            answer[at] = length;
            rows.push(lies(&format!("byte {at} is {length:#x}"), answer));
        }
    }
    rows.extend([
        lies("target name beyond the end", changed(12, &[0xff, 0xff])),
        lies("target name at the end of the world", changed(16, &[0xff; 4])),
        lies("target info beyond the end", changed(40, &[0xff, 0xff])),
        lies("target info at the end of the world", changed(44, &[0xff; 4])),
        lies("first pair beyond the end", changed(pairs + 2, &[0xff, 0xff])),
        lies("cut in the header", ts_request(&ntlm[..40])),
    ]);
    rows
}

/// A certificate is shown as it is. What is told of it is right, or left out.
fn in_the_certificate() -> Vec<Row> {
    let mut rows = Vec::new();
    for at in lengths_of(certificate(), 0, 2) {
        let right = certificate()[at];
        // One more and one less, a long form that is longer than all of it, and one that nobody has room for.
        for length in [right.wrapping_add(1), right.wrapping_sub(1), 0x84, 0xff] {
            let mut lying = certificate().to_vec();
            lying[at] = length;
            let is_shown = is_of(lying.clone());
            let serve = shown(&showing(vec![lying], &TLS13));
            rows.push(Row::new(format!("certificate's byte {at} is {length:#x}"), "healthy", serve).with(
                move |facts| {
                    is_shown(facts);
                    for (label, right) in [("subject", "CN=ts01.corp.example"), ("san", "DNS:ts01.corp.example")] {
                        let told = facts.label("rdp_certificate_info", label).unwrap_or_default();
                        assert!(told.is_empty() || told == right, "{label}: {told:?}");
                    }
                },
            ));
        }
    }
    rows
}

/// Where the last byte of each length stands, of the elements one behind another and so deep inside one another.
fn lengths_of(der: &[u8], start: usize, depth: usize) -> Vec<usize> {
    let (mut at, mut found) = (0, Vec::new());
    while at < der.len() {
        let more = if der[at + 1] & 0x80 == 0 { 0 } else { usize::from(der[at + 1] & 0x7f) };
        let first = at + 2 + more;
        let length = match more {
            0 => der[at + 1].into(),
            _ => der[at + 2..first].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        found.push(start + first - 1);
        let is_constructed = der[at] & 0x20 != 0;
        if depth > 0 && is_constructed {
            found.extend(lengths_of(&der[first..first + length], start + first, depth - 1));
        }
        at = first + length;
    }
    found
}

/// Where the length of the nth element inside one another stands: the last byte of its length.
fn head_of(bytes: &[u8], level: usize) -> usize {
    let (mut at, mut found) = (0, 0);
    for _ in 0..level {
        found = at + 1;
        if bytes[found] & 0x80 != 0 {
            found += usize::from(bytes[found] & 0x7f);
        }
        at = found + 1;
        // Past the version, which is first.
        if bytes[at..].starts_with(&[0xa0, 3, 2, 1]) {
            at += 5;
        }
    }
    found
}
