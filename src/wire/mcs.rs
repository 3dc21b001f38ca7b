//! The MCS connection PDUs of Standard RDP Security ([T.125] 7; [MS-RDPBCGR] 2.2.1.3 and 2.2.1.4).
//! Nothing after the Connect Response: a probe without credentials ends there.
//!
//! [T.125]: https://www.itu.int/rec/T-REC-T.125
//! [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/

use super::{
    DecodeError, ber,
    gcc::{self, EncryptionMethods, ServerData},
    reader::Reader,
    tpkt,
};

/// Client MCS Connect Initial PDU with GCC Conference Create Request (2.2.1.3), as a whole frame.
///
/// `methods` is what the client says it can encrypt with; the server picks one of them.
#[must_use]
pub fn connect_initial(methods: EncryptionMethods) -> Vec<u8> {
    let request = gcc::conference_create_request(methods);
    let mut fields = Vec::new();
    fields.extend_from_slice(&[0x04, 1, 1]); // callingDomainSelector
    fields.extend_from_slice(&[0x04, 1, 1]); // calledDomainSelector
    fields.extend_from_slice(&[0x01, 1, 0xFF]); // upwardFlag
    fields.extend_from_slice(TARGET_PARAMETERS);
    fields.extend_from_slice(MINIMUM_PARAMETERS);
    fields.extend_from_slice(MAXIMUM_PARAMETERS);
    append(&mut fields, ber::OCTET_STRING, &request); // userData
    let mut tpdu = DATA_TPDU.to_vec();
    append(&mut tpdu, CONNECT_INITIAL, &fields);
    tpkt::frame(&tpdu)
}

/// Why a server takes or refuses the connection ([T.125] 7, `Result`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectResult(pub u32);

impl ConnectResult {
    /// `rt-successful`.
    pub const SUCCESSFUL: Self = Self(0);
}

/// Server MCS Connect Response PDU with GCC Conference Create Response (2.2.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectResponse {
    /// What the server says of itself; `None` where it refused.
    pub data: Option<ServerData>,
    /// Whether it took the connection.
    pub result: ConnectResult,
}

impl ConnectResponse {
    /// Reads a whole frame.
    ///
    /// # Errors
    /// Anything but a Connect Response: a refusal by Disconnect Provider Ultimatum too. A Connect Response that itself
    /// says no is none, whatever else is in it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(tpkt::unframe(bytes)?);
        let header @ [_, code, _] = reader.array("X.224 data TPDU")?;
        if header != DATA_TPDU {
            return Err(DecodeError::Unknown { what: "X.224 code", found: code.into() });
        }
        let mut fields = ber::element(&mut reader, "MCS Connect Response", CONNECT_RESPONSE)?;
        let result = ber::element(&mut fields, "MCS result", ber::ENUMERATED)?;
        let result = ConnectResult(ber::number(&result, "MCS result")?);
        if result != ConnectResult::SUCCESSFUL {
            return Ok(Self { data: None, result });
        }
        ber::element(&mut fields, "MCS calledConnectId", ber::INTEGER)?;
        ber::element(&mut fields, "MCS domainParameters", ber::SEQUENCE)?;
        let user_data = ber::element(&mut fields, "MCS userData", ber::OCTET_STRING)?;
        Ok(Self { data: Some(ServerData::decode(user_data)?), result })
    }
}

/// Appends an element; lengths from 128 on in two bytes, as Microsoft's client writes them.
fn append(bytes: &mut Vec<u8>, tag: &[u8], contents: &[u8]) {
    bytes.extend_from_slice(tag);
    match u8::try_from(contents.len()) {
        Ok(length @ 0..=0x7F) => bytes.push(length),
        // INVARIANT: our own message is shorter than 64 KiB.
        _ => {
            bytes.push(0x82);
            bytes.extend_from_slice(&u16::try_from(contents.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    bytes.extend_from_slice(contents);
}

/// An X.224 data TPDU's header: LI 2, code F0, end of transmission.
const DATA_TPDU: [u8; 3] = [0x02, 0xF0, 0x80];
const CONNECT_INITIAL: &[u8] = &[0x7F, 0x65];
const CONNECT_RESPONSE: &[u8] = &[0x7F, 0x66];

/// maxChannelIds 34, maxUserIds 2, maxTokenIds 0, numPriorities 1, minThroughput 0, maxHeight 1, maxMCSPDUsize 65535,
/// protocolVersion 2.
#[rustfmt::skip]
const TARGET_PARAMETERS: &[u8] = &[
    0x30, 25, 2, 1, 34, 2, 1, 2, 2, 1, 0, 2, 1, 1, 2, 1, 0, 2, 1, 1, 2, 2, 0xFF, 0xFF, 2, 1, 2,
];
/// 1, 1, 1, 1, 0, 1, 1056, 2.
#[rustfmt::skip]
const MINIMUM_PARAMETERS: &[u8] = &[
    0x30, 25, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 0, 2, 1, 1, 2, 2, 0x04, 0x20, 2, 1, 2,
];
/// 65535, 64535, 65535, 1, 0, 1, 65535, 2; as Microsoft writes them, without the sign byte that BER wants.
#[rustfmt::skip]
const MAXIMUM_PARAMETERS: &[u8] = &[
    0x30, 28, 2, 2, 0xFF, 0xFF, 2, 2, 0xFC, 0x17, 2, 2, 0xFF, 0xFF, 2, 1, 1, 2, 1, 0, 2, 1, 1, 2, 2, 0xFF, 0xFF, 2, 1, 2,
];
