//! The certificate that was seen last, and how it changed.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    certificate::{self, CertificateFacts, trust::Roots},
    observation::{Presented, age},
};

/// A certificate, and when and where it was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeenCertificate {
    /// What it says.
    pub facts: Arc<CertificateFacts>,
    /// Whether the handshake signature verified; `None` where it was not checked.
    pub key_proven: Option<bool>,
    /// Whether it is for the target's name; `None` where there is no name to check.
    pub name_match: Option<bool>,
    /// Whether it reaches a root; `None` where no roots are loaded.
    pub trusted: Option<bool>,
    /// The address that showed it.
    pub address: SocketAddr,
    /// When it was last seen.
    pub observed: SystemTime,
    /// What `trusted` was judged by, so that it is judged once.
    judged_by: [u8; 32],
    /// The fingerprint of the whole chain, for the same reason, and so that it is read once. A version that reads more of
    /// a certificate needs another version of the state file.
    chain: [u8; 32],
}

/// The certificates of one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Certificates {
    /// The last one that was seen.
    pub last: Option<SeenCertificate>,
    /// How often the fingerprint changed at one address.
    pub changes: u64,
    /// When one was last replaced although it was not due: over 30 days were left, or self-signed and issued by an
    /// authority were swapped.
    pub changed_early: Option<SystemTime>,
    /// The last one at each of a few addresses, the newest at the end.
    at_addresses: Vec<(SocketAddr, Arc<CertificateFacts>)>,
}

impl Certificates {
    /// Whether there was ever one.
    #[must_use]
    pub const fn were_ever_seen(&self) -> bool {
        !self.at_addresses.is_empty()
    }

    /// Takes in what a server presented.
    pub(super) fn see(
        &mut self,
        presented: &Presented,
        address: SocketAddr,
        server_name: Option<&str>,
        (roots, now): (&Roots, SystemTime),
    ) {
        let chain = certificate::chain_fingerprint(&presented.chain);
        let known = self.last.as_ref().filter(|known| known.chain == chain);
        // Most probes see what the one before saw, which need not be read again.
        let facts = match known {
            Some(known) => Some(Arc::clone(&known.facts)),
            None => CertificateFacts::read(&presented.chain).map(Arc::new),
        };
        let Some(facts) = facts else { return };
        let judged_by = roots.fingerprint();
        let trusted = match known.filter(|known| known.judged_by == judged_by) {
            Some(known) => known.trusted,
            None => roots.judge(&presented.chain, OffsetDateTime::from(now)),
        };
        let leaf = presented.chain.first();
        let name_match = server_name.zip(leaf).and_then(|(name, leaf)| certificate::name_matches(leaf, name));
        let key_proven = presented.key_proven;
        let observed = now;
        self.count_change(address, &facts, now);
        self.last =
            Some(SeenCertificate { facts, key_proven, name_match, trusted, address, observed, judged_by, chain });
    }

    /// Forgets the certificate where it is older than `max_age`.
    pub(super) fn forget(&mut self, max_age: Duration, now: SystemTime) {
        self.last = self.last.take().filter(|seen| age(seen.observed, now) <= max_age);
    }

    /// The name that the certificate was checked against is no longer the target's.
    pub(crate) fn forget_name_match(&mut self) {
        if let Some(seen) = &mut self.last {
            seen.name_match = None;
        }
    }

    /// Whether it is said to be trusted, or not, by other roots than those of that fingerprint.
    pub(crate) fn was_judged_otherwise(&self, roots: [u8; 32]) -> bool {
        self.last.as_ref().is_some_and(|seen| seen.trusted.is_some() && seen.judged_by != roots)
    }

    /// The roots that it was judged by hold no longer, and its chain is not kept to be judged again.
    pub(crate) fn forget_trust(&mut self) {
        if let Some(seen) = &mut self.last {
            seen.trusted = None;
            seen.judged_by = [0; 32];
        }
    }

    fn count_change(&mut self, address: SocketAddr, facts: &Arc<CertificateFacts>, now: SystemTime) {
        let known = self.at_addresses.iter().position(|(known, _)| *known == address);
        if let Some(position) = known {
            let (_, before) = self.at_addresses.remove(position);
            if before.sha256 != facts.sha256 {
                self.changes = self.changes.saturating_add(1);
                if was_early(&before, facts, now) {
                    self.changed_early = Some(now);
                }
            }
        }
        if self.at_addresses.len() == MAX_ADDRESSES {
            self.at_addresses.remove(0);
        }
        self.at_addresses.push((address, Arc::clone(facts)));
    }
}

fn was_early(before: &CertificateFacts, after: &CertificateFacts, now: SystemTime) -> bool {
    let left = before.not_after.map(|not_after| not_after - OffsetDateTime::from(now));
    left.is_some_and(|left| left > EARLY) || before.self_signed != after.self_signed
}

/// A certificate that has longer left than this is not replaced because it is due.
const EARLY: time::Duration = time::Duration::days(30);
/// Addresses of one target whose certificate is remembered.
const MAX_ADDRESSES: usize = 8;
