//! When each target is probed, and how many at once.
//! A task per running probe, not one per target; knows nothing of HTTP and of the names of metrics.

mod agenda;
mod alarm;
mod surveys;

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task,
    time::{Instant, timeout},
};

use crate::{
    diagnosis::Verdict,
    examine::Report,
    laboratory::{Laboratory, Probed, Terms},
    observation::{Fault, Observation},
    state::TargetState,
    target::Target,
};
pub use agenda::{Agenda, Start};
use alarm::Alarm;
use surveys::Surveys;

/// What the schedule is told.
#[derive(Debug)]
pub enum Order {
    /// Probe these from now on.
    Replace(Vec<Arc<Target>>),
    /// Probe at most so many at once from now on.
    Limit(usize),
    /// The verdict of this one changed by a probe that was not the schedule's.
    Confirm(Arc<Target>),
}

/// Probes what it is told to until `stop` turns true; then lets what is under way end, for a short while.
pub async fn run(
    laboratory: Arc<Laboratory>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    mut stop: watch::Receiver<bool>,
) {
    let (ends, mut ended) = mpsc::unbounded_channel();
    let mut schedule = Schedule::new(laboratory, ends);
    let mut alarm = Alarm::new();
    // Kept over all turns of the loop, as to wait anew for it each time would be work for each probe.
    let mut stopped = pin!(stop.wait_for(|stop| *stop));
    loop {
        alarm.set(schedule.agenda.next_due());
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(order) = orders.recv() => schedule.obey(order),
            Some(end) = ended.recv() => schedule.take(end),
            () = alarm.rings() => {}
        }
        schedule.start();
    }
    let Schedule { mut running, .. } = schedule;
    let probes_have_ended = async {
        while running > 0
            && let Some(end) = ended.recv().await
        {
            // A survey goes on after a restart, and is not waited for.
            running -= usize::from(matches!(end, End::Probe(..)));
        }
    };
    let _ = timeout(STOPPING_TIME, probes_have_ended).await;
}

struct Schedule {
    laboratory: Arc<Laboratory>,
    agenda: Agenda,
    limit: usize,
    /// Probes under way.
    running: usize,
    surveys: Surveys,
    /// The target that is being surveyed: at most one at a time.
    surveyed: Option<Arc<Target>>,
    /// Where ends are told of.
    ends: mpsc::UnboundedSender<End>,
}

/// What came to its end.
enum End {
    Probe(Start, Option<Probed>),
    /// Whether all questions were asked.
    Survey(bool),
}

/// Tells of an end, however it comes: also where our own code is at fault, as one target must not take the others along.
struct Ending {
    end: Option<End>,
    ends: mpsc::UnboundedSender<End>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(
                "A probe ended in a fault of the exporter's own, of which standard error has more; please report it"
            );
        }
        // Once the schedule has ended nobody waits for it.
        let _ = self.end.take().map(|end| self.ends.send(end));
    }
}

impl Schedule {
    fn new(laboratory: Arc<Laboratory>, ends: mpsc::UnboundedSender<End>) -> Self {
        Self {
            laboratory,
            agenda: Agenda::default(),
            limit: usize::MAX,
            running: 0,
            surveys: Surveys::default(),
            surveyed: None,
            ends,
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Replace(targets) => {
                self.surveys.keep(&targets);
                self.agenda.replace(&targets, Instant::now());
            }
            Order::Limit(limit) => self.limit = limit,
            Order::Confirm(target) => self.agenda.confirm(&target, Instant::now()),
        }
    }

    /// Starts what is due, probes first, as far as there is room.
    fn start(&mut self) {
        let waited = self.agenda.ready_count();
        self.agenda.advance(Instant::now());
        let arrived = self.agenda.ready_count().saturating_sub(waited);
        let room = self.limit.saturating_sub(usize::from(self.surveyed.is_some())).max(1);
        while self.running < room
            && let Some(start) = self.agenda.take_ready()
        {
            self.running += 1;
            let (laboratory, ends) = (Arc::clone(&self.laboratory), self.ends.clone());
            // Boxed, as a task is moved several times, and a probe is large.
            task::spawn(Box::pin(probe(laboratory, start, ends)));
        }
        let deferred = self.agenda.ready_count().min(arrived);
        self.laboratory.vitals.deferred.fetch_add(deferred as u64, Ordering::Relaxed);
    }

    fn take(&mut self, end: End) {
        match end {
            End::Probe(start, probed) => self.finish(&start, probed.as_ref()),
            End::Survey(is_complete) => self.finish_survey(is_complete),
        }
    }

    fn finish(&mut self, start: &Start, probed: Option<&Probed>) {
        self.running -= 1;
        let report = probed.and_then(|probed| probed.state.last.as_ref());
        let answered = report.is_some_and(answered);
        let changed = probed.is_some_and(|probed| probed.changed_from.is_some());
        self.agenda.finish(start, answered, changed, Instant::now());
        let Some(Probed { state, .. }) = probed else { return };
        if state.last_verdict() == Some(Verdict::Healthy) {
            self.surveys.consider(&state.target, Instant::now());
        }
        self.start_survey(start, state);
    }

    /// Surveys a target whose survey is due, right after its own probe, if that read a whole answer: then its next probe is
    /// far away. No question is begun that might outlast the time until then; the survey goes on after the next probe.
    fn start_survey(&mut self, start: &Start, state: &TargetState) {
        let is_possible = self.surveyed.is_none() && self.running < self.limit;
        if !is_possible || !self.surveys.is_due(&state.target, Instant::now()) {
            return;
        }
        let seen = state.last.as_ref().map(|report| report.observation.clone()).filter(Observation::is_confirmed);
        let (Some(seen), Some(next)) = (seen, self.agenda.next_regular(start)) else { return };
        let settings = &state.target.settings;
        let until = next - settings.timeout.min(settings.interval / 2);
        self.surveyed = Some(Arc::clone(&start.target));
        let (laboratory, ends) = (Arc::clone(&self.laboratory), self.ends.clone());
        task::spawn(survey(laboratory, Arc::clone(&start.target), (seen, until), ends));
    }

    fn finish_survey(&mut self, is_complete: bool) {
        let Some(surveyed) = self.surveyed.take() else { return };
        let known = self.laboratory.states.find(&surveyed.name).map(|(state, _)| state);
        let Some(state) = known.filter(|state| state.target.is_same_endpoint(&surveyed)) else { return };
        let (target, now) = (&state.target, Instant::now());
        match is_complete {
            _ if target.settings.survey_interval.is_zero() => self.surveys.forget(&target.name),
            true => self.surveys.again(target, state.memory.survey.was_cut_short, now),
            false => self.surveys.go_on(target, now),
        }
    }
}

/// Whether the target was not silent.
fn answered(report: &Report) -> bool {
    report.observation.stop().is_none_or(|stop| stop.fault != Fault::Timeout)
}

async fn probe(laboratory: Arc<Laboratory>, start: Start, ends: mpsc::UnboundedSender<End>) {
    let mut ending = Ending { end: Some(End::Probe(start.clone(), None)), ends };
    let terms = Terms { due: Some(start.due), ..Terms::ORDINARY };
    let probed = laboratory.probe(&start.target.name, terms).await;
    ending.end = Some(End::Probe(start, probed));
}

async fn survey(
    laboratory: Arc<Laboratory>,
    target: Arc<Target>,
    (seen, until): (Observation, Instant),
    ends: mpsc::UnboundedSender<End>,
) {
    let mut ending = Ending { end: Some(End::Survey(true)), ends };
    let is_complete = laboratory.survey_until(&laboratory.states, &target, &seen, until).await;
    ending.end = Some(End::Survey(is_complete));
}

/// How long probes under way may take to end once the exporter stops.
const STOPPING_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::sample;

    #[tokio::test]
    async fn one_that_panics_ends_like_others() {
        let (ends, mut ended) = mpsc::unbounded_channel();
        let target = Arc::new(sample("t", Duration::from_secs(60)));
        let start = Start { target, id: 7, due: Instant::now(), confirms: false };
        let ending = Ending { end: Some(End::Probe(start.clone(), None)), ends };
        let task = task::spawn(async move {
            let _ending = ending;
            panic!("a fault of our own, for the test");
        });
        assert!(task.await.is_err());
        let told = ended.recv().await;
        assert!(matches!(told, Some(End::Probe(of, None)) if of == start), "its target would never be probed again");
        assert!(ended.recv().await.is_none(), "nobody waits for it any more");
    }
}
