//! The two dates of a certificate as instants. A date that nobody can be sure of is no date: never a wrong one.

use time::{OffsetDateTime, UtcOffset};
use x509_parser::asn1_rs::{ASN1DateTime, ASN1TimeZone, GeneralizedTime, Tag, UtcTime};

use super::der::{Element, Elements};

/// not_before and not_after of a Validity's content.
pub(super) fn read(validity: &[u8]) -> (Option<OffsetDateTime>, Option<OffsetDateTime>) {
    let mut times = Elements(validity);
    (times.next().and_then(instant), times.next().and_then(instant))
}

/// The instant of one Time (RFC 5280 4.1.2.5); forms that DER forbids are read too where they name an instant.
fn instant(element: Element<'_>) -> Option<OffsetDateTime> {
    let (tag, text) = element.universal()?;
    let parsed = match tag {
        Tag::UtcTime => UtcTime(unambiguous(UtcTime::from_bytes(text).ok()?.0, text)?).utc_adjusted_datetime(),
        Tag::GeneralizedTime => {
            GeneralizedTime(unambiguous(GeneralizedTime::from_bytes(text).ok()?.0, text)?).utc_datetime()
        }
        _ => return None,
    };
    parsed.ok()?.checked_to_offset(UtcOffset::UTC)
}

/// Mends what asn1-rs gets wrong about zones: it takes a missing one for UTC, loses the sign of `-0030`, and allows 25
/// hours.
fn unambiguous(mut read: ASN1DateTime, text: &[u8]) -> Option<ASN1DateTime> {
    match read.tz {
        ASN1TimeZone::Undefined => return None,
        ASN1TimeZone::Z => {}
        ASN1TimeZone::Offset(hours, minutes) if hours.unsigned_abs() > 23 || minutes > 59 => return None,
        ASN1TimeZone::Offset(0, minutes) if text.contains(&b'-') => read.tz = ASN1TimeZone::Offset(0, -minutes),
        ASN1TimeZone::Offset(..) => {}
    }
    Some(read)
}
