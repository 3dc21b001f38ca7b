//! The algorithm that signed a certificate: its name as OpenSSL prints it, and whether its hash is broken.
//! Nothing here checks a signature.

use x509_parser::asn1_rs::Tag;

use super::der::{Elements, dotted};

/// What is known of a signature algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Algorithm {
    /// The name, or the dotted identifier.
    pub(super) name: String,
    /// MD2, MD4, MD5, SHA-0 or SHA-1.
    pub(super) is_weak: bool,
}

impl Algorithm {
    /// Reads the content of an AlgorithmIdentifier.
    pub(super) fn read(identifier: &[u8]) -> Option<Self> {
        let mut identifier = Elements(identifier);
        let oid = dotted(identifier.take(Tag::Oid)?)?;
        if oid == RSASSA_PSS {
            let is_weak = identifier.take(Tag::Sequence).is_some_and(has_weak_hash);
            return Some(Self { name: "rsassaPss".to_owned(), is_weak });
        }
        let known = KNOWN.iter().find(|(known, ..)| *known == oid);
        Some(match known {
            Some((_, name, strength)) => Self { name: (*name).to_owned(), is_weak: *strength == Strength::Weak },
            None => Self { name: oid, is_weak: false },
        })
    }
}

/// Whether RSASSA-PSS-params (RFC 4055 3.1) name a broken hash; SHA-1 is what their absence means.
fn has_weak_hash(parameters: &[u8]) -> bool {
    let mut parameters = Elements(parameters);
    let Some(hash) = parameters.next().and_then(|element| element.context(0)) else {
        return true;
    };
    let identifier = Elements(hash).take(Tag::Sequence);
    let oid = identifier.and_then(|content| Elements(content).take(Tag::Oid)).and_then(dotted);
    oid.is_some_and(|oid| WEAK_HASHES.contains(&oid.as_str()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strength {
    Fair,
    Weak,
}

const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";

/// MD2, MD4, MD5, SHA-1.
const WEAK_HASHES: [&str; 4] = ["1.2.840.113549.2.2", "1.2.840.113549.2.4", "1.2.840.113549.2.5", "1.3.14.3.2.26"];

const KNOWN: &[(&str, &str, Strength)] = &[
    ("1.2.840.113549.1.1.2", "md2WithRSAEncryption", Strength::Weak),
    ("1.2.840.113549.1.1.3", "md4WithRSAEncryption", Strength::Weak),
    ("1.2.840.113549.1.1.4", "md5WithRSAEncryption", Strength::Weak),
    ("1.2.840.113549.1.1.5", "sha1WithRSAEncryption", Strength::Weak),
    ("1.2.840.113549.1.1.11", "sha256WithRSAEncryption", Strength::Fair),
    ("1.2.840.113549.1.1.12", "sha384WithRSAEncryption", Strength::Fair),
    ("1.2.840.113549.1.1.13", "sha512WithRSAEncryption", Strength::Fair),
    ("1.2.840.113549.1.1.14", "sha224WithRSAEncryption", Strength::Fair),
    ("1.2.840.10040.4.3", "dsaWithSHA1", Strength::Weak),
    ("1.2.840.10045.4.1", "ecdsa-with-SHA1", Strength::Weak),
    ("1.2.840.10045.4.3.1", "ecdsa-with-SHA224", Strength::Fair),
    ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256", Strength::Fair),
    ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384", Strength::Fair),
    ("1.2.840.10045.4.3.4", "ecdsa-with-SHA512", Strength::Fair),
    ("1.3.14.3.2.3", "md5WithRSA", Strength::Weak),
    ("1.3.14.3.2.15", "shaWithRSAEncryption", Strength::Weak),
    ("1.3.14.3.2.27", "dsaWithSHA1-old", Strength::Weak),
    ("1.3.14.3.2.29", "sha1WithRSA", Strength::Weak),
    ("1.3.101.112", "Ed25519", Strength::Fair),
    ("1.3.101.113", "Ed448", Strength::Fair),
    ("2.16.840.1.101.3.4.3.1", "dsa_with_SHA224", Strength::Fair),
    ("2.16.840.1.101.3.4.3.2", "dsa_with_SHA256", Strength::Fair),
    ("2.16.840.1.101.3.4.3.3", "dsa_with_SHA384", Strength::Fair),
    ("2.16.840.1.101.3.4.3.4", "dsa_with_SHA512", Strength::Fair),
];
