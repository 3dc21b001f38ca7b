//! One probe of one target: what it saw, stage by stage.
//! Nothing here judges, remembers or counts, and nothing here fails: an unreachable host is an observation.

mod challenge;
mod clear;
mod close;
mod companion;
mod connect;
mod limit;
mod negotiate;
mod resolve;
mod standard;
mod tcp_info;
mod tls;

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, sleep_until},
};

use limit::Limit;

use crate::{
    certificate::signature,
    observation::{ClearFlight, Conversation, Fault, Negotiation, Observation, Presented, Stage, Stop, Timed, Way},
    target::{Reach, Target},
    wire::{
        clear_tls::{Flight, HelloForm, rustls_speaks},
        gcc::EncryptionMethods,
        negotiation::{FailureCode, Protocols},
    },
};

/// What every probe of this process shares.
#[derive(Debug, Clone)]
pub struct Prober {
    resolver: resolve::Resolver,
    tls: tls::Client,
    companions: Arc<companion::Budget>,
}

/// How this probe goes about it, as far as the target's settings leave it open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approach {
    /// What the first connection asks.
    pub question: Question,
    /// Whether a handshake that our TLS library cannot finish is followed by the hand-made hello.
    pub explain: bool,
    /// Where it may connect to.
    pub reach: Reach,
    /// Whether companion ports are tried where every address is silent.
    pub companions: Companions,
}

/// Whether the companion ports of a silent host are tried, for which there are two seconds beside the probe's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Companions {
    /// Yes, and it is waited for where others are being tried just now.
    AtOnce,
    /// No.
    Never,
    /// Where silence was met before, not too often, and not too many at once.
    WhenDue,
    /// The same, within what is left of the probe's own time.
    WhenDueInTime,
}

/// What one connection asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The protocols that are offered.
    pub offer: Protocols,
    /// How TLS is gone about.
    pub way: Way,
    /// Whether the NTLM challenge is asked for, where NLA was selected.
    pub challenge: bool,
    /// What the client can encrypt with, where Standard RDP Security was selected and the MCS exchange is wanted.
    pub methods: Option<EncryptionMethods>,
}

impl Question {
    /// What an ordinary client asks.
    pub const ORDINARY: Self = Self { offer: Protocols::ORDINARY, way: Way::Rustls, challenge: false, methods: None };
}

impl Default for Prober {
    fn default() -> Self {
        Self::new()
    }
}

impl Prober {
    /// A prober with nothing under way.
    #[must_use]
    pub fn new() -> Self {
        Self { resolver: resolve::Resolver::new(), tls: tls::Client::new(), companions: Arc::default() }
    }

    /// Probes `target` once, within its timeout.
    pub async fn run(&self, target: &Target, approach: &Approach) -> Observation {
        let begun = Instant::now();
        let deadline = begun + target.settings.timeout;
        let timer = pin!(sleep_until(deadline));
        let mut limit = Limit::of(timer);
        let mut seen = Observation::begun(wall_clock());
        match self.addresses(target, approach, &mut limit, &mut seen).await {
            Ok(addresses) => {
                let mut next = Some((approach.question, addresses));
                while let Some((question, addresses)) = next {
                    // Mostly it stays the only one, and it is large.
                    seen.conversations.reserve_exact(1);
                    seen.conversations.push(Conversation::offering(question.offer, question.way));
                    let Some(conversation) = seen.conversations.last_mut() else { break };
                    let open = self.converse(target, question, (&addresses, &mut limit), conversation).await;
                    seen.duration = begun.elapsed();
                    if let Some((tcp, farewell)) = open {
                        close::tcp(tcp, &farewell, &mut limit).await;
                    }
                    next = follow_up(&seen.conversations, approach);
                    if next.is_some() {
                        sleep_until((Instant::now() + PAUSE).min(deadline)).await;
                        // A connection that has no time left would only be a disturbance.
                        next = next.filter(|_| Instant::now() < deadline);
                    }
                }
            }
            Err(stop) => {
                seen.stop = Some(stop);
                seen.duration = begun.elapsed();
            }
        }
        if approach.companions != Companions::Never {
            let (silent, settings) = (seen.silent_addresses(), &target.settings);
            seen.companions =
                companion::try_all(&self.companions, approach.companions, &silent, settings, deadline).await;
        }
        seen.ended = wall_clock();
        seen
    }

    /// Asks one question of one address, within `time`.
    pub async fn ask(&self, target: &Target, question: Question, address: SocketAddr, time: Duration) -> Conversation {
        let timer = pin!(sleep_until(Instant::now() + time));
        let mut limit = Limit::of(timer);
        let mut conversation = Conversation::offering(question.offer, question.way);
        let open = self.converse(target, question, (&[address], &mut limit), &mut conversation).await;
        if let Some((tcp, farewell)) = open {
            close::tcp(tcp, &farewell, &mut limit).await;
        }
        conversation
    }

    /// The addresses to try, in order. All of them must be allowed: a name that also leads elsewhere is not trusted.
    async fn addresses(
        &self,
        target: &Target,
        approach: &Approach,
        limit: &mut Limit<'_>,
        seen: &mut Observation,
    ) -> Result<Vec<SocketAddr>, Stop> {
        let addresses = match target.address.as_socket_address() {
            Some(address) if target.settings.ip_protocol.allows(address.ip()) => vec![address],
            Some(_) => {
                return Err(Stop { stage: Stage::Resolve, fault: Fault::NameNotFound, after: Duration::ZERO });
            }
            None => {
                // Targets may be anywhere.
                let is_strangers = approach.reach != Reach::Anywhere;
                let work = self.resolver.look_up(&target.address, target.settings.ip_protocol, is_strangers);
                let resolved = stage(Stage::Resolve, limit, pin!(work)).await?;
                seen.resolve = Some(resolved.took);
                resolved.fact
            }
        };
        seen.addresses = addresses.iter().map(SocketAddr::ip).collect();
        match seen.addresses.iter().find(|ip| !approach.reach.allows(**ip)) {
            Some(ip) => Err(Stop { stage: Stage::Resolve, fault: Fault::Forbidden(*ip), after: Duration::ZERO }),
            None => Ok(addresses),
        }
    }

    /// One connection: notes what it tells, and gives the stream that is still to be closed, with what is to be said before.
    async fn converse(
        &self,
        target: &Target,
        question: Question,
        (addresses, limit): (&[SocketAddr], &mut Limit<'_>),
        seen: &mut Conversation,
    ) -> Option<(TcpStream, Vec<u8>)> {
        let begun = Instant::now();
        let opened = connect::open(addresses, &target.settings, limit, &mut seen.attempts).await;
        let (mut tcp, connected) = match opened {
            Ok(opened) => opened,
            Err(fault) => {
                seen.stop = Some(Stop { stage: Stage::Connect, fault, after: begun.elapsed() });
                return None;
            }
        };
        let peer = connected.fact.ip();
        seen.connect = Some(connected);
        let talked = self.talk(target, question, (&mut tcp, peer, limit), seen).await;
        let farewell = take_stop(talked, seen);
        seen.network = tcp_info::read(&tcp);
        Some((tcp, farewell))
    }

    /// Asks one question over a connection to `address` that stands already, and ends it, by `deadline`.
    pub async fn ask_over<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        target: &Target,
        question: Question,
        (mut stream, address): (S, SocketAddr),
        deadline: Instant,
    ) -> Conversation {
        let timer = pin!(sleep_until(deadline));
        let mut limit = Limit::of(timer);
        let mut seen = Conversation::offering(question.offer, question.way);
        seen.connect = Some(Timed { fact: address, took: Duration::ZERO });
        let talked = self.talk(target, question, (&mut stream, address.ip(), &mut limit), &mut seen).await;
        let farewell = take_stop(talked, &mut seen);
        close::orderly(stream, &farewell, &mut limit).await;
        seen
    }

    /// The stages after the TCP connection, and what is to be said at its end.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        target: &Target,
        question: Question,
        (tcp, peer, limit): (&mut S, IpAddr, &mut Limit<'_>),
        seen: &mut Conversation,
    ) -> Result<Vec<u8>, Stop> {
        let asked = negotiate::ask(tcp, seen.offered, &target.settings.cookie);
        let negotiation = stage(Stage::Negotiate, limit, pin!(asked)).await?;
        seen.negotiation = Some(negotiation);
        match negotiation.fact.protocol() {
            None => {}
            Some(Protocols::RDP) => {
                if let Some(methods) = question.methods {
                    let connected = limit.hold(pin!(standard::connect(tcp, methods))).await;
                    seen.standard = Some(Box::new(connected.unwrap_or(Err(Fault::Timeout))));
                }
            }
            Some(protocol) => {
                let has_challenge = protocol == Protocols::HYBRID || protocol == Protocols::HYBRID_EX;
                let challenge = question.challenge && has_challenge;
                match question.way {
                    Way::Rustls => return self.shake_hands(target, challenge, (tcp, peer, limit), seen).await,
                    Way::Clear(form) => read_clear(target, form, (tcp, limit), seen).await?,
                    Way::Stop => {}
                }
            }
        }
        Ok(Vec::new())
    }

    async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        target: &Target,
        challenge: bool,
        (tcp, peer, limit): (&mut S, IpAddr, &mut Limit<'_>),
        seen: &mut Conversation,
    ) -> Result<Vec<u8>, Stop> {
        let handshake = self.tls.handshake((tcp, peer), target.server_name.as_deref(), &mut seen.presented);
        let Timed { fact: (mut session, fact), took } = stage(Stage::Tls, limit, pin!(handshake)).await?;
        seen.tls = Some(Timed { fact, took });
        if challenge {
            let begun = Instant::now();
            let answered = limit.hold(pin!(challenge::ask(&mut session))).await;
            let fact = answered.unwrap_or(Err(Fault::Timeout));
            seen.challenge = Some(Box::new(Timed { fact, took: begun.elapsed() }));
        }
        Ok(session.farewell())
    }
}

/// Notes where a conversation stopped, if it did; nothing is left to be said then.
fn take_stop(talked: Result<Vec<u8>, Stop>, seen: &mut Conversation) -> Vec<u8> {
    talked.unwrap_or_else(|stop| {
        seen.stop = Some(stop);
        Vec::new()
    })
}

/// Version, cipher suite and certificate by the hand-made hello.
async fn read_clear<S: AsyncRead + AsyncWrite + Unpin>(
    target: &Target,
    form: HelloForm,
    (tcp, limit): (&mut S, &mut Limit<'_>),
    seen: &mut Conversation,
) -> Result<(), Stop> {
    let begun = Instant::now();
    let mut flight = Flight::new();
    let read = clear::first_flight(tcp, form, target.server_name.as_deref(), &mut flight);
    let finished = stage(Stage::Tls, limit, pin!(read)).await;
    let facts = flight.into_facts();
    clear::end(tcp, &facts).await;
    let chain = facts.certificates.filter(|chain| !chain.is_empty());
    if let Some(hello) = facts.server_hello {
        let leaf = chain.as_ref().and_then(|chain| chain.first());
        let fact = ClearFlight {
            hello,
            rustls_speaks: rustls_speaks(hello.version, hello.cipher, facts.group, facts.scheme)
                && leaf.is_none_or(|leaf| signature::can_check(leaf)),
            has_certificate: leaf.is_some(),
        };
        seen.clear = Some(Timed { fact, took: begun.elapsed() });
    }
    seen.presented = chain.map(|chain| Presented { chain, key_proven: None });
    finished.map(drop)
}

/// What to ask on one more connection, given the answers so far. Pure.
///
/// - Failure 2 says that only Standard RDP Security is configured: it is then asked for alone.
/// - Where our TLS library could not finish, the hand-made hello tells whether the server's choice is why; where the
///   server does not even answer that, one of TLS 1.0 is the last resort.
/// - What was remembered and is no longer true is followed by the ordinary question.
#[must_use]
pub fn follow_up(conversations: &[Conversation], approach: &Approach) -> Option<(Question, Vec<SocketAddr>)> {
    let last = conversations.last()?;
    let address = last.connect.as_ref()?.fact;
    // A connection that was lost before an answer asked nothing.
    let asked = |question: Question| {
        let is_it = |seen: &Conversation| seen.offered == question.offer && seen.way == question.way;
        conversations.iter().any(|seen| seen.negotiation.is_some() && is_it(seen))
    };
    let ordinary = Question { challenge: approach.question.challenge, ..Question::ORDINARY };
    let clear = |form| Question { offer: last.offered, way: Way::Clear(form), ..Question::ORDINARY };
    let question = match last.negotiation.map(|timed| timed.fact) {
        Some(Negotiation::Refused(FailureCode::SSL_NOT_ALLOWED_BY_SERVER)) if last.offered != Protocols::RDP => {
            Question { offer: Protocols::RDP, way: Way::Stop, ..Question::ORDINARY }
        }
        None | Some(Negotiation::Refused(_) | Negotiation::Disconnected) if last.offered == Protocols::RDP => ordinary,
        None | Some(Negotiation::Absent | Negotiation::Disconnected | Negotiation::Refused(_)) => return None,
        Some(Negotiation::Selected { .. }) => match last.way {
            _ if last.leads_in() => return None,
            Way::Stop => return None,
            Way::Rustls if approach.explain && last.stop.as_ref().is_some_and(may_be_incompatible) => {
                clear(HelloForm::Tls12)
            }
            Way::Rustls => return None,
            Way::Clear(HelloForm::Tls12) if !asked(ordinary) => ordinary,
            Way::Clear(HelloForm::Tls12) if last.clear.is_none() => clear(HelloForm::Tls10),
            Way::Clear(HelloForm::Tls10) if !asked(ordinary) => ordinary,
            Way::Clear(_) => return None,
        },
    };
    (!asked(question)).then(|| (question, vec![address]))
}

/// Whether a failed handshake may be due to what our TLS library lacks: Windows resets, others send an alert.
fn may_be_incompatible(stop: &Stop) -> bool {
    stop.stage == Stage::Tls
        && match stop.fault {
            Fault::Closed | Fault::Reset | Fault::Incompatible(_) => true,
            Fault::Alert(number) => INCOMPATIBLE_ALERTS.contains(&number),
            _ => false,
        }
}

/// Runs one stage up to the probe's deadline, and says which stage it was. The only place that applies the deadline.
async fn stage<T>(
    stage: Stage,
    limit: &mut Limit<'_>,
    work: Pin<&mut impl Future<Output = Result<T, Fault>>>,
) -> Result<Timed<T>, Stop> {
    let begun = Instant::now();
    let result = limit.hold(work).await.unwrap_or(Err(Fault::Timeout));
    let took = begun.elapsed();
    match result {
        Ok(fact) => Ok(Timed { fact, took }),
        Err(fault) => Err(Stop { stage, fault, after: took }),
    }
}

#[expect(clippy::disallowed_methods, reason = "a probe is where the wall clock is read")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// handshake_failure, protocol_version, insufficient_security, internal_error.
const INCOMPATIBLE_ALERTS: [u8; 4] = [40, 70, 71, 80];
/// Between two connections to one target.
pub const PAUSE: Duration = Duration::from_millis(200);
