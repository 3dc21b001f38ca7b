//! How the network to a target behaved over its last probes.

/// The last twenty probes: which led in, which were not even connected, which had to send again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Network {
    /// The newest probe is the lowest bit.
    healthy: u32,
    failed: u32,
    retransmitted: u32,
    clean_in_a_row: u32,
    unstable: bool,
}

/// How far a probe came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// A client could get in.
    Everything,
    /// It was not connected.
    Nothing,
    /// It was connected, and something else is wrong.
    TheHost,
}

impl Network {
    /// Takes in one more probe: how far it came, and whether it had to send again.
    pub(super) fn see(&mut self, reached: Reached, retransmitted: bool) {
        let push = |bits: u32, bit: bool| (bits << 1 | u32::from(bit)) & WINDOW;
        self.healthy = push(self.healthy, reached == Reached::Everything);
        self.failed = push(self.failed, reached == Reached::Nothing);
        self.retransmitted = push(self.retransmitted, retransmitted);
        let is_clean = reached != Reached::Nothing && !retransmitted;
        self.clean_in_a_row = if is_clean { self.clean_in_a_row + 1 } else { 0 };
        self.unstable = if self.unstable { self.clean_in_a_row < PROBES } else { self.is_shaky() };
    }

    /// Whether the network shook, and has not been clean for twenty probes since.
    #[must_use]
    pub const fn is_unstable(self) -> bool {
        self.unstable
    }

    /// A host that is down fails several times running; a shaky network loses one probe between two that go well.
    const fn is_shaky(self) -> bool {
        let lost_between = self.failed & (self.healthy << 1) & (self.healthy >> 1);
        self.retransmitted.count_ones() >= RETRANSMITTING || lost_between.count_ones() >= LOST
    }
}

const PROBES: u32 = 20;
const WINDOW: u32 = (1 << PROBES) - 1;
/// Probes of the window that had to send again.
const RETRANSMITTING: u32 = 3;
/// Probes of the window that were lost between two that went well.
const LOST: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(probes: &str) -> Network {
        let mut network = Network::default();
        for probe in probes.chars() {
            let reached = match probe {
                'x' => Reached::Nothing,
                't' => Reached::TheHost,
                _ => Reached::Everything,
            };
            network.see(reached, probe == 'r');
        }
        network
    }

    #[test]
    fn a_shaky_network_is_told_from_a_host_that_is_down() {
        assert!(!after("....xxxxxx....").is_unstable(), "down for a while");
        assert!(!after("..x.......").is_unstable(), "one lost");
        assert!(after("..x...x.").is_unstable(), "two lost between healthy neighbours");
        assert!(!after("t.xt.tx.").is_unstable(), "a neighbour is not healthy");
        assert!(!after("..r..r..").is_unstable());
        assert!(after("..r..r.r").is_unstable());
        assert!(!after("r....................rr").is_unstable(), "the first one left the window");
    }

    #[test]
    fn it_clears_after_twenty_clean_probes() {
        let shaken = "rrr".to_owned();
        assert!(after(&(shaken.clone() + &".".repeat(19))).is_unstable());
        assert!(!after(&(shaken + &".".repeat(20))).is_unstable());
    }
}
