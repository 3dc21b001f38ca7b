//! What became of a target's last probes, and what changed on it meanwhile. Bounded, in memory, pure.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use crate::{
    diagnosis::Verdict,
    examine::Report,
    memory::Memory,
    observation::{Conversation, Observation},
    wire::negotiation::Protocols,
};

/// The last results of one target, and its last changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    outcomes: VecDeque<Outcome>,
    verdicts: VecDeque<Change>,
    others: VecDeque<Change>,
    known: Known,
}

/// What became of one probe. Small, as every target has sixty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The judgement.
    pub verdict: Verdict,
    ended: u32,
    took: u32,
}

/// Something that is another than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When the probe ended that saw it.
    pub at: SystemTime,
    /// What changed.
    pub what: Changed,
}

/// What changed, from what to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// The verdict.
    Verdict {
        /// The one before.
        before: Verdict,
        /// The one since.
        after: Verdict,
        /// What the new one rests on; safe to print.
        evidence: Box<str>,
    },
    /// The negotiated security layer.
    Layer {
        /// The one before.
        before: Protocols,
        /// The one since.
        after: Protocols,
    },
    /// The negotiated version of TLS.
    TlsVersion {
        /// The one before.
        before: &'static str,
        /// The one since.
        after: &'static str,
    },
    /// The certificate, by its SHA-256 fingerprint in hex.
    Certificate {
        /// The one before.
        before: Box<str>,
        /// The one since.
        after: Box<str>,
    },
    /// The version of the server's system, from the NTLM challenge.
    ServerVersion {
        /// The one before.
        before: Box<str>,
        /// The one since.
        after: Box<str>,
    },
}

/// What was seen last of what may change.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    layer: Option<Protocols>,
    tls_version: Option<&'static str>,
    certificate: Option<Box<str>>,
    certificate_changes: u64,
    server_version: Option<Box<str>>,
}

impl Changed {
    /// What changed, in one word.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Verdict { .. } => "verdict",
            Self::Layer { .. } => "layer",
            Self::TlsVersion { .. } => "tls_version",
            Self::Certificate { .. } => "certificate",
            Self::ServerVersion { .. } => "server_version",
        }
    }

    /// What it was before, and what it has been since.
    #[must_use]
    pub fn before_and_after(&self) -> (String, String) {
        match self {
            Self::Verdict { before, after, .. } => (before.to_string(), after.to_string()),
            Self::Layer { before, after } => (before.to_string(), after.to_string()),
            Self::TlsVersion { before, after } => ((*before).to_owned(), (*after).to_owned()),
            Self::Certificate { before, after } | Self::ServerVersion { before, after } => {
                (before.to_string(), after.to_string())
            }
        }
    }

    /// What a new verdict rests on.
    #[must_use]
    pub const fn evidence(&self) -> Option<&str> {
        match self {
            Self::Verdict { evidence, .. } => Some(evidence),
            Self::Layer { .. } | Self::TlsVersion { .. } | Self::Certificate { .. } | Self::ServerVersion { .. } => {
                None
            }
        }
    }
}

impl History {
    /// Takes in one more report, and what is remembered after it.
    pub(crate) fn see(&mut self, report: &Report, memory: &Memory) {
        let (seen, verdict) = (&report.observation, report.diagnosis.verdict);
        if let Some(before) = self.outcomes.back().map(|outcome| outcome.verdict).filter(|before| *before != verdict) {
            let evidence = report.evidence().chars().take(EVIDENCE).collect::<String>().into();
            let what = Changed::Verdict { before, after: verdict, evidence };
            push(&mut self.verdicts, Change { at: seen.ended, what }, CHANGES);
        }
        push(&mut self.outcomes, Outcome::of(seen, verdict), OUTCOMES);
        for what in self.known.update(seen, memory) {
            push(&mut self.others, Change { at: seen.ended, what }, CHANGES);
        }
    }

    /// What became of the last sixty probes, the newest last.
    pub fn outcomes(&self) -> impl DoubleEndedIterator<Item = &Outcome> + ExactSizeIterator {
        self.outcomes.iter()
    }

    /// The last twenty changes of the verdict, the newest last.
    pub fn verdicts(&self) -> impl DoubleEndedIterator<Item = &Change> + ExactSizeIterator {
        self.verdicts.iter()
    }

    /// The last twenty changes of layer, TLS version, certificate and server version, the newest last.
    pub fn others(&self) -> impl DoubleEndedIterator<Item = &Change> + ExactSizeIterator {
        self.others.iter()
    }
}

impl Outcome {
    fn of(seen: &Observation, verdict: Verdict) -> Self {
        let since_epoch = seen.ended.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            verdict,
            ended: u32::try_from(since_epoch.as_secs()).unwrap_or(u32::MAX),
            took: u32::try_from(seen.duration.as_micros()).unwrap_or(u32::MAX),
        }
    }

    /// When the probe ended, to the second.
    #[must_use]
    pub fn ended(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.ended.into())
    }

    /// How long it took, all stages together.
    #[must_use]
    pub fn took(self) -> Duration {
        Duration::from_micros(self.took.into())
    }
}

impl Known {
    /// Takes in what was seen now, and gives what is another than before.
    fn update(&mut self, seen: &Observation, memory: &Memory) -> Vec<Changed> {
        let deciding = seen.deciding().filter(|conversation| conversation.leads_in());
        let layer = deciding.and_then(Conversation::layer);
        let tls_version = deciding.and_then(Conversation::tls_names).map(|(version, _)| version);
        let challenge = memory.challenge.last.as_ref().map(|(facts, _)| &facts.challenge);
        let server_version =
            challenge.and_then(|challenge| challenge.version).map(|version| version.to_string().into());
        let certificates = &memory.certificates;
        let certificate = certificates.last.as_ref().map(|seen| seen.facts.sha256.as_str());
        let certificate = certificate.filter(|now| self.certificate.as_deref() != Some(*now)).map(Into::into);
        // Addresses of one name may show different ones: only a change at one address is a change.
        let is_replaced = certificates.changes > self.certificate_changes;
        self.certificate_changes = certificates.changes;
        let replaced = replace(&mut self.certificate, certificate).filter(|_| is_replaced);
        [
            replace(&mut self.layer, layer).map(|(before, after)| Changed::Layer { before, after }),
            replace(&mut self.tls_version, tls_version).map(|(before, after)| Changed::TlsVersion { before, after }),
            replaced.map(|(before, after)| Changed::Certificate { before, after }),
            replace(&mut self.server_version, server_version)
                .map(|(before, after)| Changed::ServerVersion { before, after }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Puts `now` in the place of what was known; both, where they differ. What was not seen now stays known.
fn replace<T: Clone + PartialEq>(known: &mut Option<T>, now: Option<T>) -> Option<(T, T)> {
    let now = now.filter(|now| known.as_ref() != Some(now))?;
    let before = known.replace(now.clone())?;
    Some((before, now))
}

fn push<T>(list: &mut VecDeque<T>, item: T, limit: usize) {
    if list.len() == limit {
        list.pop_front();
    }
    list.push_back(item);
}

const OUTCOMES: usize = 60;
const CHANGES: usize = 20;
/// Characters of evidence that are kept of a change.
const EVIDENCE: usize = 240;
