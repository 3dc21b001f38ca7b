//! Where the endpoints of a crowd wait for one another, so that all of them begin at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

pub(crate) struct Gate {
    /// How long somebody waits at most.
    patience: Duration,
    state: Mutex<State>,
    opening: Condvar,
}

#[derive(Default)]
struct State {
    is_open: bool,
    /// How long each waited that ever came.
    waited: BTreeMap<usize, Duration>,
}

impl Gate {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, state: Mutex::default(), opening: Condvar::new() }
    }

    /// Waits, the first time.
    pub(crate) fn pass(&self, number: usize) {
        let begun = Instant::now();
        let mut state = self.state.lock().unwrap();
        let Entry::Vacant(first) = state.waited.entry(number) else { return };
        first.insert(Duration::ZERO);
        let (mut state, _) = self.opening.wait_timeout_while(state, self.patience, |state| !state.is_open).unwrap();
        state.waited.insert(number, begun.elapsed());
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().is_open = true;
        self.opening.notify_all();
    }

    /// How many ever came.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap().waited.len()
    }

    pub(crate) fn waited(&self, number: usize) -> Duration {
        self.state.lock().unwrap().waited.get(&number).copied().unwrap_or_default()
    }
}
