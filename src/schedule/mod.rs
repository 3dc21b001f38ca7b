//! When each target is probed, and how many at once.
//! A task per running probe, not one per target, which is kept for the next one; knows nothing of HTTP and of the names of
//! metrics.

mod agenda;
mod alarm;
mod surveys;

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task,
    time::{Instant, timeout},
};

use crate::{
    diagnosis::Verdict,
    examine::Report,
    laboratory::{Laboratory, Probed, Terms},
    observation::{Fault, Observation, age},
    state::TargetState,
    target::Target,
};
pub use agenda::{Agenda, Start};
use alarm::Alarm;
use surveys::{LastSurvey, Surveys};

/// What the schedule is told.
#[derive(Debug)]
pub enum Order {
    /// Probe these from now on.
    Replace(Vec<Arc<Target>>),
    /// Probe at most so many at once from now on.
    Limit(usize),
    /// The verdict of this one changed by a probe that was not the schedule's.
    Confirm(Arc<Target>),
    /// Take note of what the schedule itself had begun.
    Note(End),
    /// Begin nothing any more.
    Stop,
}

/// Something that the schedule had begun, and that came to its end.
#[derive(Debug)]
pub struct End(Ended);

/// Probes what it is told to until it is told to stop, or until nobody is left who could; then lets what is under way end,
/// for a short while.
pub async fn run(
    laboratory: Arc<Laboratory>,
    to_itself: mpsc::WeakUnboundedSender<Order>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut schedule = Schedule::new(laboratory, to_itself);
    let mut alarm = Alarm::new();
    loop {
        alarm.set(schedule.agenda.next_due());
        let order = tokio::select! {
            biased;
            order = orders.recv() => Some(order.unwrap_or(Order::Stop)),
            () = alarm.rings() => None,
        };
        let now = Instant::now();
        let mut due_by = now;
        match order {
            Some(Order::Stop) => break,
            Some(Order::Replace(targets)) => schedule.replace(&targets, now),
            Some(Order::Limit(limit)) => schedule.limit = limit,
            Some(Order::Confirm(target)) => schedule.agenda.confirm(&target, now),
            Some(Order::Note(End(end))) => {
                schedule.take(end, now);
                due_by = schedule.agenda.soon(now);
            }
            None => {}
        }
        schedule.start(due_by);
    }
    let Schedule { mut running, .. } = schedule;
    let probes_have_ended = async {
        while running > 0
            && let Some(order) = orders.recv().await
        {
            // A survey goes on after a restart, and is not waited for.
            running -= usize::from(matches!(order, Order::Note(End(Ended::Probe(..)))));
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
    /// Workers without work, the last one that had some at the end: what it needs is still near.
    idle: Vec<Worker>,
    surveys: Surveys,
    /// The target that is being surveyed: at most one at a time.
    surveyed: Option<Arc<Target>>,
    /// Where ends are told of.
    to_itself: mpsc::WeakUnboundedSender<Order>,
}

/// A task that makes one probe after another, and whom to tell of the next one. It ends when this is dropped.
type Worker = oneshot::Sender<Start>;

/// What came to its end.
#[derive(Debug)]
enum Ended {
    /// What came of it, and who is without work now; neither where our own code is at fault.
    Probe(Start, Option<(Option<Probed>, Worker)>),
    /// Whether all questions were asked.
    Survey(bool),
}

/// Tells of an end, however it comes: also where our own code is at fault, as one target must not take the others along.
struct Ending {
    end: Option<Ended>,
    schedule: mpsc::WeakUnboundedSender<Order>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(
                "A probe ended in a fault of the exporter's own, of which standard error has more; please report it"
            );
        }
        // Once the schedule has ended nobody waits for it.
        let _ =
            self.end.take().zip(self.schedule.upgrade()).map(|(end, schedule)| schedule.send(Order::Note(End(end))));
    }
}

impl Schedule {
    fn new(laboratory: Arc<Laboratory>, to_itself: mpsc::WeakUnboundedSender<Order>) -> Self {
        Self {
            laboratory,
            agenda: Agenda::default(),
            limit: usize::MAX,
            running: 0,
            idle: Vec::new(),
            surveys: Surveys::default(),
            surveyed: None,
            to_itself,
        }
    }

    fn replace(&mut self, targets: &[Arc<Target>], now: Instant) {
        self.surveys.keep(targets);
        self.agenda.replace(targets, now);
    }

    /// Starts what is due by then, as far as there is room.
    fn start(&mut self, due_by: Instant) {
        let waited = self.agenda.ready_count();
        self.agenda.advance(due_by);
        let arrived = self.agenda.ready_count().saturating_sub(waited);
        let room = self.limit.saturating_sub(usize::from(self.surveyed.is_some())).max(1);
        while self.running < room
            && let Some(start) = self.agenda.take_ready()
        {
            self.running += 1;
            self.hand_on(start);
        }
        let deferred = self.agenda.ready_count().min(arrived);
        self.laboratory.vitals.deferred.fetch_add(deferred as u64, Ordering::Relaxed);
    }

    fn hand_on(&mut self, start: Start) {
        let handed = match self.idle.pop() {
            Some(worker) => worker.send(start),
            None => Err(start),
        };
        if let Err(start) = handed {
            let (laboratory, schedule) = (Arc::clone(&self.laboratory), self.to_itself.clone());
            // Boxed, as a task is moved several times, and a probe is large.
            task::spawn(Box::pin(work(laboratory, start, schedule)));
        }
    }

    fn take(&mut self, end: Ended, now: Instant) {
        match end {
            Ended::Probe(start, Some((probed, worker))) => {
                if self.idle.len() < MOST_IDLE {
                    self.idle.push(worker);
                }
                self.finish(&start, probed.as_ref(), now);
            }
            Ended::Probe(start, None) => self.finish(&start, None, now),
            Ended::Survey(is_complete) => self.finish_survey(is_complete, now),
        }
    }

    fn finish(&mut self, start: &Start, probed: Option<&Probed>, now: Instant) {
        self.running -= 1;
        let report = probed.and_then(|probed| probed.state.last.as_ref());
        let answered = report.is_some_and(answered);
        let changed = probed.is_some_and(|probed| probed.changed_from.is_some());
        self.agenda.finish(start, answered, changed, now);
        let Some(Probed { state, .. }) = probed else { return };
        if state.last_verdict() == Some(Verdict::Healthy) {
            self.surveys.consider(&state.target, report.and_then(|report| last_survey(state, report)), now);
        }
        self.start_survey(start, state, now);
    }

    /// Surveys a target whose survey is due, right after its own probe, if that read a whole answer: then its next probe is
    /// far away. No question is begun that might outlast the time until then; the survey goes on after the next probe.
    fn start_survey(&mut self, start: &Start, state: &TargetState, now: Instant) {
        let is_possible = self.surveyed.is_none() && self.running < self.limit;
        if !is_possible || !self.surveys.is_due(&state.target, now) {
            return;
        }
        let seen = state.last.as_ref().map(|report| report.observation.clone()).filter(Observation::is_confirmed);
        let (Some(seen), Some(next)) = (seen, self.agenda.next_regular(start)) else { return };
        let settings = &state.target.settings;
        let until = next - settings.timeout.min(settings.interval / 2);
        self.surveyed = Some(Arc::clone(&start.target));
        let (laboratory, schedule) = (Arc::clone(&self.laboratory), self.to_itself.clone());
        task::spawn(survey(laboratory, Arc::clone(&start.target), (seen, until), schedule));
    }

    fn finish_survey(&mut self, is_complete: bool, now: Instant) {
        let Some(surveyed) = self.surveyed.take() else { return };
        let known = self.laboratory.states.find(&surveyed.name).map(|(state, _)| state);
        let Some(state) = known.filter(|state| state.target.is_same_endpoint(&surveyed)) else { return };
        let target = &state.target;
        match is_complete {
            _ if target.settings.survey_interval.is_zero() => self.surveys.forget(&target.name),
            true => self.surveys.again(target, state.memory.survey.was_cut_short, now),
            false => self.surveys.go_on(target, now),
        }
    }
}

fn last_survey(state: &TargetState, report: &Report) -> Option<LastSurvey> {
    let survey = &state.memory.survey;
    let (_, ended) = survey.last.as_ref()?;
    Some(LastSurvey { since: age(*ended, report.observation.ended), was_cut_short: survey.was_cut_short })
}

/// Whether the target was not silent.
fn answered(report: &Report) -> bool {
    report.observation.stop().is_none_or(|stop| stop.fault != Fault::Timeout)
}

/// Makes one probe after another, as long as there are more: so the room for all that a probe holds is not made anew for each.
async fn work(laboratory: Arc<Laboratory>, mut start: Start, schedule: mpsc::WeakUnboundedSender<Order>) {
    loop {
        let mut ending = Ending { end: Some(Ended::Probe(start.clone(), None)), schedule: schedule.clone() };
        let terms = Terms { due: Some(start.due), ..Terms::ORDINARY };
        let probed = laboratory.probe(&start.target.name, terms).await;
        let (worker, next) = oneshot::channel();
        ending.end = Some(Ended::Probe(start, Some((probed, worker))));
        drop(ending);
        match next.await {
            Ok(next) => start = next,
            Err(_) => return,
        }
    }
}

async fn survey(
    laboratory: Arc<Laboratory>,
    target: Arc<Target>,
    (seen, until): (Observation, Instant),
    schedule: mpsc::WeakUnboundedSender<Order>,
) {
    let mut ending = Ending { end: Some(Ended::Survey(true)), schedule };
    let is_complete = laboratory.survey_until(&laboratory.states, &target, &seen, until).await;
    ending.end = Some(Ended::Survey(is_complete));
}

/// Workers that are kept without work; more of them were there for many silent targets at once.
const MOST_IDLE: usize = 16;
/// How long probes under way may take to end once the exporter stops.
const STOPPING_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::sample;

    #[tokio::test]
    async fn one_that_panics_ends_like_others() {
        let (orders, mut received) = mpsc::unbounded_channel();
        let target = Arc::new(sample("t", Duration::from_secs(60)));
        let start = Start { target, id: 7, due: Instant::now(), confirms: false };
        let ending = Ending { end: Some(Ended::Probe(start.clone(), None)), schedule: orders.downgrade() };
        let task = task::spawn(async move {
            let _ending = ending;
            panic!("a fault of our own, for the test");
        });
        assert!(task.await.is_err());
        let told = received.recv().await;
        assert!(
            matches!(told, Some(Order::Note(End(Ended::Probe(of, None)))) if of == start),
            "its target would never be probed again"
        );
        drop(orders);
        assert!(received.recv().await.is_none(), "nobody waits for it any more");
    }
}
