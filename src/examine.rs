//! One examination: what is remembered says how to go about it, a probe sees, memory learns, judgement follows.
//! The schedule, `/probe` and the command all call this and nothing else; it knows none of them.

use std::{fmt::Write, time::SystemTime};

use tokio::time::Instant;

use crate::{
    certificate::trust::Roots,
    diagnosis::{Diagnosis, Verdict, diagnose},
    memory::Memory,
    observation::{Observation, Stage, Timed},
    probe::{Companions, Prober},
    target::{Reach, Target},
    text::printable,
};

/// What one examination found: facts and judgement.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The facts.
    pub observation: Observation,
    /// The judgement.
    pub diagnosis: Diagnosis,
}

impl Report {
    /// Where a client would not have got further. A refusal is a whole answer, and no stop of the observation.
    #[must_use]
    pub fn stopped_in(&self) -> Option<Stage> {
        let seen = &self.observation;
        let last = || seen.stages().into_iter().map(|(stage, _)| stage).rfind(|stage| *stage <= Stage::Tls);
        match self.diagnosis.verdict {
            Verdict::Healthy => None,
            _ => seen.stop().map(|stop| stop.stage).or_else(last),
        }
    }

    /// What the verdict rests on, in one sentence that is safe to print.
    #[must_use]
    pub fn evidence(&self) -> String {
        let mut text = match (self.observation.stop(), self.observation.deciding()) {
            (Some(stop), _) => format!("{} after {:.3?}: {}", stop.stage.label(), stop.after, stop.fault),
            (None, Some(conversation)) => conversation.answer(),
            (None, None) => String::new(),
        };
        for (number, companion) in self.diagnosis.companions.iter().enumerate() {
            let _ = write!(text, "{} {companion}", if number == 0 { "; companion ports:" } else { "," });
        }
        printable(&text)
    }
}

/// Examines `target` once, which may be hurried: given less time than it is configured to have. Gives what was found and what
/// is remembered from now on.
pub async fn examine(
    prober: &Prober,
    (target, is_hurried): (&Target, bool),
    memory: &Memory,
    terms: (Reach, Companions),
    roots: &Roots,
) -> (Report, Memory) {
    let approach = memory.approach(&target.settings, terms, wall_clock());
    let mut observation = prober.run(target, &approach).await;
    // Copied only now, so that it is no part of what waits for answers.
    let known = memory.clone();
    let memory = match is_hurried {
        true => known.learn_in_a_hurry(target, &observation, roots),
        false => known.learn(target, &observation, roots),
    };
    // The certificates were read; their bytes would be the largest part of what is kept of a target.
    for conversation in &mut observation.conversations {
        conversation.presented = None;
        conversation.standard = None;
    }
    let diagnosis = diagnose(&observation, &memory, target, observation.ended);
    (Report { observation, diagnosis }, memory)
}

/// Asks the next question of the survey that is under way, until `deadline` at most; `None` where there is none.
pub async fn survey_step(
    prober: &Prober,
    target: &Target,
    memory: &Memory,
    deadline: Option<Instant>,
) -> Option<Memory> {
    let step = memory.survey.next_step()?;
    let begun = Instant::now();
    let time_left = memory.survey.time_left(target.settings.timeout);
    let time_left = deadline.map_or(time_left, |deadline| time_left.min(deadline - begun));
    let fact = prober.ask(target, step.question, step.address, time_left).await;
    let answer = Timed { fact, took: begun.elapsed() };
    Some(memory.clone().learn_of_survey(step, &answer, &target.settings, wall_clock()))
}

/// Judges again what was seen last, by what is remembered now. The verdict rests on what the companion ports had said by
/// then: none but a probe finds another.
#[must_use]
pub fn judge_again(mut report: Report, target: &Target, memory: &Memory) -> Report {
    let now = report.observation.ended;
    let diagnosis = diagnose(&report.observation, memory, target, now);
    let said = report.diagnosis.companions;
    let (verdict, companions) = Verdict::of(&report.observation).beside_companions(said, &target.settings);
    report.diagnosis = Diagnosis { verdict, companions, ..diagnosis };
    report
}

#[expect(clippy::disallowed_methods, reason = "an examination is where the wall clock is read")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
