//! The tags and lengths of BER ([X.690] 8.1), as far as MCS and CredSSP use them.
//! Lengths are read leniently (servers write long forms where short ones would do), never past the end.
//!
//! [X.690]: https://www.itu.int/rec/T-REC-X.690

use super::{DecodeError, reader::Reader};

/// ENUMERATED.
pub const ENUMERATED: &[u8] = &[0x0A];
/// INTEGER.
pub const INTEGER: &[u8] = &[0x02];
/// OCTET STRING.
pub const OCTET_STRING: &[u8] = &[0x04];
/// SEQUENCE and SEQUENCE OF.
pub const SEQUENCE: &[u8] = &[0x30];

/// The contents of the next element, which must have this tag (with its second byte, where the tag has two).
///
/// # Errors
/// Another tag, a length that is not definite or does not fit 32 bits, or an element that is cut short.
pub fn element<'a>(reader: &mut Reader<'a>, what: &'static str, tag: &[u8]) -> Result<Reader<'a>, DecodeError> {
    let found = reader.take(what, tag.len())?;
    if found != tag {
        return Err(DecodeError::Unknown { what, found: big_endian(found) });
    }
    let length = length(reader, what)?;
    reader.take(what, length).map(Reader::new)
}

/// A length in the short or the long form.
///
/// # Errors
/// The indefinite form, a length that does not fit 32 bits, or too few bytes.
pub fn length(reader: &mut Reader<'_>, what: &'static str) -> Result<usize, DecodeError> {
    let first = reader.u8(what)?;
    let number = match first {
        0x00..=0x7F => u32::from(first),
        0x81..=0x84 => big_endian(reader.take(what, usize::from(first & 0x7F))?),
        _ => return Err(DecodeError::Unknown { what, found: first.into() }),
    };
    // Where a length does not fit the machine, the bytes do not either.
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

/// The contents of an INTEGER or ENUMERATED as an unsigned number; of more than four bytes the last four, so that a
/// status code reads the same with and without its sign byte.
///
/// # Errors
/// No contents at all.
pub fn number(contents: &Reader<'_>, what: &'static str) -> Result<u32, DecodeError> {
    match contents.is_empty() {
        true => Err(DecodeError::Truncated { what }),
        false => Ok(big_endian(contents.rest())),
    }
}

/// Bytes as a number; the high ones beyond four are lost.
fn big_endian(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
