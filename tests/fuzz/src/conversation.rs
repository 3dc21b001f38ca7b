//! Whole conversations: a server's bytes in, observation, memory, judgement and every face of them out. All is our own
//! code but the socket: `probe::ask_over` is what a probe does once TCP stands.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rdp_exporter::{
    config::Config,
    diagnosis::{Verdict, diagnose},
    examine::Report,
    memory::Memory,
    observation::{Conversation, Negotiation, Observation, Timed, Way},
    probe::{Approach, Companions, Prober, Question, follow_up},
    state::TargetState,
    target::{Reach, Settings, Target},
    wire::{clear_tls::HelloForm, credssp, gcc::EncryptionMethods, negotiation::Protocols, tpkt},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::{Builder, Runtime},
    time::Instant,
};

use super::{
    certificate::roots,
    faces,
    peer::{Deaf, Tls, Voice, Words},
};

/// The input's first byte is the approach, then come the servers that are met, connection by connection: a byte that tells
/// how each one goes on, the length of what it says in two bytes, and so many bytes.
pub(super) fn in_the_clear(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let alone = |offer, way| Question { offer, way, ..Question::ORDINARY };
    let question = match first & 7 {
        0 | 6 => alone(Protocols::ORDINARY, Way::Clear(HelloForm::Tls12)),
        1 => alone(Protocols::ORDINARY, Way::Clear(HelloForm::Tls10)),
        2 => alone(Protocols::SSL, Way::Clear(HelloForm::Tls11)),
        3 => alone(Protocols::RDP, Way::Stop),
        4 => Question { methods: Some(EncryptionMethods::ALL), ..alone(Protocols::RDP, Way::Stop) },
        5 => Question { methods: Some(EncryptionMethods::BIT_40), ..alone(Protocols::RDP, Way::Stop) },
        _ => alone(Protocols::RDSAAD, Way::Stop),
    };
    probe_and_survey(question, first, rest);
}

/// The same, by our TLS library at first.
pub(super) fn by_rustls(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let offer = [Protocols::ORDINARY, Protocols::SSL, Protocols::HYBRID, Protocols::RDSTLS][usize::from(first & 3)];
    probe_and_survey(Question { offer, challenge: true, ..Question::ORDINARY }, first, rest);
}

/// After a real handshake: what the server says inside TLS to the challenge, and at the close. Five bytes say how, then
/// come the noise behind its length in one byte, and the reply.
pub(super) fn inside_tls(bytes: &[u8]) {
    let Some((&[choice, how, record, place, mixed], rest)) = bytes.split_first_chunk::<5>() else { return };
    let Some((&length, rest)) = rest.split_first() else { return };
    let (noise, reply) = rest.split_at(usize::from(length).min(rest.len()));
    let words = Words {
        reply: reply.to_vec(),
        record: usize::from(record),
        unasked: choice & 4 != 0,
        closes: choice & 8 != 0,
        noise: noise.to_vec(),
    };
    let protocols = [Protocols::HYBRID_EX, Protocols::HYBRID, Protocols::SSL, Protocols::HYBRID_EX];
    // Behind the confirm, which is read before TLS; far into what a handshake takes.
    let damage = (19 + usize::from(place) * 8, if choice & 16 != 0 { mixed } else { 0 });
    let mut server = Tls::new(words, protocols[usize::from(choice & 3)], damage, how);
    let target = target(choice & 32 != 0);
    let question = Question { challenge: true, ..Question::ORDINARY };
    let conversation = ask(&target, question, &mut server);
    // Words that come unasked may meet a client of TLS 1.2 that has not read the end of the handshake yet.
    if damage.1 == 0 && choice & 4 == 0 {
        assert!(conversation.tls.is_some(), "a whole handshake: {conversation:?}");
        assert_eq!(conversation.presented.as_ref().and_then(|presented| presented.key_proven), Some(true));
    }
    let is_shaken = conversation.tls.is_some();
    // Never more than this: a third message would be an attempt to log on.
    assert!(credssp::negotiate().starts_with(&server.heard), "{:?}", server.heard);
    let mut seen = begun(0);
    seen.conversations.push(conversation);
    let state = judge(&target, seen, Memory::default());
    let verdict = state.last_verdict().unwrap();
    // After completion nothing changes the verdict.
    assert!(!is_shaken || verdict == Verdict::Healthy, "{verdict} after a whole handshake");
    assert!(is_shaken || verdict != Verdict::Healthy, "healthy without a handshake");
    check_faces(&state, choice);
}

/// Up to three probes as memory has them, then a survey, as long as the input tells of servers.
fn probe_and_survey(question: Question, choice: u8, rest: &[u8]) {
    let mut servers = Servers(rest);
    let target = target(choice & 8 != 0);
    let first = Approach {
        question: Question { challenge: true, ..question },
        explain: choice & 16 != 0,
        reach: Reach::Anywhere,
        companions: Companions::Never,
    };
    let (seen, confirmed) = probe(&target, &first, &mut servers, 0);
    let mut state = judge(&target, seen, Memory::default());
    check_verdict(&state, confirmed);
    for minutes in 1..3 {
        if servers.0.is_empty() {
            break;
        }
        let now = noon() + MINUTE * minutes;
        let approach = state.memory.approach(&target.settings, (Reach::Anywhere, Companions::Never), now);
        let (seen, confirmed) = probe(&target, &approach, &mut servers, minutes);
        let memory = state.memory.clone();
        state = absorb(state, &target, seen, memory);
        check_verdict(&state, confirmed);
    }
    if choice & 32 != 0 {
        state.memory = survey(&target, &state, &mut servers);
    }
    check_faces(&state, choice);
}

/// One probe, as `Prober::run` goes about it; whether any server's bytes had the form of a confirm.
fn probe(target: &Target, approach: &Approach, servers: &mut Servers<'_>, minutes: u32) -> (Observation, bool) {
    let mut seen = begun(minutes);
    let mut confirmed = false;
    let mut next = Some(approach.question);
    while let Some(question) = next {
        let mut server = servers.next();
        let conversation = ask(target, question, &mut server);
        check_heard(&server.heard);
        confirmed |= server.voice.confirms();
        // Nobody finishes a handshake, nor proves a key, with words that were written before our random numbers were.
        assert!(conversation.tls.is_none(), "{conversation:?}");
        assert!(conversation.presented.as_ref().is_none_or(|presented| presented.key_proven != Some(true)));
        seen.conversations.push(conversation);
        assert!(seen.conversations.len() <= MAX_CONNECTIONS, "{:?}", seen.conversations);
        next = follow_up(&seen.conversations, approach).map(|(question, addresses)| {
            assert_eq!(addresses, [address()]);
            question
        });
    }
    (seen, confirmed)
}

fn survey(target: &Target, state: &TargetState, servers: &mut Servers<'_>) -> Memory {
    let mut memory = state.memory.clone();
    let own = memory.certificates.last.as_ref().map(|seen| (seen.address, seen.facts.sha256.clone()));
    memory.survey.begin(&state.last.as_ref().unwrap().observation, memory.refused_with(), own);
    let mut asked = 0;
    while let Some(step) = memory.survey.next_step() {
        let mut server = servers.next();
        let fact = ask(target, step.question, &mut server);
        check_heard(&server.heard);
        let answer = Timed { fact, took: Duration::from_millis(20) };
        memory = memory.learn_of_survey(step, &answer, &target.settings, noon() + MINUTE * 4);
        asked += 1;
        assert!(asked <= MAX_QUESTIONS, "a survey without an end");
    }
    memory
}

fn ask<S: AsyncRead + AsyncWrite + Unpin>(target: &Target, question: Question, server: S) -> Conversation {
    thread_local! {
        static HERE: (Runtime, Prober) = (
            Builder::new_current_thread().enable_time().build().unwrap(),
            Prober::new(),
        );
    }
    // A server in our own task has said what it will say by the time that it is asked: nobody waits for silence.
    let deadline = Instant::now() - Duration::from_millis(10);
    HERE.with(|(runtime, prober)| runtime.block_on(prober.ask_over(target, question, (server, address()), deadline)))
}

/// What an ordinary client says before TLS, and no more than a few messages of it.
fn check_heard(heard: &[u8]) {
    assert!(heard.len() <= MAX_HEARD && heard.starts_with(&[tpkt::VERSION, 0]), "{heard:?}");
    assert!(!heard.windows(7).any(|window| window == b"NTLMSSP"), "a challenge asked for in the clear");
}

/// Healthy only if a layer was negotiated, with TLS or with what explains why not.
fn check_verdict(state: &TargetState, confirmed: bool) {
    let seen = &state.last.as_ref().unwrap().observation;
    let is_negotiated = |conversation: &Conversation| match conversation.negotiation.map(|timed| timed.fact) {
        Some(Negotiation::Absent | Negotiation::Selected { protocol: Protocols::RDP, .. }) => true,
        Some(Negotiation::Selected { .. }) => conversation.tls.is_some() || conversation.clear.is_some(),
        Some(Negotiation::Disconnected | Negotiation::Refused(_)) | None => false,
    };
    let is_healthy = state.last_verdict() == Some(Verdict::Healthy);
    assert!(!is_healthy || (confirmed && seen.conversations.iter().any(is_negotiated)), "{seen:?}");
}

/// What people see takes most of the time, so the input says whether it is looked at.
fn check_faces(state: &TargetState, choice: u8) {
    match choice & 64 {
        0 => faces::check_scrape(state, noon() + MINUTE * 5),
        _ => faces::check(state, noon() + MINUTE * 5),
    }
}

fn judge(target: &Arc<Target>, seen: Observation, memory: Memory) -> TargetState {
    absorb(TargetState::new(Arc::clone(target)), target, seen, memory)
}

/// As `examine` does it.
pub(super) fn absorb(state: TargetState, target: &Target, mut seen: Observation, memory: Memory) -> TargetState {
    let memory = memory.learn(target, &seen, roots());
    for conversation in &mut seen.conversations {
        conversation.presented = None;
        conversation.standard = None;
    }
    let diagnosis = diagnose(&seen, &memory, target, seen.ended);
    state.absorb(Report { observation: seen, diagnosis }, memory)
}

/// What is left of the input: the servers that will be met.
struct Servers<'a>(&'a [u8]);

impl Servers<'_> {
    /// The next one; once there is none any more, one that closes at once.
    fn next(&mut self) -> Deaf {
        let Some((&[how, high, low], rest)) = self.0.split_first_chunk::<3>() else {
            self.0 = &[];
            return Deaf { voice: Voice::new(vec![], 0), heard: vec![] };
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (said, rest) = rest.split_at(length.min(rest.len()));
        self.0 = rest;
        Deaf { voice: Voice::new(said.to_vec(), how), heard: vec![] }
    }
}

fn target(is_named: bool) -> Arc<Target> {
    let settings = Settings::clone(Config::without_file().module("default").unwrap());
    Arc::new(Target {
        name: "ts01".to_owned(),
        address: "ts01.corp.example".parse().unwrap(),
        labels: BTreeMap::from([("site".to_owned(), "Zürich \"1\"\n".to_owned())]),
        server_name: is_named.then(|| "ts01.corp.example".to_owned()),
        settings: Arc::new(settings),
    })
}

fn begun(minutes: u32) -> Observation {
    let started = noon() + MINUTE * minutes;
    Observation {
        ended: started + Duration::from_millis(40),
        duration: Duration::from_millis(30),
        addresses: vec![address().ip()],
        ..Observation::begun(started)
    }
}

/// 2026-11-20 12:00:00 UTC.
fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_176_000)
}

fn address() -> SocketAddr {
    "10.1.0.10:3389".parse().unwrap()
}

const MINUTE: Duration = Duration::from_secs(60);
/// More than any probe has.
const MAX_CONNECTIONS: usize = 6;
/// More than any survey has.
const MAX_QUESTIONS: usize = 40;
/// A request, a hello, an alert; a Connect Initial.
const MAX_HEARD: usize = 2048;
