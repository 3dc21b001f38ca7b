//! What is remembered of a target between probes. Pure: time is an argument.
//! The probe itself remembers nothing.

mod certificate;
mod companion;
mod network;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use certificate::{Certificates, SeenCertificate};
pub use companion::Companions;
pub use network::Network;
use network::Reached;

use serde::{Deserialize, Serialize};

use crate::{
    certificate::trust::Roots,
    observation::{ChallengeFacts, Conversation, Fault, Observation, Stage, Stop, Timed, Way, age, has_passed},
    probe::{self, Approach, Question},
    survey::{Step, SurveyMemory},
    target::{Reach, Settings, Target},
    wire::{
        clear_tls::HelloForm,
        negotiation::{FailureCode, Protocols},
    },
};

/// What is remembered of one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The address that answered last.
    pub address: Option<SocketAddr>,
    /// The certificates that were seen.
    pub certificates: Certificates,
    /// What is known not to work, so that it is not tried each time.
    pub path: Path,
    /// The last NTLM challenge.
    pub challenge: ChallengeMemory,
    /// The survey, done and under way.
    pub survey: SurveyMemory,
    /// When each strength of layer was last negotiated.
    pub layers: Layers,
    /// How the network behaved.
    #[serde(skip)]
    pub network: Network,
    /// What the companion ports of a silent host told.
    #[serde(skip)]
    pub companions: Companions,
}

/// Which way works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Path {
    /// An ordinary handshake.
    #[default]
    Ordinary,
    /// Our TLS library cannot finish; the hand-made hello can.
    Clear {
        /// Which hello.
        form: HelloForm,
        /// When the library last failed.
        since: SystemTime,
    },
    /// Neither our TLS library nor a hand-made hello gets in: only the ordinary handshake is tried.
    Cut {
        /// When all were tried.
        since: SystemTime,
    },
    /// Everything but Standard RDP Security is refused.
    StandardOnly {
        /// How the ordinary offer was refused.
        failure: FailureCode,
        /// When it was.
        since: SystemTime,
    },
}

/// What the NTLM challenges told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChallengeMemory {
    /// The last one, and when.
    pub last: Option<(Arc<ChallengeFacts>, SystemTime)>,
    /// When one was last asked for.
    asked: Option<SystemTime>,
    /// How many requests running met silence.
    silences: u32,
}

/// When each strength of layer was last negotiated: RDP, SSL, NLA.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers([Option<SystemTime>; 3]);

impl Memory {
    /// How to go about the next probe. A handshake that the server is known to refuse is not repeated, but once a day; an
    /// offer that it is known to refuse, once an hour.
    #[must_use]
    pub fn approach(
        &self,
        settings: &Settings,
        (reach, companions): (Reach, probe::Companions),
        now: SystemTime,
    ) -> Approach {
        let ordinary = Question { challenge: self.challenge.is_due(settings, now), ..Question::ORDINARY };
        let explain = !matches!(self.path, Path::Cut { since } if !has_passed(EXPLAIN_AFTER, since, now));
        let question = match self.path {
            Path::Clear { form, since } if !has_passed(RECHECK_AFTER, since, now) => {
                Question { way: Way::Clear(form), ..ordinary }
            }
            Path::StandardOnly { since, .. } if !has_passed(OFFER_AFTER, since, now) => {
                Question { offer: Protocols::RDP, way: Way::Stop, ..ordinary }
            }
            Path::Ordinary | Path::Clear { .. } | Path::Cut { .. } | Path::StandardOnly { .. } => ordinary,
        };
        let companions = match companions {
            probe::Companions::WhenDue | probe::Companions::WhenDueInTime
                if !self.companions.are_due(settings, now) =>
            {
                probe::Companions::Never
            }
            companions => companions,
        };
        Approach { question, explain, reach, companions }
    }

    /// What is remembered after one more observation.
    #[must_use]
    pub fn learn(mut self, target: &Target, seen: &Observation, roots: &Roots) -> Self {
        let now = seen.ended;
        let deciding = seen.deciding();
        if let Some(connected) = deciding.and_then(|conversation| conversation.connect.as_ref()) {
            self.address = Some(connected.fact);
        }
        if let Some(conversation) = deciding.filter(|conversation| conversation.leads_in()) {
            self.path = self.path.after(seen, conversation);
            self.layers.see(conversation.layer(), now);
            if !matches!(conversation.layer(), Some(Protocols::HYBRID | Protocols::HYBRID_EX)) {
                self.challenge.silences = 0;
            }
        } else if seen.conversations.iter().any(|conversation| matches!(conversation.way, Way::Clear(_))) {
            self.path = self.path.after_failure(seen);
        } else if let (Path::Cut { .. }, Some(stop)) = (self.path, seen.stop())
            && stop.stage != Stage::Tls
        {
            // Another fault than before: what was true of the old one need not be true of the next.
            self.path = Path::Ordinary;
        } else if matches!(self.path, Path::StandardOnly { .. }) && seen.conversations.iter().any(is_unanswered) {
            // It no longer answers what it is known to accept, so it is asked like any other again.
            self.path = Path::Ordinary;
        }
        if let Some((presented, address)) = seen.presented() {
            self.certificates.see(presented, address, target.server_name.as_deref(), (roots, now));
        }
        if let Some(answer) = deciding.and_then(|conversation| conversation.challenge.as_deref()) {
            self.challenge.see(answer, target.settings.timeout, now);
        }
        if target.settings.challenge_interval.is_zero() {
            self.challenge.silences = 0;
        }
        self.see_network(seen);
        self.companions.see(seen);
        self.forget(target.settings.facts_max_age, now)
    }

    /// The same after a probe that had less time than `target` is configured to have: what it did not wait for was not
    /// silent.
    #[must_use]
    pub fn learn_in_a_hurry(self, target: &Target, seen: &Observation, roots: &Roots) -> Self {
        let (path, network, companions) = (self.path, self.network, self.companions.clone());
        let (silences, settings) = (self.challenge.silences, &target.settings);
        let mut learnt = self.learn(target, seen, roots);
        let attempts = seen.conversations.iter().flat_map(|conversation| &conversation.attempts);
        let mut silent = attempts.filter(|attempt| attempt.fault == Fault::Timeout);
        let was_cut = seen.duration >= settings.timeout || silent.any(|tried| tried.after < settings.connect_timeout);
        if was_cut && !seen.silent_addresses().is_empty() {
            (learnt.network, learnt.companions) = (network, companions);
        }
        if settings.timeout < LEAST_PATIENCE {
            if seen.stop().is_some_and(|stop| stop.fault == Fault::Timeout) {
                learnt.path = path;
            }
            learnt.challenge.silences = learnt.challenge.silences.min(silences);
        }
        learnt
    }

    /// How the ordinary offer was refused, where Standard RDP Security is all there is.
    #[must_use]
    pub const fn refused_with(&self) -> Option<FailureCode> {
        match self.path {
            Path::StandardOnly { failure, .. } => Some(failure),
            Path::Ordinary | Path::Clear { .. } | Path::Cut { .. } => None,
        }
    }

    /// What is remembered after one more answer of a survey.
    #[must_use]
    pub fn learn_of_survey(
        mut self,
        step: Step,
        answer: &Timed<Conversation>,
        settings: &Settings,
        now: SystemTime,
    ) -> Self {
        let is_own = self.address == Some(step.address);
        if let (Path::Clear { form, .. }, Way::Rustls, true) = (self.path, step.question.way, is_own) {
            // The library was tried again: either it can finish now, or the day until the next try begins anew.
            match (&answer.fact.tls, &answer.fact.stop) {
                (Some(_), _) => self.path = Path::Ordinary,
                (None, Some(stop)) if stop.stage == Stage::Tls => self.path = Path::Clear { form, since: now },
                (None, _) => {}
            }
        }
        self.survey.learn(step, answer, settings.timeout, now);
        self
    }

    /// The same without facts from a time that is yet to come: a clock stood far ahead, or somebody else wrote them down.
    #[must_use]
    pub fn without_the_future(self, now: SystemTime) -> Self {
        // What is noted of the future is as old as can be.
        self.forget(Duration::MAX - Duration::from_nanos(1), now)
    }

    /// The same without what is older than `max_age`.
    #[must_use]
    fn forget(mut self, max_age: Duration, now: SystemTime) -> Self {
        self.certificates.forget(max_age, now);
        self.challenge.last = self.challenge.last.filter(|(_, observed)| age(*observed, now) <= max_age);
        if self.challenge.asked.is_some_and(|asked| age(asked, now) > max_age) {
            self.challenge.silences = 0;
        }
        self.survey.forget(max_age, now);
        self
    }

    fn see_network(&mut self, seen: &Observation) {
        let retransmits = seen.conversations.iter().filter_map(|conversation| conversation.network);
        let retransmitted = retransmits.map(|network| network.retransmits).sum::<u32>() > 0;
        match seen.stop() {
            Some(stop) if matches!(stop.fault, Fault::Local(_) | Fault::Forbidden(_)) => {}
            Some(stop) if stop.stage == Stage::Resolve => {}
            // A reset is an answer.
            Some(stop) if stop.stage == Stage::Connect && stop.fault != Fault::Reset => {
                self.network.see(Reached::Nothing, retransmitted);
            }
            _ if seen.deciding().is_some_and(Conversation::leads_in) => {
                self.network.see(Reached::Everything, retransmitted);
            }
            _ => self.network.see(Reached::TheHost, retransmitted),
        }
    }
}

/// Whether the connection request met no whole answer.
fn is_unanswered(conversation: &Conversation) -> bool {
    conversation.connect.is_some() && conversation.negotiation.is_none()
}

impl Path {
    /// The path after a probe whose deciding `conversation` leads in.
    fn after(self, seen: &Observation, conversation: &Conversation) -> Self {
        let since = seen.ended;
        let tried_rustls =
            || seen.conversations.iter().any(|other| other.way == Way::Rustls && other.layer().is_some());
        match (conversation.way, conversation.layer()) {
            (Way::Clear(form), Some(layer)) if layer != Protocols::RDP => match self {
                // The library was not tried again, so the day until it is goes on.
                Self::Clear { since, .. } if !tried_rustls() => Self::Clear { form, since },
                // The hello of the last resort got in where a better one met trouble, not an answer. Once may be chance: the
                // next probe tries all of them again.
                known if form == HelloForm::Tls10 && !matches!(known, Self::Clear { form: HelloForm::Tls10, .. }) => {
                    Self::Clear { form, since: SystemTime::UNIX_EPOCH }
                }
                _ => Self::Clear { form, since },
            },
            (_, Some(Protocols::RDP)) => match (seen.failure_code(), self) {
                (Some(failure), _) => Self::StandardOnly { failure, since },
                // It was asked for alone, as it is known to be all there is.
                (None, known @ Self::StandardOnly { .. }) if conversation.offered == Protocols::RDP => known,
                (None, _) => Self::Ordinary,
            },
            _ => Self::Ordinary,
        }
    }
}

impl Path {
    /// The path after a probe in which a hand-made hello did not lead in either. Where the handshake was not tried beside
    /// it, or where the host fell silent meanwhile, nothing is known for sure.
    fn after_failure(self, seen: &Observation) -> Self {
        let was_cut = |stop: &Stop| stop.stage == Stage::Tls && stop.fault != Fault::Timeout;
        let ended = |conversation: &Conversation| conversation.stop.as_ref().is_none_or(was_cut);
        let tried_rustls = seen.conversations.iter().any(|conversation| conversation.way == Way::Rustls);
        if !tried_rustls || !seen.conversations.iter().all(ended) {
            return self;
        }
        // What our library speaks, and does not get, is no old server's answer.
        let is_modern = |conversation: &Conversation| conversation.clear.is_some_and(|clear| clear.fact.rustls_speaks);
        match self {
            // It was met at a bad moment: its hello is what gets in again. It has the day for that.
            Self::Clear { since, .. }
                if !has_passed(RECHECK_AFTER, since, seen.ended) && !seen.conversations.iter().any(is_modern) =>
            {
                self
            }
            _ => Self::Cut { since: seen.ended },
        }
    }
}

impl ChallengeMemory {
    /// Whether two requests running met silence.
    #[must_use]
    pub const fn is_unanswered(&self) -> bool {
        self.silences >= 2
    }

    /// By the interval; and at once after a first silence, to see whether it was chance.
    fn is_due(&self, settings: &Settings, now: SystemTime) -> bool {
        let interval = settings.challenge_interval;
        let has_passed = self.asked.is_none_or(|asked| has_passed(interval, asked, now));
        !interval.is_zero() && (has_passed || self.silences == 1)
    }

    /// Takes in an answer to a probe of that `timeout`. What had little of it left was not listened for.
    fn see(&mut self, answer: &Timed<Result<ChallengeFacts, Fault>>, timeout: Duration, now: SystemTime) {
        self.asked = Some(now);
        if answer.fact != Err(Fault::Timeout) {
            self.silences = 0;
        } else if answer.took >= LEAST_SILENCE.min(timeout / 2) {
            self.silences = self.silences.saturating_add(1);
        }
        if let Ok(facts) = &answer.fact {
            self.last = Some((Arc::new(facts.clone()), now));
        }
    }
}

impl Layers {
    fn see(&mut self, layer: Option<Protocols>, now: SystemTime) {
        if let Some(seen) = layer.and_then(strength).and_then(|strength| self.0.get_mut(strength)) {
            *seen = Some(now);
        }
    }

    /// Whether something stronger than `layer` was negotiated within the last week.
    #[must_use]
    pub fn were_stronger_than(&self, layer: Protocols, now: SystemTime) -> bool {
        let Some(strength) = strength(layer) else { return false };
        let stronger = self.0.iter().skip(strength + 1).flatten();
        stronger.into_iter().any(|seen| age(*seen, now) <= BASELINE)
    }
}

/// rdp < ssl < hybrid = hybrid_ex.
const fn strength(layer: Protocols) -> Option<usize> {
    match layer {
        Protocols::RDP => Some(0),
        Protocols::SSL => Some(1),
        Protocols::HYBRID | Protocols::HYBRID_EX => Some(2),
        _ => None,
    }
}

/// Of a probe in a hurry that had less time than this nothing is learnt of what it did not hear.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);
/// A shorter one is no silence: a host under load, or far away, had no time to answer.
const LEAST_SILENCE: Duration = Duration::from_secs(1);
/// When what is known not to work is tried again.
const RECHECK_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// When the ordinary offer is made again where only Standard RDP Security was to be had: whoever mended that waits for it, and
/// a refused offer costs the host next to nothing.
const OFFER_AFTER: Duration = Duration::from_secs(60 * 60);
/// When a handshake that nothing explained may be followed by the hand-made hello again. Sooner than the rest: an old host
/// that was met at a bad moment must not count as broken for a day.
const EXPLAIN_AFTER: Duration = Duration::from_secs(60 * 60);
/// How long a stronger layer is the measure.
const BASELINE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
