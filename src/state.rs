//! What is known of every target, and of the exporter itself. The only data that threads share.
//! Nothing here knows who writes and who reads.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{sync, time::Instant};

use crate::{
    diagnosis::Verdict,
    examine::{Report, judge_again},
    history::History,
    memory::Memory,
    observation::{Conversation, Fault, LocalReason, Observation},
    target::{Address, Target},
    wire::negotiation::{FailureCode, Protocols},
};

/// What is known of one target. A value: who holds it sees no change of it.
#[derive(Debug, Clone)]
pub struct TargetState {
    /// The target as it is configured now.
    pub target: Arc<Target>,
    /// What is remembered between probes.
    pub memory: Memory,
    /// The last report; `None` before the first probe.
    pub last: Option<Report>,
    /// Whether a client could get in. Faults of our own machine leave it as it was.
    pub up: Option<bool>,
    /// Whether the TCP connection was made. Faults of our own machine leave it as it was.
    pub reachable: Option<bool>,
    /// Probes run, by verdict, in the order of `Verdict::ALL`.
    pub tally: [u64; Verdict::ALL.len()],
    /// Probes in a row that were not healthy.
    pub consecutive_failures: u64,
    /// Handshakes of healthy probes, in seconds.
    pub handshakes: Histogram<{ HANDSHAKE_BUCKETS.len() }>,
    /// What became of the last probes, and what changed.
    pub history: History,
}

/// The right to connect to one target, and when the last connection ended.
///
/// INVARIANT: it is held as long as a connection to the target is open, so connections to one target never overlap.
pub type Turn = Arc<sync::Mutex<Option<Instant>>>;

/// What is known of all targets.
#[derive(Debug, Default)]
pub struct States {
    entries: Mutex<BTreeMap<String, Entry>>,
    /// The turns of targets that left while somebody held them.
    left: Mutex<HashMap<Endpoint, Turn>>,
    /// What an earlier process knew of targets that this one was not told of yet.
    absent: Mutex<BTreeMap<String, Absent>>,
}

/// What an earlier process knew of a target.
#[derive(Debug, Clone)]
pub struct Absent {
    /// What it knew.
    pub state: Arc<TargetState>,
    /// When the target was last configured.
    pub known: SystemTime,
}

/// A name, and what it stands for.
type Endpoint = (String, Address);

#[derive(Debug, Clone)]
struct Entry {
    state: Arc<TargetState>,
    turn: Turn,
    /// Grows with every admission.
    admitted: u64,
}

/// A histogram with fixed upper bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Histogram<const N: usize> {
    bounds: &'static [f64; N],
    counts: [u64; N],
    beyond: u64,
    sum: f64,
}

/// What the exporter knows of itself.
#[derive(Debug)]
pub struct Vitals {
    /// Probes under way.
    pub in_flight: AtomicUsize,
    /// Probes that had to wait for a place.
    pub deferred: AtomicU64,
    /// Tasks alive on the exporter's runtimes, when they were last counted.
    pub tasks: AtomicUsize,
    local_failures: [AtomicU64; LocalReason::ALL.len()],
    start_delays: Mutex<Histogram<{ START_DELAY_BUCKETS.len() }>>,
    reload: Mutex<Reload>,
    save: Mutex<Option<Save>>,
    access: Mutex<Option<bool>>,
    discovery: Mutex<Vec<SourceVitals>>,
}

/// What is counted of one source of targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceVitals {
    /// The value of the label `source`.
    pub source: String,
    /// How many targets it gave, of all shards; `None` before it could be read once.
    pub targets: Option<usize>,
    /// How often it could not be read.
    pub failures: u64,
    /// Entries that gave no target, by the value of the label `reason`.
    pub rejected: Vec<(&'static str, u64)>,
}

/// How the last reload of the configuration went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// Whether it succeeded.
    pub successful: bool,
    /// When one last succeeded.
    pub last_success: SystemTime,
}

/// How it last went to write the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Save {
    /// Whether it succeeded.
    pub successful: bool,
    /// When one last succeeded.
    pub last_success: Option<SystemTime>,
}

impl TargetState {
    /// A target that was not probed yet.
    #[must_use]
    pub fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            memory: Memory::default(),
            last: None,
            up: None,
            reachable: None,
            tally: [0; Verdict::ALL.len()],
            consecutive_failures: 0,
            handshakes: Histogram::new(&HANDSHAKE_BUCKETS),
            history: History::default(),
        }
    }

    /// The state after one more report.
    #[must_use]
    pub fn absorb(mut self, report: Report, memory: Memory) -> Self {
        self.take_in(report, memory);
        self
    }

    fn take_in(&mut self, report: Report, memory: Memory) {
        let verdict = report.diagnosis.verdict;
        let healthy = verdict == Verdict::Healthy;
        if let Some(count) = self.tally.get_mut(verdict as usize) {
            *count += 1;
        }
        self.consecutive_failures = if healthy { 0 } else { self.consecutive_failures + 1 };
        if verdict != Verdict::ExporterFault {
            self.up = Some(healthy);
            self.reachable = Some(report.observation.is_reachable());
        }
        if let (true, Some(took)) = (healthy, report.observation.handshake()) {
            self.handshakes.record(took);
        }
        self.history.see(&report, &memory);
        self.memory = memory;
        self.last = Some(report);
    }

    /// The last verdict.
    #[must_use]
    pub fn last_verdict(&self) -> Option<Verdict> {
        self.last.as_ref().map(|report| report.diagnosis.verdict)
    }

    /// The code with which the server refused the ordinary offer: in the last probe, or in an earlier one where that is why
    /// the last one asked for Standard RDP Security alone, and got it.
    #[must_use]
    pub fn failure_code(&self) -> Option<FailureCode> {
        let seen = &self.last.as_ref()?.observation;
        let still_holds = |deciding: &Conversation| deciding.offered == Protocols::RDP && deciding.leads_in();
        let remembered = seen.deciding().filter(|deciding| still_holds(deciding)).and(self.memory.refused_with());
        seen.failure_code().or(remembered)
    }

    /// Probes run.
    #[must_use]
    pub fn probes(&self) -> u64 {
        self.tally.iter().sum()
    }

    /// Becomes the same target under new settings, judged anew by them.
    fn reconfigure(&mut self, target: Arc<Target>) {
        if self.target.server_name != target.server_name {
            self.memory.certificates.forget_name_match();
        }
        self.target = target;
        self.judge_again();
    }

    /// What was learnt of `target`, as far as it holds for this one.
    fn own(&self, mut memory: Memory, target: &Target) -> Memory {
        if self.target.server_name != target.server_name {
            memory.certificates.forget_name_match();
        }
        memory
    }

    fn judge_again(&mut self) {
        self.last = self.last.take().map(|report| judge_again(report, &self.target, &self.memory));
    }
}

impl States {
    /// Makes `targets` the ones that are known. What is known of the same endpoint under the same name is kept; of one that
    /// left and comes back while somebody is connected to it, the turn.
    pub fn replace(&self, targets: &[Arc<Target>]) {
        let mut entries = self.lock();
        let mut absent = self.lock_absent();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *entries);
        for target in targets {
            let earlier = absent.remove(&target.name).map(|absent| Entry::from(absent.state));
            let known = before.remove(&target.name).or(earlier);
            let (known, other) = match known {
                Some(entry) if entry.state.target.is_same_endpoint(target) => (Some(entry), None),
                other => (None, other),
            };
            let mut entry = Entry::new(target, known);
            if let Some(turn) = left.remove(&endpoint(target)) {
                entry.turn = turn;
            }
            left.extend(other.and_then(Entry::held_turn));
            entries.insert(target.name.clone(), entry);
        }
        // From before the last change there may be some that nobody holds any more.
        left.retain(|_, turn| Arc::strong_count(turn) > 1);
        left.extend(before.into_values().filter_map(Entry::held_turn));
    }

    /// Takes what an earlier process knew. It comes into force with the target that it is of.
    pub fn restore(&self, states: Vec<Absent>) {
        let named = states.into_iter().map(|absent| (absent.state.target.name.clone(), absent));
        self.lock_absent().extend(named);
    }

    /// What an earlier process knew of targets that this one was not told of yet.
    #[must_use]
    pub fn absent(&self) -> Vec<Absent> {
        self.lock_absent().values().cloned().collect()
    }

    /// Makes `target` known beside the others, of whom at most `limit` are kept: who was asked for longest ago leaves, but
    /// one that is under way always stays.
    pub fn admit(&self, target: &Arc<Target>, limit: usize) {
        let mut entries = self.lock();
        let known = entries.remove(&target.name).filter(|entry| entry.state.target.is_same_endpoint(target));
        if entries.len() >= limit {
            let idle = entries.iter().filter(|(_, entry)| Arc::strong_count(&entry.turn) == 1);
            if let Some(name) = idle.min_by_key(|(_, entry)| entry.admitted).map(|(name, _)| name.clone()) {
                entries.remove(&name);
            }
        }
        let last = entries.values().map(|entry| entry.admitted).max().unwrap_or(0);
        let entry = Entry { admitted: last + 1, ..Entry::new(target, known) };
        entries.insert(target.name.clone(), entry);
    }

    /// Every target's state, by name.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<TargetState>> {
        self.lock().values().map(|entry| Arc::clone(&entry.state)).collect()
    }

    /// One target's state and the right to connect to it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(Arc<TargetState>, Turn)> {
        self.lock().get(name).map(|entry| (Arc::clone(&entry.state), Arc::clone(&entry.turn)))
    }

    /// Takes a report in; the verdict before and the state after it, or `None` where the target is gone by now.
    pub fn absorb(
        &self,
        target: &Target,
        report: Report,
        memory: Memory,
    ) -> Option<(Option<Verdict>, Arc<TargetState>)> {
        let mut before = None;
        // It may have been configured anew while it was probed.
        let after = self.change(target, |state| {
            before = state.last_verdict();
            let is_the_same = std::ptr::eq(Arc::as_ptr(&state.target), target);
            let memory = state.own(memory, target);
            let report = if is_the_same { report } else { judge_again(report, &state.target, &memory) };
            state.take_in(report, memory);
        })?;
        Some((before, after))
    }

    /// Takes in what was learnt outside the schedule, by a survey or by `/probe`, and judges the last report by it.
    ///
    /// The state after it, or `None` where the target is gone by now.
    pub fn remember(&self, target: &Target, memory: Memory) -> Option<Arc<TargetState>> {
        self.change(target, |state| {
            state.memory = state.own(memory, target);
            state.judge_again();
        })
    }

    /// Begins a survey of `target` from what a probe saw of it; whether there is anything to ask.
    pub fn begin_survey(&self, target: &Target, seen: &Observation) -> bool {
        let known = self.find(&target.name).map(|(state, _)| state);
        let Some(state) = known.filter(|state| state.target.is_same_endpoint(target)) else { return false };
        let mut memory = state.memory.clone();
        let own = memory.certificates.last.as_ref().map(|seen| (seen.address, seen.facts.sha256.clone()));
        memory.survey.begin(seen, memory.refused_with(), own);
        let has_begun = memory.survey.is_under_way();
        self.remember(&state.target, memory);
        has_begun
    }

    /// Takes back what was judged by other roots than those of `fingerprint`; the next probe judges anew.
    pub fn forget_trust(&self, fingerprint: [u8; 32]) {
        let (mut entries, mut absent) = (self.lock(), self.lock_absent());
        let states = entries.values_mut().map(|entry| &mut entry.state);
        for state in states.chain(absent.values_mut().map(|absent| &mut absent.state)) {
            if state.memory.certificates.was_judged_otherwise(fingerprint) {
                let state = Arc::make_mut(state);
                state.memory.certificates.forget_trust();
                state.judge_again();
            }
        }
    }

    fn change(&self, target: &Target, with: impl FnOnce(&mut TargetState)) -> Option<Arc<TargetState>> {
        let mut entries = self.lock();
        let entry = entries.get_mut(&target.name).filter(|entry| entry.state.target.is_same_endpoint(target))?;
        with(entry.state());
        Some(Arc::clone(&entry.state))
    }

    fn lock_absent(&self) -> MutexGuard<'_, BTreeMap<String, Absent>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn endpoint(target: &Target) -> Endpoint {
    (target.name.clone(), target.address.clone())
}

impl From<Arc<TargetState>> for Entry {
    fn from(state: Arc<TargetState>) -> Self {
        Self { state, turn: Turn::default(), admitted: 0 }
    }
}

impl Entry {
    /// The turn of a target that leaves, where somebody holds it or waits for it.
    fn held_turn(self) -> Option<(Endpoint, Turn)> {
        (Arc::strong_count(&self.turn) > 1).then(|| (endpoint(&self.state.target), self.turn))
    }

    /// The state, to be changed. It is copied only where somebody looks at it just now.
    fn state(&mut self) -> &mut TargetState {
        Arc::make_mut(&mut self.state)
    }

    /// An entry for `target` that goes on from what is `known` of the same endpoint.
    fn new(target: &Arc<Target>, known: Option<Self>) -> Self {
        let Some(mut entry) = known else { return Self::from(Arc::new(TargetState::new(Arc::clone(target)))) };
        let state = entry.state();
        match *state.target == **target {
            // Though nothing changed, the configuration of before need not be kept.
            true => state.target = Arc::clone(target),
            false => state.reconfigure(Arc::clone(target)),
        }
        entry
    }
}

impl<const N: usize> Histogram<N> {
    /// An empty histogram.
    #[must_use]
    pub const fn new(bounds: &'static [f64; N]) -> Self {
        Self { bounds, counts: [0; N], beyond: 0, sum: 0.0 }
    }

    /// Counts one more.
    pub fn record(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.sum += seconds;
        let place = self.bounds.iter().zip(&mut self.counts).find(|(bound, _)| seconds <= **bound);
        *place.map_or(&mut self.beyond, |(_, count)| count) += 1;
    }

    /// Upper bounds with their cumulative counts, without the last one, which is `count`.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bounds.iter().zip(&self.counts).scan(0, |sum, (bound, count)| {
            *sum += *count;
            Some((*bound, *sum))
        })
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().chain([&self.beyond]).sum()
    }

    /// How many lie below each bound and above the one before, those beyond the last bound at the end.
    #[must_use]
    pub fn counts(&self) -> Vec<u32> {
        let counts = self.counts.iter().chain([&self.beyond]);
        counts.map(|count| u32::try_from(*count).unwrap_or(u32::MAX)).collect()
    }

    /// Goes on from `counts` and `sum`, where they are of as many bounds.
    #[must_use]
    pub fn with(mut self, counts: &[u32], sum: f64) -> Self {
        if let Some((beyond, counts)) = counts.split_last()
            && counts.len() == N
        {
            for (count, known) in self.counts.iter_mut().zip(counts) {
                *count = u64::from(*known);
            }
            (self.beyond, self.sum) = (u64::from(*beyond), sum);
        }
        self
    }

    /// Their sum, in seconds.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        self.sum
    }
}

impl Vitals {
    /// A fresh start whose configuration was loaded at `now`.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            deferred: AtomicU64::new(0),
            tasks: AtomicUsize::new(0),
            local_failures: Default::default(),
            start_delays: Mutex::new(Histogram::new(&START_DELAY_BUCKETS)),
            reload: Mutex::new(Reload { successful: true, last_success: now }),
            save: Mutex::default(),
            access: Mutex::default(),
            discovery: Mutex::default(),
        }
    }

    /// Counts a report's faults of our own machine.
    pub fn count_local_failure(&self, report: &Report) {
        if let Some(Fault::Local(fault)) = report.observation.stop().map(|stop| &stop.fault)
            && let Some(count) = self.local_failures.get(fault.reason as usize)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Faults of our own machine, by reason.
    pub fn local_failures(&self) -> impl Iterator<Item = (LocalReason, u64)> + '_ {
        LocalReason::ALL.into_iter().zip(self.local_failures.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Counts how late a probe began.
    pub fn record_start_delay(&self, delay: Duration) {
        self.start_delays.lock().unwrap_or_else(PoisonError::into_inner).record(delay);
    }

    /// How late probes began.
    #[must_use]
    pub fn start_delays(&self) -> Histogram<{ START_DELAY_BUCKETS.len() }> {
        *self.start_delays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a reload went.
    pub fn record_reload(&self, successful: bool, now: SystemTime) {
        let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        reload.successful = successful;
        if successful {
            reload.last_success = now;
        }
    }

    /// How the last reload went.
    #[must_use]
    pub fn reload(&self) -> Reload {
        *self.reload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how it went to write the state file.
    pub fn record_save(&self, successful: bool, now: SystemTime) {
        let mut save = self.save.lock().unwrap_or_else(PoisonError::into_inner);
        let last_success = if successful { Some(now) } else { save.and_then(|save| save.last_success) };
        *save = Some(Save { successful, last_success });
    }

    /// How it last went to write the state file; `None` where that was not tried.
    #[must_use]
    pub fn save(&self) -> Option<Save> {
        *self.save.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the web configuration, where there is one, is in force as its files are.
    pub fn record_access(&self, is_current: Option<bool>) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = is_current;
    }

    /// Whether the web configuration, where there is one, is in force as its files are.
    #[must_use]
    pub fn access(&self) -> Option<bool> {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is counted of the sources of targets.
    pub fn record_discovery(&self, sources: Vec<SourceVitals>) {
        *self.discovery.lock().unwrap_or_else(PoisonError::into_inner) = sources;
    }

    /// What is counted of each source of targets.
    #[must_use]
    pub fn discovery(&self) -> Vec<SourceVitals> {
        self.discovery.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Upper bounds of the handshake histogram, in seconds.
pub const HANDSHAKE_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the start delay histogram, in seconds.
pub const START_DELAY_BUCKETS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
