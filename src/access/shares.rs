//! A limit on what one party may have of something, so that others get theirs.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// How much each party has.
#[derive(Debug)]
pub(super) struct Shares {
    all: usize,
    each: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them, given back on drop.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    party: IpAddr,
}

/// Whom an address belongs to, for all that is counted: an IPv6 address is one of a network of 64 bits, which is the least
/// that anyone has.
#[must_use]
pub fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

impl Shares {
    /// `all` in all, and at most `each` for a party.
    pub(super) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::new(HashMap::new()) })
    }

    /// One more for the party of `address`, where it may have one. The second half of all is for those who have none.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let party = party(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = taken.values().sum();
        let count = taken.get(&party).copied().unwrap_or_default();
        if count >= self.each || total >= self.all || (count > 0 && total >= self.all / 2) {
            return None;
        }
        taken.insert(party, count + 1);
        Some(Share { shares: Arc::clone(self), party })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.party) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_gets_its_share_and_leaves_those_of_others() {
        let shares = Shares::new(8, 2);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        let (first, _second) = (shares.take(one).unwrap(), shares.take(mapped).unwrap());
        assert!(shares.take(one).is_none());
        drop(shares.take(other).unwrap());
        drop(first);
        assert!(shares.take(one).is_some());
        assert_eq!(shares.taken.lock().unwrap().len(), 1, "only who has one is remembered");
    }

    #[test]
    fn what_is_left_of_all_is_for_those_who_have_none() {
        let shares = Shares::new(4, 3);
        let take = |number: u8| shares.take(IpAddr::from([10, 0, 0, number]));
        let mut taken: Vec<Share> = [1, 1].into_iter().filter_map(take).collect();
        assert!(take(1).is_none(), "half of all");
        taken.extend([2, 3].into_iter().filter_map(take));
        assert_eq!(taken.len(), 4);
        assert!(take(4).is_none(), "all");
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_are_one_party() {
        let of = |text: &str| party(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
