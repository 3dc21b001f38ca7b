//! When each target is probed, and how many at once.
//! A task per running probe, not one per target; knows nothing of HTTP and of the names of metrics.

mod agenda;
mod surveys;

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    diagnosis::Verdict,
    laboratory::{Laboratory, Terms},
    observation::{Fault, Observation},
    state::TargetState,
    target::Target,
};
pub use agenda::{Agenda, Start};
use surveys::Surveys;

/// What the schedule is told.
#[derive(Debug)]
pub enum Order {
    /// Probe these from now on.
    Replace(Vec<Arc<Target>>),
    /// Probe at most so many at once from now on.
    Limit(usize),
}

/// Probes what it is told to until `stop` turns true; then lets what is under way end, for a short while.
pub async fn run(
    laboratory: Arc<Laboratory>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    mut stop: watch::Receiver<bool>,
) {
    let mut schedule = Schedule::new(laboratory);
    // Both are kept over all turns of the loop, as to wait anew for them each time would be work for each probe.
    let mut stopped = pin!(stop.wait_for(|stop| *stop));
    let mut alarm = pin!(sleep_until(Instant::now()));
    loop {
        let due = schedule.agenda.next_due();
        if let Some(due) = due.filter(|due| *due != alarm.deadline()) {
            alarm.as_mut().reset(due);
        }
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(order) = orders.recv() => schedule.obey(order),
            Some(ended) = schedule.running.join_next_with_id() => schedule.finish(ended),
            Some(ended) = schedule.surveying.join_next() => {
                schedule.finish_survey(ended.inspect_err(log_panic).unwrap_or(true));
            }
            () = &mut alarm, if due.is_some() => {}
        }
        schedule.start();
    }
    let Schedule { mut running, .. } = schedule;
    let _ = timeout(STOPPING_TIME, async { while running.join_next().await.is_some() {} }).await;
}

struct Schedule {
    laboratory: Arc<Laboratory>,
    agenda: Agenda,
    limit: usize,
    running: JoinSet<Outcome>,
    starts: HashMap<task::Id, Start>,
    surveys: Surveys,
    /// At most one at a time.
    surveying: JoinSet<bool>,
    surveyed: Option<String>,
}

impl Schedule {
    fn new(laboratory: Arc<Laboratory>) -> Self {
        Self {
            laboratory,
            agenda: Agenda::default(),
            limit: usize::MAX,
            running: JoinSet::new(),
            starts: HashMap::new(),
            surveys: Surveys::default(),
            surveying: JoinSet::new(),
            surveyed: None,
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Replace(targets) => self.agenda.replace(&targets, Instant::now()),
            Order::Limit(limit) => self.limit = limit,
        }
    }

    /// Starts what is due, probes first, as far as there is room.
    fn start(&mut self) {
        let waited = self.agenda.ready_count();
        self.agenda.advance(Instant::now());
        let arrived = self.agenda.ready_count().saturating_sub(waited);
        let room = self.limit.saturating_sub(self.surveying.len()).max(1);
        while self.running.len() < room
            && let Some(start) = self.agenda.take_ready()
        {
            // Boxed, as a task is moved several times, and a probe is large.
            let task = self.running.spawn(Box::pin(probe(Arc::clone(&self.laboratory), start.clone())));
            self.starts.insert(task.id(), start);
        }
        let deferred = self.agenda.ready_count().min(arrived);
        self.laboratory.vitals.deferred.fetch_add(deferred as u64, Ordering::Relaxed);
    }

    fn finish(&mut self, ended: Result<(task::Id, Outcome), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let outcome = ended.map(|(_, outcome)| outcome).inspect_err(log_panic).unwrap_or_default();
        let Some(start) = self.starts.remove(&id) else { return };
        self.agenda.finish(&start, outcome.answered, outcome.changed, Instant::now());
        let Some((state, _)) = self.laboratory.states.find(&start.name) else {
            return self.surveys.forget(&start.name);
        };
        if outcome.healthy {
            self.surveys.consider(&state.target, Instant::now());
        }
        self.start_survey(&start, &state);
    }

    /// Surveys a target whose survey is due, right after its own probe, if that read a whole answer: then its next probe is
    /// far away. No question is begun that might outlast the time until then; the survey goes on after the next probe.
    fn start_survey(&mut self, start: &Start, state: &TargetState) {
        let is_possible = self.surveyed.is_none() && self.running.len() < self.limit;
        if !is_possible || !self.surveys.is_due(&start.name, Instant::now()) {
            return;
        }
        let seen = state.last.as_ref().map(|report| report.observation.clone()).filter(Observation::is_confirmed);
        let (Some(seen), Some(next)) = (seen, self.agenda.next_regular(start)) else { return };
        let settings = &state.target.settings;
        let until = next - settings.timeout.min(settings.interval / 2);
        let (laboratory, name) = (Arc::clone(&self.laboratory), start.name.clone());
        self.surveyed = Some(name.clone());
        self.surveying.spawn(async move { laboratory.survey_until(&laboratory.states, &name, &seen, until).await });
    }

    fn finish_survey(&mut self, is_complete: bool) {
        let Some(name) = self.surveyed.take() else { return };
        let Some((state, _)) = self.laboratory.states.find(&name) else { return self.surveys.forget(&name) };
        let (settings, survey) = (&state.target.settings, &state.memory.survey);
        let pause = match () {
            () if settings.survey_interval.is_zero() => return self.surveys.forget(&name),
            () if !is_complete => Duration::ZERO,
            () if survey.was_cut_short => settings.survey_interval.min(settings.interval * 10),
            () => settings.survey_interval,
        };
        self.surveys.again(name, Instant::now() + pause);
    }
}

/// One target must not take the others along, also where our own code is at fault.
fn log_panic(error: &JoinError) {
    tracing::error!(%error, "A probe ended in a fault of the exporter's own; please report it");
}

#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    /// It was not silent.
    answered: bool,
    /// The verdict is another one than before.
    changed: bool,
    /// A client could get in.
    healthy: bool,
}

async fn probe(laboratory: Arc<Laboratory>, start: Start) -> Outcome {
    laboratory.vitals.record_start_delay(start.due.elapsed());
    let Some(probed) = laboratory.probe(&start.name, Terms::ORDINARY).await else { return Outcome::default() };
    let Some(report) = &probed.state.last else { return Outcome::default() };
    let answered = report.observation.stop().is_none_or(|stop| stop.fault != Fault::Timeout);
    let healthy = report.diagnosis.verdict == Verdict::Healthy;
    Outcome { answered, changed: probed.changed_from.is_some(), healthy }
}

/// How long probes under way may take to end once the exporter stops.
const STOPPING_TIME: Duration = Duration::from_secs(2);
