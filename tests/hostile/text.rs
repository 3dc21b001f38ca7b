//! Text that drives terminals, turns around, forges lines and ends strings, in every place that a server has for text.

use form_urlencoded::byte_serialize;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, Issuer, KeyPair, SanType, string::Ia5String};
use rustls::version::{TLS12, TLS13};

use crate::bytes::{RDP, SSL, challenge, der, names, record, selecting, ts_request, utf16};
use crate::endpoint::{
    TLS_1_3 as SERVER_1_3, answering, answering_clear, answering_hello, challenging, established, key, showing,
};
use crate::estate::{Estate, Facts, PACE, Row, crowd, turn};
use crate::harness::http;
use crate::harness::process::require;
use crate::harness::samples::Samples;

#[test]
fn text_is_harmless_wherever_it_is_shown() {
    if !require(&["promtool"]) {
        return;
    }
    let rows = rows();
    let turn = turn();
    let estate = Estate::start(&rows, rows.len(), &PACE);
    let watched = estate.watch();
    watched.check(&estate);
    // What a scraper reads may hold anything but a NUL, which ends the text for Prometheus; its lines stand.
    assert!(!watched.text.contains('\0'));
    let forged = Samples::parse(&watched.text).0.iter().any(|sample| sample.name == "forged");
    assert!(!forged, "a server wrote a line of its own");
    for path in pages(&watched.text) {
        let (status, body) = http::get(estate.exporter.port, &path).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        // JSON and YAML are no pages, and are not sent as such.
        let is_page = body.starts_with("<!DOCTYPE html>");
        assert_eq!(is_page, !path.starts_with("/api/") && path != "/config", "{path}");
        assert!(!is_page || (!body.contains("<script") && !body.contains("<img")), "{path}: {body}");
        assert_plain(&body, &path);
    }
    assert_plain(&estate.exporter.log(), "the log");
    drop((estate, turn));
    crowd(&rows);
}

fn rows() -> Vec<Row> {
    let chain = certificate();
    let names_of = |text: &str| ts_request(&challenge(&utf16(text), &names(text, text, text, text)));
    let invalid = vec![(1, vec![0x00, 0xd8, 0x41, 0x00]), (2, vec![0xff; 7]), (3, utf16("\0\0")), (4, vec![0x0a])];
    let shows = |name: &str, serve| Row::new(name, "healthy", serve).with(is_told);
    let mut rows = string_types();
    rows.extend([
        shows("in TLS 1.2", established(SSL, &showing(vec![chain.clone()], &TLS12), |session| session.end())),
        shows("in TLS 1.3", established(SSL, &showing(vec![chain.clone()], &TLS13), |session| session.end())),
        shows("in the clear", answering_clear(crate::bytes::old_flight(&chain))),
        Row::new("in the challenge", "healthy", challenging(&SERVER_1_3, names_of(HOSTILE))).with(|facts| {
            let computer = facts.label("rdp_server_info", "computer").unwrap();
            assert!(computer.starts_with("a\u{1b}[31m\n") && computer.len() <= 256, "{computer:?}");
        }),
        Row::new("not UTF-16", "healthy", challenging(&SERVER_1_3, ts_request(&challenge(&[0xff], &invalid)))),
        Row::new("a banner", "not_rdp", answering(HOSTILE.as_bytes().to_vec())),
        Row::new("a web page", "not_rdp", answering(b"HTTP/1.1 200 OK\r\n\r\n<script>alert(1)</script>".to_vec())),
        Row::new("a banner in TLS", "tls_error", answering_hello(HOSTILE.as_bytes().to_vec())),
        Row::new("an unknown alert", "tls_alert", answering_hello(record(21, 0x0303, &[2, 0x1b]))),
        Row::new(
            "a banner in a frame",
            "protocol_error",
            answering({
                let text = &HOSTILE.as_bytes()[..HOSTILE.len().min(200)];
                [&[3, 0, 0, u8::try_from(text.len() + 4).unwrap()][..], text].concat()
            }),
        ),
        Row::new("a banner at the end", "healthy", answering([&selecting(RDP)[..], HOSTILE.as_bytes()].concat())),
    ]);
    rows
}

/// The same name in each type of string, whatever its alphabet is. Only of the last of several names is all shown.
fn string_types() -> Vec<Row> {
    let utf16: Vec<u8> = HOSTILE.encode_utf16().flat_map(u16::to_be_bytes).chain([0xd8]).collect();
    // With a number that is no character, and half of one.
    let utf32: Vec<u8> =
        HOSTILE.chars().flat_map(|it| u32::from(it).to_be_bytes()).chain([0, 0x11, 0, 0, 0, 0]).collect();
    let types: [(&str, u8, &[u8]); 6] = [
        ("UTF8String", 0x0c, HOSTILE.as_bytes()),
        ("PrintableString", 0x13, HOSTILE.as_bytes()),
        // Read as Latin-1, letters of several bytes have control characters in them.
        ("T61String", 0x14, HOSTILE.as_bytes()),
        ("IA5String", 0x16, HOSTILE.as_bytes()),
        ("UniversalString", 0x1c, &utf32),
        ("BMPString", 0x1e, &utf16),
    ];
    let row = |(name, tag, text): (&str, u8, &[u8])| {
        let shown = showing(vec![named(tag, text)], &TLS13);
        Row::new(format!("as {name}"), "healthy", established(SSL, &shown, |session| session.end())).with(|facts| {
            for label in ["subject", "issuer"] {
                let text = facts.label("rdp_certificate_info", label).unwrap();
                assert!(text.starts_with("CN=a\u{1b}[31m") && text.len() <= 256, "{label}: {text:?}");
            }
        })
    };
    types.map(row).into()
}

/// A certificate whose only name is that string. What makes it checks the alphabet, so it is put in afterwards.
fn named(tag: u8, text: &[u8]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    let placeholder = "p".repeat(text.len());
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, placeholder.as_str());
    let mut certificate = params.self_signed(key()).unwrap().der().to_vec();
    let (placeholder, text) = (der(0x0c, placeholder.as_bytes()), der(tag, text));
    for at in 0..certificate.len() - text.len() {
        if certificate[at..].starts_with(&placeholder) {
            certificate[at..at + text.len()].copy_from_slice(&text);
        }
    }
    certificate
}

/// A leaf and its issuer with such names, in all the types of names and of strings that there are.
fn certificate() -> Vec<u8> {
    let ascii: String = HOSTILE.chars().filter(char::is_ascii).collect();
    let named = || {
        let mut params = CertificateParams::default();
        let mut push = |kind, value| params.distinguished_name.push(kind, value);
        push(DnType::CommonName, DnValue::Utf8String(HOSTILE.to_owned()));
        push(DnType::OrganizationName, DnValue::BmpString(HOSTILE.replace('🂡', "").try_into().unwrap()));
        push(DnType::OrganizationalUnitName, DnValue::Ia5String(ascii.as_str().try_into().unwrap()));
        params
    };
    let text = || Ia5String::try_from(ascii.as_str()).unwrap();
    let mut leaf = named();
    leaf.subject_alt_names = vec![SanType::DnsName(text()), SanType::Rfc822Name(text()), SanType::URI(text())];
    let issuer = KeyPair::generate().unwrap();
    leaf.signed_by(key(), &Issuer::from_params(&named(), &issuer)).unwrap().der().to_vec()
}

fn is_told(facts: &Facts<'_>) {
    for label in ["subject", "issuer", "san"] {
        let text = facts.label("rdp_certificate_info", label).unwrap();
        assert!(text.contains("[31m") && text.len() <= 256, "{label}: {text:?}");
    }
}

/// Every page that shows a target, and the same as JSON.
fn pages(exposition: &str) -> Vec<String> {
    let samples = Samples::parse(exposition);
    let targets = samples.all("rdp_up", &[]).map(|sample| byte_serialize(sample.labels["target"].as_bytes()).collect());
    let each = targets.flat_map(|name: String| {
        let name = name.replace('+', "%20");
        ["/targets/", "/api/v1/targets/"].map(|path| format!("{path}{name}"))
    });
    let all = ["/", "/changes", "/api/v1/targets", "/config"].map(str::to_owned);
    all.into_iter().chain(each).collect()
}

/// No control character but the line feed, and nothing that turns text around.
#[track_caller]
fn assert_plain(text: &str, what: &str) {
    let bad = text.chars().find(|character| {
        let turns = matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || character.is_control() && *character != '\n'
    });
    let place = bad.and_then(|bad| text.lines().find(|line| line.contains(bad)));
    assert_eq!(bad, None, "{what}: {place:?}");
}

/// An escape sequence, a line of metrics, every line end, NUL, DEL, C1, bidi marks, markup, and what formats quote with.
const HOSTILE: &str = "a\u{1b}[31m\nforged 1\r\nb\u{0}c\u{7f}d\u{9b}e\u{85}f\u{202e}g\u{2066}h\u{2028}i\u{feff}\
    <script>alert(1)</script><img src=x>\"\\'{}=,#;&%🂡";
