//! The wire formats of what a server tells without credentials: the clear TLS flight, MCS and GCC, CredSSP and NTLM.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ironrdp_core::{decode, encode_vec};
use ironrdp_pdu::{gcc as peer_gcc, mcs as peer_mcs};
use proptest::prelude::*;
use rdp_exporter::wire::clear_tls::{
    self, Alert, ClientHello, Facts, Flight, HelloForm, MAX_FLIGHT_LENGTH, MAX_RECORDS, Progress, ServerHello,
};
use rdp_exporter::wire::gcc::{Certificate, EncryptionLevel, EncryptionMethods, ServerData, ServerSecurity};
use rdp_exporter::wire::mcs::{ConnectResponse, ConnectResult, connect_initial};
use rdp_exporter::wire::ntlm::{Challenge, Version};
use rdp_exporter::wire::{DecodeError, credssp, tpkt, x224};
use rustls::crypto::ring::default_provider;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn captures(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(folder)
}

fn capture(path: &str) -> Vec<u8> {
    fs::read(captures(&format!("{path}.bin"))).unwrap_or_else(|error| panic!("{path}: {error}"))
}

// The hello.

const RANDOM: [u8; 32] = {
    let mut random = [0; 32];
    let mut at = 0;
    while at < random.len() {
        random[at] = at as u8;
        at += 1;
    }
    random
};

#[rustfmt::skip]
const HELLOS: [(HelloForm, Option<&str>, &str); 3] = [
    (HelloForm::Tls12, None, "
        16 0301 0099 01 000095 0303 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 00
        0034 c02cc02bc030c02f009f009ec024c023c028c027c00ac009c014c01300390033009d009c003d003c0035002f000a0005000400ff
        0100 0038
        000a 000a 0008 001d001700180019
        000b 0002 0100
        000d 001c 001a 0401050106010403050306030804080508060201020302020101
        0017 0000"),
    (HelloForm::Tls10, None, "
        16 0301 0079 01 000075 0301 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 00
        0034 c02cc02bc030c02f009f009ec024c023c028c027c00ac009c014c01300390033009d009c003d003c0035002f000a0005000400ff
        0100 0018
        000a 000a 0008 001d001700180019
        000b 0002 0100
        0017 0000"),
    (HelloForm::Tls10, Some("ts.example"), "
        16 0301 008c 01 000088 0301 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 00
        0034 c02cc02bc030c02f009f009ec024c023c028c027c00ac009c014c01300390033009d009c003d003c0035002f000a0005000400ff
        0100 002b
        000a 000a 0008 001d001700180019
        000b 0002 0100
        0017 0000
        0000 000f 000d 00 000a 74732e6578616d706c65"),
];

#[test]
fn hello_is_byte_exact() {
    for (form, server_name, bytes) in HELLOS {
        assert_eq!(ClientHello { form, random: RANDOM, server_name }.encode(), hex(bytes), "{form:?} {server_name:?}");
    }
}

#[test]
fn hello_is_a_client_hello_to_another_parser() {
    for (form, server_name, _) in HELLOS {
        let bytes = ClientHello { form, random: RANDOM, server_name }.encode();
        let (rest, record) = tls_parser::parse_tls_plaintext(&bytes).unwrap();
        assert!(rest.is_empty());
        let [tls_parser::TlsMessage::Handshake(tls_parser::TlsMessageHandshake::ClientHello(hello))] = &record.msg[..]
        else {
            panic!("{record:?}")
        };
        assert_eq!(hello.random, RANDOM);
        let (rest, extensions) = tls_parser::parse_tls_client_hello_extensions(hello.ext.unwrap()).unwrap();
        assert!(rest.is_empty());
        let with_algorithms =
            extensions.iter().any(|extension| matches!(extension, tls_parser::TlsExtension::SignatureAlgorithms(_)));
        assert_eq!(with_algorithms, form == HelloForm::Tls12);
        let name = extensions.iter().find_map(|extension| match extension {
            tls_parser::TlsExtension::SNI(names) => std::str::from_utf8(names.first()?.1).ok(),
            _ => None,
        });
        assert_eq!(name, server_name);
    }
}

#[test]
fn hello_sends_only_names_that_the_extension_takes() {
    let encode = |server_name| ClientHello { form: HelloForm::Tls12, random: RANDOM, server_name }.encode();
    let bare = encode(None);
    let long = "a".repeat(254);
    for impossible in ["", ".", "192.0.2.1", "2001:db8::1", "bücher.example", &long] {
        assert_eq!(encode(Some(impossible)), bare, "{impossible}");
    }
    assert_eq!(encode(Some("ts.example.")), encode(Some("ts.example")));
}

#[test]
fn goodbye_is_an_alert_of_the_servers_version() {
    assert_eq!(clear_tls::close_notify(0x0301), [0x15, 3, 1, 0, 2, 1, 0]);
    let mut flight = Flight::new();
    assert_eq!(flight.feed(&clear_tls::close_notify(0x0303)), Ok(Progress::Done));
    assert_eq!(flight.facts().alert, Some(Alert { level: 1, description: 0 }));
}

// The server's flight.

fn u24(length: usize) -> [u8; 3] {
    let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
    [high, middle, low]
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &u24(body.len())[..], body].concat()
}

fn record(kind: u8, version: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    [&[kind], &version.to_be_bytes()[..], &length.to_be_bytes(), payload].concat()
}

fn hello_message(version: u16, cipher: u16, extensions: Option<&str>) -> Vec<u8> {
    let mut body = [&version.to_be_bytes()[..], &RANDOM, &[0], &cipher.to_be_bytes(), &[0]].concat();
    body.extend(extensions.map(hex).unwrap_or_default());
    message(2, &body)
}

fn certificate_message(certificates: &[Vec<u8>]) -> Vec<u8> {
    let list: Vec<u8> = certificates.iter().flat_map(|der| [&u24(der.len())[..], der].concat()).collect();
    message(11, &[&u24(list.len())[..], &list].concat())
}

/// Key exchange over `group` with a point of 65 bytes, the algorithm (TLS 1.2 only) and a signature of 256.
fn ecdhe_message(group: u16, scheme: Option<u16>) -> Vec<u8> {
    let mut body = [&[3], &group.to_be_bytes()[..], &[65], &[4; 65]].concat();
    body.extend(scheme.into_iter().flat_map(u16::to_be_bytes));
    body.extend([&[1, 0][..], &[7; 256]].concat());
    message(12, &body)
}

fn done_message() -> Vec<u8> {
    message(14, &[])
}

/// As SChannel sends it: everything in one record.
fn packed(version: u16, messages: &[Vec<u8>]) -> Vec<u8> {
    record(22, version, &messages.concat())
}

/// The same messages in records of `size` bytes.
fn in_records(version: u16, messages: &[Vec<u8>], size: usize) -> Vec<u8> {
    messages.concat().chunks(size).flat_map(|part| record(22, version, part)).collect()
}

fn messages_of_2016() -> Vec<Vec<u8>> {
    let certificate = certificate_message(&[vec![0x30; 740]]);
    vec![
        hello_message(0x0303, 0xC030, Some("0005 ff01 0001 00")),
        certificate,
        ecdhe_message(0x17, Some(0x0201)),
        done_message(),
    ]
}

fn messages_of_2008() -> Vec<Vec<u8>> {
    vec![hello_message(0x0301, 0x002F, None), certificate_message(&[vec![0x30; 740]]), done_message()]
}

fn read(bytes: &[u8]) -> (Result<Progress, DecodeError>, Facts) {
    let mut flight = Flight::new();
    (flight.feed(bytes), flight.into_facts())
}

fn read_in_pieces(bytes: &[u8], size: usize) -> (Result<Progress, DecodeError>, Facts) {
    let mut flight = Flight::new();
    let mut progress = Ok(Progress::NeedMore);
    for piece in bytes.chunks(size) {
        progress = flight.feed(piece);
    }
    (progress, flight.into_facts())
}

/// What openssl and its command line say of each captured flight.
struct Captured {
    name: &'static str,
    version: &'static str,
    cipher: &'static str,
    speaks_tls_1_3: bool,
    group: Option<u16>,
    scheme: Option<u16>,
    leaf: &'static str,
    spoken: bool,
}

#[rustfmt::skip]
const CAPTURED: [Captured; 12] = [
    Captured { name: "tls10-rsa-aes128-cbc", version: "TLS 1.0", cipher: "TLS_RSA_WITH_AES_128_CBC_SHA", speaks_tls_1_3: false, group: None, scheme: None, leaf: RSA, spoken: false },
    Captured { name: "tls10-hello-ecdhe", version: "TLS 1.0", cipher: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", speaks_tls_1_3: false, group: Some(0x1D), scheme: None, leaf: RSA, spoken: false },
    Captured { name: "tls11-ecdhe-rsa-aes256-cbc", version: "TLS 1.1", cipher: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", speaks_tls_1_3: false, group: Some(0x1D), scheme: None, leaf: RSA, spoken: false },
    Captured { name: "tls12-rsa-aes256-cbc", version: "TLS 1.2", cipher: "TLS_RSA_WITH_AES_256_CBC_SHA256", speaks_tls_1_3: false, group: None, scheme: None, leaf: RSA, spoken: false },
    Captured { name: "tls12-ecdhe-rsa-gcm", version: "TLS 1.2", cipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", speaks_tls_1_3: true, group: Some(0x1D), scheme: Some(0x0401), leaf: RSA, spoken: true },
    Captured { name: "tls12-ecdhe-rsa-sha1", version: "TLS 1.2", cipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", speaks_tls_1_3: false, group: Some(0x1D), scheme: Some(0x0201), leaf: RSA, spoken: true },
    Captured { name: "tls12-dhe-rsa-gcm", version: "TLS 1.2", cipher: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", speaks_tls_1_3: false, group: None, scheme: Some(0x0401), leaf: RSA, spoken: false },
    Captured { name: "tls12-ecdhe-p521-group", version: "TLS 1.2", cipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", speaks_tls_1_3: false, group: Some(0x19), scheme: Some(0x0401), leaf: RSA, spoken: false },
    Captured { name: "tls12-ecdhe-ecdsa-p521", version: "TLS 1.2", cipher: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", speaks_tls_1_3: false, group: Some(0x1D), scheme: Some(0x0403), leaf: P521, spoken: true },
    Captured { name: "tls12-ecdhe-ecdsa-p256", version: "TLS 1.2", cipher: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", speaks_tls_1_3: false, group: Some(0x1D), scheme: Some(0x0403), leaf: P256, spoken: true },
    Captured { name: "tls12-long-chain", version: "TLS 1.2", cipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", speaks_tls_1_3: false, group: Some(0x1D), scheme: Some(0x0401), leaf: RSA, spoken: true },
    Captured { name: "tls12-client-certificate", version: "TLS 1.2", cipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", speaks_tls_1_3: false, group: Some(0x1D), scheme: Some(0x0401), leaf: RSA, spoken: true },
];

const RSA: &str = "D4:D2:26:B7:46:11:D6:A3:2C:BF:6C:F6:AD:A5:82:8A:B0:3A:1D:7C:D5:8D:E3:F5:54:AD:6E:37:0C:73:7B:2C";
const P256: &str = "6B:0D:E6:10:24:79:52:F5:38:90:5A:FD:AE:C8:F1:A2:4B:D1:83:B1:C8:F0:E5:A9:65:6E:E4:80:1C:2E:E8:68";
const P521: &str = "13:DF:A0:3E:C8:D7:4E:64:1F:60:09:81:BD:82:FB:D6:80:55:DE:8A:9E:F9:A9:A3:7B:C4:60:40:52:8B:39:AF";

#[test]
fn captured_flights_say_what_openssl_says() {
    for expected in CAPTURED {
        let name = expected.name;
        let (progress, facts) = read(&capture(&format!("clear_flight/{name}")));
        assert_eq!(progress, Ok(Progress::Done), "{name}");
        let hello = facts.server_hello.unwrap();
        assert_eq!(clear_tls::version_name(hello.version), Some(expected.version), "{name}");
        assert_eq!(clear_tls::cipher_name(hello.cipher), Some(expected.cipher), "{name}");
        assert_eq!(hello.speaks_tls_1_3, expected.speaks_tls_1_3, "{name}");
        assert_eq!((facts.group, facts.scheme), (expected.group, expected.scheme), "{name}");
        let certificates = facts.certificates.unwrap();
        assert_eq!(certificates.len(), if name == "tls12-long-chain" { 3 } else { 1 }, "{name}");
        let digest = ring::digest::digest(&ring::digest::SHA256, &certificates[0]);
        assert_eq!(digest.as_ref(), hex(expected.leaf), "{name}");
        let spoken = clear_tls::rustls_speaks(hello.version, hello.cipher, facts.group, facts.scheme);
        assert_eq!(spoken, expected.spoken, "{name}");
        assert_eq!(facts.alert, None, "{name}");
    }
}

#[test]
fn captured_alerts_are_read() {
    for (name, description) in [("alert-protocol-version", 70), ("alert-handshake-failure", 40)] {
        let (progress, facts) = read(&capture(&format!("clear_flight/{name}")));
        assert_eq!(progress, Ok(Progress::Done));
        assert_eq!(facts, Facts { alert: Some(Alert { level: 2, description }), ..Facts::default() });
    }
}

#[test]
fn flights_as_schannel_packs_them() {
    let (progress, facts) = read(&packed(0x0303, &messages_of_2016()));
    assert_eq!(progress, Ok(Progress::Done));
    let expected = Facts {
        alert: None,
        certificates: Some(vec![vec![0x30; 740]]),
        group: Some(0x17),
        scheme: Some(0x0201),
        server_hello: Some(ServerHello { cipher: 0xC030, speaks_tls_1_3: false, version: 0x0303 }),
    };
    assert_eq!(facts, expected);

    let (progress, facts) = read(&packed(0x0301, &messages_of_2008()));
    assert_eq!(progress, Ok(Progress::Done));
    let hello = ServerHello { cipher: 0x002F, speaks_tls_1_3: false, version: 0x0301 };
    let certificates = Some(vec![vec![0x30; 740]]);
    assert_eq!(facts, Facts { certificates, server_hello: Some(hello), ..Facts::default() });
}

#[test]
fn sentinel_in_the_random_counts_only_at_its_end() {
    let hello = |random: &[u8]| {
        let body = [&[3, 3][..], random, &[0, 0xC0, 0x2F, 0]].concat();
        read(&record(22, 0x0303, &message(2, &body))).1.server_hello.unwrap().speaks_tls_1_3
    };
    assert!(hello(&[&[0; 24][..], b"DOWNGRD\x01"].concat()));
    assert!(!hello(&[&[0; 24][..], b"DOWNGRD\x00"].concat()));
    assert!(!hello(&[b"DOWNGRD\x01", &[0; 24][..]].concat()));
}

#[test]
fn no_cut_of_a_flight_changes_what_it_says() {
    for (version, messages) in [(0x0303, messages_of_2016()), (0x0301, messages_of_2008())] {
        let whole = read(&packed(version, &messages));
        for size in [1, 2, 3, 4, 5, 7, 64, 500, 16_384] {
            let bytes = in_records(version, &messages, size);
            assert_eq!(read(&bytes), whole, "records of {size}");
            for pieces in [1, 2, 3, 5, 6, 1000] {
                assert_eq!(read_in_pieces(&bytes, pieces), whole, "records of {size}, read by {pieces}");
            }
        }
    }
}

#[test]
fn prefixes_of_a_flight_want_more_and_lose_nothing() {
    let flights = CAPTURED.iter().map(|row| capture(&format!("clear_flight/{}", row.name)));
    for bytes in flights.chain([packed(0x0303, &messages_of_2016()), packed(0x0301, &messages_of_2008())]) {
        let (_, whole) = read(&bytes);
        let mut flight = Flight::new();
        for (length, byte) in bytes.iter().enumerate() {
            assert_eq!(flight.feed(&[]), Ok(Progress::NeedMore), "{length} bytes");
            flight.feed(&[*byte]).unwrap();
            let facts = flight.facts();
            assert!(facts.server_hello.is_none() || facts.server_hello == whole.server_hello);
            assert!(facts.certificates.is_none() || facts.certificates == whole.certificates);
        }
        assert_eq!(flight.feed(b"what comes after does not matter"), Ok(Progress::Done));
        assert_eq!(flight.into_facts(), whole);
    }
}

#[test]
fn end_after_the_certificate_loses_nothing_before_it() {
    let messages = messages_of_2016();
    let (progress, facts) = read(&packed(0x0303, &messages[..2]));
    assert_eq!(progress, Ok(Progress::NeedMore));
    assert!(facts.server_hello.is_some() && facts.certificates.is_some());
    assert_eq!(facts.group, None);
}

#[test]
fn odd_flights_are_read() {
    // An empty list of certificates; a status and a request that were not asked for; a greeting before everything.
    let mut messages = vec![message(0, &[]), hello_message(0x0303, 0xC030, None), certificate_message(&[])];
    messages.extend([message(22, &[1, 0, 0, 0]), message(13, &[1, 1, 0, 0, 0, 0]), done_message()]);
    let (progress, facts) = read(&packed(0x0303, &messages));
    assert_eq!((progress, facts.certificates), (Ok(Progress::Done), Some(vec![])));

    // A warning does not end a flight; empty records do not either.
    let warning = record(21, 0x0303, &[1, 112]);
    let bytes = [warning, record(22, 0x0303, &[]), packed(0x0303, &messages_of_2016())].concat();
    let (progress, facts) = read(&bytes);
    assert_eq!((progress, facts.alert), (Ok(Progress::Done), Some(Alert { level: 1, description: 112 })));

    // A key exchange that is cut short, or over a curve that is written out, tells nothing and breaks nothing.
    for body in [&[3, 0][..], &[1, 1, 5, 1, 5, 1, 5, 1, 5, 1, 5, 1, 5, 1, 5, 4, 1], &[]] {
        let messages = [hello_message(0x0303, 0xC030, None), message(12, body), done_message()];
        let (progress, facts) = read(&packed(0x0303, &messages));
        assert_eq!((progress, facts.group), (Ok(Progress::Done), None), "{body:?}");
    }

    // SSL 3.0, and a suite that nobody knows.
    for (version, cipher) in [(0x0300, 0x000A), (0x0303, 0xFAFA)] {
        let (progress, facts) = read(&packed(version, &[hello_message(version, cipher, None), done_message()]));
        let hello = ServerHello { cipher, speaks_tls_1_3: false, version };
        assert_eq!((progress, facts.server_hello), (Ok(Progress::Done), Some(hello)));
    }
}

#[test]
fn what_is_no_first_flight_is_an_error() {
    let rows: [(&str, Vec<u8>); 14] = [
        ("HTTP", b"HTTP/1.1 400 Bad Request".to_vec()),
        ("application data", record(23, 0x0303, &[0; 9])),
        ("record of TLS 4", record(22, 0x0400, &[0; 9])),
        ("record too long", hex("16 0303 4801")),
        ("hello of TLS 1.3", packed(0x0303, &[hello_message(0x0304, 0x1301, None)])),
        ("hello cut short", record(22, 0x0303, &message(2, &[3, 3, 0]))),
        ("session id too long", record(22, 0x0303, &message(2, &[&[3, 3][..], &RANDOM, &[33], &[0; 40]].concat()))),
        ("certificate before hello", record(22, 0x0303, &certificate_message(&[]))),
        ("two hellos", packed(0x0303, &[hello_message(0x0303, 0xC030, None), hello_message(0x0303, 0xC030, None)])),
        ("finished", packed(0x0303, &[hello_message(0x0303, 0xC030, None), message(20, &[0; 12])])),
        ("list longer than message", packed(0x0303, &[hello_message(0x0303, 0xC030, None), message(11, &[0, 0, 9])])),
        ("list shorter", packed(0x0303, &[hello_message(0x0303, 0xC030, None), message(11, &[0, 0, 0, 9])])),
        ("message too long", record(22, 0x0303, &hex("0b 040001"))),
        (
            "65 certificates",
            packed(0x0303, &[hello_message(0x0303, 0xC030, None), certificate_message(&vec![vec![]; 65])]),
        ),
    ];
    for (name, bytes) in rows {
        let (progress, facts) = read(&bytes);
        assert!(progress.is_err(), "{name}");
        assert_eq!(read_in_pieces(&bytes, 1), (progress, facts), "{name}");
    }
}

#[test]
fn endless_flights_end() {
    let mut flight = Flight::new();
    let endless = record(22, 0x0303, &[0; 16_384]); // HelloRequests
    let mut fed = 0;
    while flight.feed(&endless).is_ok() {
        fed += endless.len();
    }
    assert!(fed <= MAX_FLIGHT_LENGTH && fed + endless.len() > MAX_FLIGHT_LENGTH);
    let broken = flight.feed(&[]);
    assert_eq!(broken, flight.feed(&packed(0x0303, &messages_of_2016())), "broken stays broken");

    let empty = record(22, 0x0303, &[]);
    assert_eq!(read(&empty.repeat(MAX_RECORDS)).0, Ok(Progress::NeedMore));
    assert!(read(&empty.repeat(MAX_RECORDS + 1)).0.is_err());

    // The largest flight that passes: one certificate that fills it.
    let mut messages = messages_of_2008();
    messages[1] = certificate_message(&[vec![0x30; 255 * 1024]]);
    assert_eq!(read(&in_records(0x0301, &messages, 16_384)).0, Ok(Progress::Done));
}

// Names and judgements.

#[test]
fn every_suite_that_we_offer_has_a_name() {
    let bytes = hex(HELLOS[0].2);
    let suites = bytes[46..98].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    for suite in suites.chain([0x1301, 0x1302, 0x1303]) {
        assert!(clear_tls::cipher_name(suite).is_some_and(|name| name.starts_with("TLS_")), "{suite:#06x}");
    }
    assert_eq!(clear_tls::cipher_name(0xC030), Some("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"));
    assert_eq!(clear_tls::cipher_name(0x000A), Some("TLS_RSA_WITH_3DES_EDE_CBC_SHA"));
    assert_eq!(clear_tls::cipher_name(0x1302), Some("TLS_AES_256_GCM_SHA384"));
    assert_eq!(clear_tls::cipher_name(0xFAFA), None);
}

#[test]
fn versions_have_the_names_of_the_label() {
    let names = [0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x0305, 0x0002].map(clear_tls::version_name);
    let expected = ["SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"].map(Some);
    assert_eq!(names[..5], expected);
    assert_eq!(names[5..], [None, None]);
}

#[test]
fn virtues_of_suites() {
    // (suite, forward secrecy, AEAD)
    let rows = [
        (0xC030, true, true),
        (0x009F, true, true),
        (0xC014, true, false),
        (0x0039, true, false),
        (0x009D, false, true),
        (0x002F, false, false),
        (0x000A, false, false),
        (0x0004, false, false),
        (0x1301, true, true),
        (0x1303, true, true),
        (0xCCA8, true, true),
        (0xFAFA, false, false),
    ];
    for (suite, secrecy, aead) in rows {
        assert_eq!((clear_tls::has_forward_secrecy(suite), clear_tls::is_aead(suite)), (secrecy, aead), "{suite:#06x}");
    }
}

#[test]
fn rustls_speaks_what_its_provider_lists() {
    let provider = default_provider();
    for cipher in 0..=u16::MAX {
        let listed = |version| {
            let mut suites = provider.cipher_suites.iter();
            suites.any(|suite| u16::from(suite.suite()) == cipher && suite.version().version == version)
        };
        for (number, version) in
            [(0x0303, rustls::ProtocolVersion::TLSv1_2), (0x0304, rustls::ProtocolVersion::TLSv1_3)]
        {
            assert_eq!(clear_tls::rustls_speaks(number, cipher, None, None), listed(version), "{cipher:#06x}");
        }
        let group = provider.kx_groups.iter().any(|group| u16::from(group.name()) == cipher);
        assert_eq!(clear_tls::rustls_speaks(0x0303, 0xC030, Some(cipher), None), group, "{cipher:#06x}");
        let mut schemes = provider.signature_verification_algorithms.mapping.iter();
        let scheme = cipher == 0x0201 || schemes.any(|(scheme, _)| u16::from(*scheme) == cipher);
        assert_eq!(clear_tls::rustls_speaks(0x0303, 0xC030, None, Some(cipher)), scheme, "{cipher:#06x}");
    }
    for version in [0x0300, 0x0301, 0x0302] {
        assert!(!clear_tls::rustls_speaks(version, 0xC030, None, None));
    }
}

// Standard RDP Security.

#[rustfmt::skip]
const CONNECT_INITIAL: &str = "
    0300018802f0807f6582017c0401010401010101ff30190201220201020201000201010201000201010202ffff020102
    301902010102010102010102010102010002010102020420020102301c0202ffff0202fc170202ffff02010102010002
    01010202ffff0201020482011b000500147c00018112000800100001c00044756361810401c0d8000400080000040003
    01ca03aa09040000280a00007200640070002d006500780070006f007200740065007200000000000000000004000000
    000000000c00000000000000000000000000000000000000000000000000000000000000000000000000000000000000
    00000000000000000000000000000000000000000000000001ca01000000000018000700010000000000000000000000
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
    00000000000000000000000004c00c000d0000000000000002c00c001b0000000000000003c014000100000072647064
    7200000000008080";

#[test]
fn connect_initial_is_byte_exact() {
    assert_eq!(connect_initial(EncryptionMethods::ALL), hex(CONNECT_INITIAL));
    for methods in EncryptionMethods::NAMED {
        let number: String = methods.0.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = CONNECT_INITIAL.replace("02c00c001b000000", &format!("02c00c00{number}"));
        assert_eq!(connect_initial(methods), hex(&expected));
    }
}

#[test]
fn connect_initial_is_one_to_another_implementation() {
    for methods in [EncryptionMethods::ALL, EncryptionMethods::BIT_128] {
        let bytes = connect_initial(methods);
        let initial: peer_mcs::ConnectInitial = decode(&bytes[7..]).unwrap();
        let blocks = initial.conference_create_request.gcc_blocks();
        assert_eq!(blocks.security.encryption_methods.bits(), methods.0);
        assert_eq!(blocks.core.client_name, "rdp-exporter");
        assert_eq!((blocks.core.desktop_width, blocks.core.desktop_height), (1024, 768));
        assert_eq!(initial.channel_names().unwrap().len(), 1);
        assert_eq!(initial.target_parameters, peer_mcs::DomainParameters::target());
        assert_eq!(initial.min_parameters, peer_mcs::DomainParameters::min());
        assert_eq!(initial.max_parameters, peer_mcs::DomainParameters::max());
    }
}

fn security(bytes: &[u8]) -> ServerSecurity {
    ConnectResponse::decode(bytes).unwrap().data.unwrap().security.unwrap()
}

#[test]
fn captured_responses_say_what_was_configured() {
    let rows = [
        ("xrdp-none", "none", "none", 0x0008_0004),
        ("xrdp-low", "40bit", "low", 0x0008_0004),
        ("xrdp-medium", "40bit", "client_compatible", 0x0008_0004),
        ("xrdp-high", "128bit", "high", 0x0008_0004),
        ("xrdp-fips", "fips", "fips", 0x0008_0004),
        ("freerdp-shadow", "none", "none", 0x0008_0004),
    ];
    for (name, method, level, version) in rows {
        let bytes = capture(&format!("connect_response/{name}"));
        let response = ConnectResponse::decode(&bytes).unwrap();
        assert_eq!(response.result, ConnectResult::SUCCESSFUL);
        let data = response.data.unwrap();
        assert_eq!(data.version, Some(version), "{name}");
        let security = data.security.unwrap();
        assert_eq!((security.method.label(), security.level.label()), (Some(method), Some(level)), "{name}");
        match method {
            "none" => assert_eq!((security.certificate, security.random_length_bytes), (Certificate::Missing, 0)),
            _ => {
                let key = Certificate::Proprietary { key_bits: 2048 };
                assert_eq!((security.certificate, security.random_length_bytes), (key, 32), "{name}");
            }
        }
        every_prefix_is_refused(&bytes, |bytes| ConnectResponse::decode(bytes).is_ok());
    }
}

fn every_prefix_is_refused(bytes: &[u8], accepts: impl Fn(&[u8]) -> bool) {
    assert!(accepts(bytes));
    for length in 0..bytes.len() {
        assert!(!accepts(&bytes[..length]), "{length} of {} bytes", bytes.len());
    }
}

/// A frame around the blocks as Windows writes it: the length in the middle is 0x2A, whatever it is.
fn response_frame(blocks: &[u8]) -> Vec<u8> {
    let packed = |length: usize| (u16::try_from(length).unwrap() | 0x8000).to_be_bytes();
    let gcc = [&hex("000500147c0001 2a 14760a01010001c000 4d63446e")[..], &packed(blocks.len()), blocks].concat();
    let long = |tag: &[u8], contents: &[u8]| {
        [tag, &[0x82], &u16::try_from(contents.len()).unwrap().to_be_bytes(), contents].concat()
    };
    let domain = hex("30 1a 020122 020103 020100 020101 020100 020101 0203 00fff8 020102");
    let fields = [&hex("0a0100 020100")[..], &domain, &long(&[4], &gcc)].concat();
    let tpdu = [&hex("02f080")[..], &long(&[0x7F, 0x66], &fields)].concat();
    [&[3, 0][..], &u16::try_from(tpdu.len() + 4).unwrap().to_be_bytes(), &tpdu].concat()
}

fn block(kind: u16, contents: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &u16::try_from(contents.len() + 4).unwrap().to_le_bytes(), contents].concat()
}

fn security_block(certificate: &[u8]) -> Vec<u8> {
    let lengths = [32_u32.to_le_bytes(), u32::try_from(certificate.len()).unwrap().to_le_bytes()].concat();
    block(0x0C02, &[&hex("02000000 02000000")[..], &lengths, &[9; 32], certificate].concat())
}

fn chain_blob(version: u32, certificates: &[&[u8]]) -> Vec<u8> {
    let mut blob = [version.to_le_bytes(), u32::try_from(certificates.len()).unwrap().to_le_bytes()].concat();
    for der in certificates {
        blob.extend([&u32::try_from(der.len()).unwrap().to_le_bytes()[..], der].concat());
    }
    blob.extend(vec![0; 8 + 4 * certificates.len()]); // padding
    blob
}

#[test]
fn certificates_of_standard_security() {
    let read = |blob: &[u8]| security(&response_frame(&security_block(blob))).certificate;
    let root_then_own = Certificate::X509 { chain: vec![vec![0x30; 500], vec![0x31; 700]] };
    assert_eq!(read(&chain_blob(2, &[&[0x30; 500], &[0x31; 700]])), root_then_own);
    assert_eq!(read(&chain_blob(0x8000_0002, &[&[0x30; 500], &[0x31; 700]])), root_then_own, "a temporary one");
    let bare = hex("01000000 01000000 01000000 0600 5c00 52534131 48000000 00020000 3f000000 01000100");
    assert_eq!(read(&bare), Certificate::Proprietary { key_bits: 512 });
    assert_eq!(read(&[]), Certificate::Missing);
    for unreadable in
        [&hex("03000000")[..], &[1], &bare[..20], &chain_blob(2, &[]), &hex("02000000 01000000 ff000000 00")]
    {
        assert_eq!(read(unreadable), Certificate::Unreadable, "{unreadable:?}");
    }
    assert_eq!(read(&chain_blob(2, &[&[][..]; 201])), Certificate::Unreadable);
    let cut = block(0x0C02, &hex("02000000 02000000 20000000"));
    let expected = ServerSecurity {
        certificate: Certificate::Unreadable,
        level: EncryptionLevel(2),
        method: EncryptionMethods::BIT_128,
        random_length_bytes: 0,
    };
    assert_eq!(security(&response_frame(&cut)), expected);
}

#[test]
fn blocks_in_any_order_and_of_any_kind() {
    let known =
        [block(0x0C03, &[0xEB, 3, 0, 0]), security_block(&[]), block(0x0C99, &[1]), block(0x0C01, &[5, 0, 8, 0, 1])];
    let bytes = response_frame(&known.concat());
    let data = ConnectResponse::decode(&bytes).unwrap().data.unwrap();
    assert_eq!((data.version, data.security.is_some()), (Some(0x0008_0005), true));
    every_prefix_is_refused(&bytes, |bytes| ConnectResponse::decode(bytes).is_ok());
    assert_eq!(ConnectResponse::decode(&response_frame(&[])).unwrap().data, Some(ServerData::default()));
    for broken in [&[1, 0x0C, 3, 0, 0][..], &[1, 0x0C, 9, 0, 0], &[1, 0x0C, 4, 0], &[1]] {
        assert!(ConnectResponse::decode(&response_frame(broken)).is_err(), "{broken:?}");
    }
}

#[test]
fn refused_connections_are_a_fact() {
    for (result, bytes) in [(14, "03000010 02f080 7f6606 0a010e 020100"), (15, "0300000d 02f080 7f6603 0a010f")] {
        let response = ConnectResponse::decode(&hex(bytes)).unwrap();
        assert_eq!(response, ConnectResponse { data: None, result: ConnectResult(result) });
    }
    // Disconnect Provider Ultimatum, and a confirm where a response belongs.
    for other in ["03000009 02f080 2180", "0300000b 06d00000123400"] {
        assert!(ConnectResponse::decode(&hex(other)).is_err());
    }
}

#[test]
fn labels_of_standard_security() {
    let methods = EncryptionMethods::NAMED.map(|method| method.label().unwrap());
    assert_eq!(methods, ["none", "40bit", "56bit", "128bit", "fips"]);
    let levels = [0, 1, 2, 3, 4, 5].map(|level| EncryptionLevel(level).label());
    assert_eq!(levels[..5], ["none", "low", "client_compatible", "high", "fips"].map(Some));
    assert_eq!((levels[5], EncryptionMethods::ALL.label()), (None, None));
    let all = EncryptionMethods::NAMED.iter().fold(0, |all, method| all | method.0);
    assert_eq!(EncryptionMethods(all), EncryptionMethods::ALL);
}

proptest! {
    /// What another implementation writes as a server, we read.
    #[test]
    fn responses_of_another_implementation_are_read(
        level in 0_u32..=4,
        method in prop::sample::select(vec![0_u32, 1, 2, 8, 16]),
        certificate in prop::collection::vec(any::<u8>(), 1..600),
        channels in prop::collection::vec(any::<u16>(), 0..9),
    ) {
        let encrypted = level != 0 || method != 0;
        let security = peer_gcc::ServerSecurityData {
            encryption_method: peer_gcc::EncryptionMethod::from_bits_retain(method),
            encryption_level: [
                peer_gcc::EncryptionLevel::None,
                peer_gcc::EncryptionLevel::Low,
                peer_gcc::EncryptionLevel::ClientCompatible,
                peer_gcc::EncryptionLevel::High,
                peer_gcc::EncryptionLevel::Fips,
            ][level as usize],
            server_random: encrypted.then_some([5; 32]),
            server_cert: if encrypted { certificate } else { vec![] },
        };
        let blocks = peer_gcc::ServerGccBlocks {
            core: peer_gcc::ServerCoreData {
                version: peer_gcc::RdpVersion::V10_7,
                optional_data: peer_gcc::ServerCoreOptionalData::default(),
            },
            network: peer_gcc::ServerNetworkData { channel_ids: channels, io_channel: 1003 },
            security,
            message_channel: None,
            multi_transport_channel: None,
        };
        let response = peer_mcs::ConnectResponse {
            conference_create_response: peer_gcc::ConferenceCreateResponse::new(0x79F3, blocks).unwrap(),
            called_connect_id: 1,
            domain_parameters: peer_mcs::DomainParameters::target(),
        };
        // It miscounts its own length where the whole has one certain length.
        let encoded = encode_vec(&response);
        prop_assume!(encoded.is_ok());
        let body = [&hex("02f080")[..], &encoded.unwrap()].concat();
        let frame = tpkt::frame(&body);
        let data = ConnectResponse::decode(&frame).unwrap().data.unwrap();
        prop_assert_eq!(data.version, Some(0x0008_000C));
        let read = data.security.unwrap();
        prop_assert_eq!((read.method.0, read.level.0), (method, level));
        prop_assert_eq!(read.random_length_bytes, if encrypted { 32 } else { 0 });
        prop_assert_eq!(read.certificate == Certificate::Missing, !encrypted);
    }
}

// CredSSP and NTLM.

#[test]
fn request_is_byte_exact() {
    let expected = "
        30 37 a0 03 02 01 06 a1 30 30 2e 30 2c a0 2a 04 28
        4e 54 4c 4d 53 53 50 00  01 00 00 00  b7 82 08 e2
        00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  0a 00 63 45 00 00 00 0f";
    let bytes = credssp::negotiate();
    assert_eq!(bytes, hex(expected));
    let request = credssp::Answer::decode(&bytes).unwrap();
    assert_eq!((request.version, request.token.unwrap().len(), request.error_code), (6, 40, None));
    assert!(Challenge::decode(request.token.unwrap()).is_err(), "a NEGOTIATE is no CHALLENGE");
}

#[test]
fn length_of_a_request_is_known_as_soon_as_it_is_there() {
    let rows: [(&str, Option<usize>); 11] = [
        ("", None),
        ("30", None),
        ("30 05", Some(7)),
        ("30 05 a0 03 02 01 06 ff", Some(7)),
        ("30 81", None),
        ("30 81 9f", Some(162)),
        ("30 82 01", None),
        ("30 82 01 00", Some(260)),
        ("30 83 00 01 00", Some(261)),
        ("30 84 00 00 01 00", Some(262)),
        ("30 83 00 ff fb", Some(credssp::MAX_FRAME_LENGTH)),
    ];
    for (bytes, length) in rows {
        assert_eq!(credssp::frame_length(&hex(bytes)), Ok(length), "{bytes}");
    }
    for bytes in ["31", "30 80", "30 85 00 00 00 00 01", "30 83 00 ff fc", "30 84 ff ff ff ff", "48 54 54 50"] {
        assert!(credssp::frame_length(&hex(bytes)).is_err(), "{bytes}");
    }
}

#[test]
fn answers_of_servers() {
    // Version 2 with nothing; an errorCode with and without its sign byte; fields that do not concern us.
    let rows = [
        ("30 05 a0 03 02 01 02", 2, None, None),
        ("30 0d a0 03 02 01 06 a4 06 02 04 c0 00 00 6d", 6, Some(0xC000_006D), None),
        ("30 0e a0 03 02 01 06 a4 07 02 05 00 c0 00 00 6d", 6, Some(0xC000_006D), None),
        ("30 81 14 a0 03 02 01 05 a1 09 30 07 30 05 a0 03 04 01 07 a5 02 04 00", 5, None, Some(&[7][..])),
        ("30 09 a0 03 02 01 06 a1 02 30 00", 6, None, None),
    ];
    for (bytes, version, error_code, token) in rows {
        let bytes = hex(bytes);
        assert_eq!(credssp::Answer::decode(&bytes), Ok(credssp::Answer { error_code, token, version }));
        every_prefix_is_refused(&bytes, |bytes| credssp::Answer::decode(bytes).is_ok());
        assert_eq!(credssp::frame_length(&bytes), Ok(Some(bytes.len())));
    }
    for broken in
        ["30 00", "30 03 02 01 06", "30 04 a0 02 02 00", "30 05 a0 03 02 01 06 00", "30 07 a0 03 02 01 06 a1 09"]
    {
        assert!(credssp::Answer::decode(&hex(broken)).is_err(), "{broken}");
    }
}

#[test]
fn captured_challenge_of_freerdp() {
    let bytes = capture("challenge/freerdp-shadow");
    assert_eq!(credssp::frame_length(&bytes), Ok(Some(bytes.len())));
    let answer = credssp::Answer::decode(&bytes).unwrap();
    assert_eq!((answer.version, answer.error_code), (6, None));
    let challenge = Challenge::decode(answer.token.unwrap()).unwrap();
    let name = |name: &str| Some(name.to_owned());
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_795_228_520, 0);
    let expected = Challenge {
        dns_computer: name("vm"),
        dns_domain: name("vm"),
        dns_tree: None,
        flags: 0xE288_82B7,
        netbios_computer: name("VM"),
        netbios_domain: name("VM"),
        target: name("VM"),
        time: Some(time),
        version: Some(Version { major: 6, minor: 1, build: 7601 }),
    };
    assert_eq!(challenge, expected);
    every_prefix_is_refused(&bytes, |bytes| credssp::Answer::decode(bytes).is_ok());
    every_prefix_is_refused(answer.token.unwrap(), |bytes| Challenge::decode(bytes).is_ok());
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn pair(id: u16, value: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes()[..], &u16::try_from(value.len()).unwrap().to_le_bytes(), value].concat()
}

/// A CHALLENGE with these flags, version 10.0.20348, target name and pairs.
fn challenge(flags: u32, target: &[u8], pairs: &[u8]) -> Vec<u8> {
    let field = |length: usize, offset: usize| {
        let length = u16::try_from(length).unwrap().to_le_bytes();
        [&length[..], &length, &u32::try_from(offset).unwrap().to_le_bytes()].concat()
    };
    let head = [&b"NTLMSSP\0"[..], &[2, 0, 0, 0], &field(target.len(), 56), &flags.to_le_bytes(), &[8; 8], &[0; 8]];
    let tail = [&field(pairs.len(), 56 + target.len())[..], &hex("0a 00 7c4f 000000 0f"), target, pairs];
    [head.concat(), tail.concat()].concat()
}

fn pairs_of_windows() -> Vec<u8> {
    [
        pair(2, &utf16("CORP")),
        pair(1, &utf16("TS01")),
        pair(4, &utf16("corp.example")),
        pair(3, &utf16("ts01.corp.example")),
        pair(5, &utf16("corp.example")),
        pair(7, &133_801_632_000_000_000_u64.to_le_bytes()), // 2025-01-01
        pair(0, &[]),
    ]
    .concat()
}

#[test]
fn challenge_of_windows() {
    let bytes = challenge(0xE289_8235, &utf16("CORP"), &pairs_of_windows());
    let read = Challenge::decode(&bytes).unwrap();
    let name = |name: &str| Some(name.to_owned());
    let expected = Challenge {
        dns_computer: name("ts01.corp.example"),
        dns_domain: name("corp.example"),
        dns_tree: name("corp.example"),
        flags: 0xE289_8235,
        netbios_computer: name("TS01"),
        netbios_domain: name("CORP"),
        target: name("CORP"),
        time: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600)),
        version: Some(Version { major: 10, minor: 0, build: 20348 }),
    };
    assert_eq!(read, expected);
    assert_eq!(read.version.unwrap().to_string(), "10.0.20348");
    every_prefix_is_refused(&bytes, |bytes| Challenge::decode(bytes).is_ok());
}

#[test]
fn challenges_without_this_or_that() {
    // No version, no target information, no UTF-16; the shortest message there is.
    let bytes = challenge(0xE289_8235 & !0x0200_0000, &utf16("CORP"), &pairs_of_windows());
    assert_eq!(Challenge::decode(&bytes).unwrap().version, None);
    let bytes = challenge(0x0200_0002, b"CORP", &pairs_of_windows());
    let read = Challenge::decode(&bytes).unwrap();
    assert_eq!((read.target.as_deref(), read.netbios_computer.as_deref()), (Some("CORP"), None));
    assert!(Challenge::decode(&challenge(0, b"", b"")[..32]).is_ok());
    // No end, pairs that are unknown, alike or empty.
    let pairs = [pair(9, &[1, 2, 3]), pair(1, &utf16("A")), pair(1, &utf16("B")), pair(2, &[])].concat();
    let read = Challenge::decode(&challenge(0x0080_0001, &[], &pairs)).unwrap();
    assert_eq!((read.netbios_computer.as_deref(), read.netbios_domain, read.target), (Some("A"), None, None));
    // A pair that goes past the end.
    assert!(Challenge::decode(&challenge(0x0080_0001, &[], &[1, 0, 9, 0, 65])).is_err());
    // What points outside.
    let mut bytes = challenge(0x0080_0001, &utf16("CORP"), &pairs_of_windows());
    bytes[16..20].fill(0xFF);
    assert!(Challenge::decode(&bytes).is_err());
}

#[test]
fn names_of_a_challenge_are_made_valid_and_bounded() {
    let read = |value: &[u8]| {
        let bytes = challenge(0x0080_0001, &[], &pair(1, value));
        Challenge::decode(&bytes).unwrap().netbios_computer
    };
    assert_eq!(read(&hex("4100 00d8 4200 43")), Some("A\u{FFFD}B".to_owned()), "half a surrogate, half a unit");
    assert_eq!(read(&utf16("\u{1F5A5}")), Some("\u{1F5A5}".to_owned()));
    assert_eq!(read(&utf16(&"x".repeat(600))), Some("x".repeat(256)));
    assert_eq!(
        read(&utf16(&format!("x{}", "ü".repeat(200)))),
        Some(format!("x{}", "ü".repeat(127))),
        "between letters"
    );
}

#[test]
fn times_of_a_challenge() {
    let read = |units: u64| {
        let bytes = challenge(0x0080_0001, &[], &pair(7, &units.to_le_bytes()));
        Challenge::decode(&bytes).unwrap().time
    };
    let epoch = SystemTime::UNIX_EPOCH;
    assert_eq!(read(116_444_736_000_000_000), Some(epoch));
    assert_eq!(read(116_444_736_000_000_001), Some(epoch + Duration::from_nanos(100)));
    for impossible in [0, 116_444_735_999_999_999, 1 << 63, u64::MAX] {
        assert_eq!(read(impossible), None, "{impossible}");
    }
    let bytes = challenge(0x0080_0001, &[], &pair(7, &[1, 2, 3]));
    assert_eq!(Challenge::decode(&bytes).unwrap().time, None);
}

// Whatever arrives.

/// Every reader, as the fuzzing targets call them.
fn read_everything(bytes: &[u8]) {
    let _ = x224::Answer::decode(bytes);
    let _ = ConnectResponse::decode(bytes);
    let _ = credssp::frame_length(bytes);
    let _ = credssp::Answer::decode(bytes).map(|answer| answer.token.map(Challenge::decode));
    let _ = Challenge::decode(bytes);
    assert_eq!(read_in_pieces(bytes, 1).1, read(bytes).1);
}

/// Valid messages of every kind.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let known = security_block(&chain_blob(2, &[&[0x30; 50], &[0x31; 70]]));
    prop::sample::select(vec![
        packed(0x0303, &messages_of_2016()),
        in_records(0x0301, &messages_of_2008(), 100),
        response_frame(&known),
        credssp::negotiate(),
        challenge(0xE289_8235, &utf16("CORP"), &pairs_of_windows()),
        hex("03 00 00 13 0e d0 00 00 12 34 00 02 1f 08 00 02 00 00 00"),
    ])
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_everything(&bytes);
    }

    #[test]
    fn no_damage_makes_a_reader_panic(
        mut bytes in valid(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_everything(&bytes);
    }

    #[test]
    fn flights_may_be_split_anywhere(
        sizes in prop::collection::vec(1_usize..400, 1..40),
        pieces in prop::collection::vec(1_usize..400, 1..40),
    ) {
        let messages = messages_of_2016();
        let whole = read(&packed(0x0303, &messages));
        let stream = messages.concat();
        let mut rest = stream.as_slice();
        let mut bytes = vec![];
        for size in sizes.iter().cycle() {
            let (part, after) = rest.split_at((*size).min(rest.len()));
            bytes.extend(record(22, 0x0303, part));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let mut flight = Flight::new();
        let mut progress = Ok(Progress::NeedMore);
        let mut rest = bytes.as_slice();
        for size in pieces.iter().cycle() {
            let (part, after) = rest.split_at((*size).min(rest.len()));
            progress = flight.feed(part);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!((progress, flight.into_facts()), whole);
    }
}
