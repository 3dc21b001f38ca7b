//! How many probes on demand there may be: of all targets, and of one.
//!
//! They take turns with the schedule, in the order in which they come: so many of one target would push out its own probes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room for probes of `/probe` and of the button.
#[derive(Debug)]
pub(super) struct Demand {
    places: Arc<Semaphore>,
    of_each: Arc<OfEach>,
}

/// How many there are of each target of which there are any.
type OfEach = Mutex<HashMap<String, usize>>;

/// A probe on demand, from its request to its end.
#[derive(Debug)]
pub(super) struct Demanded {
    _place: OwnedSemaphorePermit,
    of_each: Arc<OfEach>,
    target: String,
}

impl Default for Demand {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_PROBES)), of_each: Arc::default() }
    }
}

impl Demand {
    /// Room for one more of `target`; or why there is none.
    pub(super) fn admit(&self, target: &str) -> Result<Demanded, String> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| format!("{MAX_PROBES} probes are under way here already"))?;
        let mut of_each = self.of_each.lock().unwrap_or_else(PoisonError::into_inner);
        let count = of_each.entry(target.to_owned()).or_default();
        if *count >= MAX_OF_ONE {
            return Err(format!("{MAX_OF_ONE} probes of this target are under way or waiting here already"));
        }
        *count += 1;
        Ok(Demanded { _place: place, of_each: Arc::clone(&self.of_each), target: target.to_owned() })
    }
}

impl Drop for Demanded {
    fn drop(&mut self) {
        let mut of_each = self.of_each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of_each.get_mut(&self.target) {
            *count -= 1;
            if *count == 0 {
                of_each.remove(&self.target);
            }
        }
    }
}

/// At once.
const MAX_PROBES: usize = 128;
/// Of one target, those that wait for its turn included: as many as hold up its own probes by less than the usual interval.
const MAX_OF_ONE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_of_each_target_and_no_trace_of_them() {
        let demand = Demand::default();
        let of_one: Vec<_> = (0..MAX_OF_ONE).map(|_| demand.admit("one").unwrap()).collect();
        assert!(demand.admit("one").unwrap_err().contains("of this target"));
        let others: Vec<_> =
            (MAX_OF_ONE..MAX_PROBES).map(|number| demand.admit(&format!("t{number}")).unwrap()).collect();
        assert!(demand.admit("another").unwrap_err().contains("128"));
        drop((of_one, others));
        assert!(demand.of_each.lock().unwrap().is_empty());
        assert!(demand.admit("one").is_ok());
    }
}
