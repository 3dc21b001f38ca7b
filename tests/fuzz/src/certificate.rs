//! A presented chain: what it says, whether it is trusted, and what its key signed.

use std::sync::OnceLock;

use rdp_exporter::certificate::{
    CertificateFacts, chain_fingerprint, name_matches,
    signature::{can_check, verify},
    trust::Roots,
};
use time::macros::datetime;

/// The input is a chain as TLS 1.2 has it, each certificate behind its length in three bytes; what has no right length
/// is one certificate to the end.
pub(super) fn certificate(bytes: &[u8]) {
    let chain = pieces(bytes);
    let Some(facts) = CertificateFacts::read(&chain) else {
        assert!(chain.is_empty());
        return;
    };
    check_facts(&facts);
    let leaf = &chain[0];
    for name in ["ts01.corp.example", "ts01", "10.0.0.1", "2001:db8::1", "", "*", "xn--mnchen-3ya.example."] {
        let _ = name_matches(leaf, name);
    }
    assert_eq!(chain_fingerprint(&chain), chain_fingerprint(&chain.clone()));
    // The first certificate and the last piece, taken for a signature.
    let signature = chain.last().unwrap();
    for scheme in SCHEMES {
        let proven = verify(leaf, scheme, b"message", signature);
        assert!(proven.is_none() || facts.key.is_some(), "a key that was not read proves nothing");
    }
    let _ = can_check(leaf);
    // Ed25519 leaves a stranger no second spelling of a signature, so nothing but what the root signed is trusted.
    let trusted = roots().judge(&chain, datetime!(2026-11-20 12:00 UTC));
    assert!(trusted == Some(false) || SIGNED.contains(&leaf.as_slice()), "trusted: {facts:?}");
    let pinned = Roots::new(vec![], vec![leaf.clone()]);
    assert_eq!(pinned.judge(&chain, datetime!(2026-11-20 12:00 UTC)), Some(true), "it is the operator's own");
}

/// The bounds that hold whatever was read.
pub(super) fn check_facts(facts: &CertificateFacts) {
    assert_eq!(facts.sha256.len(), 64);
    let texts = [&facts.subject, &facts.issuer, &facts.serial, &facts.key, &facts.signature, &facts.san];
    assert!(texts.into_iter().flatten().all(|text| text.len() <= 256), "{facts:?}");
    assert!(facts.not_after.is_none() || facts.chain_not_after.is_some());
    assert!(facts.chain_not_after.zip(facts.not_after).is_none_or(|(chain, leaf)| chain <= leaf));
}

/// An authority that signed nothing but one certificate.
pub(super) fn roots() -> &'static Roots {
    static ROOTS: OnceLock<Roots> = OnceLock::new();
    ROOTS.get_or_init(|| Roots::new(vec![SIGNED[0].to_vec()], vec![]))
}

fn pieces(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = vec![];
    while let Some((length, rest)) = bytes.split_first_chunk::<3>() {
        let length = usize::try_from(u32::from_be_bytes([0, length[0], length[1], length[2]])).unwrap();
        let Some((piece, rest)) = rest.split_at_checked(length) else { break };
        pieces.push(piece.to_vec());
        bytes = rest;
    }
    if !bytes.is_empty() {
        pieces.push(bytes.to_vec());
    }
    pieces
}

/// The root and the leaf. Their keys were thrown away.
const SIGNED: [&[u8]; 2] = [include_bytes!("../certificates/root.der"), include_bytes!("../certificates/leaf.der")];
const SCHEMES: [u16; 14] =
    [0x0201, 0x0203, 0x0401, 0x0403, 0x0501, 0x0503, 0x0601, 0x0603, 0x0804, 0x0805, 0x0806, 0x0807, 0x0808, 0x0809];
