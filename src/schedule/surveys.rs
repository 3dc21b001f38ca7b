//! Whose survey is due. Pure: time is an argument.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::target::Target;

/// The due times of surveys.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    due: HashMap<String, Due>,
}

#[derive(Debug)]
struct Due {
    /// Whose survey it is.
    target: Arc<Target>,
    when: When,
    /// Whether the last one was cut short.
    was_cut_short: bool,
}

/// What is remembered of a survey that was made before.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastSurvey {
    /// How long ago it ended.
    pub(super) since: Duration,
    pub(super) was_cut_short: bool,
}

#[derive(Debug, Clone, Copy)]
enum When {
    /// Then.
    At(Instant),
    /// An interval after this, however long that is by now.
    IntervalAfter(Instant),
}

impl Surveys {
    /// Forgets all but `targets`, and who is another endpoint now.
    pub(super) fn keep(&mut self, targets: &[Arc<Target>]) {
        let targets: HashMap<&str, _> = targets.iter().map(|target| (target.name.as_str(), target)).collect();
        self.due.retain(|name, due| {
            let now = targets.get(name.as_str()).filter(|now| due.target.is_same_endpoint(now));
            let Some(now) = now else { return false };
            // The former configuration's targets are not to live on here.
            due.target = Arc::clone(now);
            true
        });
    }

    /// Notes that a probe of `target` read a whole answer. Its first survey is spread over ten intervals, and over an
    /// hour at most, so that a start is no storm of questions; or it is due an interval after the `last` one, where that was
    /// whole and is remembered over a restart.
    pub(super) fn consider(&mut self, target: &Arc<Target>, last: Option<LastSurvey>, now: Instant) {
        if target.settings.survey_interval.is_zero() {
            self.due.remove(&target.name);
            return;
        }
        if let Entry::Vacant(vacant) = self.due.entry(target.name.clone()) {
            let first = now + (target.settings.interval * 10).min(HOUR).mul_f64(fraction_of(&target.name));
            let was_cut_short = last.is_some_and(|last| last.was_cut_short);
            let ended = last.filter(|_| !was_cut_short).and_then(|last| now.checked_sub(last.since));
            let holds = ended.filter(|ended| *ended + target.settings.survey_interval > first);
            let when = holds.map_or(When::At(first), When::IntervalAfter);
            vacant.insert(Due { target: Arc::clone(target), when, was_cut_short });
        }
    }

    /// Whether the survey of `target` is due.
    pub(super) fn is_due(&self, target: &Target, now: Instant) -> bool {
        let interval = target.settings.survey_interval;
        let is_time = |due: &Due| match due.when {
            When::At(at) => at <= now,
            When::IntervalAfter(ended) => ended + interval <= now,
        };
        !interval.is_zero() && self.due.get(&target.name).is_some_and(is_time)
    }

    /// Notes that the survey of `target` could not be made to its end in time, and goes on after its next probe.
    pub(super) fn go_on(&mut self, target: &Arc<Target>, now: Instant) {
        let was_cut_short = self.was_cut_short(target);
        self.due.insert(target.name.clone(), Due { target: Arc::clone(target), when: When::At(now), was_cut_short });
    }

    /// Notes that the survey of `target` ended. What was cut short comes again soon, but once only: who is silent to a
    /// question mostly stays so.
    pub(super) fn again(&mut self, target: &Arc<Target>, is_cut_short: bool, now: Instant) {
        let soon = target.settings.survey_interval.min(target.settings.interval * 10);
        let when = match is_cut_short && !self.was_cut_short(target) {
            true => When::At(now + soon),
            false => When::IntervalAfter(now),
        };
        let due = Due { target: Arc::clone(target), when, was_cut_short: is_cut_short };
        self.due.insert(target.name.clone(), due);
    }

    fn was_cut_short(&self, target: &Target) -> bool {
        self.due.get(&target.name).is_some_and(|due| due.was_cut_short)
    }

    /// Forgets a target; should it come back, it is a new one.
    pub(super) fn forget(&mut self, name: &str) {
        self.due.remove(name);
    }
}

/// Where in time the survey of `name` goes, from 0 to 1: the same after each start.
fn fraction_of(name: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish() as f64 / u64::MAX as f64
}

const HOUR: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::sample;

    #[tokio::test]
    async fn first_surveys_are_spread_and_come_once() {
        let now = Instant::now();
        let mut surveys = Surveys::default();
        for index in 0..1000 {
            let target = Arc::new(sample(&format!("t{index}"), Duration::from_secs(60)));
            surveys.consider(&target, None, now);
            surveys.consider(&target, None, now + Duration::from_secs(60));
        }
        let mut tenths = [0_usize; 10];
        for (tenth, count) in tenths.iter_mut().enumerate() {
            let at = now + Duration::from_secs(60) * u32::try_from(tenth + 1).unwrap();
            *count = (0..1000)
                .filter(|index| surveys.is_due(&sample(&format!("t{index}"), Duration::from_secs(60)), at))
                .count();
        }
        let by_tenth = tenths;
        for tenth in 1..10 {
            tenths[tenth] -= by_tenth[tenth - 1];
        }
        assert_eq!(tenths.iter().sum::<usize>(), 1000, "all within ten intervals");
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
    }

    fn named(name: &str, address: &str, survey_interval: Duration) -> Arc<Target> {
        let mut target = sample(name, Duration::from_secs(60));
        target.address = address.parse().unwrap();
        let settings = crate::target::Settings { survey_interval, ..(*target.settings).clone() };
        Arc::new(Target { settings: Arc::new(settings), ..target })
    }

    #[tokio::test]
    async fn what_was_surveyed_before_a_restart_waits_for_its_interval() {
        let (now, day) = (Instant::now() + 48 * HOUR, 24 * HOUR);
        let due_after = |since: Duration, interval: Duration| {
            let mut surveys = Surveys::default();
            surveys.consider(&named("a", "192.0.2.1", day), Some(LastSurvey { since, was_cut_short: false }), now);
            let target = named("a", "192.0.2.1", interval);
            (0..2000)
                .map(|minutes| Duration::from_secs(60) * minutes)
                .find(|after| surveys.is_due(&target, now + *after))
        };
        assert_eq!(due_after(HOUR, day), Some(23 * HOUR));
        assert_eq!(due_after(HOUR, 12 * HOUR), Some(11 * HOUR), "another interval holds at once");
        for old in [day, 30 * day, Duration::MAX] {
            assert!(due_after(old, day).unwrap() <= Duration::from_secs(600), "as a first one");
        }
    }

    #[tokio::test]
    async fn what_was_cut_short_before_a_restart_comes_again_once() {
        let (target, now) = (named("a", "192.0.2.1", 24 * HOUR), Instant::now());
        let mut surveys = Surveys::default();
        surveys.consider(&target, Some(LastSurvey { since: HOUR, was_cut_short: true }), now);
        assert!(surveys.is_due(&target, now + Duration::from_secs(600)));
        surveys.again(&target, true, now);
        assert!(!surveys.is_due(&target, now + 23 * HOUR) && surveys.is_due(&target, now + 24 * HOUR));
    }

    #[tokio::test]
    async fn what_is_cut_short_comes_again_soon_once() {
        let mut surveys = Surveys::default();
        let (target, mut now) = (named("a", "192.0.2.1", 24 * HOUR), Instant::now());
        for (is_cut_short, pause) in [(true, 600), (true, 86_400), (true, 86_400), (false, 86_400), (true, 600)] {
            surveys.again(&target, is_cut_short, now);
            assert!(!surveys.is_due(&target, now + Duration::from_secs(pause - 1)));
            now += Duration::from_secs(pause);
            assert!(surveys.is_due(&target, now));
        }
    }

    #[tokio::test]
    async fn another_interval_holds_at_once() {
        let mut surveys = Surveys::default();
        let now = Instant::now();
        surveys.again(&named("a", "192.0.2.1", 24 * HOUR), false, now);
        let due = |interval, after| surveys.is_due(&named("a", "192.0.2.1", interval), now + after);
        assert!(!due(24 * HOUR, HOUR) && due(HOUR, HOUR) && !due(HOUR, HOUR / 2));
        assert!(!due(48 * HOUR, 24 * HOUR) && due(48 * HOUR, 48 * HOUR));
        assert!(!due(Duration::ZERO, 48 * HOUR), "none at all");
    }

    #[tokio::test]
    async fn another_endpoint_of_that_name_is_a_new_one() {
        let mut surveys = Surveys::default();
        let (now, day) = (Instant::now(), 24 * HOUR);
        let targets = [named("a", "192.0.2.1", day), named("b", "192.0.2.2", day), named("c", "192.0.2.3", day)];
        targets.iter().for_each(|target| surveys.again(target, false, now));
        let kept = [named("a", "192.0.2.1", HOUR), named("b", "192.0.2.9", day)];
        surveys.keep(&kept);
        assert_eq!(surveys.due.keys().collect::<Vec<_>>(), ["a"]);
        assert!(Arc::ptr_eq(&surveys.due["a"].target, &kept[0]), "nothing of the former configuration is kept");
        surveys.consider(&kept[1], None, now);
        assert!(surveys.is_due(&kept[1], now + Duration::from_secs(600)));
    }
}
