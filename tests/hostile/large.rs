//! Too much of a good thing: long chains, long names, deep nesting, authorities that could all have issued one another.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, SanType, string::Ia5String,
};
use ring::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};

use crate::bytes::{SSL, TLS_1_0, challenge, der, names, nested, old_messages, record, ts_request};
use crate::endpoint::{
    Serve, TLS_1_3 as SERVER_1_3, answering_clear, certificate, challenging, established, key, showing,
};
use crate::estate::{Facts, Row, alone, crowd};

#[test]
fn long_chains() {
    alone(&chains());
}

#[test]
fn long_names() {
    alone(&wide_names());
}

#[test]
fn deep_nesting() {
    alone(&nesting());
}

#[test]
fn two_hundred_at_once() {
    crowd(&[chains(), wide_names(), nesting()].concat());
}

fn chains() -> Vec<Row> {
    let padded = |bytes: usize| {
        certified(|params| {
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 9], der(4, &vec![0x41; bytes])));
        })
    };
    let chain: Vec<Vec<u8>> = (0..10).map(|_| padded(30_000)).collect();
    // As much as a TLS library takes.
    let greatest = vec![padded(31_000), padded(31_000)];
    let crumbs = vec![vec![0x30]; 10_000];
    let crumbs: Vec<Vec<u8>> = [vec![certificate().to_vec()], crumbs].concat();
    let (wide, namesakes) = (padded(200_000), namesakes());
    vec![
        Row::new("300 KB in TLS 1.2", "tls_error", shown(&showing(chain.clone(), &TLS12))),
        Row::new("300 KB in TLS 1.3", "tls_error", shown(&showing(chain, &TLS13))),
        Row::new("300 KB in the clear", "tls_reset", in_clear(&padded(300_000))),
        Row::new("200 KB in the clear", "healthy", in_clear(&wide)).with(is_of(wide.clone())),
        Row::new("62 KB in TLS 1.2", "healthy", shown(&showing(greatest.clone(), &TLS12)))
            .with(is_of(greatest[0].clone())),
        Row::new("62 KB in TLS 1.3", "healthy", shown(&showing(greatest.clone(), &TLS13)))
            .with(is_of(greatest[0].clone())),
        Row::new("ten thousand crumbs", "healthy", shown(&showing(crumbs, &TLS13))).with(is_of(certificate().to_vec())),
        Row::new("namesakes", "healthy", shown(&showing(namesakes.clone(), &TLS13))).with(is_of(namesakes[0].clone())),
    ]
}

fn wide_names() -> Vec<Row> {
    let named =
        |bytes: usize| certified(|params| params.distinguished_name.push(DnType::CommonName, "n".repeat(bytes)));
    let many = certified(|params| {
        let name = |number| SanType::DnsName(Ia5String::try_from(format!("host-{number}.corp.example")).unwrap());
        params.subject_alt_names = (0..2000).map(name).collect();
    });
    let ntlm = |count: usize| {
        let long = "N".repeat(count);
        ts_request(&challenge(&[0x4e; 2], &names(&long, &long, &long, &long)))
    };
    let sensible = |facts: &Facts<'_>| {
        for (name, label) in
            [("certificate", "subject"), ("certificate", "issuer"), ("certificate", "san"), ("server", "computer")]
        {
            let text = facts.label(&format!("rdp_{name}_info"), label).unwrap_or_default();
            assert!(text.len() <= 256, "{label} of {} bytes", text.len());
        }
    };
    let shows = |name: &str, der: Vec<u8>| {
        let is_of = is_of(der.clone());
        Row::new(name, "healthy", shown(&showing(vec![der], &TLS13))).with(move |facts| {
            is_of(facts);
            sensible(facts);
            let subject = facts.label("rdp_certificate_info", "subject").unwrap();
            assert!(!subject.is_empty());
        })
    };
    let says = |name: &str, answer| Row::new(name, "healthy", challenging(&SERVER_1_3, answer)).with(sensible);
    vec![
        // Subject and issuer are the same, and both are to fit into what a library takes.
        shows("30 KB of common name", named(30_000)),
        shows("2000 names", many),
        Row::new("64 KB of common name", "tls_error", shown(&showing(vec![named(65_536)], &TLS13))),
        Row::new("64 KB of common name in the clear", "healthy", in_clear(&named(65_536))).with(is_of(named(65_536))),
        says("7000 letters in the challenge", ntlm(7000)).with(|facts| {
            assert_eq!(facts.label("rdp_server_info", "computer"), Some("N".repeat(256)));
            assert_eq!(facts.label("rdp_server_info", "dns_domain"), Some("N".repeat(256)));
        }),
        says("64 KB in the challenge", ts_request(&challenge(&[0x4e; 60_000], &names("T", "C", "t.c", "c")))),
    ]
}

fn nesting() -> Vec<Row> {
    let deep = nested(10_000);
    let extended = certified(|params| {
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], deep.clone()));
    });
    let answer = |bytes: Vec<u8>| challenging(&SERVER_1_3, bytes);
    let token = der(0x30, &[&[0xa0, 3, 2, 1, 6][..], &der(0xa1, &deep)].concat());
    vec![
        Row::new("nothing but nesting", "healthy", shown(&showing(vec![deep.clone()], &TLS13)))
            .with(is_of(deep.clone())),
        Row::new("nesting in TLS 1.2", "healthy", shown(&showing(vec![deep.clone()], &TLS12)))
            .with(is_of(deep.clone())),
        Row::new("nested extensions", "healthy", shown(&showing(vec![extended.clone()], &TLS13))).with(is_of(extended)),
        Row::new("nesting in the clear", "healthy", in_clear(&deep)).with(is_of(deep.clone())),
        Row::new("nested challenge", "healthy", answer(deep)),
        Row::new("nested tokens", "healthy", answer(token)),
    ]
}

/// A certificate of [`key`], changed so.
fn certified(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    change(&mut params);
    params.self_signed(key()).unwrap().der().to_vec()
}

/// A leaf, and a hundred authorities of one name, each with a key of its own: any of them could have issued any other.
fn namesakes() -> Vec<Vec<u8>> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "Namesake");
    let first = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["ts01.corp.example".to_owned()]).unwrap();
    let leaf = leaf.signed_by(key(), &Issuer::from_params(&authority, &first)).unwrap();
    let others = (0..100).map(|_| authority.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec());
    std::iter::once(leaf.der().to_vec()).chain(others).collect()
}

pub(crate) fn shown(config: &Arc<ServerConfig>) -> Serve {
    established(SSL, config, crate::endpoint::Session::end)
}

/// A server of TLS 1.0 with that certificate, in records of the greatest length.
fn in_clear(certificate: &[u8]) -> Serve {
    let messages = old_messages(certificate).concat();
    answering_clear(messages.chunks(16_384).flat_map(|piece| record(22, TLS_1_0, piece)).collect())
}

/// Whether the certificate that is told is this one.
pub(crate) fn is_of(der: Vec<u8>) -> impl Fn(&Facts<'_>) + Clone {
    let hex: String = digest(&SHA256, &der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    move |facts| assert_eq!(facts.label("rdp_certificate_info", "sha256").as_deref(), Some(hex.as_str()))
}
