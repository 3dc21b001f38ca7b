//! TPKT, the frame around every PDU before TLS ([T.123], RFC 1006).
//!
//! ```text
//!  0        1          2       3
//! | 03     | reserved | length (big endian, whole frame) | payload …
//! ```
//!
//! [T.123]: https://www.itu.int/rec/T-REC-T.123

use super::{DecodeError, reader::Reader};

/// Bytes of the header.
pub const HEADER_LENGTH: usize = 4;

/// The only version there is.
pub const VERSION: u8 = 3;

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the whole frame, this header included.
    pub length: u16,
}

impl Header {
    /// Decodes a header that begins with [`VERSION`].
    ///
    /// # Errors
    /// Another version, or a length that has no room for the smallest TPDU.
    pub fn decode(bytes: [u8; HEADER_LENGTH]) -> Result<Self, DecodeError> {
        let [version, _reserved, high, low] = bytes;
        if version != VERSION {
            return Err(DecodeError::Field { what: "TPKT version", found: version.into(), expected: VERSION.into() });
        }
        let length = u16::from_be_bytes([high, low]);
        // The smallest TPDU is a length indicator, a code and one byte more.
        if usize::from(length) < HEADER_LENGTH + 3 {
            return Err(DecodeError::Field { what: "TPKT length", found: length.into(), expected: 7 });
        }
        Ok(Self { length })
    }

    /// Bytes after the header.
    #[must_use]
    pub fn payload_length(self) -> usize {
        usize::from(self.length).saturating_sub(HEADER_LENGTH)
    }
}

/// Puts `payload` into a frame.
///
/// # Panics
/// Where the payload is longer than a frame can say. INVARIANT: our own messages are shorter than 300 bytes.
#[must_use]
pub fn frame(payload: &[u8]) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "only our own short messages are framed")]
    let length = u16::try_from(payload.len() + HEADER_LENGTH).expect("our messages fit a frame");
    let mut bytes = Vec::with_capacity(payload.len() + HEADER_LENGTH);
    bytes.extend_from_slice(&[VERSION, 0]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload of exactly one frame.
///
/// # Errors
/// A bad header, a frame that is cut short, or bytes after it.
pub fn unframe(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(bytes);
    let header = Header::decode(reader.array("TPKT header")?)?;
    let payload = reader.take("TPKT payload", header.payload_length())?;
    reader.finish("TPKT frame")?;
    Ok(payload)
}
