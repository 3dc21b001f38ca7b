//! Whose survey is due. Pure: time is an argument.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use crate::target::Target;

/// The due times of surveys.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    due: HashMap<String, Instant>,
}

impl Surveys {
    /// Notes that a probe of `target` read a whole answer. Its first survey is spread over ten intervals, and over an
    /// hour at most, so that a start is no storm of questions.
    pub(super) fn consider(&mut self, target: &Target, now: Instant) {
        if target.settings.survey_interval.is_zero() {
            self.due.remove(&target.name);
            return;
        }
        if let Entry::Vacant(vacant) = self.due.entry(target.name.clone()) {
            vacant.insert(now + (target.settings.interval * 10).min(HOUR).mul_f64(fraction_of(&target.name)));
        }
    }

    /// Whether the survey of `name` is due.
    pub(super) fn is_due(&self, name: &str, now: Instant) -> bool {
        self.due.get(name).is_some_and(|at| *at <= now)
    }

    /// Notes that the survey of `name` ended, or could not be made; the next one comes at `at`.
    pub(super) fn again(&mut self, name: String, at: Instant) {
        self.due.insert(name, at);
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
            let target = sample(&format!("t{index}"), Duration::from_secs(60));
            surveys.consider(&target, now);
            surveys.consider(&target, now + Duration::from_secs(60));
        }
        let mut tenths = [0_usize; 10];
        for (tenth, count) in tenths.iter_mut().enumerate() {
            let at = now + Duration::from_secs(60) * u32::try_from(tenth + 1).unwrap();
            *count = (0..1000).filter(|index| surveys.is_due(&format!("t{index}"), at)).count();
        }
        let by_tenth = tenths;
        for tenth in 1..10 {
            tenths[tenth] -= by_tenth[tenth - 1];
        }
        assert_eq!(tenths.iter().sum::<usize>(), 1000, "all within ten intervals");
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
    }
}
