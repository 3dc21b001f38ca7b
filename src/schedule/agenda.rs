//! Who is due when, and who goes first when there is no room. Pure: time is an argument.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::target::Target;

/// The due times of all targets.
#[derive(Debug, Default)]
pub struct Agenda {
    due: BTreeSet<Appointment>,
    /// By a number that each life of a target has of its own.
    entries: HashMap<u64, Entry>,
    /// Due, and answered last time.
    ready: VecDeque<Appointment>,
    /// Due, and did not.
    ready_after: VecDeque<Appointment>,
    next_id: u64,
}

/// One probe to be started now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Of which target, as it was configured then.
    pub target: Arc<Target>,
    /// Which of the lives of that name: a target that left and came back is another one.
    pub id: u64,
    /// When it should have begun.
    pub due: Instant,
    /// Whether it confirms a change of verdict.
    pub confirms: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Appointment {
    at: Instant,
    id: u64,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// The target's own rhythm.
    Regular,
    /// The rhythm's slot was missed because this machine stood still; the rhythm itself goes on.
    CatchUp,
    /// A change of verdict.
    Confirm,
}

#[derive(Debug)]
struct Entry {
    target: Arc<Target>,
    /// The next slot of the rhythm.
    next_regular: Instant,
    /// Waiting for room, or under way.
    busy: bool,
    answered: bool,
}

impl Agenda {
    /// Makes `targets` the ones to be probed. A known endpoint under the same name and interval keeps its rhythm; new ones
    /// are spread from `now` on, so that a newcomer's page fills at once and a large estate makes no burst.
    pub fn replace(&mut self, targets: &[Arc<Target>], now: Instant) {
        let before = std::mem::take(&mut self.entries).into_iter();
        let mut before: HashMap<_, _> = before.map(|known| (known.1.target.name.clone(), known)).collect();
        let mut new = Vec::new();
        for target in targets {
            let known = before.remove(&target.name).filter(|(_, entry)| entry.target.is_same_endpoint(target));
            match known {
                Some((id, entry)) if entry.target.settings.interval == target.settings.interval => {
                    self.entries.insert(id, Entry { target: Arc::clone(target), ..entry });
                }
                known => new.push((target, known)),
            }
        }
        let count = new.len();
        for (index, (target, known)) in new.into_iter().enumerate() {
            let first = now + spread(target.settings.interval, count, index);
            // A probe of the former rhythm that is still under way ends under its former id, which nobody waits for.
            self.add(target, first, known.is_none_or(|(_, entry)| entry.answered));
        }
    }

    fn add(&mut self, target: &Arc<Target>, first: Instant, answered: bool) {
        let id = self.next_id;
        self.next_id += 1;
        let entry = Entry { target: Arc::clone(target), next_regular: first, busy: false, answered };
        self.entries.insert(id, entry);
        self.push(first, id, Why::Regular);
    }

    /// When the next targets are due, in this order.
    pub fn next_due(&self) -> impl Iterator<Item = Instant> {
        self.due.iter().map(|appointment| appointment.at)
    }

    /// By when what begins in the place of a probe that has just ended is due: the next one may begin a little before its
    /// time. That spares a wait, from which processor and memory would come back cold, and no more run at once for it.
    #[must_use]
    pub fn soon(&self, now: Instant) -> Instant {
        // One that is still under way may have ended by its time.
        let is_free = |next: &&Appointment| self.entries.get(&next.id).is_some_and(|entry| !entry.busy);
        let next = self.due.first().filter(|next| next.at <= now + EARLY).filter(is_free);
        next.map_or(now, |next| next.at.max(now))
    }

    /// Moves everything that is due by `now` to those that are ready.
    ///
    /// Where this machine stood still (a suspended laptop, a stopped process) the missed slots are not made up in one
    /// burst, but spread as first probes are.
    pub fn advance(&mut self, now: Instant) {
        let mut missed = Vec::new();
        while self.next_due().next().is_some_and(|at| at <= now)
            && let Some(appointment) = self.due.pop_first()
        {
            if appointment.why == Why::Regular {
                self.schedule_next_slot(appointment, now);
            }
            match now - appointment.at > STOOD_STILL {
                true => missed.push(appointment),
                false => self.make_ready(appointment),
            }
        }
        let count = missed.len();
        for (index, appointment) in missed.into_iter().enumerate() {
            let Some(entry) = self.entries.get(&appointment.id) else { continue };
            let at = now + spread(entry.target.settings.interval, count, index);
            if at < entry.next_regular {
                self.push(at, appointment.id, Why::CatchUp);
            }
        }
    }

    /// The next target to probe, those that answered last time first.
    pub fn take_ready(&mut self) -> Option<Start> {
        loop {
            let Appointment { at, id, why } = self.ready.pop_front().or_else(|| self.ready_after.pop_front())?;
            if let Some(entry) = self.entries.get(&id) {
                return Some(Start { target: Arc::clone(&entry.target), id, due: at, confirms: why == Why::Confirm });
            }
        }
    }

    /// When that target's next regular probe is due.
    #[must_use]
    pub fn next_regular(&self, start: &Start) -> Option<Instant> {
        self.entries.get(&start.id).map(|entry| entry.next_regular)
    }

    /// How many targets are ready.
    #[must_use]
    pub fn ready_count(&self) -> usize {
        self.ready.len() + self.ready_after.len()
    }

    /// Notes that a probe ended. A changed verdict is confirmed once, unless the rhythm is quicker.
    pub fn finish(&mut self, start: &Start, answered: bool, changed: bool, now: Instant) {
        let Some(entry) = self.entries.get_mut(&start.id) else { return };
        entry.busy = false;
        entry.answered = answered;
        let confirm_at = now + entry.target.settings.confirm_after;
        if changed && !start.confirms && confirm_at < entry.next_regular {
            self.push(confirm_at, start.id, Why::Confirm);
        }
    }

    /// Confirms the verdict of `target`, which somebody else found changed.
    pub fn confirm(&mut self, target: &Target, now: Instant) {
        let Some((id, entry)) = self.entries.iter().find(|(_, entry)| entry.target.is_same_endpoint(target)) else {
            return;
        };
        let (id, at) = (*id, now + entry.target.settings.confirm_after);
        if at < entry.next_regular {
            self.push(at, id, Why::Confirm);
        }
    }

    /// The rhythm counts from the slot, not from when the probe ran, so it never drifts.
    fn schedule_next_slot(&mut self, appointment: Appointment, now: Instant) {
        let Some(entry) = self.entries.get_mut(&appointment.id) else { return };
        let interval = entry.target.settings.interval;
        let mut next = appointment.at + interval;
        if next <= now {
            let missed = (now - next).as_nanos() / interval.as_nanos().max(1) + 1;
            next += interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
        }
        entry.next_regular = next;
        self.push(next, appointment.id, Why::Regular);
    }

    fn make_ready(&mut self, appointment: Appointment) {
        let Some(entry) = self.entries.get_mut(&appointment.id) else { return };
        // A target that still waits or is under way is not probed twice.
        if entry.busy {
            return;
        }
        entry.busy = true;
        match entry.answered {
            true => self.ready.push_back(appointment),
            false => self.ready_after.push_back(appointment),
        }
    }

    fn push(&mut self, at: Instant, id: u64, why: Why) {
        self.due.insert(Appointment { at, id, why });
    }
}

/// Where in time the `index`th of `count` probes goes.
fn spread(interval: Duration, count: usize, index: usize) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let span = interval.min(Duration::from_secs(1) * count / FIRST_PROBES_PER_SECOND);
    span.mul_f64(f64::from(index) / f64::from(count))
}

/// First probes a second, where the interval is long enough for that.
const FIRST_PROBES_PER_SECOND: u32 = 50;
/// How long before its time a probe may begin.
const EARLY: Duration = Duration::from_millis(20);
/// Later than this, and it was not load but a standstill.
const STOOD_STILL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::sample as target;

    const SECOND: Duration = Duration::from_secs(1);

    fn agenda(count: usize, interval: Duration, now: Instant) -> Agenda {
        let targets: Vec<_> = (0..count).map(|index| Arc::new(target(&format!("t{index}"), interval))).collect();
        let mut agenda = Agenda::default();
        agenda.replace(&targets, now);
        agenda
    }

    /// Runs everything that is due at `now`, each healthy and unchanged.
    fn run_due(agenda: &mut Agenda, now: Instant) -> Vec<Start> {
        agenda.advance(now);
        let starts: Vec<_> = std::iter::from_fn(|| agenda.take_ready()).collect();
        for start in &starts {
            agenda.finish(start, true, false, now);
        }
        starts
    }

    #[tokio::test]
    async fn the_phase_does_not_drift_over_a_hundred_intervals() {
        let begin = Instant::now();
        let mut agenda = agenda(1, 60 * SECOND, begin);
        for round in 0..100 {
            let due = agenda.next_due().next().unwrap();
            assert_eq!(due, begin + 60 * SECOND * round);
            // Each start is up to a second late.
            let late = due + Duration::from_millis(u64::from(round) * 7 % 1000);
            assert_eq!(run_due(&mut agenda, late).len(), 1);
        }
    }

    #[tokio::test]
    async fn the_next_one_may_begin_a_little_early_and_keeps_its_phase() {
        let begin = Instant::now();
        let mut agenda = agenda(2, 60 * SECOND, begin);
        let early = |milliseconds| begin + 60 * SECOND - Duration::from_millis(milliseconds);
        run_due(&mut agenda, begin + SECOND);
        assert_eq!(agenda.soon(early(30)), early(30), "too early");
        assert_eq!(agenda.soon(early(15)), begin + 60 * SECOND);
        agenda.entries.values_mut().for_each(|entry| entry.busy = true);
        assert_eq!(agenda.soon(early(15)), early(15), "it is still under way");
        agenda.entries.values_mut().for_each(|entry| entry.busy = false);
        let soon = agenda.soon(early(15));
        assert_eq!(run_due(&mut agenda, soon).len(), 1, "those behind it wait for their time, or for the next end");
        let second = agenda.next_due().next().unwrap();
        assert_eq!(agenda.soon(second + SECOND), second + SECOND, "what is late is due now");
        run_due(&mut agenda, second);
        assert_eq!(agenda.next_due().next(), Some(begin + 120 * SECOND));
    }

    #[tokio::test]
    async fn first_probes_are_spread() {
        let now = Instant::now();
        let mut few = agenda(10, 300 * SECOND, now);
        assert_eq!(run_due(&mut few, now + SECOND / 5).len(), 10, "ten targets are probed within a fifth of a second");
        let mut many = agenda(20_000, 60 * SECOND, now);
        let in_first_second = run_due(&mut many, now + SECOND).len();
        assert!((330..=340).contains(&in_first_second), "{in_first_second} of 20,000 in the first of 60 seconds");
    }

    #[tokio::test]
    async fn a_standstill_makes_no_burst_and_loses_nobody() {
        let begin = Instant::now();
        let mut agenda = agenda(3000, 60 * SECOND, begin);
        for second in 0..120 {
            run_due(&mut agenda, begin + SECOND * second);
        }
        let wake = begin + 600 * SECOND;
        let mut seen = std::collections::HashSet::new();
        for tick in 0..650 {
            let starts = run_due(&mut agenda, wake + SECOND / 10 * tick);
            assert!(starts.len() <= 30, "{} probes in a tenth of a second", starts.len());
            seen.extend(starts.into_iter().map(|start| start.target.name.clone()));
        }
        assert_eq!(seen.len(), 3000);
    }

    #[tokio::test]
    async fn a_change_is_confirmed_once() {
        let begin = Instant::now();
        let mut agenda = agenda(1, 300 * SECOND, begin);
        agenda.advance(begin);
        let first = agenda.take_ready().unwrap();
        agenda.finish(&first, false, true, begin);
        let confirm_at = begin + 15 * SECOND;
        assert_eq!(agenda.next_due().next(), Some(confirm_at));
        agenda.advance(confirm_at);
        let confirm = agenda.take_ready().unwrap();
        assert!(confirm.confirms);
        agenda.finish(&confirm, true, true, confirm_at);
        assert_eq!(agenda.next_due().next(), Some(begin + 300 * SECOND), "a confirmation is not confirmed");
    }

    #[tokio::test]
    async fn what_somebody_else_found_changed_is_confirmed_too() {
        let begin = Instant::now();
        let mut agenda = agenda(2, 300 * SECOND, begin);
        run_due(&mut agenda, begin + SECOND);
        agenda.confirm(&target("t1", 300 * SECOND), begin + 100 * SECOND);
        agenda.confirm(&target("elsewhere", 300 * SECOND), begin + 100 * SECOND);
        let confirmed = run_due(&mut agenda, begin + 115 * SECOND);
        assert_eq!(confirmed.iter().map(|start| &*start.target.name).collect::<Vec<_>>(), ["t1"]);
        assert!(confirmed[0].confirms);
        agenda.confirm(&target("t1", 300 * SECOND), begin + 290 * SECOND);
        assert_eq!(agenda.next_due().next(), Some(begin + 300 * SECOND), "its next probe is sooner");
    }

    #[tokio::test]
    async fn those_that_answered_go_first_and_nobody_is_taken_twice() {
        let begin = Instant::now();
        let mut agenda = agenda(2, 10 * SECOND, begin);
        agenda.advance(begin + SECOND);
        let starts: Vec<_> = std::iter::from_fn(|| agenda.take_ready()).collect();
        agenda.finish(&starts[0], false, false, begin + SECOND);
        agenda.finish(&starts[1], true, false, begin + SECOND);
        agenda.advance(begin + 11 * SECOND);
        assert_eq!(agenda.take_ready().unwrap().target.name, starts[1].target.name);
        assert_eq!(agenda.take_ready().unwrap().target.name, starts[0].target.name);
        // Both are still under way at their next slot.
        agenda.advance(begin + 21 * SECOND);
        assert_eq!(agenda.take_ready(), None);
    }

    #[tokio::test]
    async fn a_reload_keeps_the_rhythm_of_what_stays() {
        let begin = Instant::now();
        let targets: Vec<_> = ["a", "b", "c"].map(|name| Arc::new(target(name, 60 * SECOND))).to_vec();
        let mut agenda = Agenda::default();
        agenda.replace(&targets, begin);
        run_due(&mut agenda, begin + SECOND);
        // Labels and expectations are no part of the rhythm.
        let mut changed = target("a", 60 * SECOND);
        changed.labels.insert("site".into(), "oslo".into());
        let mut settings = crate::target::Settings::clone(&changed.settings);
        settings.expect.certificate_days = 1;
        changed.settings = Arc::new(settings);
        agenda.replace(&[Arc::new(changed), Arc::clone(&targets[1])], begin + 30 * SECOND);
        let due = agenda.next_due().next().unwrap();
        assert_eq!(due, begin + 60 * SECOND);
        let names: Vec<_> =
            run_due(&mut agenda, begin + 61 * SECOND).into_iter().map(|start| start.target.name.clone()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
