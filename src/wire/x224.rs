//! The X.224 connection PDUs ([MS-RDPBCGR] 2.2.1.1 and 2.2.1.2).
//!
//! ```text
//!  0    1      2  3      4  5      6       7 …
//! | LI | code | dst-ref | src-ref | class | variable part; LI counts everything after itself
//! ```
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/

use super::{
    DecodeError,
    negotiation::{NegotiationAnswer, NegotiationRequest, Protocols},
    reader::Reader,
    tpkt,
};

/// No connection PDU is longer than this, as its length indicator is one byte and 255 is reserved (X.224 13.2.1).
pub const MAX_FRAME_LENGTH: usize = tpkt::HEADER_LENGTH + 1 + 254;

/// Client X.224 Connection Request PDU, with its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRequest<'a> {
    /// The name in the `mstshash` cookie; empty for no cookie.
    pub cookie: &'a str,
    /// What is offered; `None` sends no negotiation data at all.
    pub negotiation: Option<NegotiationRequest>,
}

impl<'a> ConnectionRequest<'a> {
    /// The request that offers `protocols`.
    #[must_use]
    pub const fn offering(protocols: Protocols, cookie: &'a str) -> Self {
        Self { cookie, negotiation: Some(NegotiationRequest { protocols }) }
    }

    /// The whole frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut tpdu = Vec::with_capacity(MAX_FRAME_LENGTH);
        tpdu.extend_from_slice(&[0, CODE_REQUEST, 0, 0, 0, 0, 0]);
        if !self.cookie.is_empty() {
            tpdu.extend_from_slice(COOKIE_PREFIX);
            // INVARIANT: the configuration limits the cookie to `MAX_COOKIE_LENGTH` printable bytes.
            tpdu.extend(self.cookie.bytes().take(MAX_COOKIE_LENGTH));
            tpdu.extend_from_slice(LINE_END);
        }
        if let Some(negotiation) = self.negotiation {
            negotiation.encode(&mut tpdu);
        }
        let after_indicator = u8::try_from(tpdu.len() - 1).unwrap_or(u8::MAX);
        if let Some(indicator) = tpdu.first_mut() {
            *indicator = after_indicator;
        }
        tpkt::frame(&tpdu)
    }

    /// Reads a whole frame, as a server would.
    ///
    /// # Errors
    /// Anything but a connection request.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = connection_tpdu(bytes, CODE_REQUEST)?;
        let mut cookie = "";
        if let Some(after) = reader.rest().strip_prefix(COOKIE_PREFIX) {
            let end = after.windows(2).position(|pair| pair == LINE_END);
            let end = end.ok_or(DecodeError::Truncated { what: "cookie" })?;
            reader.take("cookie", COOKIE_PREFIX.len())?;
            cookie = std::str::from_utf8(reader.take("cookie", end)?)
                .map_err(|_| DecodeError::Unknown { what: "cookie bytes", found: 0 })?;
            reader.take("cookie", LINE_END.len())?;
        }
        let negotiation = match reader.is_empty() {
            true => None,
            false => Some(NegotiationRequest::decode(&mut reader)?),
        };
        reader.finish("connection request")?;
        Ok(Self { cookie, negotiation })
    }
}

/// What a server may answer to a connection request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Server X.224 Connection Confirm PDU, with or without negotiation data.
    Confirm(Option<NegotiationAnswer>),
    /// MCS Disconnect Provider Ultimatum ([T.125] 11.15) in an X.224 data TPDU; xrdp refuses with it.
    ///
    /// [T.125]: https://www.itu.int/rec/T-REC-T.125
    DisconnectUltimatum,
}

impl Answer {
    /// Reads a whole frame.
    ///
    /// # Errors
    /// Anything but a confirm or a disconnect. A confirm may be longer than its eight bytes of negotiation data, as
    /// the specification leaves room for more; the rest is ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if tpkt::unframe(bytes)?.starts_with(&DISCONNECT_ULTIMATUM) {
            return Ok(Self::DisconnectUltimatum);
        }
        let mut reader = connection_tpdu(bytes, CODE_CONFIRM)?;
        if reader.is_empty() {
            return Ok(Self::Confirm(None));
        }
        Ok(Self::Confirm(Some(NegotiationAnswer::decode(&mut reader)?)))
    }

    /// The whole frame, as Windows and xrdp send it.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let Self::Confirm(negotiation) = self else {
            let mut tpdu = DISCONNECT_ULTIMATUM.to_vec();
            tpdu.push(DISCONNECT_REASON_USER_REQUESTED);
            return tpkt::frame(&tpdu);
        };
        let mut tpdu = vec![6, CODE_CONFIRM, 0, 0, 0x12, 0x34, 0];
        if let Some(negotiation) = negotiation {
            tpdu[0] = 14;
            negotiation.encode(&mut tpdu);
        }
        tpkt::frame(&tpdu)
    }
}

/// The variable part of the connection TPDU `code` in exactly one frame.
fn connection_tpdu(bytes: &[u8], code: u8) -> Result<Reader<'_>, DecodeError> {
    let payload = tpkt::unframe(bytes)?;
    let mut reader = Reader::new(payload);
    let indicator = reader.u8("X.224 length indicator")?;
    let found = reader.u8("X.224 code")?;
    // The low half of the code is the initial credit.
    if found & 0xF0 != code {
        return Err(DecodeError::Unknown { what: "X.224 code", found: found.into() });
    }
    if indicator == RESERVED_INDICATOR || usize::from(indicator) + 1 != payload.len() {
        return Err(DecodeError::Field {
            what: "X.224 length indicator",
            found: indicator.into(),
            expected: u32::try_from(payload.len()).unwrap_or(u32::MAX).saturating_sub(1),
        });
    }
    let _references: [u8; 4] = reader.array("X.224 references")?;
    let _class = reader.u8("X.224 class")?;
    Ok(reader)
}

/// The longest cookie that leaves room for everything else; Windows' client sends at most nine characters.
pub const MAX_COOKIE_LENGTH: usize = 127;

const RESERVED_INDICATOR: u8 = 255;
const CODE_REQUEST: u8 = 0xE0;
const CODE_CONFIRM: u8 = 0xD0;
const COOKIE_PREFIX: &[u8] = b"Cookie: mstshash=";
const LINE_END: &[u8] = b"\r\n";
/// An X.224 data TPDU (LI 2, code F0, end of transmission) that begins with choice 8 of the domain MCS PDU.
const DISCONNECT_ULTIMATUM: [u8; 4] = [0x02, 0xF0, 0x80, 0x21];
const DISCONNECT_REASON_USER_REQUESTED: u8 = 0x80;
