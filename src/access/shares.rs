//! A limit on what one address may have of something, so that others get theirs.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// How much each address has.
#[derive(Debug)]
pub struct Shares {
    each: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them, given back on drop.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    address: IpAddr,
}

impl Shares {
    /// At most `each` for an address.
    #[must_use]
    pub fn new(each: usize) -> Arc<Self> {
        Arc::new(Self { each, taken: Mutex::new(HashMap::new()) })
    }

    /// One more for `address`, where it may have one.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        Some(Share { shares: Arc::clone(self), address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_share_and_leaves_those_of_others() {
        let shares = Shares::new(2);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        let (first, _second) = (shares.take(one).unwrap(), shares.take(mapped).unwrap());
        assert!(shares.take(one).is_none());
        drop(shares.take(other).unwrap());
        drop(first);
        assert!(shares.take(one).is_some());
        assert_eq!(shares.taken.lock().unwrap().len(), 1, "only who has one is remembered");
    }
}
