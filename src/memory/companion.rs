//! What the companion ports of a silent host told; it holds until the host answers.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use crate::{
    observation::{Companion, Fault, Observation, Stage, has_passed},
    target::Settings,
};

/// What the companion ports told since the host last answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Companions {
    /// What they said last, and when.
    pub last: Option<(Vec<Companion>, SystemTime)>,
    asked: Option<SystemTime>,
    /// Probes running that met nothing but silence.
    silences: u32,
}

impl Companions {
    /// What they said last, as far as it is of one of the hosts at `addresses`: a name may lead to others by now.
    #[must_use]
    pub fn said_of(&self, addresses: &[SocketAddr]) -> Vec<Companion> {
        let is_one = |companion: &&Companion| addresses.iter().any(|own| own.ip() == companion.address.ip());
        self.last.iter().flat_map(|(said, _)| said).filter(is_one).cloned().collect()
    }

    /// Whether they are tried where the next probe meets silence as well.
    pub(super) fn are_due(&self, settings: &Settings, now: SystemTime) -> bool {
        let is_rested = self.asked.is_none_or(|asked| has_passed(REST, asked, now));
        !settings.companion_ports.is_empty() && self.silences > 0 && is_rested
    }

    pub(super) fn see(&mut self, seen: &Observation) {
        let silent = seen.silent_addresses();
        if !silent.is_empty() {
            self.silences = self.silences.saturating_add(1);
            if self.last.is_some() && self.said_of(&silent).is_empty() {
                // What was tried was another host.
                self.asked = None;
            }
            if !seen.companions.is_empty() {
                self.asked = Some(seen.ended);
                self.last = Some((seen.companions.clone(), seen.ended));
            }
            return;
        }
        match seen.stop().map(|stop| (stop.stage, &stop.fault)) {
            // Nothing was asked of the host.
            Some((Stage::Resolve, _) | (_, Fault::Local(_) | Fault::Forbidden(_))) => {}
            // A router answered, not the host.
            Some((Stage::Connect, Fault::Unreachable(_))) => self.silences = 0,
            // `asked` stays: a host that comes and goes is not asked more often.
            _ => (self.last, self.silences) = (None, 0),
        }
    }
}

/// Between two tries for one target.
const REST: Duration = Duration::from_secs(15 * 60);
