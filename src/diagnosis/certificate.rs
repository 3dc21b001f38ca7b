//! What is wrong with the certificate that was seen last.

use std::time::Duration;

use time::OffsetDateTime;

use super::{Finding, Severity, plain};
use crate::{
    memory::{Memory, SeenCertificate},
    observation::age,
    target::{Expectations, ExpectedCertificate},
};

pub(super) fn findings(memory: &Memory, expect: &Expectations, now: OffsetDateTime) -> Vec<(Finding, Severity)> {
    let Some(seen) = &memory.certificates.last else { return Vec::new() };
    let facts = &seen.facts;
    let self_signed = facts.self_signed == Some(true);
    let untrusted = expect.certificate == ExpectedCertificate::Trusted && seen.trusted == Some(false);
    let is_early = |changed| age(changed, now.into()) <= CHANGE_SHOWN;
    let conditions = [
        (Finding::CertificateNotYetValid, facts.not_before.is_some_and(|not_before| now < not_before)),
        (Finding::CertificateNameMismatch, seen.name_match == Some(false)),
        (Finding::CertificateUntrusted, untrusted && !self_signed),
        (Finding::CertificateSelfSigned, untrusted && self_signed),
        (Finding::CertificateWeakKey, facts.weak_key),
        (Finding::CertificateWeakSignature, facts.weak_signature),
        (Finding::CertificateUnverifiedKey, seen.key_proven == Some(false)),
        (Finding::CertificateChangedEarly, memory.certificates.changed_early.is_some_and(is_early)),
        (Finding::CertificateDiffers, differs(memory)),
    ];
    let holding = conditions.into_iter().filter(|(_, holds)| *holds).map(|(finding, _)| plain(finding));
    expiry(seen, self_signed && expect.self_signed_renews, expect.certificate_days, now)
        .into_iter()
        .chain(holding)
        .collect()
}

/// Windows renews its own certificate itself, though not always on the day: no warning before, and two days of grace.
fn expiry(seen: &SeenCertificate, renews_itself: bool, days: u32, now: OffsetDateTime) -> Option<(Finding, Severity)> {
    let left = seen.facts.not_after? - now;
    if left.is_negative() {
        let severity = match renews_itself && -left <= RENEWAL_GRACE {
            true => Severity::Info,
            false => Severity::Critical,
        };
        return Some((Finding::CertificateExpired, severity));
    }
    let expiring = left < time::Duration::days(days.into());
    (expiring && !renews_itself).then(|| plain(Finding::CertificateExpiring))
}

/// Whether the addresses of the name showed different certificates in the last survey.
fn differs(memory: &Memory) -> bool {
    let Some((survey, _)) = &memory.survey.last else { return false };
    let mut shown = survey.fingerprints.iter().map(|(_, sha256)| sha256);
    shown.next().is_some_and(|first| shown.any(|other| other != first))
}

/// How long past its end a self-signed certificate may be before that is critical.
const RENEWAL_GRACE: Duration = Duration::from_secs(48 * 60 * 60);
/// How long an early change is shown.
const CHANGE_SHOWN: Duration = Duration::from_secs(24 * 60 * 60);
