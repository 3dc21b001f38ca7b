//! A number of places, and who makes room once they are taken.
//!
//! Whoever is waited for has the weakest claim to a place: a client that says nothing, that has its answer, or that does not
//! read it. So a newcomer is not turned away for those who only hold places. Work under way is never thrown away for one.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, timeout},
};

use crate::access::party;

/// Places, some of which may be taken.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    ledger: Mutex<Ledger>,
    /// A place is free, or its holder is waited for.
    eased: Notify,
}

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) all: usize,
    /// For one party.
    pub(super) each: usize,
    /// Whoever was waited for so long makes room; for a party that has far less, a moment is enough.
    pub(super) patience: Duration,
}

/// Who holds which place.
#[derive(Debug, Default)]
struct Ledger {
    held: BTreeMap<u64, Held>,
    taken_so_far: u64,
}

#[derive(Debug)]
struct Held {
    party: IpAddr,
    /// Things that are done for the holder.
    works: usize,
    /// Since when it is waited for, where nothing is.
    since: Instant,
    lost: Arc<Notify>,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Its number, and whether somebody else loses it.
    Taken(u64, bool),
    /// This party has its share.
    Refused,
    /// All others work, or are waited for only since now.
    Later,
}

/// A place; free again on drop.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    lost: Arc<Notify>,
}

/// Something that is done for the holder of a place, which keeps it meanwhile.
#[derive(Debug)]
pub(super) struct Work(Arc<Place>);

impl Places {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, ledger: Mutex::default(), eased: Notify::new() })
    }

    /// A place for `address`, if need be once there is one; `None` where it has its share.
    pub(super) async fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        loop {
            // From before the question, so that no change is missed.
            let eased = self.eased.notified();
            match self.ask(address) {
                Answer::Taken(number, is_taken_over) => {
                    let place = self.place(number);
                    if is_taken_over {
                        // Whoever had it ends before the next one comes, so that there are never more than places.
                        yield_now().await;
                    }
                    return Some(place);
                }
                Answer::Refused => return None,
                Answer::Later => drop(timeout(MOMENT, eased).await),
            }
        }
    }

    /// A place for `address`, where there is one now.
    pub(super) fn try_take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        match self.ask(address) {
            Answer::Taken(number, _) => Some(self.place(number)),
            Answer::Refused | Answer::Later => None,
        }
    }

    /// Ready once all places are free.
    pub(super) async fn all_free(&self) {
        loop {
            let eased = self.eased.notified();
            if self.ledger().held.is_empty() {
                return;
            }
            eased.await;
        }
    }

    fn ask(&self, address: IpAddr) -> Answer {
        self.ledger().admit(party(address), self.limits, Instant::now())
    }

    fn place(self: &Arc<Self>, number: u64) -> Place {
        let lost = self.ledger().held.get(&number).map(|held| Arc::clone(&held.lost)).unwrap_or_default();
        Place { places: Arc::clone(self), number, lost }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn admit(&mut self, party: IpAddr, limits: Limits, now: Instant) -> Answer {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for held in self.held.values() {
            *counts.entry(held.party).or_default() += 1;
        }
        let own = counts.get(&party).copied().unwrap_or_default();
        let has_its_share = own >= limits.each;
        let is_full = has_its_share || self.held.len() >= limits.all;
        if is_full {
            // Of its own where it has its share, else of whoever has most: the one that was waited for longest.
            let waited_for = self.held.iter().rev().filter(|(_, held)| {
                let has_far_more = counts.get(&held.party).is_some_and(|count| *count > 2 * (own + 1));
                let patience = if has_far_more { MOMENT } else { limits.patience };
                let is_long = now.duration_since(held.since) >= patience;
                held.works == 0 && is_long && (!has_its_share || held.party == party)
            });
            let weakest = waited_for.max_by_key(|(_, held)| (counts.get(&held.party), now.duration_since(held.since)));
            let Some((&weakest, _)) = weakest else {
                return if has_its_share { Answer::Refused } else { Answer::Later };
            };
            if let Some(held) = self.held.remove(&weakest) {
                held.lost.notify_one();
            }
        }
        self.taken_so_far += 1;
        self.held.insert(self.taken_so_far, Held { party, works: 0, since: now, lost: Arc::default() });
        Answer::Taken(self.taken_so_far, is_full)
    }
}

impl Place {
    /// Ready when it went to somebody else: its holder is to end at once.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Keeps it until the work is dropped.
    pub(super) fn work(self: &Arc<Self>) -> Work {
        self.change(|held| held.works += 1);
        Work(Arc::clone(self))
    }

    /// The holder did what it was waited for; now it is waited for anew.
    pub(super) fn renew(&self) {
        self.change(|held| held.since = Instant::now());
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        if let Some(held) = self.places.ledger().held.get_mut(&self.number) {
            change(held);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.ledger().held.remove(&self.number);
        self.places.eased.notify_waiters();
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.change(|held| {
            held.works -= 1;
            held.since = Instant::now();
        });
        self.0.places.eased.notify_waiters();
    }
}

/// A client has a round trip and a little before it may lose its place.
pub(super) const MOMENT: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { all: 4, each: 3, patience: Duration::from_secs(1) };

    fn host(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    /// Asks for places: seconds, host, the answer; then who has one.
    fn check(asked: &[(u64, u8, Answer)], left: &[u64]) {
        let (mut ledger, begin) = (Ledger::default(), Instant::now());
        for (seconds, number, answer) in asked {
            let now = begin + Duration::from_secs(*seconds);
            assert_eq!(ledger.admit(host(*number), LIMITS, now), *answer, "host {number} after {seconds} s");
        }
        assert_eq!(ledger.held.keys().copied().collect::<Vec<_>>(), left);
    }

    #[test]
    fn whoever_was_waited_for_longest_makes_room() {
        use Answer::{Later, Refused};
        let free = |number| Answer::Taken(number, false);
        let lost = |number| Answer::Taken(number, true);
        check(&[(0, 1, free(1)), (0, 1, free(2)), (0, 1, free(3)), (0, 1, Refused)], &[1, 2, 3]);
        // Its own make room for it, and the others for nobody who has its share.
        check(&[(0, 2, free(1)), (1, 1, free(2)), (2, 1, free(3)), (3, 1, free(4)), (4, 1, lost(5))], &[1, 3, 4, 5]);
        // Those of whoever has most make room for others, however long another was waited for.
        check(&[(0, 2, free(1)), (1, 1, free(2)), (2, 1, free(3)), (3, 3, free(4)), (4, 4, lost(5))], &[1, 3, 4, 5]);
        check(&[(0, 1, free(1)), (0, 2, free(2)), (0, 3, free(3)), (0, 4, free(4)), (0, 5, Later)], &[1, 2, 3, 4]);
    }

    #[test]
    fn a_party_that_has_far_less_need_not_be_patient() {
        let (mut ledger, begin) = (Ledger::default(), Instant::now());
        for number in [1, 1, 1] {
            ledger.admit(host(number), LIMITS, begin);
        }
        ledger.admit(host(2), LIMITS, begin);
        assert_eq!(ledger.admit(host(2), LIMITS, begin + MOMENT), Answer::Later);
        assert_eq!(ledger.admit(host(3), LIMITS, begin), Answer::Later, "not even a moment");
        assert_eq!(ledger.admit(host(3), LIMITS, begin + MOMENT), Answer::Taken(5, true));
        assert_eq!(ledger.held.keys().copied().collect::<Vec<_>>(), [2, 3, 4, 5]);
    }

    #[test]
    fn work_is_never_thrown_away_for_a_newcomer() {
        let places = Places::new(Limits { all: 2, each: 2, patience: Duration::ZERO });
        let [one, other] = [1, 2].map(|number| Arc::new(places.try_take(host(number)).unwrap()));
        let works = [one.work(), one.work(), other.work()];
        assert!(places.try_take(host(3)).is_none());
        let [first, second, third] = works;
        drop(first);
        assert!(places.try_take(host(3)).is_none(), "one of two works is left");
        drop((second, third));
        let newcomer = places.try_take(host(3)).unwrap();
        assert_eq!(places.ledger().held.keys().copied().collect::<Vec<_>>(), [2, 3], "waited for longest");
        drop((one, other, newcomer));
        assert!(places.ledger().held.is_empty());
    }
}
