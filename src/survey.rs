//! The survey: which layers, TLS versions and encryption methods a target accepts.
//! Pure. Which question comes next is a function of the answers so far, so a survey can stop and go on at any time; no
//! question is asked whose answer is implied by another.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

use crate::{
    certificate::CertificateFacts,
    observation::{Conversation, Fault, Negotiation, Observation, Stage, Timed, Way, age},
    probe::Question,
    wire::{
        clear_tls::HelloForm,
        gcc::{Certificate, EncryptionLevel, EncryptionMethods},
        negotiation::{FailureCode, Protocols},
        tls_version::TlsVersion,
    },
};

/// What is remembered of surveys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SurveyMemory {
    /// The last one that ended, and when. What one that was cut short did not learn is still known from the one before.
    pub last: Option<(Arc<Survey>, SystemTime)>,
    /// Whether the last one ended before all was asked.
    pub was_cut_short: bool,
    /// What is still known from those before, where the last one was cut short.
    #[serde(default)]
    handed_on: Option<Box<HandedOn>>,
    #[serde(skip)]
    under_way: Option<Box<UnderWay>>,
}

/// Of a survey that holds what those before it learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct HandedOn {
    /// What it learnt by itself.
    own: Survey,
    /// When the oldest of the rest was learnt.
    since: SystemTime,
}

/// How a survey ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// All was asked.
    Whole,
    /// Not all was.
    CutShort {
        /// What met silence, where that is why.
        silent: Option<Question>,
    },
}

/// What a survey has learnt. Missing is what nobody knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// Whether each layer is accepted, asked or implied.
    pub layers: Known<Protocols, 6>,
    /// Whether each TLS version is accepted.
    pub versions: Known<TlsVersion, 4>,
    /// Whether each encryption method of Standard RDP Security is accepted.
    pub methods: Known<EncryptionMethods, 4>,
    /// What the server chose when all methods were offered.
    pub encryption: Option<(EncryptionMethods, EncryptionLevel)>,
    /// Whether a client without NLA is refused.
    pub nla_required: Option<bool>,
    /// When the X.509 certificate of Standard RDP Security ends.
    pub standard_not_after: Option<OffsetDateTime>,
    /// The version that the server gives of itself in Standard RDP Security, `0x00080004` for RDP 5.0 to 8.1.
    pub standard_version: Option<u32>,
    /// The fingerprint that each address of the name showed, where there are several.
    pub fingerprints: Vec<(SocketAddr, String)>,
}

/// What is known of a few things, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known<T, const N: usize>([(T, Option<bool>); N]);

#[derive(Debug, Clone, PartialEq)]
struct UnderWay {
    survey: Survey,
    address: SocketAddr,
    further: Vec<SocketAddr>,
    /// How TLS is gone about at those: as it led in at this one.
    further_way: Way,
    asked: usize,
    spent: Duration,
    /// The sets of encryption methods that were asked for; none is asked for twice, whatever came of it.
    asked_methods: Vec<EncryptionMethods>,
    /// The ways in which TLS was gone about; none is tried twice either.
    asked_ways: Vec<Way>,
}

/// One question of a survey, and whom it is put to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The question.
    pub question: Question,
    /// The address.
    pub address: SocketAddr,
}

impl SurveyMemory {
    /// Whether a survey is under way.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins a survey, unless one of these addresses is under way, from what a probe saw, from how the ordinary offer was
    /// refused, where that is remembered, and from the fingerprint that its address showed; not where the probe read no
    /// whole answer to the connection request.
    pub fn begin(&mut self, seen: &Observation, refused_with: Option<FailureCode>, own: Option<(SocketAddr, String)>) {
        // The addresses of a name may have changed since, and only those of this probe are known to be allowed.
        self.under_way.take_if(|under_way| !under_way.is_within(&seen.addresses));
        let Some(conversation) = seen.deciding().filter(|_| self.under_way.is_none()) else { return };
        let Some((connected, answer)) = conversation.connect.zip(conversation.negotiation) else { return };
        let mut survey = Survey::default();
        for conversation in &seen.conversations {
            survey.imply(conversation);
        }
        if refused_with == Some(FailureCode::SSL_NOT_ALLOWED_BY_SERVER) {
            LAYERS_ASKED.into_iter().for_each(|layer| survey.layers.set_unless_known(layer, false));
        }
        if matches!(answer.fact.protocol(), Some(Protocols::SSL | Protocols::RDP)) {
            survey.nla_required = Some(false);
        }
        let address = connected.fact;
        let others = seen.addresses.iter().filter(|ip| **ip != address.ip());
        let further: Vec<_> = others.map(|ip| SocketAddr::new(*ip, address.port())).take(MAX_FURTHER).collect();
        survey.fingerprints.extend(own.filter(|(at, _)| *at == address && !further.is_empty()));
        let asked_ways = seen.conversations.iter().filter(|seen| seen.comes_to_tls()).map(|seen| seen.way).collect();
        self.under_way = Some(Box::new(UnderWay {
            survey,
            address,
            further,
            further_way: match conversation.way {
                Way::Clear(form) if conversation.leads_in() => Way::Clear(form),
                Way::Clear(_) | Way::Rustls | Way::Stop => Way::Rustls,
            },
            asked: 0,
            spent: Duration::ZERO,
            asked_methods: Vec::new(),
            asked_ways,
        }));
        if self.next_step().is_none() {
            self.end(Ending::Whole, seen.ended);
        }
    }

    /// The next question, where a survey is under way.
    #[must_use]
    pub fn next_step(&self) -> Option<Step> {
        self.under_way.as_ref()?.next_step()
    }

    /// Takes an answer in. The survey ends at its first silent connection, and when it took too long.
    pub fn learn(&mut self, step: Step, answer: &Timed<Conversation>, timeout: Duration, now: SystemTime) {
        let Some(under_way) = &mut self.under_way else { return };
        under_way.spent += answer.took;
        let was_answered = under_way.learn(step, &answer.fact);
        let has_time = under_way.spent < timeout * MAX_TIMEOUTS;
        let is_complete = under_way.next_step().is_none();
        if is_complete {
            self.end(Ending::Whole, now);
        } else if !was_answered || !has_time {
            // Where it took the connection, silence is its answer to the question; unless it had less time than any other.
            let is_silent = !was_answered && answer.fact.connect.is_some() && answer.took >= timeout;
            self.end(Ending::CutShort { silent: is_silent.then_some(step.question) }, now);
        }
    }

    /// How long the next question may take.
    #[must_use]
    pub fn time_left(&self, timeout: Duration) -> Duration {
        let spent = self.under_way.as_ref().map(|under_way| under_way.spent).unwrap_or_default();
        timeout.min((timeout * MAX_TIMEOUTS).saturating_sub(spent))
    }

    /// Ends the survey that is under way, if there is one; what it learnt so far holds. Where it was cut short, maybe by
    /// silence to some question, the rest is still known from the one before.
    fn end(&mut self, ending: Ending, now: SystemTime) {
        let Some(mut survey) = self.under_way.take().map(|under_way| under_way.survey) else { return };
        let since = self.handed_on.take().map(|handed_on| handed_on.since);
        if let (Ending::CutShort { silent }, Some((before, ended))) = (ending, self.last.take()) {
            self.handed_on = Some(Box::new(HandedOn { own: survey.clone(), since: since.unwrap_or(ended) }));
            survey.fill_from(Arc::unwrap_or_clone(before), silent);
        }
        self.was_cut_short = ending != Ending::Whole;
        self.last = Some((Arc::new(survey), now));
    }

    pub(crate) fn forget(&mut self, max_age: Duration, now: SystemTime) {
        let too_old = self.handed_on.take_if(|handed_on| age(handed_on.since, now) > max_age);
        if let (Some(handed_on), Some((survey, _))) = (too_old, &mut self.last) {
            *survey = Arc::new(handed_on.own);
        }
        self.last = self.last.take().filter(|(_, ended)| age(*ended, now) <= max_age);
    }
}

impl UnderWay {
    /// Whether all that it asks is at one of `addresses`.
    fn is_within(&self, addresses: &[IpAddr]) -> bool {
        self.further.iter().chain([&self.address]).all(|asked| addresses.contains(&asked.ip()))
    }

    fn next_step(&self) -> Option<Step> {
        let has_room = self.asked < MAX_QUESTIONS;
        match self.survey.next_question(&self.asked_methods, &self.asked_ways, has_room) {
            Some(question) => Some(Step { question, address: self.address }),
            None => {
                let question = Question { way: self.further_way, ..Question::ORDINARY };
                Some(Step { question, address: *self.further.first()? })
            }
        }
    }

    /// Whether the server took the connection and said something.
    fn learn(&mut self, step: Step, answer: &Conversation) -> bool {
        if step.address != self.address {
            self.further.retain(|further| *further != step.address);
            let chain = answer.presented.as_ref().map(|presented| presented.chain.as_slice());
            if let Some(facts) = chain.and_then(CertificateFacts::read) {
                self.survey.fingerprints.push((step.address, facts.sha256));
            }
            // Another address that is silent says nothing of the one that is surveyed.
            return true;
        }
        self.asked += usize::from(!is_of_methods(step.question));
        self.asked_methods.extend(step.question.methods);
        self.asked_ways.extend(answer.comes_to_tls().then_some(answer.way));
        self.survey.learn(step.question, answer);
        let is_silent = answer.stop.as_ref().is_some_and(|stop| stop.fault == Fault::Timeout);
        answer.connect.is_some() && !is_silent && answer.standard.as_deref() != Some(&Err(Fault::Timeout))
    }
}

impl Survey {
    /// The next question, cheapest knowledge first: Standard RDP Security, then each unknown layer alone, with a question
    /// about TLS versions riding along, then the versions that are left, then each encryption method alone.
    fn next_question(
        &self,
        asked_methods: &[EncryptionMethods],
        asked_ways: &[Way],
        has_room: bool,
    ) -> Option<Question> {
        let alone = |offer, way| Question { offer, way, ..Question::ORDINARY };
        let rdp = self.layers.get(Protocols::RDP);
        let asks_standard = !asked_methods.contains(&EncryptionMethods::ALL) && rdp != Some(false);
        if asks_standard && has_room {
            return Some(standard(EncryptionMethods::ALL));
        }
        let way = self.version_question(asked_ways).unwrap_or(Way::Stop);
        if has_room {
            let unknown = LAYERS_ASKED.into_iter().find(|layer| self.layers.get(*layer).is_none());
            let accepted = || LAYERS_ASKED.into_iter().find(|layer| self.layers.get(*layer) == Some(true));
            if let Some(layer) = unknown {
                return Some(alone(layer, way));
            }
            if let Some(layer) = accepted().filter(|_| way != Way::Stop) {
                return Some(alone(layer, way));
            }
        }
        if rdp != Some(true) || self.encryption.is_none() {
            return None;
        }
        METHODS
            .into_iter()
            .find(|method| self.methods.get(*method).is_none() && !asked_methods.contains(method))
            .map(standard)
    }

    /// The highest version that is unknown first: a server that refuses a hello up to one version accepts none below.
    fn version_question(&self, asked: &[Way]) -> Option<Way> {
        let ways = TlsVersion::ALL.into_iter().rev().filter(|version| self.versions.get(*version).is_none());
        let mut ways = ways.map(|version| match version {
            TlsVersion::Tls10 => Way::Clear(HelloForm::Tls10),
            TlsVersion::Tls11 => Way::Clear(HelloForm::Tls11),
            TlsVersion::Tls12 => Way::Clear(HelloForm::Tls12),
            TlsVersion::Tls13 => Way::Rustls,
        });
        ways.find(|way| !asked.contains(way))
    }

    /// What an ordinary probe's conversation says by itself.
    fn imply(&mut self, seen: &Conversation) {
        let Some(answer) = seen.negotiation.map(|timed| timed.fact) else { return };
        let offered = ORDINARY_LAYERS.into_iter().filter(|layer| seen.offered.0 & layer.0 != 0);
        match answer {
            Negotiation::Refused(FailureCode::SSL_NOT_ALLOWED_BY_SERVER | FailureCode::SSL_CERT_NOT_ON_SERVER) => {
                // No layer with TLS can be had.
                LAYERS_ASKED.into_iter().for_each(|layer| self.layers.set(layer, false));
            }
            Negotiation::Refused(_) | Negotiation::Disconnected => {
                offered.for_each(|layer| self.layers.set(layer, false));
            }
            Negotiation::Absent | Negotiation::Selected { .. } => {
                let selected = answer.protocol().unwrap_or(Protocols::RDP);
                // A server takes the strongest that it accepts.
                offered.filter(|layer| layer.0 > selected.0).for_each(|layer| self.layers.set(layer, false));
                self.layers.set(selected, true);
            }
        }
        self.learn_versions(seen);
    }

    fn learn(&mut self, question: Question, answer: &Conversation) {
        match answer.negotiation.map(|timed| timed.fact) {
            Some(fact) => self.learn_layer(question.offer, fact),
            None if answer.connect.is_some()
                && answer.stop.as_ref().is_some_and(|stop| stop.fault != Fault::Timeout) =>
            {
                self.layers.set_unless_known(question.offer, false);
            }
            None => {}
        }
        self.learn_versions(answer);
        if let Some(methods) = question.methods {
            self.learn_standard(methods, answer);
        }
    }

    /// Fills what is missing from a survey before, but for what the question that now met silence was about.
    fn fill_from(&mut self, before: Self, silent: Option<Question>) {
        let layer = silent.map(|question| question.offer);
        let methods = silent.and_then(|question| question.methods);
        let version = silent.and_then(|question| match question.way {
            Way::Clear(form) => Some(highest_of(form)),
            Way::Rustls => Some(TlsVersion::Tls13),
            Way::Stop => None,
        });
        self.layers.fill_from(&before.layers, |known| Some(known) != layer);
        self.versions.fill_from(&before.versions, |known| Some(known) != version);
        self.nla_required = self.nla_required.or(before.nla_required);
        if self.layers.get(Protocols::RDP) == Some(true) && methods != Some(EncryptionMethods::ALL) {
            self.methods.fill_from(&before.methods, |known| Some(known) != methods);
            self.encryption = self.encryption.or(before.encryption);
            self.standard_not_after = self.standard_not_after.or(before.standard_not_after);
            self.standard_version = self.standard_version.or(before.standard_version);
        }
        // Where one address has renewed its certificate, the others may have too.
        let is_same = |(address, own): &(SocketAddr, String)| {
            before.fingerprints.iter().all(|(other, theirs)| other != address || theirs == own)
        };
        if self.fingerprints.iter().all(is_same) {
            let seen: Vec<_> = self.fingerprints.iter().map(|(address, _)| *address).collect();
            self.fingerprints.extend(before.fingerprints.into_iter().filter(|(address, _)| !seen.contains(address)));
        }
    }

    fn learn_layer(&mut self, asked: Protocols, answer: Negotiation) {
        self.layers.set(asked, answer.protocol() == Some(asked));
        match (asked, answer) {
            (Protocols::RDP, Negotiation::Refused(FailureCode::HYBRID_REQUIRED_BY_SERVER)) => {
                self.nla_required = Some(true);
                self.layers.set_unless_known(Protocols::SSL, false);
            }
            (Protocols::RDP, Negotiation::Refused(FailureCode::SSL_REQUIRED_BY_SERVER)) => {
                self.nla_required = Some(false);
                self.layers.set_unless_known(Protocols::SSL, true);
            }
            (Protocols::SSL, Negotiation::Refused(FailureCode::HYBRID_REQUIRED_BY_SERVER)) => {
                self.nla_required = Some(true);
            }
            (Protocols::RDP | Protocols::SSL, _) if answer.protocol() == Some(asked) => {
                self.nla_required = Some(false);
            }
            _ => {}
        }
    }

    fn learn_versions(&mut self, seen: &Conversation) {
        let refused = seen.stop.as_ref().filter(|stop| stop.stage == Stage::Tls).is_some_and(|stop| {
            matches!(stop.fault, Fault::Alert(_) | Fault::Closed | Fault::Incompatible(_) | Fault::Reset)
        });
        match (seen.way, seen.tls, seen.clear) {
            (Way::Rustls, Some(tls), _) => {
                let is_1_3 = tls.fact.version == "TLS 1.3";
                self.versions.set(TlsVersion::Tls13, is_1_3);
                if !is_1_3 {
                    self.versions.set(TlsVersion::Tls12, true);
                }
            }
            (Way::Rustls, None, _) if refused => self.versions.set_unless_known(TlsVersion::Tls13, false),
            (Way::Clear(form), _, Some(clear)) => {
                let offered = highest_of(form);
                let chosen = TlsVersion::of_number(clear.fact.hello.version);
                for version in TlsVersion::ALL.into_iter().filter(|version| *version <= offered) {
                    if chosen.is_none_or(|chosen| version > chosen) {
                        self.versions.set(version, false);
                    } else if chosen == Some(version) {
                        self.versions.set(version, true);
                    }
                }
                if clear.fact.hello.speaks_tls_1_3 {
                    self.versions.set(TlsVersion::Tls13, true);
                }
            }
            (Way::Clear(form), _, None) if refused => {
                let offered = highest_of(form);
                let refused = TlsVersion::ALL.into_iter().filter(|version| *version <= offered);
                refused.for_each(|version| self.versions.set_unless_known(version, false));
            }
            _ => {}
        }
    }

    fn learn_standard(&mut self, asked: EncryptionMethods, seen: &Conversation) {
        let Some(answer) = seen.standard.as_deref() else { return };
        let security = answer.as_ref().ok().and_then(|response| response.data.as_ref()?.security.as_ref());
        if asked == EncryptionMethods::ALL {
            let data = answer.as_ref().ok().and_then(|response| response.data.as_ref());
            self.standard_version = data.and_then(|data| data.version);
            let Some(security) = security else { return };
            self.encryption = Some((security.method, security.level));
            self.methods.set(security.method, true);
            if let Certificate::X509 { chain } = &security.certificate
                && let Some(own) = chain.last()
            {
                self.standard_not_after =
                    CertificateFacts::read(std::slice::from_ref(own)).and_then(|facts| facts.not_after);
            }
        } else if *answer != Err(Fault::Timeout) {
            self.methods.set(asked, security.is_some_and(|security| security.method == asked));
        }
    }
}

/// The highest version that a hello offers.
const fn highest_of(form: HelloForm) -> TlsVersion {
    match form {
        HelloForm::Tls10 => TlsVersion::Tls10,
        HelloForm::Tls11 => TlsVersion::Tls11,
        HelloForm::Tls12 => TlsVersion::Tls12,
    }
}

impl<T: Copy + PartialEq, const N: usize> Known<T, N> {
    /// Whether `thing` is accepted, where that is known.
    #[must_use]
    pub fn get(&self, thing: T) -> Option<bool> {
        self.0.iter().find(|(known, _)| *known == thing).and_then(|(_, accepted)| *accepted)
    }

    /// Everything that is known.
    pub fn iter(&self) -> impl Iterator<Item = (T, bool)> + '_ {
        self.0.iter().filter_map(|(thing, accepted)| Some((*thing, (*accepted)?)))
    }

    fn set(&mut self, thing: T, accepted: bool) {
        if let Some((_, known)) = self.0.iter_mut().find(|(known, _)| *known == thing) {
            *known = Some(accepted);
        }
    }

    fn fill_from(&mut self, before: &Self, still_holds: impl Fn(T) -> bool) {
        let holding = before.iter().filter(|(thing, _)| still_holds(*thing));
        holding.for_each(|(thing, accepted)| self.set_unless_known(thing, accepted));
    }

    fn set_unless_known(&mut self, thing: T, accepted: bool) {
        if self.get(thing).is_none() {
            self.set(thing, accepted);
        }
    }
}

/// What is known, as a list of pairs.
impl<T: Copy + PartialEq + Serialize, const N: usize> Serialize for Known<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: Copy + PartialEq + Deserialize<'de>, const N: usize> Deserialize<'de> for Known<T, N>
where
    Self: Default,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut known = Self::default();
        Vec::deserialize(deserializer)?.into_iter().for_each(|(thing, accepted)| known.set(thing, accepted));
        Ok(known)
    }
}

impl Default for Known<Protocols, 6> {
    fn default() -> Self {
        Self(Protocols::NAMED.map(|layer| (layer, None)))
    }
}

impl Default for Known<TlsVersion, 4> {
    fn default() -> Self {
        Self(TlsVersion::ALL.map(|version| (version, None)))
    }
}

impl Default for Known<EncryptionMethods, 4> {
    fn default() -> Self {
        Self(METHODS.map(|method| (method, None)))
    }
}

fn standard(methods: EncryptionMethods) -> Question {
    Question { offer: Protocols::RDP, way: Way::Stop, methods: Some(methods), ..Question::ORDINARY }
}

fn is_of_methods(question: Question) -> bool {
    question.methods.is_some_and(|methods| methods != EncryptionMethods::ALL)
}

/// The layers that one ordinary request offers, beside Standard RDP Security.
const ORDINARY_LAYERS: [Protocols; 3] = [Protocols::SSL, Protocols::HYBRID, Protocols::HYBRID_EX];
/// The layers with TLS, in the order in which they are asked for.
const LAYERS_ASKED: [Protocols; 5] =
    [Protocols::SSL, Protocols::HYBRID, Protocols::HYBRID_EX, Protocols::RDSTLS, Protocols::RDSAAD];
/// The methods that are asked for alone.
const METHODS: [EncryptionMethods; 4] =
    [EncryptionMethods::BIT_40, EncryptionMethods::BIT_56, EncryptionMethods::BIT_128, EncryptionMethods::FIPS];
/// Questions of one survey, those of further addresses and of encryption methods apart.
const MAX_QUESTIONS: usize = 6;
/// Further addresses of a name that are asked for their certificate.
const MAX_FURTHER: usize = 16;
/// A survey may take so many times the timeout of a probe.
const MAX_TIMEOUTS: u32 = 4;
