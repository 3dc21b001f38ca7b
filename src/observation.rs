//! Everything one probe saw. Data only.
//! Nothing here judges: what a fact means is the business of `diagnosis`.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::wire::{
    DecodeError, clear_tls,
    clear_tls::{HelloForm, ServerHello},
    mcs::ConnectResponse,
    negotiation::{FailureCode, Protocols, ResponseFlags},
    ntlm::Challenge,
};

/// The stages of a probe, in the order in which they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Name to addresses.
    Resolve,
    /// The TCP connection.
    Connect,
    /// The X.224 connection request and its confirm.
    Negotiate,
    /// The TLS handshake.
    Tls,
    /// The NTLM challenge over CredSSP.
    Challenge,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 5] = [Self::Resolve, Self::Connect, Self::Negotiate, Self::Tls, Self::Challenge];

    /// The value of the `stage` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Negotiate => "negotiate",
            Self::Tls => "tls",
            Self::Challenge => "challenge",
        }
    }
}

/// Everything one probe saw of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// When the probe began, by the wall clock.
    pub started: SystemTime,
    /// When it ended, by the wall clock.
    pub ended: SystemTime,
    /// All stages together; the orderly close is not counted.
    pub duration: Duration,
    /// How long the look-up took; `None` for an address, which needs none.
    pub resolve: Option<Duration>,
    /// The addresses that the look-up gave, in the order in which they would be tried.
    pub addresses: Vec<IpAddr>,
    /// One per TCP connection that was asked for, in order.
    pub conversations: Vec<Conversation>,
    /// Where and how the probe stopped before any conversation.
    pub stop: Option<Stop>,
    /// What the companion ports of a silent host said, where they were tried.
    pub companions: Vec<Companion>,
}

/// A companion port of a silent host, which tells a host that is off from a port that is filtered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// Which port, of which address.
    pub address: SocketAddr,
    /// `None` where it answered, else what came of it.
    pub fault: Option<Fault>,
}

/// What one connection told. What few have is boxed: the last one of each target is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// The protocols that were offered.
    pub offered: Protocols,
    /// Each address that was tried and did not answer.
    pub attempts: Vec<Attempt>,
    /// The address that answered, and how long its TCP handshake took.
    pub connect: Option<Timed<SocketAddr>>,
    /// The server's answer to the connection request.
    pub negotiation: Option<Timed<Negotiation>>,
    /// The way TLS was gone about, should it come to that.
    pub way: Way,
    /// The TLS session, where the handshake completed.
    pub tls: Option<Timed<TlsSession>>,
    /// What the server's first flight said in the clear, where that was the way.
    pub clear: Option<Timed<ClearFlight>>,
    /// The certificates that the server presented, whether or not the handshake completed.
    pub presented: Option<Presented>,
    /// What the server said to a CredSSP request; it decides nothing.
    pub challenge: Option<Box<Timed<Result<ChallengeFacts, Fault>>>>,
    /// What the server said to an MCS Connect Initial; it decides nothing.
    pub standard: Option<Box<Result<ConnectResponse, Fault>>>,
    /// What the system knows of the connection.
    pub network: Option<NetworkFacts>,
    /// Where and how the conversation stopped short.
    pub stop: Option<Stop>,
}

/// How TLS is gone about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The hand-made hello, and the server's first flight in the clear.
    Clear(HelloForm),
    /// A handshake by our TLS library.
    Rustls,
    /// Not at all: the answer to the connection request is all that is wanted.
    Stop,
}

/// What a first flight in the clear chose. Nothing proves that the server has the key of its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClearFlight {
    /// The server's choice.
    pub hello: ServerHello,
    /// Whether our TLS library speaks all that was chosen.
    pub rustls_speaks: bool,
    /// Whether a certificate came.
    pub has_certificate: bool,
}

/// What the NTLM challenge told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChallengeFacts {
    /// The message.
    pub challenge: Challenge,
    /// The server's clock minus ours, corrected by half the round trip.
    pub clock_skew_seconds: Option<f64>,
}

/// What the system knows of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkFacts {
    /// The smoothed round trip.
    pub round_trip: Duration,
    /// Segments that had to be sent again.
    pub retransmits: u32,
}

/// A fact and the time it took to learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed<T> {
    /// The fact.
    pub fact: T,
    /// How long it took.
    pub took: Duration,
}

/// An address that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The address.
    pub address: SocketAddr,
    /// What came of it.
    pub fault: Fault,
    /// After how long.
    pub after: Duration,
}

/// The server's answer to the connection request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Negotiation {
    /// A confirm without negotiation data: a server that knows only Standard RDP Security.
    Absent,
    /// An MCS Disconnect Provider Ultimatum, as xrdp sends it when it cannot agree.
    Disconnected,
    /// RDP_NEG_FAILURE.
    Refused(FailureCode),
    /// RDP_NEG_RSP.
    Selected {
        /// The one protocol that the server chose.
        protocol: Protocols,
        /// What else it says of itself.
        flags: ResponseFlags,
    },
}

/// A completed TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsSession {
    /// `TLS 1.2`, `TLS 1.3`.
    pub version: &'static str,
    /// The IANA name of the cipher suite.
    pub cipher: &'static str,
}

/// The certificates of one handshake, as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// DER, leaf first. Never empty.
    pub chain: Vec<Vec<u8>>,
    /// Whether the server's handshake signature verifies with the leaf's key; `None` where it was not checked.
    pub key_proven: Option<bool>,
}

/// Where and how something stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// In which stage.
    pub stage: Stage,
    /// How.
    pub fault: Fault,
    /// How long after the stage began.
    pub after: Duration,
}

/// How a stage stopped short. Together with the stage this decides the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The server sent a fatal TLS alert.
    Alert(u8),
    /// The peer ended the connection with FIN.
    Closed,
    /// `/probe` may not connect to this address; nothing was sent.
    Forbidden(IpAddr),
    /// The server chose something in TLS that our library does not speak.
    Incompatible(String),
    /// Our own system refused.
    Local(LocalFault),
    /// TPKT, but not a valid answer.
    Malformed(DecodeError),
    /// No such name, or no address of the wanted family.
    NameNotFound,
    /// Not TPKT; the first bytes.
    NotTpkt(Vec<u8>),
    /// RST or ICMP port unreachable to the SYN.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// The resolver failed, with its `EAI_` number.
    ResolverFailed(i32),
    /// Nothing came within the time.
    Timeout,
    /// TLS that is no TLS, in the library's words.
    TlsBroken(String),
    /// A protocol was selected that was not offered.
    Unoffered(Protocols),
    /// ICMP unreachable; the error number.
    Unreachable(i32),
}

/// A refusal of our own system, before a packet could leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFault {
    /// What kind, for the `reason` label.
    pub reason: LocalReason,
    /// The operation and the system's words.
    pub text: String,
}

/// Why our own system refused. A closed list: it becomes a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LocalReason {
    /// No ephemeral port, or the source address is not ours.
    AddressUnavailable,
    /// No descriptors left.
    Descriptors,
    /// Memory, buffers or threads.
    Memory,
    /// No route to any of the target's addresses.
    NoRoute,
    /// A local rule or a missing right.
    Permission,
    /// The exporter is stopping.
    Stopping,
    /// Anything else.
    System,
}

impl LocalReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::AddressUnavailable,
        Self::Descriptors,
        Self::Memory,
        Self::NoRoute,
        Self::Permission,
        Self::Stopping,
        Self::System,
    ];

    /// The value of the `reason` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::AddressUnavailable => "address_unavailable",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::NoRoute => "no_route",
            Self::Permission => "permission",
            Self::Stopping => "stopping",
            Self::System => "system",
        }
    }
}

impl Negotiation {
    /// Whether TLS comes next.
    #[must_use]
    pub fn leads_to_tls(self) -> bool {
        matches!(self, Self::Selected { protocol, .. } if protocol != Protocols::RDP)
    }

    /// The protocol that the server will speak; a confirm without negotiation data is Standard RDP Security.
    #[must_use]
    pub const fn protocol(self) -> Option<Protocols> {
        match self {
            Self::Absent => Some(Protocols::RDP),
            Self::Disconnected | Self::Refused(_) => None,
            Self::Selected { protocol, .. } => Some(protocol),
        }
    }
}

impl Conversation {
    /// A conversation that has not begun.
    #[must_use]
    pub const fn offering(offered: Protocols, way: Way) -> Self {
        Self {
            offered,
            attempts: Vec::new(),
            connect: None,
            negotiation: None,
            way,
            tls: None,
            clear: None,
            presented: None,
            challenge: None,
            standard: None,
            network: None,
            stop: None,
        }
    }

    /// The layer that was negotiated.
    #[must_use]
    pub fn layer(&self) -> Option<Protocols> {
        self.negotiation.as_ref()?.fact.protocol()
    }

    /// What the server answered to the connection request, in one sentence.
    #[must_use]
    pub fn negotiated(&self) -> String {
        match self.negotiation.map(|timed| timed.fact) {
            Some(Negotiation::Absent) => "confirmed without negotiation data: Standard RDP Security".to_owned(),
            Some(Negotiation::Disconnected) => "refused with an MCS disconnect".to_owned(),
            Some(Negotiation::Refused(code)) => format!("refused with {code}"),
            Some(Negotiation::Selected { protocol, .. }) => format!("{protocol} selected"),
            None => "nothing answered".to_owned(),
        }
    }

    /// What the connection came to, in one sentence.
    #[must_use]
    pub fn answer(&self) -> String {
        match self.tls_names() {
            Some((version, cipher)) if self.clear.is_some() => {
                format!("{}, {version} with {cipher}, read in the clear", self.negotiated())
            }
            Some((version, cipher)) => format!("{}, {version} with {cipher}", self.negotiated()),
            None => self.negotiated(),
        }
    }

    fn tls_stage(&self) -> Option<Duration> {
        self.tls.map(|timed| timed.took).or_else(|| self.clear.map(|timed| timed.took))
    }

    /// The whole stage: the addresses that did not answer, and the one that did.
    fn connect_stage(&self) -> Option<Duration> {
        let in_vain: Duration = self.attempts.iter().map(|attempt| attempt.after).sum();
        self.connect.as_ref().map(|timed| timed.took + in_vain)
    }

    /// Whether it ended where a client would go on: a layer was negotiated and, where it is TLS, the handshake
    /// completed, or the server's choice in the clear explains why ours cannot.
    #[must_use]
    pub fn leads_in(&self) -> bool {
        match self.layer() {
            None => false,
            Some(Protocols::RDP) => self.stop.is_none(),
            Some(_) => self.tls.is_some() || self.explains_refusal(),
        }
    }

    /// Whether a layer with TLS was selected.
    #[must_use]
    pub fn comes_to_tls(&self) -> bool {
        self.negotiation.is_some_and(|timed| timed.fact.leads_to_tls())
    }

    /// Whether the server chose in the clear what our TLS library lacks, and showed its certificate.
    #[must_use]
    pub fn explains_refusal(&self) -> bool {
        self.clear.is_some_and(|timed| timed.fact.has_certificate && !timed.fact.rustls_speaks)
    }

    /// Version and cipher suite, by their IANA names, however they were learnt.
    #[must_use]
    pub fn tls_names(&self) -> Option<(&'static str, &'static str)> {
        match (self.tls, self.clear) {
            (Some(tls), _) => Some((tls.fact.version, tls.fact.cipher)),
            (None, Some(clear)) => Some((
                clear_tls::version_name(clear.fact.hello.version).unwrap_or_default(),
                clear_tls::cipher_name(clear.fact.hello.cipher).unwrap_or_default(),
            )),
            (None, None) => None,
        }
    }
}

impl Observation {
    /// A probe that has just begun.
    #[must_use]
    pub const fn begun(started: SystemTime) -> Self {
        Self {
            started,
            ended: started,
            duration: Duration::ZERO,
            resolve: None,
            addresses: Vec::new(),
            conversations: Vec::new(),
            stop: None,
            companions: Vec::new(),
        }
    }

    /// The conversation that decides: the one that leads in, else the very first where it stopped without an answer, else
    /// the first that made the ordinary offer and came to an end of its own. A first flight in the clear is none: it neither
    /// completes a handshake nor fails one.
    #[must_use]
    pub fn deciding(&self) -> Option<&Conversation> {
        let all = || self.conversations.iter();
        let ordinary = || all().filter(|conversation| conversation.offered != Protocols::RDP);
        let was_cut = |first: &&Conversation| first.stop.is_some() && first.negotiation.is_none();
        all()
            .find(|conversation| conversation.leads_in())
            .or_else(|| all().next().filter(was_cut))
            .or_else(|| ordinary().find(|conversation| conversation.stop.is_some() || conversation.layer().is_none()))
            .or_else(|| ordinary().next())
            .or_else(|| all().next())
    }

    /// Whether a TCP connection was made. One that was reset at once counts: the reset is an answer.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        let was_reset = self.stop().is_some_and(|stop| stop.stage == Stage::Connect && stop.fault == Fault::Reset);
        was_reset || self.conversations.iter().any(|conversation| conversation.connect.is_some())
    }

    /// The addresses that were silent, where all there was to see is silence.
    #[must_use]
    pub fn silent_addresses(&self) -> Vec<SocketAddr> {
        let is_silence = |stop: &Stop| stop.stage == Stage::Connect && stop.fault == Fault::Timeout;
        let Some(conversation) = self.deciding().filter(|_| self.stop().is_some_and(is_silence)) else { return vec![] };
        let silent = conversation.attempts.iter().filter(|attempt| attempt.fault == Fault::Timeout);
        silent.map(|attempt| attempt.address).collect()
    }

    /// Whether a whole answer to the connection request was read.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.deciding().is_some_and(|conversation| conversation.negotiation.is_some())
    }

    /// Connect, negotiate and TLS of the answering connection, where the handshake completed.
    #[must_use]
    pub fn handshake(&self) -> Option<Duration> {
        let completed = |conversation: &&Conversation| conversation.leads_in() && conversation.clear.is_none();
        let deciding = self.deciding().filter(completed)?;
        let tls = deciding.tls.as_ref().map_or(Duration::ZERO, |timed| timed.took);
        Some(deciding.connect.as_ref()?.took + deciding.negotiation.as_ref()?.took + tls)
    }

    /// The code with which the server refused the ordinary offer.
    #[must_use]
    pub fn failure_code(&self) -> Option<FailureCode> {
        let mut ordinary = self.conversations.iter().filter(|conversation| conversation.offered != Protocols::RDP);
        ordinary.find_map(|conversation| match conversation.negotiation.as_ref()?.fact {
            Negotiation::Refused(code) => Some(code),
            Negotiation::Absent | Negotiation::Disconnected | Negotiation::Selected { .. } => None,
        })
    }

    /// Where the probe stopped short, if it did.
    #[must_use]
    pub fn stop(&self) -> Option<&Stop> {
        let deciding = self.deciding().filter(|conversation| !conversation.leads_in());
        self.stop.as_ref().or_else(|| deciding?.stop.as_ref())
    }

    /// The time of each stage that was reached, in order; the stage that stopped counts with the time it lasted.
    #[must_use]
    pub fn stages(&self) -> Vec<(Stage, Duration)> {
        let deciding = self.deciding();
        let finished = [
            (Stage::Resolve, self.resolve),
            (Stage::Connect, deciding.and_then(Conversation::connect_stage)),
            (Stage::Negotiate, deciding.and_then(|c| c.negotiation.as_ref()).map(|timed| timed.took)),
            (Stage::Tls, deciding.and_then(Conversation::tls_stage)),
            (Stage::Challenge, deciding.and_then(|c| c.challenge.as_ref()).map(|timed| timed.took)),
        ];
        let stop = self.stop();
        finished
            .into_iter()
            .filter_map(|(stage, took)| {
                let stopped = stop.filter(|stop| stop.stage == stage).map(|stop| stop.after);
                took.or(stopped).map(|took| (stage, took))
            })
            .collect()
    }

    /// The first certificates that any conversation presented.
    #[must_use]
    pub fn presented(&self) -> Option<(&Presented, SocketAddr)> {
        self.conversations
            .iter()
            .find_map(|conversation| Some((conversation.presented.as_ref()?, conversation.connect.as_ref()?.fact)))
    }
}

impl Companion {
    /// Whether the host gave a sign of life: an answer or a refusal. `None` where nothing left our own system.
    #[must_use]
    pub const fn lives(&self) -> Option<bool> {
        match self.fault {
            None | Some(Fault::Refused | Fault::Reset | Fault::Closed) => Some(true),
            Some(Fault::Local(_)) => None,
            Some(_) => Some(false),
        }
    }

    /// What it said, in a word or two: `answered`, `refused`, `silent`, or what else came of it.
    #[must_use]
    pub fn answer(&self) -> String {
        match (&self.fault, self.lives()) {
            (None, _) => "answered".to_owned(),
            (Some(_), Some(true)) => "refused".to_owned(),
            (Some(Fault::Timeout), _) => "silent".to_owned(),
            (Some(fault), _) => fault.to_string(),
        }
    }
}

impl fmt::Display for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.address, self.answer())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(number) => write!(f, "the server sent TLS alert {number} ({})", alert_name(*number)),
            Self::Closed => write!(f, "the server closed the connection (FIN)"),
            Self::Forbidden(ip) => write!(f, "{ip} is not allowed by probe_endpoint"),
            Self::Incompatible(text) => write!(f, "the server chose what our TLS library does not speak: {text}"),
            Self::Local(fault) => write!(f, "our own system refused: {}", fault.text),
            Self::Malformed(error) => write!(f, "not a valid answer: {error}"),
            Self::NameNotFound => write!(f, "no such name, or no address of the wanted family"),
            Self::NotTpkt(bytes) => write!(f, "the answer is not RDP: it begins with {}", bytes.escape_ascii()),
            Self::Refused => write!(f, "connection refused"),
            Self::Reset => write!(f, "the server reset the connection (RST)"),
            Self::ResolverFailed(code) => write!(f, "the resolver failed (EAI error {code})"),
            Self::Timeout => write!(f, "no answer within the time"),
            Self::TlsBroken(text) => write!(f, "broken TLS: {text}"),
            Self::Unoffered(protocol) => write!(f, "the server selected {protocol}, which was not offered"),
            Self::Unreachable(errno) => {
                write!(f, "unreachable: {}", std::io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

/// How long ago something was, for what grows old. Nothing where the clock was set back by hours: what was just seen is
/// not lost by that. Where it was set right after it had stood far ahead, what was noted then is as old as can be, or it
/// would never grow old.
#[must_use]
pub fn age(then: SystemTime, now: SystemTime) -> Duration {
    match now.duration_since(then) {
        Ok(age) => age,
        Err(ahead) if ahead.duration() > CLOCK_TOLERANCE => Duration::MAX,
        Err(_) => Duration::ZERO,
    }
}

/// Whether at least `time` has passed since `then`, for what is done again and again. It has where the clock was set back:
/// to do it once too often is better than to wait until the clock is there again.
#[must_use]
pub fn has_passed(time: Duration, then: SystemTime, now: SystemTime) -> bool {
    match now.duration_since(then) {
        Ok(age) => age >= time,
        Err(ahead) => ahead.duration() > CLOCK_JITTER,
    }
}

/// Clocks that are set by hand, or to another time zone, are set back by less.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(24 * 60 * 60);
/// Clocks that are kept right by a program are set back by less.
const CLOCK_JITTER: Duration = Duration::from_secs(60);

/// The name of a TLS alert (RFC 8446, 6).
#[must_use]
pub const fn alert_name(number: u8) -> &'static str {
    match number {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "unknown",
    }
}
