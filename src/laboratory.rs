//! Where examinations are made: what they share, and whose turn it is.
//! Used by the schedule, `/probe` and the command alike; knows none of them.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    certificate::trust::Roots,
    diagnosis::Verdict,
    examine::{Report, examine, survey_step},
    memory::Memory,
    observation::Observation,
    probe::{Companions, PAUSE, Prober},
    state::{States, TargetState, Vitals},
    target::{Reach, Settings, Target},
    text::printable,
};

/// What a probe needs beside its target; shared by the schedule and `/probe`.
#[derive(Debug)]
pub struct Laboratory {
    /// Runs probes.
    pub prober: Prober,
    /// What is known of the configured targets.
    pub states: States,
    /// What is known of those that `/probe` was asked for by address.
    pub passers_by: States,
    /// What is known of the exporter.
    pub vitals: Vitals,
    roots: RwLock<Arc<Roots>>,
}

/// On which terms an examination is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Where it may connect to.
    pub reach: Reach,
    /// Until when it must have ended, the wait for its turn included. It is not begun where that leaves too little.
    pub deadline: Option<Instant>,
    /// Since when it is due, where it is counted how late it begins.
    pub due: Option<Instant>,
    /// Whether the companion ports of a silent host are tried.
    pub companions: Companions,
    /// How it is probed and judged, where not as it is known: others may want it otherwise at the same time.
    pub target: Option<Arc<Target>>,
}

impl Terms {
    /// As the target is configured.
    pub const ORDINARY: Self =
        Self { reach: Reach::Anywhere, deadline: None, due: None, companions: Companions::WhenDue, target: None };
}

/// An examination whose result was not taken in yet.
#[derive(Debug)]
pub struct Examined {
    /// What was examined, as it was configured or wanted then.
    pub target: Arc<Target>,
    /// What was found.
    pub report: Report,
    /// What is remembered from now on.
    pub memory: Memory,
    /// Nobody else connects before the memory is in its place.
    pub turn: HeldTurn,
}

/// The right to connect, taken.
pub type HeldTurn = OwnedMutexGuard<Option<Instant>>;

/// What came of a probe of a configured target.
#[derive(Debug, Clone)]
pub struct Probed {
    /// What is known of the target now.
    pub state: Arc<TargetState>,
    /// The verdict before, where it was another one.
    pub changed_from: Option<Verdict>,
}

impl Laboratory {
    /// A laboratory that knows nothing yet.
    #[must_use]
    pub fn new(roots: Arc<Roots>, vitals: Vitals) -> Self {
        Self {
            prober: Prober::new(),
            states: States::default(),
            passers_by: States::default(),
            vitals,
            roots: RwLock::new(roots),
        }
    }

    /// The roots that certificates are judged by.
    #[must_use]
    pub fn roots(&self) -> Arc<Roots> {
        Arc::clone(&self.roots.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Judges by other roots from now on. What was judged by the former ones is missing until it is judged again.
    pub fn replace_roots(&self, roots: Arc<Roots>) {
        let fingerprint = roots.fingerprint();
        *self.roots.write().unwrap_or_else(PoisonError::into_inner) = roots;
        self.states.forget_trust(fingerprint);
        self.passers_by.forget_trust(fingerprint);
    }

    /// Examines the target of that name in `states` when its turn comes; `None` where it is gone by then, or where its turn
    /// does not come before the deadline.
    pub async fn examine(&self, states: &States, name: &str, terms: Terms) -> Option<Examined> {
        let begin_by = match terms.deadline {
            Some(deadline) => {
                let (known, _) = states.find(name)?;
                let target = terms.target.as_ref().unwrap_or(&known.target);
                Some(latest_begin(deadline, Some(Instant::now()), target.settings.timeout))
            }
            None => None,
        };
        let turn = take_turn(states, name, begin_by).await?;
        self.examine_in_turn(states, (name, turn), terms).await
    }

    async fn examine_in_turn(
        &self,
        states: &States,
        (name, mut turn): (&str, HeldTurn),
        terms: Terms,
    ) -> Option<Examined> {
        let state = find_in_turn(states, name, &turn)?;
        let under_way = UnderWay::count(&self.vitals.in_flight);
        if let Some(due) = terms.due {
            self.vitals.record_start_delay(due.elapsed());
        }
        let wanted = terms.target.unwrap_or_else(|| Arc::clone(&state.target));
        let target = hurried(&wanted, terms.deadline);
        let is_hurried = !Arc::ptr_eq(&target, &wanted);
        let how = (terms.reach, terms.companions);
        let (report, memory) = examine(&self.prober, (&target, is_hurried), &state.memory, how, &self.roots()).await;
        drop(under_way);
        *turn = Some(Instant::now());
        self.vitals.count_local_failure(&report);
        Some(Examined { target: wanted, report, memory, turn })
    }

    /// Probes the configured target of that name when its turn comes, takes the report in and logs it. `None` where the
    /// target is gone by then, or where its turn does not come in time.
    pub async fn probe(&self, name: &str, terms: Terms) -> Option<Probed> {
        let examined = self.examine(&self.states, name, terms).await?;
        self.take_in(examined)
    }

    /// The same, but a probe that was under way already is joined: what it found is new enough.
    pub async fn probe_or_join(&self, name: &str, deadline: Instant) -> Option<Probed> {
        let (before, _) = self.states.find(name)?;
        let turn = take_turn(&self.states, name, Some(deadline)).await?;
        let state = find_in_turn(&self.states, name, &turn)?;
        if state.probes() > before.probes() {
            return Some(Probed { state, changed_from: None });
        }
        let examined = self.examine_in_turn(&self.states, (name, turn), Terms::ORDINARY).await?;
        self.take_in(examined)
    }

    /// Waits for a probe that is under way, if there is one; what is known of the target then.
    pub async fn join(&self, name: &str, deadline: Instant) -> Option<Probed> {
        let turn = take_turn(&self.states, name, Some(deadline)).await?;
        Some(Probed { state: find_in_turn(&self.states, name, &turn)?, changed_from: None })
    }

    fn take_in(&self, examined: Examined) -> Option<Probed> {
        let Examined { target, report, memory, turn: _turn } = examined;
        let (before, state) = self.states.absorb(&target, report, memory)?;
        self.forget_former_roots(&self.states, &state);
        let report = state.last.as_ref()?;
        let changed_from = before.filter(|before| *before != report.diagnosis.verdict);
        log(&target, report, changed_from);
        Some(Probed { state, changed_from })
    }

    /// Begins a survey of `target` from what a probe saw of it, and asks all its questions.
    pub async fn survey_all(&self, states: &States, target: &Target, seen: &Observation, terms: &Terms) {
        if begin_survey(states, target, seen, terms.deadline).await {
            while self.survey(states, &target.name, terms).await {}
        }
    }

    /// The same, but begins no question after `until`. Whether all were asked; what is left is asked at the next call.
    pub async fn survey_until(&self, states: &States, target: &Target, seen: &Observation, until: Instant) -> bool {
        if !begin_survey(states, target, seen, Some(until)).await {
            return false;
        }
        while Instant::now() < until {
            if !self.survey(states, &target.name, &Terms::ORDINARY).await {
                return true;
            }
        }
        false
    }

    /// Asks one question of the survey of that target, if one is under way, when its turn comes. Whether more are to
    /// come.
    pub async fn survey(&self, states: &States, name: &str, terms: &Terms) -> bool {
        let Some((known, _)) = states.find(name) else { return false };
        let timeout = terms.target.as_ref().unwrap_or(&known.target).settings.timeout;
        let begin_by = terms.deadline.map(|deadline| latest_begin(deadline, None, timeout));
        let Some(mut turn) = take_turn(states, name, begin_by).await else { return false };
        let Some(state) = find_in_turn(states, name, &turn) else { return false };
        let target = terms.target.as_ref().unwrap_or(&state.target);
        let Some(memory) = survey_step(&self.prober, target, &state.memory, terms.deadline).await else { return false };
        *turn = Some(Instant::now());
        let more = memory.survey.is_under_way();
        self.remember(states, &state.target, memory);
        more
    }

    /// Takes in what was learnt of `target` outside the schedule.
    pub fn remember(&self, states: &States, target: &Target, memory: Memory) {
        if let Some(state) = states.remember(target, memory) {
            self.forget_former_roots(states, &state);
        }
    }

    /// The roots may have been replaced while `state` was learnt. That is looked at once it is in its place, as whoever
    /// replaces them looks at what is in its place by then.
    fn forget_former_roots(&self, states: &States, state: &TargetState) {
        let roots = self.roots().fingerprint();
        if state.memory.certificates.was_judged_otherwise(roots) {
            states.forget_trust(roots);
        }
    }
}

/// Each probe at debug; a change of verdict once, at info.
fn log(target: &Target, report: &Report, before: Option<Verdict>) {
    let (verdict, duration) = (report.diagnosis.verdict, report.observation.duration);
    // Fields are made only where the level is logged.
    tracing::debug!(target = printable(&target.name), %verdict, ?duration, evidence = report.evidence(), "Probed");
    if let Some(before) = before {
        tracing::info!(target = printable(&target.name), %before, %verdict, evidence = report.evidence(), "Verdict changed");
    }
}

/// Begins a survey while nobody else changes what is remembered; whether the turn for that came in time. Meanwhile, or since
/// `target` was probed, its name may have become another endpoint's, of which nothing was seen.
async fn begin_survey(states: &States, target: &Target, seen: &Observation, deadline: Option<Instant>) -> bool {
    let Some(turn) = take_turn(states, &target.name, deadline).await else { return false };
    let is_its_own =
        find_in_turn(states, &target.name, &turn).is_some_and(|state| state.target.is_same_endpoint(target));
    if is_its_own {
        states.begin_survey(target, seen);
    }
    is_its_own
}

/// The right to connect to that target, and the pause since the last connection; `None` where that takes too long.
async fn take_turn(states: &States, name: &str, deadline: Option<Instant>) -> Option<HeldTurn> {
    let (_, turn) = states.find(name)?;
    let taken = async {
        let turn = turn.lock_owned().await;
        if let Some(until) = turn.map(|ended| ended + PAUSE).filter(|until| *until > Instant::now()) {
            sleep_until(until).await;
        }
        turn
    };
    match deadline {
        // A turn that is free is taken however late it is.
        Some(deadline) => timeout_at(deadline, taken).await.ok().filter(|_| Instant::now() <= deadline),
        None => Some(taken.await),
    }
}

/// Until when something must have begun that may take `timeout` and must have ended by `deadline`: with less time an answer
/// on its way would be taken for silence. Whoever left little time when it asked, at `asked`, gets at least half of that.
fn latest_begin(deadline: Instant, asked: Option<Instant>, timeout: Duration) -> Instant {
    let least = LEAST.min(timeout);
    let least = asked.map_or(least, |asked| least.min((deadline - asked) / 2));
    deadline.checked_sub(least).unwrap_or(deadline)
}

/// The state of that target, if `turn` is its turn. While it was waited for, the name may have become another endpoint's,
/// which has a turn of its own.
fn find_in_turn(states: &States, name: &str, turn: &HeldTurn) -> Option<Arc<TargetState>> {
    let (state, own) = states.find(name)?;
    Arc::ptr_eq(&own, OwnedMutexGuard::mutex(turn)).then_some(state)
}

/// The same target with no more time for a probe than until `deadline`.
fn hurried(target: &Arc<Target>, deadline: Option<Instant>) -> Arc<Target> {
    let Some(left) = deadline.map(|deadline| deadline - Instant::now()) else { return Arc::clone(target) };
    if left >= target.settings.timeout {
        return Arc::clone(target);
    }
    let settings = Settings { timeout: left, ..Settings::clone(&target.settings) };
    Arc::new(Target { settings: Arc::new(settings), ..Target::clone(target) })
}

/// Nothing begins with less time, unless whoever asks has no more.
const LEAST: Duration = Duration::from_millis(500);

/// Counts a probe as long as it lives, however it ends.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn count(in_flight: &'a AtomicUsize) -> Self {
        in_flight.fetch_add(1, Ordering::Relaxed);
        Self(in_flight)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
