//! A laboratory around one scripted endpoint: probes and surveys as the schedule makes them, one after another.

use std::{sync::Arc, thread, time::Duration};

use rdp_exporter::{
    certificate::trust::Roots,
    diagnosis::{Finding, Verdict},
    examine::Report,
    laboratory::{Laboratory, Terms},
    memory::Memory,
    metrics,
    observation::{Conversation, Observation},
    probe::Question,
    state::{TargetState, Vitals},
    target::{Settings, Target},
};
use tokio::runtime::Runtime;

use crate::{
    endpoint::{Endpoint, Script, Seen},
    sample,
    watch::Watch,
};

pub(crate) struct Bench {
    pub(crate) endpoint: Endpoint,
    pub(crate) target: Arc<Target>,
    pub(crate) laboratory: Laboratory,
    pub(crate) watch: Watch,
    runtime: Runtime,
}

impl Bench {
    /// The nth connection gets the nth script, those beyond the last one the last one.
    pub(crate) fn new(scripts: Vec<Script>, settings: Settings) -> Self {
        let endpoint = Endpoint::start(scripts);
        let target = Arc::new(sample::at(endpoint.address, settings));
        let roots = Arc::new(Roots::new(Vec::new(), Vec::new()));
        let laboratory = Laboratory::new(roots, Vitals::new(sample::noon()));
        laboratory.states.replace(&[Arc::clone(&target)]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { endpoint, target, laboratory, watch: Watch::begin(), runtime }
    }

    /// One probe; what it saw is taken in.
    pub(crate) fn probe(&self) -> Report {
        let states = &self.laboratory.states;
        let examined = self.runtime.block_on(self.laboratory.examine(states, &self.target.name, Terms::ORDINARY));
        let examined = examined.unwrap();
        states.absorb(&self.target, examined.report.clone(), examined.memory.clone()).unwrap();
        examined.report
    }

    /// A whole survey after a probe that saw this.
    pub(crate) fn survey(&self, seen: &Observation) {
        let laboratory = &self.laboratory;
        self.runtime.block_on(laboratory.survey_all(&laboratory.states, &self.target, seen, &Terms::ORDINARY));
    }

    /// The same, by a caller who waits for so long.
    pub(crate) fn survey_within(&self, seen: &Observation, time: Duration) {
        let laboratory = &self.laboratory;
        let terms = Terms { deadline: Some(tokio::time::Instant::now() + time), ..Terms::ORDINARY };
        self.runtime.block_on(laboratory.survey_all(&laboratory.states, &self.target, seen, &terms));
    }

    /// One more question of the survey; whether more are to come.
    pub(crate) fn survey_on(&self) -> bool {
        let laboratory = &self.laboratory;
        self.runtime.block_on(laboratory.survey(&laboratory.states, &self.target.name, &Terms::ORDINARY))
    }

    /// One question, past the laboratory.
    pub(crate) fn ask(&self, question: Question) -> Conversation {
        self.runtime.block_on(self.laboratory.prober.ask(
            &self.target,
            question,
            self.endpoint.address,
            self.target.settings.timeout,
        ))
    }

    pub(crate) fn state(&self) -> Arc<TargetState> {
        self.laboratory.states.find(&self.target.name).unwrap().0
    }

    pub(crate) fn memory(&self) -> Memory {
        self.state().memory.clone()
    }

    pub(crate) fn findings(&self) -> Vec<Finding> {
        let state = self.state();
        let found = &state.last.as_ref().unwrap().diagnosis.findings;
        found.iter().map(|(finding, _)| *finding).collect()
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.state().last_verdict()
    }

    /// What `/probe` would show, without comments.
    pub(crate) fn metrics(&self) -> Vec<String> {
        let mut out = Vec::new();
        let state = self.state();
        metrics::write_probe(&state, true, state.last.as_ref().unwrap().observation.ended, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    /// The one value of a family, if it is shown.
    pub(crate) fn metric(&self, family: &str) -> Option<f64> {
        let line = self.metrics().into_iter().find(|line| line.starts_with(&format!("{family}{{")))?;
        line.rsplit(' ').next().unwrap().parse().ok()
    }

    /// Ends; gives what was seen of each connection, which were never too close.
    pub(crate) fn finish(self) -> Vec<Seen> {
        let seen = self.endpoint.finish();
        check_gaps(&seen, &self.watch);
        seen
    }
}

/// No connection begins earlier than 200 ms after the end of the one before, as far as the endpoint can tell: on a busy
/// machine it notices an end late.
pub(crate) fn check_gaps(seen: &[Seen], watch: &Watch) {
    let late = NOTICED_LATE + watch.stood_still();
    for pair in seen.windows(2) {
        let gap = pair[1].accepted.saturating_duration_since(pair[0].ended);
        assert!(gap + late >= Duration::from_millis(200), "{gap:?} apart: {seen:#?}");
    }
}

const NOTICED_LATE: Duration = Duration::from_millis(40);

/// Checks rows at once: nearly all of their time is waiting.
pub(crate) fn at_once<T: Send>(rows: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        let check = &check;
        let rows: Vec<_> = rows.into_iter().map(|row| scope.spawn(move || check(row))).collect();
        let failed = rows.into_iter().filter_map(|row| row.join().err()).count();
        assert_eq!(failed, 0, "rows that failed; see above");
    });
}
