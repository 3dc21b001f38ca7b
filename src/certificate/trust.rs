//! Whether a presented chain reaches a root that the operator trusts.
//! Names and revocation are not asked here, and expiry is another finding's business: a chain is judged at a moment
//! inside the leaf's validity.

use std::{collections::BTreeSet, fmt, time::Duration};

use ring::digest::{Context, SHA256};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use time::OffsetDateTime;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{der::Fields, sha256, validity};

/// The certificates that are trusted.
pub struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    pinned: BTreeSet<Vec<u8>>,
    fingerprint: [u8; 32],
}

impl Roots {
    /// `roots` are the system's, `pinned` the operator's own; all DER. Pinned certificates are roots too, and trusted
    /// when a server presents one of them itself. What is no certificate is no root.
    #[must_use]
    pub fn new(roots: Vec<Vec<u8>>, pinned: Vec<Vec<u8>>) -> Self {
        let roots: BTreeSet<_> = roots.into_iter().collect();
        let pinned: BTreeSet<_> = pinned.into_iter().collect();
        let mut context = Context::new(&SHA256);
        for (kind, certificates) in [(b"r", &roots), (b"p", &pinned)] {
            for certificate in certificates {
                context.update(kind);
                context.update(&sha256(certificate));
            }
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        let anchors = roots.union(&pinned).filter_map(|der| {
            let certificate = CertificateDer::from(der.as_slice());
            anchor_from_trusted_cert(&certificate).ok().map(|anchor| anchor.to_owned())
        });
        Self { anchors: anchors.collect(), pinned, fingerprint }
    }

    /// Whether there is nothing to judge by.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty() && self.pinned.is_empty()
    }

    /// The same for the same certificates in any order, so that an answer may be kept per chain and roots.
    #[must_use]
    pub const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Whether `chain`, leaf first, reaches a root. `None` where no roots are loaded.
    #[must_use]
    pub fn judge(&self, chain: &[Vec<u8>], now: OffsetDateTime) -> Option<bool> {
        if self.is_empty() {
            return None;
        }
        let Some((leaf, others)) = chain.split_first() else { return Some(false) };
        Some(self.pinned.contains(leaf) || self.reaches_anchor(leaf, others, now))
    }

    fn reaches_anchor(&self, leaf: &[u8], others: &[Vec<u8>], now: OffsetDateTime) -> bool {
        let certificate = CertificateDer::from(leaf);
        let Ok(end_entity) = EndEntityCert::try_from(&certificate) else { return false };
        let intermediates = candidates(others);
        let verifies = |moment: UnixTime, usage: KeyUsage| {
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            end_entity.verify_for_usage(algorithms, &self.anchors, &intermediates, moment, usage, None, None).is_ok()
        };
        moments(leaf, now).into_iter().any(|moment| {
            verifies(moment, KeyUsage::server_auth())
                || verifies(moment, KeyUsage::required_if_present(REMOTE_DESKTOP_AUTHENTICATION))
        })
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Roots");
        debug.field("anchors", &self.anchors.len()).field("pinned", &self.pinned.len()).finish_non_exhaustive()
    }
}

/// The certificates to build a path from. Authorities that could all have issued one another cost webpki factorial
/// time, and a stranger chooses what is presented: eight of them took seconds. With two of each name a path has two
/// ways to go at each step, which leaves room for a cross-signed authority.
fn candidates(others: &[Vec<u8>]) -> Vec<CertificateDer<'_>> {
    let mut subjects = Vec::new();
    let mut kept = Vec::new();
    for other in others {
        let Some(subject) = Fields::split(other).subject else { continue };
        let namesakes = subjects.iter().filter(|known| **known == subject).count();
        if namesakes < MAX_NAMESAKES && kept.len() < MAX_CANDIDATES {
            subjects.push(subject);
            kept.push(CertificateDer::from(other.as_slice()));
        }
    }
    kept
}

/// When to judge a chain: as near to now as the leaf is valid. Its first moment and its middle are asked too, so that
/// an expired leaf does not fail for an issuer that expired with it or was renewed since.
fn moments(leaf: &[u8], now: OffsetDateTime) -> Vec<UnixTime> {
    let dates = Fields::split(leaf).validity.map(validity::read);
    let Some((Some(not_before), Some(not_after))) = dates else { return Vec::new() };
    let middle = not_before + (not_after - not_before) / 2;
    let nearest = now.min(not_after).max(not_before);
    let moments = [nearest, not_before, middle].map(|moment| u64::try_from(moment.unix_timestamp()));
    moments.into_iter().flatten().map(|seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds))).collect()
}

/// id-kp-remoteDesktopAuthentication, 1.3.6.1.4.1.311.54.1.2.
const REMOTE_DESKTOP_AUTHENTICATION: &[u8] = &[0x2B, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x36, 0x01, 0x02];

const MAX_CANDIDATES: usize = 16;
const MAX_NAMESAKES: usize = 2;
