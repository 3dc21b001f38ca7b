//! Judgement: a pure function of what was seen, what is remembered, the expectations and the time.
//! No clock and no network here, and nothing of how it is shown.

mod certificate;
mod finding;
mod host;
mod layer;
mod runbook;
mod verdict;

use std::time::SystemTime;

pub use finding::{Finding, Severity};
pub use runbook::Entry;
use time::OffsetDateTime;
pub use verdict::Verdict;

use crate::{
    memory::Memory,
    observation::{Companion, Observation},
    target::Target,
};

/// What is to be said of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Whether a client can get in, and if not, why.
    pub verdict: Verdict,
    /// What is wrong, worst first.
    pub findings: Vec<(Finding, Severity)>,
    /// What is wrong and accepted here.
    pub accepted: Vec<(Finding, Severity)>,
    /// What the companion ports said, where the verdict rests on it.
    pub companions: Vec<Companion>,
}

/// Judges one observation and what is remembered after it.
#[must_use]
pub fn diagnose(seen: &Observation, memory: &Memory, target: &Target, now: SystemTime) -> Diagnosis {
    let expect = &target.settings.expect;
    let mut findings = certificate::findings(memory, expect, OffsetDateTime::from(now));
    findings.extend(layer::findings(seen, memory, expect, now).into_iter().map(plain));
    findings.extend(host::findings(memory, target).into_iter().map(plain));
    findings.sort_by_key(|(finding, severity)| (std::cmp::Reverse(*severity), *finding));
    let (accepted, findings) = findings.into_iter().partition(|(finding, _)| expect.accept.contains(finding));
    let said = memory.companions.said_of(&seen.silent_addresses());
    let (verdict, companions) = Verdict::of(seen).beside_companions(said, &target.settings);
    Diagnosis { verdict, findings, accepted, companions }
}

fn plain(finding: Finding) -> (Finding, Severity) {
    (finding, finding.severity())
}
