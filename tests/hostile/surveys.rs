//! Surveys among hostile endpoints: what is read there is read nowhere else, the MCS exchange above all.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::bytes::{RDP, block, connect_response, nested, security, selecting};
use crate::endpoint::{Serve, after_request, certificate, endless, finish, reset, slowly};
use crate::estate::{Estate, PACE, Row, turn};
use crate::harness::http;
use crate::harness::peer::{drain, read_frame};
use crate::harness::process::require;
use crate::harness::samples::Samples;
use crate::machine::{Waits, peak_memory};

/// An endpoint of Standard RDP Security, and whether its encryption can be told.
type Case = (&'static str, bool, Serve);

#[test]
fn surveys_end_with_what_could_be_read() {
    if !require(&["promtool"]) {
        return;
    }
    let cases = cases();
    let row = |(name, _, serve): &Case| Row::new(*name, "healthy", Serve::clone(serve));
    let rows: Vec<Row> = cases.iter().map(row).collect();
    let _turn = turn();
    // Each survey is asked for at once; the schedule makes one at a time, and these all together.
    let copies = 5;
    let estate = Estate::start(&rows, rows.len() * copies, &PACE);
    let (before, mut waits) = (peak_memory(&estate.exporter), Waits::of(&estate.exporter));
    waits.look();
    thread::scope(|scope| {
        for copy in 0..copies {
            for (name, is_told, _) in &cases {
                let port = estate.exporter.port;
                scope.spawn(move || survey(port, &format!("{name} #{copy}"), *is_told));
            }
        }
    });
    waits.look();
    let grown = peak_memory(&estate.exporter).saturating_sub(before);
    assert!(grown <= 16 << 20, "{} KiB", grown / 1024);
    estate.watch_beside(waits).check_beside(u32::try_from(cases.len() * copies).unwrap(), &estate);
}

/// A survey by `/probe`: it takes no more than the probe, four times the timeout for the questions, and the pauses.
fn survey(port: u16, target: &str, is_told: bool) {
    let name: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
    let begun = Instant::now();
    let (status, body) = http::get(port, &format!("/probe?survey=true&target={name}")).unwrap();
    let took = begun.elapsed();
    assert_eq!(status, 200, "{target}: {body}");
    assert!(took < PACE.timeout * 6 + Duration::from_secs(4), "{target}: {took:?}");
    let samples = Samples::parse(&body);
    assert_eq!(samples.label("rdp_verdict", "verdict"), "healthy", "{target}");
    let method = samples.all("rdp_encryption_info", &[]).next().map(|sample| sample.labels["method"].as_str());
    assert_eq!(method, is_told.then_some("128bit"), "{target}: {body}");
}

fn cases() -> Vec<Case> {
    let plain = || connect_response(&security(&[]));
    let changed = |at: usize, bytes: &[u8]| {
        let mut frame = plain();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        mcs(frame)
    };
    let secured = |bytes: &[u8]| mcs(connect_response(&security(bytes)));
    let lengths = |random: [u8; 4], certificate: [u8; 4]| {
        let contents = [&[2, 0, 0, 0, 2, 0, 0, 0][..], &random, &certificate, &[9; 40]].concat();
        mcs(connect_response(&block(0x0c02, &contents)))
    };
    let chain =
        |count: [u8; 4], length: [u8; 4], der: &[u8]| secured(&[&[2, 0, 0, 0][..], &count, &length, der].concat());
    let length = |der: &[u8]| u32::try_from(der.len()).unwrap().to_le_bytes();
    let far = [0xff; 4];
    let deep = nested(3000);
    vec![
        ("an honest answer", true, mcs(plain())),
        ("an honest certificate", true, chain([1, 0, 0, 0], length(certificate()), certificate())),
        ("a certificate of nothing but nesting", true, chain([1, 0, 0, 0], length(&deep), &deep)),
        ("four billion certificates", true, chain(far, length(certificate()), certificate())),
        ("a certificate of 4 GiB", true, chain([1, 0, 0, 0], far, certificate())),
        ("a random of 4 GiB", true, lengths(far, [0; 4])),
        ("a key of 4 GiB", true, lengths([32, 0, 0, 0], far)),
        ("frame of 65535", false, mcs([&[3, 0, 0xff, 0xff][..], &plain()[4..]].concat())),
        ("frame of 3", false, changed(2, &[0, 3])),
        ("frame too short", false, changed(2, &[0, 60])),
        ("response too long", false, changed(10, &[0xff, 0xff])),
        ("response too short", false, changed(10, &[0, 20])),
        ("a block of nothing", false, mcs(connect_response(&[1, 0x0c, 0, 0]))),
        ("a block of 65535", false, mcs(connect_response(&[1, 0x0c, 0xff, 0xff]))),
        ("silence", false, after_mcs(drain)),
        ("a byte a second", false, after_mcs(move |client| slowly(&client, &plain()))),
        (
            "an endless frame",
            false,
            after_mcs(|mut client| {
                client.write_all(&[3, 0, 0xff, 0xff])?;
                endless(&client, || vec![0x7f; 14_000])
            }),
        ),
        ("noise", false, after_mcs(|client| endless(&client, || vec![0xff; 14_000]))),
        ("a close", false, after_mcs(finish)),
        ("a reset", false, after_mcs(|client| reset(&client))),
    ]
}

/// Answers the MCS Connect Initial with that frame.
fn mcs(frame: Vec<u8>) -> Serve {
    after_mcs(move |mut client| {
        client.write_all(&frame)?;
        drain(client)
    })
}

fn after_mcs(then: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Serve {
    after_request(move |mut client| {
        client.write_all(&selecting(RDP))?;
        read_frame(&mut client)?;
        then(client)
    })
}
