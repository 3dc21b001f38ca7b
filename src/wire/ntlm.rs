//! The first two messages of NTLM ([MS-NLMP] 2.2.1.1 and 2.2.1.2): ours without a name in it, and the server's.
//! There is no third one here, and none may be added: AUTHENTICATE is an attempt to log on.
//!
//! [MS-NLMP]: https://learn.microsoft.com/openspecs/windows_protocols/ms-nlmp/

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{DecodeError, reader::Reader};
use crate::certificate::cut_text;

/// `NEGOTIATE_MESSAGE` (2.2.1.1) as Windows 10 1809 sends it: no domain, no workstation.
#[rustfmt::skip]
pub const NEGOTIATE: [u8; 40] = [
    b'N', b'T', b'L', b'M', b'S', b'S', b'P', 0, // Signature
    1, 0, 0, 0, // MessageType
    0xB7, 0x82, 0x08, 0xE2, // NegotiateFlags
    0, 0, 0, 0, 0, 0, 0, 0, // DomainNameFields
    0, 0, 0, 0, 0, 0, 0, 0, // WorkstationFields
    10, 0, 0x63, 0x45, 0, 0, 0, 0x0F, // Version 10.0.17763, NTLMSSP_REVISION_W2K3
];

/// A Windows version (2.2.2.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// `ProductMajorVersion`.
    pub major: u8,
    /// `ProductMinorVersion`.
    pub minor: u8,
    /// `ProductBuild`.
    pub build: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// `CHALLENGE_MESSAGE` (2.2.1.2): what a server says of itself before anybody logs on.
/// A name that is empty counts as missing, and of a long one the first 256 bytes are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// `MsvAvDnsComputerName`.
    pub dns_computer: Option<String>,
    /// `MsvAvDnsDomainName`.
    pub dns_domain: Option<String>,
    /// `MsvAvDnsTreeName`: the forest.
    pub dns_tree: Option<String>,
    /// `NegotiateFlags`.
    pub flags: u32,
    /// `MsvAvNbComputerName`.
    pub netbios_computer: Option<String>,
    /// `MsvAvNbDomainName`.
    pub netbios_domain: Option<String>,
    /// `TargetName`: the domain, or the computer where there is none.
    pub target: Option<String>,
    /// `MsvAvTimestamp`: the server's clock.
    pub time: Option<SystemTime>,
    /// `Version`.
    pub version: Option<Version>,
}

impl Challenge {
    /// Reads a whole message.
    ///
    /// # Errors
    /// Another message, or one whose fields go past its end.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.take("NTLM Signature", SIGNATURE.len())? != SIGNATURE {
            return Err(DecodeError::Unknown { what: "NTLM Signature", found: 0 });
        }
        let kind = reader.u32_le("NTLM MessageType")?;
        if kind != TYPE_CHALLENGE {
            return Err(DecodeError::Field { what: "NTLM MessageType", found: kind, expected: TYPE_CHALLENGE });
        }
        let target = payload(bytes, &mut reader, "NTLM TargetName")?;
        let flags = reader.u32_le("NTLM NegotiateFlags")?;
        let _server_challenge: [u8; 8] = reader.array("NTLM ServerChallenge")?;
        let mut challenge = Self { flags, ..Self::default() };
        challenge.target = match flags & FLAG_UNICODE {
            0 => present(&String::from_utf8_lossy(target.get(..MAX_STRING_UNITS).unwrap_or(target))),
            _ => text(target),
        };
        if flags & FLAG_TARGET_INFO == 0 && flags & FLAG_VERSION == 0 {
            return Ok(challenge);
        }
        let _reserved: [u8; 8] = reader.array("NTLM Reserved")?;
        let pairs = payload(bytes, &mut reader, "NTLM TargetInfo")?;
        if flags & FLAG_VERSION != 0 {
            let (major, minor) = (reader.u8("NTLM Version")?, reader.u8("NTLM Version")?);
            challenge.version = Some(Version { major, minor, build: reader.u16_le("NTLM Version")? });
            let _revision: [u8; 4] = reader.array("NTLM Version")?;
        }
        if flags & FLAG_TARGET_INFO != 0 {
            challenge.absorb(Reader::new(pairs))?;
        }
        Ok(challenge)
    }

    /// Reads `AV_PAIR`s (2.2.2.1), in any order, up to `MsvAvEOL` or the end. Of two alike the first one counts.
    fn absorb(&mut self, mut pairs: Reader<'_>) -> Result<(), DecodeError> {
        while !pairs.is_empty() {
            let id = pairs.u16_le("AV_PAIR AvId")?;
            let length = pairs.u16_le("AV_PAIR AvLen")?;
            let value = pairs.take("AV_PAIR Value", length.into())?;
            let name = match id {
                AV_END => break,
                AV_NETBIOS_COMPUTER => &mut self.netbios_computer,
                AV_NETBIOS_DOMAIN => &mut self.netbios_domain,
                AV_DNS_COMPUTER => &mut self.dns_computer,
                AV_DNS_DOMAIN => &mut self.dns_domain,
                AV_DNS_TREE => &mut self.dns_tree,
                AV_TIMESTAMP => {
                    self.time = self.time.or_else(|| file_time(value));
                    continue;
                }
                _ => continue,
            };
            if name.is_none() {
                *name = text(value);
            }
        }
        Ok(())
    }
}

/// What the next eight bytes (length, maximum, offset from the start of `message`) point to.
fn payload<'a>(message: &'a [u8], reader: &mut Reader<'_>, what: &'static str) -> Result<&'a [u8], DecodeError> {
    let length = reader.u16_le(what)?;
    let _maximum = reader.u16_le(what)?;
    let offset = usize::try_from(reader.u32_le(what)?).unwrap_or(usize::MAX);
    if length == 0 {
        return Ok(&[]);
    }
    let mut rest = Reader::new(message.get(offset..).ok_or(DecodeError::Truncated { what })?);
    rest.take(what, length.into())
}

/// UTF-16LE; what is no character becomes U+FFFD.
fn text(bytes: &[u8]) -> Option<String> {
    let (units, _) = bytes.as_chunks::<2>();
    let units = units.iter().take(MAX_STRING_UNITS).map(|unit| u16::from_le_bytes(*unit));
    let letters = char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
    present(&letters.collect::<String>())
}

fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| cut_text(text))
}

/// A `FILETIME` (2.2.2.1): units of 100 ns since 1601. No clock that is set stands before 1970, and none can stand past
/// the signed half of the range.
fn file_time(value: &[u8]) -> Option<SystemTime> {
    let units = u64::from_le_bytes(value.try_into().ok()?);
    if units > i64::MAX.unsigned_abs() {
        return None;
    }
    let units = units.checked_sub(UNIX_EPOCH_UNITS)?;
    let nanos = u32::try_from(units % UNITS_PER_SECOND).ok()? * 100;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(units / UNITS_PER_SECOND, nanos))
}

/// No more is looked at of a name, of which 256 bytes are kept; a DNS name has 255 letters at most.
const MAX_STRING_UNITS: usize = 512;
const SIGNATURE: &[u8] = b"NTLMSSP\0";
const TYPE_CHALLENGE: u32 = 2;
/// `NTLMSSP_NEGOTIATE_UNICODE` (2.2.2.5).
const FLAG_UNICODE: u32 = 0x0000_0001;
/// `NTLMSSP_NEGOTIATE_TARGET_INFO`.
const FLAG_TARGET_INFO: u32 = 0x0080_0000;
/// `NTLMSSP_NEGOTIATE_VERSION`.
const FLAG_VERSION: u32 = 0x0200_0000;
const AV_END: u16 = 0;
const AV_NETBIOS_COMPUTER: u16 = 1;
const AV_NETBIOS_DOMAIN: u16 = 2;
const AV_DNS_COMPUTER: u16 = 3;
const AV_DNS_DOMAIN: u16 = 4;
const AV_DNS_TREE: u16 = 5;
const AV_TIMESTAMP: u16 = 7;
/// 1970-01-01 as a `FILETIME`.
const UNIX_EPOCH_UNITS: u64 = 11_644_473_600 * UNITS_PER_SECOND;
const UNITS_PER_SECOND: u64 = 10_000_000;
