//! Whether the handshake signature was made with the certificate's key.
//! A no is said only where a supported algorithm said it: what ring cannot do stays unanswered.

use ring::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

use super::{
    der::Fields,
    key::{Curve, Key, bit_length},
};

/// Checks `signature` over `message`, made with the key of the certificate `leaf` under the TLS SignatureScheme number
/// `scheme`. `Some(true)`: it is right. `Some(false)`: a supported algorithm says no, or the key is of a family that
/// cannot have made it. `None`: not checkable, be it the key, its size, its curve or the scheme.
#[must_use]
pub fn verify(leaf: &[u8], scheme: u16, message: &[u8], signature: &[u8]) -> Option<bool> {
    let key = Key::read(Fields::split(leaf).key?)?;
    let scheme = Scheme::from_number(scheme)?;
    match (key, scheme) {
        (Key::Other(_), _) | (Key::Ed448, Scheme::Ed448) => None,
        (Key::Rsa { modulus, exponent }, Scheme::Rsa(rsa)) => {
            let parameters = rsa.for_key(modulus, exponent)?;
            let key = RsaPublicKeyComponents { n: modulus, e: exponent };
            Some(key.verify(parameters, message, signature).is_ok())
        }
        (Key::Ec { curve, point }, Scheme::Ecdsa(hash)) => {
            let algorithm = ecdsa(&curve, point, hash)?;
            Some(UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok())
        }
        (Key::Ed25519(point), Scheme::Ed25519) => {
            let point = <[u8; signature::ED25519_PUBLIC_KEY_LEN]>::try_from(point).ok()?;
            Some(UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signature).is_ok())
        }
        // A key of one family, a scheme of another.
        (Key::Dsa { .. } | Key::Ec { .. } | Key::Ed25519(_) | Key::Ed448 | Key::Rsa { .. }, _) => Some(false),
    }
}

/// Whether our TLS library takes keys of that kind. One that cannot be read is taken for one that it takes, so that a
/// failure is never explained away without a reason.
#[must_use]
pub fn can_check(leaf: &[u8]) -> bool {
    Fields::split(leaf).key.and_then(Key::read).is_none_or(|key| match key {
        Key::Ec { curve, .. } => matches!(curve, Curve::P256 | Curve::P384),
        Key::Ed25519(_) | Key::Rsa { .. } => true,
        Key::Dsa { .. } | Key::Ed448 | Key::Other(_) => false,
    })
}

/// A SignatureScheme (RFC 8446 4.2.3). TLS 1.2 does not bind a curve to a hash, so neither is done here.
#[derive(Clone, Copy)]
enum Scheme {
    Ecdsa(Hash),
    Ed25519,
    Ed448,
    Rsa(RsaScheme),
}

#[derive(Clone, Copy)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// What ring offers for a padding and a hash, from how many bits on.
#[derive(Clone, Copy)]
struct RsaScheme {
    parameters: &'static RsaParameters,
    min_bits: usize,
}

impl Scheme {
    fn from_number(number: u16) -> Option<Self> {
        let rsa = |parameters, min_bits| Self::Rsa(RsaScheme { parameters, min_bits });
        Some(match number {
            0x0201 => rsa(&signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, 1024),
            0x0401 => rsa(&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, 1024),
            0x0501 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384, 2048),
            0x0601 => rsa(&signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, 1024),
            // The second number of each is for keys that are limited to PSS.
            0x0804 | 0x0809 => rsa(&signature::RSA_PSS_2048_8192_SHA256, 2048),
            0x0805 | 0x080A => rsa(&signature::RSA_PSS_2048_8192_SHA384, 2048),
            0x0806 | 0x080B => rsa(&signature::RSA_PSS_2048_8192_SHA512, 2048),
            0x0203 => Self::Ecdsa(Hash::Sha1),
            0x0403 => Self::Ecdsa(Hash::Sha256),
            0x0503 => Self::Ecdsa(Hash::Sha384),
            0x0603 => Self::Ecdsa(Hash::Sha512),
            0x0807 => Self::Ed25519,
            0x0808 => Self::Ed448,
            _ => return None,
        })
    }
}

impl RsaScheme {
    /// ring's parameters, where ring takes such a key: anything else it would answer with the no of a wrong signature.
    fn for_key(self, modulus: &[u8], exponent: &[u8]) -> Option<&'static RsaParameters> {
        // ring rounds the length up to whole bytes before it compares.
        let length_fits = modulus.len() * 8 >= self.min_bits && bit_length(modulus) <= RSA_MAX_BITS;
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        let exponent_fits = (2..=RSA_EXPONENT_MAX_BITS).contains(&bit_length(exponent));
        (length_fits && exponent_fits && is_odd(modulus) && is_odd(exponent)).then_some(self.parameters)
    }
}

fn ecdsa(curve: &Curve, point: &[u8], hash: Hash) -> Option<&'static dyn VerificationAlgorithm> {
    let (algorithm, coordinate_length): (&'static dyn VerificationAlgorithm, usize) = match (curve, hash) {
        (Curve::P256, Hash::Sha256) => (&ECDSA_P256_SHA256_ASN1, 32),
        (Curve::P256, Hash::Sha384) => (&ECDSA_P256_SHA384_ASN1, 32),
        (Curve::P384, Hash::Sha256) => (&ECDSA_P384_SHA256_ASN1, 48),
        (Curve::P384, Hash::Sha384) => (&ECDSA_P384_SHA384_ASN1, 48),
        (Curve::P256 | Curve::P384, Hash::Sha1 | Hash::Sha512)
        | (Curve::P521 | Curve::Other(_) | Curve::Explicit, _) => return None,
    };
    // ring reads uncompressed points only.
    (point.first() == Some(&0x04) && point.len() == 1 + 2 * coordinate_length).then_some(algorithm)
}

const RSA_MAX_BITS: usize = 8192;
const RSA_EXPONENT_MAX_BITS: usize = 33;
