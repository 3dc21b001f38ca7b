//! The first exchange of CredSSP ([MS-CSSP] 2.2.1): one `TSRequest` each way.
//! Never an answer to the challenge: that would be an attempt to log on.
//!
//! ```text
//! TSRequest ::= SEQUENCE { [0] version, [1] negoTokens, [2] authInfo, [3] pubKeyAuth, [4] errorCode, [5] clientNonce }
//! ```
//!
//! [MS-CSSP]: https://learn.microsoft.com/openspecs/windows_protocols/ms-cssp/

use super::{DecodeError, ber, ntlm, reader::Reader};

/// No answer to our request is longer than this; a challenge has a few hundred bytes.
pub const MAX_FRAME_LENGTH: usize = 64 * 1024;

/// `TSRequest` of version 6 that carries [`ntlm::NEGOTIATE`].
#[must_use]
pub fn negotiate() -> Vec<u8> {
    #[rustfmt::skip]
    let mut bytes = vec![
        0x30, 55, // TSRequest
        0xA0, 3, 0x02, 1, 6, // version
        0xA1, 48, 0x30, 46, 0x30, 44, 0xA0, 42, // negoTokens, with one NegoData in it
        0x04, 40, // negoToken
    ];
    bytes.extend_from_slice(&ntlm::NEGOTIATE);
    bytes
}

/// How long the `TSRequest` is that begins with `bytes`; `None` where more are needed to say.
///
/// # Errors
/// Bytes that no `TSRequest` begins with, or one longer than [`MAX_FRAME_LENGTH`].
pub fn frame_length(bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let Ok(tag) = reader.array::<1>("TSRequest") else { return Ok(None) };
    if tag != ber::SEQUENCE {
        return Err(DecodeError::Unknown { what: "TSRequest", found: u8::from_be_bytes(tag).into() });
    }
    let length = match ber::length(&mut reader, "TSRequest length") {
        Ok(length) => length,
        Err(DecodeError::Truncated { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let total = length.saturating_add(bytes.len()).saturating_sub(reader.len());
    if total > MAX_FRAME_LENGTH {
        return Err(DecodeError::Field {
            what: "TSRequest length",
            found: u32::try_from(total).unwrap_or(u32::MAX),
            expected: u32::try_from(MAX_FRAME_LENGTH).unwrap_or(u32::MAX),
        });
    }
    Ok(Some(total))
}

/// What a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// `errorCode`, an NTSTATUS: why there is no token.
    pub error_code: Option<u32>,
    /// The first of `negoTokens`; an NTLM CHALLENGE, where all is well.
    pub token: Option<&'a [u8]>,
    /// The highest version that the server speaks.
    pub version: u32,
}

impl<'a> Answer<'a> {
    /// Reads a whole `TSRequest`. Fields that do not concern us are skipped.
    ///
    /// # Errors
    /// Anything but one `TSRequest`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut fields = ber::element(&mut reader, "TSRequest", ber::SEQUENCE)?;
        reader.finish("TSRequest")?;
        let mut version = ber::element(&mut fields, "TSRequest version", VERSION)?;
        let version = ber::element(&mut version, "TSRequest version", ber::INTEGER)?;
        let version = ber::number(&version, "TSRequest version")?;
        let mut answer = Self { error_code: None, token: None, version };
        while let Some(tag) = fields.rest().first_chunk::<1>() {
            let mut field = ber::element(&mut fields, "TSRequest field", tag)?;
            match tag.as_slice() {
                NEGO_TOKENS => answer.token = token(&mut field)?,
                ERROR_CODE => {
                    let code = ber::element(&mut field, "TSRequest errorCode", ber::INTEGER)?;
                    answer.error_code = Some(ber::number(&code, "TSRequest errorCode")?);
                }
                _ => {}
            }
        }
        Ok(answer)
    }
}

/// The first token of `NegoData` (2.2.1.1); there may be none.
fn token<'a>(field: &mut Reader<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    let mut list = ber::element(field, "NegoData", ber::SEQUENCE)?;
    if list.is_empty() {
        return Ok(None);
    }
    let mut item = ber::element(&mut list, "NegoData item", ber::SEQUENCE)?;
    let mut token = ber::element(&mut item, "negoToken", NEGO_TOKEN)?;
    ber::element(&mut token, "negoToken", ber::OCTET_STRING).map(|token| Some(token.rest()))
}

const VERSION: &[u8] = &[0xA0];
const NEGO_TOKENS: &[u8] = &[0xA1];
const NEGO_TOKEN: &[u8] = &[0xA0];
const ERROR_CODE: &[u8] = &[0xA4];
