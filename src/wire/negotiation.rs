//! The negotiation structures that ride on the X.224 connection PDUs.
//! Unknown values survive: a diagnostic tool reports the number it saw.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DecodeError, reader::Reader};

/// Security protocols, as a set ([MS-RDPBCGR] 2.2.1.1.1 `requestedProtocols`, 2.2.1.2.1 `selectedProtocol`).
///
/// [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Protocols(pub u32);

impl Protocols {
    /// `PROTOCOL_RDP`: Standard RDP Security, the empty set.
    pub const RDP: Self = Self(0x0000_0000);
    /// `PROTOCOL_SSL`: TLS.
    pub const SSL: Self = Self(0x0000_0001);
    /// `PROTOCOL_HYBRID`: TLS, then CredSSP; what users call NLA.
    pub const HYBRID: Self = Self(0x0000_0002);
    /// `PROTOCOL_RDSTLS`: TLS, then RDSTLS; used after a redirection.
    pub const RDSTLS: Self = Self(0x0000_0004);
    /// `PROTOCOL_HYBRID_EX`: HYBRID with the Early User Authorization Result.
    pub const HYBRID_EX: Self = Self(0x0000_0008);
    /// `PROTOCOL_RDSAAD`: TLS, then Entra ID.
    pub const RDSAAD: Self = Self(0x0000_0010);

    /// What Windows' own client offers. xrdp drops a request with a higher bit.
    pub const ORDINARY: Self = Self(0x0000_000B);

    /// The protocols that have a name, weakest first.
    pub const NAMED: [Self; 6] = [Self::RDP, Self::SSL, Self::HYBRID, Self::HYBRID_EX, Self::RDSTLS, Self::RDSAAD];

    /// The value of the `layer` label, where this is one protocol that has a name.
    #[must_use]
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::RDP => Some("rdp"),
            Self::SSL => Some("ssl"),
            Self::HYBRID => Some("hybrid"),
            Self::HYBRID_EX => Some("hybrid_ex"),
            Self::RDSTLS => Some("rdstls"),
            Self::RDSAAD => Some("rdsaad"),
            Self(_) => None,
        }
    }

    /// Whether a server that was offered `self` may select `protocol`: one of those offered, or Standard RDP Security.
    #[must_use]
    pub const fn permits(self, protocol: Self) -> bool {
        protocol.0 == 0 || (protocol.0.count_ones() == 1 && self.0 & protocol.0 != 0)
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label() {
            Some(label) => f.write_str(label),
            None => write!(f, "protocols {:#06x}", self.0),
        }
    }
}

/// What a server says of itself beside its choice (2.2.1.2.1 `flags`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseFlags(pub u8);

impl ResponseFlags {
    /// The flags that have a name, with the value of the `flag` label.
    pub const NAMED: [(Self, &'static str); 4] = [
        // EXTENDED_CLIENT_DATA_SUPPORTED
        (Self(0x01), "extended_client_data"),
        // DYNVC_GFX_PROTOCOL_SUPPORTED
        (Self(0x02), "dynvc_gfx"),
        // RESTRICTED_ADMIN_MODE_SUPPORTED
        (Self(0x08), "restricted_admin"),
        // REDIRECTED_AUTHENTICATION_MODE_SUPPORTED
        (Self(0x10), "remote_credential_guard"),
    ];

    /// Whether every bit of `flag` is set.
    #[must_use]
    pub const fn contains(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }
}

/// Why a server refuses (2.2.1.2.2 `failureCode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCode(pub u32);

impl FailureCode {
    /// TLS or CredSSP is needed.
    pub const SSL_REQUIRED_BY_SERVER: Self = Self(1);
    /// Only Standard RDP Security is configured.
    pub const SSL_NOT_ALLOWED_BY_SERVER: Self = Self(2);
    /// There is no certificate to authenticate with.
    pub const SSL_CERT_NOT_ON_SERVER: Self = Self(3);
    /// The request does not fit what already runs.
    pub const INCONSISTENT_FLAGS: Self = Self(4);
    /// CredSSP is needed.
    pub const HYBRID_REQUIRED_BY_SERVER: Self = Self(5);
    /// TLS with a client certificate is needed.
    pub const SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER: Self = Self(6);

    /// The specification's name, where it has one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::SSL_REQUIRED_BY_SERVER => Some("SSL_REQUIRED_BY_SERVER"),
            Self::SSL_NOT_ALLOWED_BY_SERVER => Some("SSL_NOT_ALLOWED_BY_SERVER"),
            Self::SSL_CERT_NOT_ON_SERVER => Some("SSL_CERT_NOT_ON_SERVER"),
            Self::INCONSISTENT_FLAGS => Some("INCONSISTENT_FLAGS"),
            Self::HYBRID_REQUIRED_BY_SERVER => Some("HYBRID_REQUIRED_BY_SERVER"),
            Self::SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER => Some("SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER"),
            Self(_) => None,
        }
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "failure {} ({name})", self.0),
            None => write!(f, "failure {}", self.0),
        }
    }
}

/// RDP Negotiation Request, `RDP_NEG_REQ` (2.2.1.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NegotiationRequest {
    /// What is offered.
    pub protocols: Protocols,
}

impl NegotiationRequest {
    /// Appends the eight bytes. The flags are always 0: xrdp closes on most others.
    pub fn encode(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&[TYPE_REQUEST, 0]);
        bytes.extend_from_slice(&STRUCTURE_LENGTH.to_le_bytes());
        bytes.extend_from_slice(&self.protocols.0.to_le_bytes());
    }

    /// Reads the eight bytes.
    ///
    /// # Errors
    /// Another type or length, or too few bytes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = reader.u8("RDP_NEG_REQ type")?;
        if kind != TYPE_REQUEST {
            return Err(DecodeError::Unknown { what: "RDP_NEG_REQ type", found: kind.into() });
        }
        let _flags = reader.u8("RDP_NEG_REQ flags")?;
        expect_length(reader, "RDP_NEG_REQ length")?;
        Ok(Self { protocols: Protocols(reader.u32_le("RDP_NEG_REQ requestedProtocols")?) })
    }
}

/// What a confirm carries: `RDP_NEG_RSP` (2.2.1.2.1) or `RDP_NEG_FAILURE` (2.2.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegotiationAnswer {
    /// `RDP_NEG_FAILURE`.
    Failure(FailureCode),
    /// `RDP_NEG_RSP`.
    Response {
        /// `selectedProtocol`.
        protocol: Protocols,
        /// `flags`.
        flags: ResponseFlags,
    },
}

impl NegotiationAnswer {
    /// Appends the eight bytes.
    pub fn encode(self, bytes: &mut Vec<u8>) {
        let (kind, flags, value) = match self {
            Self::Response { protocol, flags } => (TYPE_RESPONSE, flags.0, protocol.0),
            Self::Failure(code) => (TYPE_FAILURE, 0, code.0),
        };
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&STRUCTURE_LENGTH.to_le_bytes());
        bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Reads the eight bytes.
    ///
    /// # Errors
    /// An unknown type, another length, or too few bytes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = reader.u8("RDP_NEG type")?;
        if kind != TYPE_RESPONSE && kind != TYPE_FAILURE {
            return Err(DecodeError::Unknown { what: "RDP_NEG type", found: kind.into() });
        }
        let flags = ResponseFlags(reader.u8("RDP_NEG flags")?);
        expect_length(reader, "RDP_NEG length")?;
        let value = reader.u32_le("RDP_NEG value")?;
        Ok(match kind {
            TYPE_RESPONSE => Self::Response { protocol: Protocols(value), flags },
            _ => Self::Failure(FailureCode(value)),
        })
    }
}

fn expect_length(reader: &mut Reader<'_>, what: &'static str) -> Result<(), DecodeError> {
    match reader.u16_le(what)? {
        STRUCTURE_LENGTH => Ok(()),
        found => Err(DecodeError::Field { what, found: found.into(), expected: STRUCTURE_LENGTH.into() }),
    }
}

const TYPE_REQUEST: u8 = 0x01;
const TYPE_RESPONSE: u8 = 0x02;
const TYPE_FAILURE: u8 = 0x03;
const STRUCTURE_LENGTH: u16 = 8;
