//! How a target stands, and the one order of targets: worst first.

use std::{cmp::Reverse, time::SystemTime};

use time::OffsetDateTime;

use crate::{
    diagnosis::{Severity, Verdict},
    history::Changed,
    state::TargetState,
};

/// How a target stands. Worst first; this is the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// No client can get in.
    Down,
    /// Our own machine could not probe it.
    Unknown,
    /// Up, with a critical finding.
    Critical,
    /// Up, with a warning.
    Warning,
    /// Not probed yet.
    NotProbed,
    /// Up, with nothing worse than an information.
    Good,
}

/// Since when a target is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// The probe that saw it first, of those that are remembered.
    pub at: SystemTime,
    /// Whether the probe before it got in; else it may be down for longer.
    pub is_exact: bool,
}

impl Standing {
    /// Every one, worst first.
    pub const ALL: [Self; 6] = [Self::Down, Self::Unknown, Self::Critical, Self::Warning, Self::NotProbed, Self::Good];

    /// The value of the query's `state`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::NotProbed => "not_probed",
            Self::Good => "good",
        }
    }

    /// How that target stands.
    #[must_use]
    pub fn of(state: &TargetState) -> Self {
        let Some(report) = &state.last else { return Self::NotProbed };
        let worst = report.diagnosis.findings.iter().map(|(_, severity)| *severity).max();
        match (report.diagnosis.verdict, worst) {
            // A fault of our own says nothing against what was known before.
            (Verdict::ExporterFault, _) if state.up == Some(false) => Self::Down,
            (Verdict::ExporterFault, _) => Self::Unknown,
            (Verdict::Healthy, Some(Severity::Critical)) => Self::Critical,
            (Verdict::Healthy, Some(Severity::Warning)) => Self::Warning,
            (Verdict::Healthy, Some(Severity::Info) | None) => Self::Good,
            _ => Self::Down,
        }
    }
}

/// What the targets of a page are sorted by: how they stand; among those that are down the latest outage first, among
/// those with findings the certificate that ends first; then the name.
#[must_use]
pub fn sort_key(state: &TargetState) -> impl Ord + '_ {
    let standing = Standing::of(state);
    let since = match standing {
        Standing::Down => down_since(state).map(|since| since.at),
        _ => None,
    };
    let ends = match standing {
        Standing::Critical | Standing::Warning => not_after(state),
        _ => None,
    };
    // Missing comes last: `None` is less than anything, and less is reversed to more.
    (standing, Reverse(since), Reverse(ends.map(Reverse)), state.target.name.as_str())
}

/// Since when a target is down; `None` where it is not.
#[must_use]
pub fn down_since(state: &TargetState) -> Option<Since> {
    if Standing::of(state) != Standing::Down {
        return None;
    }
    let mut since = None;
    for change in state.history.verdicts().rev() {
        let Changed::Verdict { before, after, .. } = &change.what else { continue };
        if *after == Verdict::Healthy {
            break;
        }
        if *after != Verdict::ExporterFault {
            since = Some(change.at);
        }
        if *before == Verdict::Healthy {
            return since.map(|at| Since { at, is_exact: true });
        }
    }
    let first = state.history.outcomes().next().map(|outcome| outcome.ended());
    let at = [since, first].into_iter().flatten().min()?;
    // Where every probe is remembered, nothing was before the first.
    let is_exact = usize::try_from(state.probes()).is_ok_and(|probes| probes <= state.history.outcomes().len());
    Some(Since { at, is_exact })
}

fn not_after(state: &TargetState) -> Option<OffsetDateTime> {
    state.memory.certificates.last.as_ref()?.facts.not_after
}
