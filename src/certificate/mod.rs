//! What a presented certificate says: facts, its names, the trust in it, and whether its key signed the handshake.
//! No sockets, no clock, no configuration. No bytes make it panic, and a date is right or missing.
//!
//! Every fact is read from its own field of the DER, because one odd field (an impossible date, an unknown critical
//! extension) must not hide the others: the odd certificates are the ones that somebody will want to look at.

mod algorithm;
mod der;
mod key;
mod names;
pub mod signature;
pub mod trust;
mod validity;

use ring::digest::{Context, Digest, SHA256, digest};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use self::{algorithm::Algorithm, der::Fields, key::Key};

pub use self::names::name_matches;

/// The facts of a chain, most of them of its leaf. A fact that could not be read is `None`; text is cut to 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// SHA-256 of the leaf's bytes, in lower-case hex.
    pub sha256: String,
    /// The subject, as RFC 4514 writes it.
    pub subject: Option<String>,
    /// The issuer, as RFC 4514 writes it.
    pub issuer: Option<String>,
    /// The serial number in lower-case hex, without leading zero bytes. A negative one (which RFC 5280 forbids) is
    /// printed as the two's complement bytes that stand in the certificate.
    pub serial: Option<String>,
    /// When the leaf becomes valid.
    pub not_before: Option<OffsetDateTime>,
    /// When the leaf expires.
    pub not_after: Option<OffsetDateTime>,
    /// When the first certificate of the chain expires, of those whose date can be read.
    pub chain_not_after: Option<OffsetDateTime>,
    /// `RSA 2048`, `EC P-256`, `Ed25519`, `DSA 1024`; another curve or algorithm by its dotted identifier.
    pub key: Option<String>,
    /// The algorithm of the issuer's signature, as OpenSSL names it, or its dotted identifier.
    pub signature: Option<String>,
    /// The alternative names, such as `DNS:a.example, IP:10.0.0.1`; empty where there are none, and `None` only where
    /// the extensions cannot be read.
    pub san: Option<String>,
    /// Subject and issuer are the same name.
    pub self_signed: Option<bool>,
    /// RSA under 2048 bits or EC under 256, in the leaf or any other certificate of the chain but roots.
    pub weak_key: bool,
    /// A signature over a broken hash (MD5, SHA-1 and older), on the leaf or any other certificate of the chain but
    /// roots, whose own signature nobody relies on.
    pub weak_signature: bool,
}

impl CertificateFacts {
    /// Reads `chain`, leaf first. `None` only for an empty chain.
    #[must_use]
    pub fn read(chain: &[Vec<u8>]) -> Option<Self> {
        let leaf = chain.first()?;
        let fields = Fields::split(leaf);
        let (not_before, not_after) = fields.validity.map(validity::read).unwrap_or_default();
        let certificates = || chain.iter().map(|der| Fields::split(der));
        let judged = || certificates().enumerate().filter(|(at, fields)| *at == 0 || self_signed(fields) != Some(true));
        Some(Self {
            sha256: der::hex(&sha256(leaf)),
            subject: fields.subject.and_then(names::distinguished_name).map(|name| cut_text(&name)),
            issuer: fields.issuer.and_then(names::distinguished_name).map(|name| cut_text(&name)),
            serial: fields.serial.and_then(serial),
            not_before,
            not_after,
            chain_not_after: certificates().filter_map(|fields| validity::read(fields.validity?).1).min(),
            key: key_of(&fields).map(|key| cut_text(&key.label())),
            signature: algorithm_of(&fields).map(|algorithm| cut_text(&algorithm.name)),
            san: names::alternative_names_text(&fields).map(|names| cut_text(&names)),
            self_signed: self_signed(&fields),
            weak_key: judged().any(|(_, fields)| key_of(&fields).is_some_and(|key| key.is_weak())),
            weak_signature: judged().any(|(_, fields)| algorithm_of(&fields).is_some_and(|found| found.is_weak)),
        })
    }
}

/// Tells one presented chain from another, so that it need not be judged twice.
#[must_use]
pub fn chain_fingerprint(chain: &[Vec<u8>]) -> [u8; 32] {
    let mut sum = Context::new(&SHA256);
    for der in chain {
        sum.update(&sha256(der));
    }
    bytes_of(&sum.finish())
}

/// At most the first 256 bytes of `text`, cut between characters.
#[must_use]
pub fn cut_text(text: &str) -> String {
    let end = (0..=MAX_TEXT_LENGTH.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default().to_owned()
}

fn self_signed(fields: &Fields<'_>) -> Option<bool> {
    Some(fields.subject? == fields.issuer?)
}

fn key_of<'a>(fields: &Fields<'a>) -> Option<Key<'a>> {
    Key::read(fields.key?)
}

fn algorithm_of(fields: &Fields<'_>) -> Option<Algorithm> {
    Algorithm::read(fields.signature_algorithm?)
}

fn serial(content: &[u8]) -> Option<String> {
    let (last, before) = content.split_last()?;
    let zeros = before.iter().take_while(|byte| **byte == 0).count();
    let digits: Vec<u8> = before.iter().skip(zeros).chain([last]).copied().collect();
    Some(cut_text(&der::hex(&digits)))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    bytes_of(&digest(&SHA256, bytes))
}

fn bytes_of(sum: &Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(sum.as_ref());
    bytes
}

const MAX_TEXT_LENGTH: usize = 256;
