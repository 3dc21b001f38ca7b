//! A certificate built field by field, so that a test can spoil exactly one. Nobody signed it.

/// The fields as whole DER elements.
pub(crate) struct Odd {
    pub(crate) version: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) algorithm: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) not_before: Vec<u8>,
    pub(crate) not_after: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) key: Vec<u8>,
    /// The content of Extensions.
    pub(crate) extensions: Vec<u8>,
}

impl Default for Odd {
    fn default() -> Self {
        let point = [&[0_u8, 4][..], &[7; 64]].concat();
        Self {
            version: tlv(0xA0, &[&[2, 1, 2]]),
            serial: tlv(0x02, &[&[0x12, 0x34]]),
            algorithm: tlv(0x30, &[&oid(SHA256_WITH_RSA), &[5, 0]]),
            issuer: name(&[(COMMON_NAME, UTF8, b"Issuer")]),
            not_before: tlv(UTC_TIME, &[b"250102030405Z"]),
            not_after: tlv(UTC_TIME, &[b"300102030405Z"]),
            subject: name(&[(COMMON_NAME, UTF8, b"Subject")]),
            key: spki(&[&oid(EC_KEY), &oid(P256)], &point),
            extensions: Vec::new(),
        }
    }
}

impl Odd {
    pub(crate) fn der(&self) -> Vec<u8> {
        let validity = tlv(0x30, &[&self.not_before, &self.not_after]);
        let extensions = match self.extensions.is_empty() {
            true => Vec::new(),
            false => tlv(0xA3, &[&tlv(0x30, &[&self.extensions])]),
        };
        let tbs = tlv(
            0x30,
            &[
                &self.version,
                &self.serial,
                &self.algorithm,
                &self.issuer,
                &validity,
                &self.subject,
                &self.key,
                &extensions,
            ],
        );
        tlv(0x30, &[&tbs, &self.algorithm, &tlv(0x03, &[&[0; 65]])])
    }
}

/// One element of `parts`.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let header = match content.len() {
        0..0x80 => vec![tag, length[3]],
        0x80..0x1_0000 => vec![tag, 0x82, length[2], length[3]],
        _ => vec![tag, 0x83, length[1], length[2], length[3]],
    };
    [header, content].concat()
}

pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    tlv(0x06, &[content])
}

/// A Name of one attribute per part.
pub(crate) fn name(attributes: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
    let parts: Vec<_> =
        attributes.iter().map(|(kind, tag, value)| tlv(0x31, &[&attribute(kind, *tag, value)])).collect();
    tlv(0x30, &[&parts.concat()])
}

pub(crate) fn attribute(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&oid(kind), &tlv(tag, &[value])])
}

pub(crate) fn spki(algorithm: &[&[u8]], bits: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&tlv(0x30, algorithm), &tlv(0x03, &[bits])])
}

pub(crate) fn extension(kind: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xFF] } else { &[] };
    tlv(0x30, &[&oid(kind), critical, &tlv(0x04, &[value])])
}

/// A subjectAltName extension of names that are given as (context tag number, content).
pub(crate) fn alternative_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|(number, content)| tlv(0x80 | number, &[content])).collect();
    extension(&[0x55, 0x1D, 0x11], false, &tlv(0x30, &[&names.concat()]))
}

pub(crate) const UTF8: u8 = 12;
pub(crate) const PRINTABLE: u8 = 19;
pub(crate) const UTC_TIME: u8 = 23;
pub(crate) const GENERALIZED_TIME: u8 = 24;
pub(crate) const COMMON_NAME: &[u8] = &[0x55, 4, 3];
pub(crate) const SHA256_WITH_RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11];
pub(crate) const RSA_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1];
pub(crate) const EC_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1];
pub(crate) const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7];
