//! Endpoints that never stop sending: bytes, frames, records, before TLS, inside it, and when all was said.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;

use crate::bytes::{HYBRID, RDP, SSL, TLS_1_0, TLS_1_2, message, record, selecting, u24};
use crate::endpoint::{
    Sealer, Serve, TLS_1_2 as SERVER_1_2, TLS_1_3 as SERVER_1_3, UNSEALED, after_clear, after_hello, after_request,
    attack_begun, certificate, endless, established, prepare, serve, unsealed,
};
use crate::estate::{Row, alone, crowd};

#[test]
fn endless_bytes_and_frames() {
    alone(&attacking(bytes_and_frames()));
}

#[test]
fn endless_records() {
    alone(&attacking(records()));
}

#[test]
fn endless_records_after_the_handshake() {
    alone(&attacking(records_after_the_handshake()));
}

#[test]
fn two_hundred_at_once() {
    crowd(&attacking([bytes_and_frames(), records(), records_after_the_handshake()].concat()));
}

fn attacking(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter().map(Row::attacking).collect()
}

fn bytes_and_frames() -> Vec<Row> {
    let data = [3, 0, 0, 7, 2, 0xf0, 0x80];
    vec![
        Row::new("zeros", "not_rdp", chatter(vec![0; CHUNK])),
        Row::new("banner", "not_rdp", chatter(b"220 mail.example ESMTP\r\n".repeat(600))),
        Row::new(
            "noise unasked",
            "not_rdp",
            serve(|client| {
                prepare(&client)?;
                endless(&client, || vec![0xff; CHUNK])
            }),
        ),
        Row::new("data frames", "protocol_error", chatter(data.repeat(CHUNK / 7))),
        Row::new("one endless frame", "protocol_error", chatter([&[3, 0, 0xff, 0xff][..], &[0x0e; CHUNK]].concat())),
        Row::new(
            "frames of the greatest length",
            "protocol_error",
            chatter([&[3, 0, 1, 3][..], &[0xfe; 255]].concat().repeat(40)),
        ),
        // The first one is as it should be, the others are where TLS was to be.
        Row::new("confirms of TLS", "tls_error", chatter(selecting(SSL).repeat(CHUNK / 19))),
        Row::new("confirms of RDP", "healthy", chatter(selecting(RDP).repeat(CHUNK / 19))),
        Row::new("noise inside TLS", "tls_error", in_tls(vec![0xff; CHUNK])),
        Row::new(
            "noise at the end",
            "healthy",
            established(SSL, &SERVER_1_3, |session| endless(&session.socket, || vec![0xff; CHUNK])),
        ),
        noise_at_the_end(),
    ]
}

/// After 64 KiB nobody listens any more; what the system takes in the meantime is less than what half a second brings.
fn noise_at_the_end() -> Row {
    let most = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&most);
    let serve = after_request(move |mut client| {
        client.write_all(&selecting(RDP))?;
        let mut sent = 0;
        endless(&client, || {
            counting.fetch_max(sent, Ordering::SeqCst);
            sent += CHUNK;
            vec![0xff; CHUNK]
        })
    });
    Row::new("noise at the end of RDP", "healthy", serve).with(move |_| {
        let most = most.load(Ordering::SeqCst);
        assert!((1..600_000).contains(&most), "{most} bytes were taken");
    })
}

fn records() -> Vec<Row> {
    let empty = |kind| record(kind, TLS_1_2, &[]).repeat(CHUNK / 5);
    vec![
        Row::new("empty handshake records", "tls_error", in_tls(empty(22))),
        Row::new("empty data records", "tls_error", in_tls(empty(23))),
        Row::new("change_cipher_spec", "tls_error", in_tls(record(20, TLS_1_2, &[1]).repeat(CHUNK / 6))),
        Row::new("warnings", "tls_error", in_tls(record(21, TLS_1_2, &[1, 90]).repeat(CHUNK / 7))),
        Row::new("HelloRequests", "tls_error", in_tls(record(22, TLS_1_2, &message(0, &[])).repeat(CHUNK / 9))),
        Row::new("one endless message", "tls_error", after_hello(|client, _| endless_message(client, 0xff_ffff))),
        Row::new("HelloRequests in the clear", "tls_reset", in_clear(record(22, TLS_1_0, &[0; 16_384]))),
        Row::new("empty records in the clear", "tls_reset", in_clear(empty(22))),
        Row::new("warnings in the clear", "tls_reset", in_clear(record(21, TLS_1_0, &[1, 90].repeat(8000)))),
        Row::new(
            "one endless message in the clear",
            "tls_reset",
            after_clear(|client| endless_message(client, 0x03_ffff)),
        ),
    ]
}

/// The handshake has completed, so the verdict is known; the challenge is what is read.
fn records_after_the_handshake() -> Vec<Row> {
    let mut wide = vec![certificate().to_vec()];
    wide.push(vec![0x30; 60_000]);
    let key_change = message(24, &[0]);
    vec![
        Row::new("tickets", "healthy", sealed(&UNSEALED, 22, ticket().repeat(16_000 / ticket().len()))),
        // The TLS library keeps a copy of the chain for each.
        Row::new(
            "tickets with a wide chain",
            "healthy",
            sealed(&unsealed(wide), 22, ticket().repeat(16_000 / ticket().len())),
        ),
        Row::new("one ticket a record", "healthy", sealed(&UNSEALED, 22, ticket())),
        Row::new("tickets a byte a record", "healthy", bytewise_tickets()),
        Row::new("empty data", "healthy", sealed(&UNSEALED, 23, Vec::new())),
        Row::new("key changes", "healthy", sealed(&UNSEALED, 22, key_change)),
        Row::new(
            "key changes that are made",
            "healthy",
            established(HYBRID, &SERVER_1_3, |mut session| {
                session.change_keys()?;
                attack_begun();
                (1..10_000).try_for_each(|_| session.change_keys())
            }),
        ),
        Row::new("warnings inside", "healthy", sealed(&UNSEALED, 21, vec![1, 90])),
        Row::new(
            "one endless challenge",
            "healthy",
            sealed(&UNSEALED, 23, [&[0x30, 0x83, 0, 0xff, 0xf0][..], &[0; 9000]].concat()),
        ),
        Row::new("a challenge in bytes", "healthy", challenge_in_bytes()),
        Row::new("noise", "healthy", sealed(&UNSEALED, 23, vec![0xff; 9000])),
        Row::new(
            "renegotiation",
            "healthy",
            established(HYBRID, &SERVER_1_2, |session| endless(&session.socket, || record(22, TLS_1_2, &[0; CHUNK]))),
        ),
    ]
}

/// Sends `chunk` for ever, in answer to the connection request.
fn chatter(chunk: Vec<u8>) -> Serve {
    after_request(move |client| endless(&client, || chunk.clone()))
}

/// The same in answer to the ClientHello.
fn in_tls(chunk: Vec<u8>) -> Serve {
    after_hello(move |client, _| endless(&client, || chunk.clone()))
}

/// The same in answer to the hello that is made by hand.
fn in_clear(chunk: Vec<u8>) -> Serve {
    after_clear(move |client| endless(&client, || chunk.clone()))
}

/// A handshake message that says that it has so many bytes, and goes on beyond them.
fn endless_message(mut client: TcpStream, length: usize) -> std::io::Result<()> {
    client.write_all(&record(22, TLS_1_2, &[&[2][..], &u24(length)].concat()))?;
    endless(&client, || record(22, TLS_1_2, &[0; CHUNK]))
}

/// The same record for ever, in answer to the CredSSP request.
fn sealed(config: &Arc<ServerConfig>, kind: u8, contents: Vec<u8>) -> Serve {
    established(HYBRID, config, move |mut session| {
        session.read_request()?;
        let (socket, mut sealer) = session.unseal()?;
        endless(&socket, || filled(&mut sealer, |sealer| sealer.seal(kind, &contents)))
    })
}

fn bytewise_tickets() -> Serve {
    established(HYBRID, &UNSEALED, move |mut session| {
        session.read_request()?;
        let (socket, mut sealer) = session.unseal()?;
        let whole = ticket();
        let mut rest = whole.iter().cycle();
        endless(&socket, || filled(&mut sealer, |sealer| sealer.seal(22, &[*rest.next().unwrap()])))
    })
}

/// A `TSRequest` that is not too long, a byte a record: what TLS adds to it is.
fn challenge_in_bytes() -> Serve {
    established(HYBRID, &UNSEALED, move |mut session| {
        session.read_request()?;
        let (socket, mut sealer) = session.unseal()?;
        let mut bytes = [0x30, 0x83, 0, 0xff, 0xf0].into_iter().chain(std::iter::repeat(0));
        endless(&socket, || filled(&mut sealer, |sealer| sealer.seal(23, &[bytes.next().unwrap()])))
    })
}

/// As many records as one chunk takes.
fn filled(sealer: &mut Sealer, mut next: impl FnMut(&mut Sealer) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < SEALED {
        bytes.extend(next(sealer));
    }
    bytes
}

/// The smallest NewSessionTicket that there is (RFC 8446 4.6.1).
pub(crate) fn ticket() -> Vec<u8> {
    message(4, &[0, 0, 0, 60, 1, 2, 3, 4, 0, 0, 1, 7, 0, 0])
}

const CHUNK: usize = 14_000;
/// To seal many small records takes the endpoint its time.
const SEALED: usize = 4000;
