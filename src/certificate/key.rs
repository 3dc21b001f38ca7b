//! The public key of a certificate: what kind it is, how long, and the bytes that a signature is checked with.
//! Reads every kind that it can name, whether or not anything here could use the key.

use x509_parser::asn1_rs::Tag;

use super::der::{Elements, dotted};

/// A public key. Numbers are big endian without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key<'a> {
    /// RFC 3279 2.3.2; `None` where the parameters are not plain numbers, as with inherited ones.
    Dsa { prime: Option<&'a [u8]> },
    /// RFC 5480.
    Ec { curve: Curve, point: &'a [u8] },
    /// RFC 8410.
    Ed25519(&'a [u8]),
    /// RFC 8410.
    Ed448,
    /// Any other algorithm, dotted.
    Other(String),
    /// RFC 3279 2.3.1, and RFC 4055 for a key that is limited to PSS.
    Rsa { modulus: &'a [u8], exponent: &'a [u8] },
}

/// The curve of an EC key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
    /// Any other named curve, dotted.
    Other(String),
    /// Parameters in place of a name.
    Explicit,
}

impl<'a> Key<'a> {
    /// Reads the content of a SubjectPublicKeyInfo.
    pub(super) fn read(spki: &'a [u8]) -> Option<Self> {
        let mut spki = Elements(spki);
        let mut algorithm = Elements(spki.take(Tag::Sequence)?);
        let family = algorithm.take(Tag::Oid)?;
        // The first byte counts the unused bits at the end; every key is whole bytes.
        let bits = spki.take(Tag::BitString)?.strip_prefix(&[0])?;
        Some(match family {
            RSA | RSA_PSS => {
                let mut numbers = Elements(Elements(bits).take(Tag::Sequence)?);
                let modulus = without_leading_zeros(numbers.take(Tag::Integer)?);
                Self::Rsa { modulus, exponent: without_leading_zeros(numbers.take(Tag::Integer)?) }
            }
            EC => Self::Ec { curve: Curve::read(algorithm)?, point: bits },
            DSA => {
                let parameters = algorithm.take(Tag::Sequence);
                let prime = parameters.and_then(|content| Elements(content).take(Tag::Integer));
                Self::Dsa { prime: prime.map(without_leading_zeros) }
            }
            ED25519 => Self::Ed25519(bits),
            ED448 => Self::Ed448,
            _ => Self::Other(dotted(family)?),
        })
    }

    /// The key's kind and size, for people.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Dsa { prime: Some(prime) } => format!("DSA {}", bit_length(prime)),
            Self::Dsa { prime: None } => "1.2.840.10040.4.1".to_owned(),
            Self::Ec { curve: Curve::P256, .. } => "EC P-256".to_owned(),
            Self::Ec { curve: Curve::P384, .. } => "EC P-384".to_owned(),
            Self::Ec { curve: Curve::P521, .. } => "EC P-521".to_owned(),
            Self::Ec { curve: Curve::Other(oid), .. } => format!("EC {oid}"),
            Self::Ec { curve: Curve::Explicit, .. } => "1.2.840.10045.2.1".to_owned(),
            Self::Ed25519(_) => "Ed25519".to_owned(),
            Self::Ed448 => "Ed448".to_owned(),
            Self::Other(oid) => oid.clone(),
            Self::Rsa { modulus, .. } => format!("RSA {}", bit_length(modulus)),
        }
    }

    /// RSA under 2048 bits, EC under 256.
    pub(super) fn is_weak(&self) -> bool {
        match self {
            Self::Rsa { modulus, .. } => bit_length(modulus) < 2048,
            Self::Ec { curve: Curve::P256 | Curve::P384 | Curve::P521, .. } => false,
            Self::Ec { curve: Curve::Other(_) | Curve::Explicit, point } => coordinate_length(point) * 8 < 256,
            Self::Dsa { .. } | Self::Ed25519(_) | Self::Ed448 | Self::Other(_) => false,
        }
    }
}

impl Curve {
    /// Reads the parameters that stand beside the algorithm.
    fn read(mut parameters: Elements<'_>) -> Option<Self> {
        let Some(oid) = parameters.next()?.content(Tag::Oid) else { return Some(Self::Explicit) };
        Some(match oid {
            P256 => Self::P256,
            P384 => Self::P384,
            P521 => Self::P521,
            _ => Self::Other(dotted(oid)?),
        })
    }
}

/// How many bits a number has.
pub(super) fn bit_length(number: &[u8]) -> usize {
    let Some(first) = number.first() else { return 0 };
    number.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0)
}

/// The bytes of one coordinate of a point (SEC 1 2.3.3), which are as many as the field has.
fn coordinate_length(point: &[u8]) -> usize {
    match point.split_first() {
        Some((0x02 | 0x03, rest)) => rest.len(),
        Some((_, rest)) => rest.len() / 2,
        None => 0,
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.split_at_checked(zeros).map_or(number, |(_, rest)| rest)
}

// Object identifiers as they stand in a certificate.

/// 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
/// 1.2.840.113549.1.1.10
const RSA_PSS: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A];
/// 1.2.840.10045.2.1
const EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
/// 1.2.840.10040.4.1
const DSA: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x38, 0x04, 0x01];
/// 1.3.101.112
const ED25519: &[u8] = &[0x2B, 0x65, 0x70];
/// 1.3.101.113
const ED448: &[u8] = &[0x2B, 0x65, 0x71];
/// 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const P384: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x22];
/// 1.3.132.0.35
const P521: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x23];
