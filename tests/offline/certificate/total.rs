//! No bytes make a function panic, and a certificate that was cut or changed gives facts or none.

use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair};
use rdp_exporter::certificate::{CertificateFacts, name_matches, signature::verify, trust::Roots};
use time::macros::datetime;

use super::odd::{Odd, alternative_names};

fn read_all(der: &[u8]) {
    let chain = vec![der.to_vec(), der.to_vec()];
    let facts = CertificateFacts::read(&chain).unwrap();
    assert_eq!(facts.sha256.len(), 64);
    for text in [facts.subject, facts.issuer, facts.serial, facts.key, facts.signature, facts.san].iter().flatten() {
        assert!(text.len() <= 256);
    }
    for server_name in ["ts01.corp.example", "10.0.0.1", ""] {
        let _ = name_matches(der, server_name);
    }
    for scheme in SCHEMES {
        let _ = verify(der, scheme, b"message", b"signature");
    }
    let roots = Roots::new(vec![der.to_vec()], vec![b"\x30\x00".to_vec()]);
    let _ = roots.judge(&chain, datetime!(2026-01-01 00:00 UTC));
}

fn real_certificates() -> Vec<Vec<u8>> {
    let names = ["ts01.corp.example".to_owned(), "10.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "ts01");
    let signed = [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256].map(|algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    });
    let odd = Odd { extensions: alternative_names(&[(2, b"a"), (7, &[1, 2, 3, 4])]), ..Odd::default() };
    signed.into_iter().chain([odd.der()]).collect()
}

#[test]
fn every_prefix() {
    for der in real_certificates() {
        for end in 0..der.len() {
            read_all(&der[..end]);
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        read_all(&bytes);
    }

    #[test]
    fn changed_certificates(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        for mut der in real_certificates() {
            for (at, byte) in &changes {
                let at = at.index(der.len());
                der[at] = *byte;
            }
            read_all(&der);
        }
    }
}

const SCHEMES: [u16; 6] = [0x0401, 0x0804, 0x0403, 0x0503, 0x0807, 0x0808];
