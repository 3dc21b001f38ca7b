//! The survey against scripted endpoints: each row of the decision table, how many connections, where it stops.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rdp_exporter::{
    certificate::CertificateFacts,
    diagnosis::{Finding, Verdict},
    memory::Memory,
    observation::{ClearFlight, Conversation, Fault, Timed, Way},
    probe::Question,
    survey::{Survey, SurveyMemory},
    target::{Settings, Target},
    wire::{
        clear_tls::{HelloForm, ServerHello},
        gcc::EncryptionMethods,
        negotiation::Protocols,
        x224::Answer,
    },
};

use crate::{
    bench::{Bench, at_once, check_gaps},
    endpoint::{Endpoint, Mcs, Script, Seen, Step, Tls, refusing, selecting, tls_anew},
    sample::{self, answered, noon, observation, refused, selected, unconnected},
    watch::Watch,
};

/// What the endpoint answers to one offer.
#[derive(Debug, Clone, Copy)]
enum To {
    /// Selects that protocol, and speaks it.
    Takes(u32),
    /// RDP_NEG_FAILURE.
    Fails(u32),
    /// A confirm without negotiation data, and Standard RDP Security.
    Bare,
    Closes,
    Resets,
    Silent,
}

use To::{Bare, Closes, Fails, Resets, Silent, Takes};

/// Answers by offer; what is not listed is closed.
type Answers = &'static [(u32, To)];

/// Answers, verdict, the layers accepted and whether NLA is required, connections of the probe and of the survey.
type Row = (&'static str, Answers, Verdict, &'static str, (usize, usize));

const ORDINARY: u32 = 0x0b;

/// The decision table of the protocol reference, section 1.4.
const TABLE: &[Row] = &[
    (
        "NLA required",
        &[
            (ORDINARY, Takes(8)),
            (0, Fails(5)),
            (1, Fails(5)),
            (2, Takes(2)),
            (8, Takes(8)),
            (4, Takes(4)),
            (16, Takes(16)),
        ],
        Verdict::Healthy,
        "rdp=0 ssl=0 hybrid=1 hybrid_ex=1 rdstls=1 rdsaad=1 nla=1",
        (1, 6),
    ),
    (
        "NLA required, before HYBRID_EX",
        &[(ORDINARY, Takes(2)), (0, Fails(5)), (1, Fails(5)), (2, Takes(2))],
        Verdict::Healthy,
        "rdp=0 ssl=0 hybrid=1 hybrid_ex=0 rdstls=0 rdsaad=0 nla=1",
        (1, 6),
    ),
    (
        "NLA offered, TLS enforced",
        &[(ORDINARY, Takes(8)), (0, Fails(1)), (1, Takes(1)), (2, Takes(2)), (8, Takes(8)), (4, Takes(4))],
        Verdict::Healthy,
        "rdp=0 ssl=1 hybrid=1 hybrid_ex=1 rdstls=1 rdsaad=0 nla=0",
        (1, 6),
    ),
    (
        "NLA offered, Standard RDP Security accepted",
        &[(ORDINARY, Takes(8)), (0, Takes(0)), (1, Takes(1)), (2, Takes(2)), (4, Fails(1))],
        Verdict::Healthy,
        "rdp=1 ssl=1 hybrid=1 hybrid_ex=1 rdstls=0 rdsaad=0 nla=0",
        (1, 9),
    ),
    (
        "Standard only",
        &[(ORDINARY, Fails(2)), (0, Takes(0))],
        Verdict::Healthy,
        "rdp=1 ssl=0 hybrid=0 hybrid_ex=0 rdstls=0 rdsaad=0 nla=0",
        (2, 9),
    ),
    (
        "certificate trouble, clients without TLS get in",
        &[(ORDINARY, Fails(3)), (0, Takes(0))],
        Verdict::NoCertificate,
        "rdp=1 ssl=0 hybrid=0 hybrid_ex=0 rdstls=0 rdsaad=0 nla=0",
        (1, 9),
    ),
    (
        "certificate trouble, nobody gets in",
        &[(ORDINARY, Fails(3)), (0, Fails(3))],
        Verdict::NoCertificate,
        "rdp=0 ssl=0 hybrid=0 hybrid_ex=0 rdstls=0 rdsaad=0",
        (1, 6),
    ),
    (
        "TLS only, no CredSSP",
        &[(ORDINARY, Takes(1)), (0, Fails(1)), (1, Takes(1)), (2, Fails(1)), (4, Takes(1)), (16, Closes)],
        Verdict::Healthy,
        "rdp=0 ssl=1 hybrid=0 hybrid_ex=0 rdstls=0 rdsaad=0 nla=0",
        (1, 6),
    ),
    (
        "TLS or RDP, no CredSSP",
        &[(ORDINARY, Takes(1)), (0, Takes(0)), (1, Takes(1)), (2, Takes(0)), (4, Takes(0)), (16, Resets)],
        Verdict::Healthy,
        "rdp=1 ssl=1 hybrid=0 hybrid_ex=0 rdstls=0 rdsaad=0 nla=0",
        (1, 9),
    ),
    (
        "Standard only, polite",
        &[(ORDINARY, Takes(0)), (0, Takes(0)), (4, Takes(0))],
        Verdict::Healthy,
        "rdp=1 ssl=0 hybrid=0 hybrid_ex=0 rdstls=0 rdsaad=0 nla=0",
        (1, 9),
    ),
    (
        "before negotiation",
        &[(ORDINARY, Bare), (0, Bare), (4, Bare), (16, Bare)],
        Verdict::Healthy,
        "rdp=1 ssl=0 hybrid=0 hybrid_ex=0 rdstls=0 rdsaad=0 nla=0",
        (1, 9),
    ),
];

/// Ends of a question that nobody wants to answer, and the codes that say nothing of NLA.
const UNWANTED: &[Row] = &[
    (
        "closes on 0",
        &[(ORDINARY, Takes(8)), (0, Closes), (1, Fails(5)), (2, Takes(2))],
        Verdict::Healthy,
        "rdp=0 ssl=0 hybrid=1 hybrid_ex=1 rdstls=0 rdsaad=0 nla=1",
        (1, 6),
    ),
    (
        "resets on 0 and 1",
        &[(ORDINARY, Takes(8)), (0, Resets), (1, Resets), (2, Takes(2))],
        Verdict::Healthy,
        "rdp=0 ssl=0 hybrid=1 hybrid_ex=1 rdstls=0 rdsaad=0",
        (1, 6),
    ),
    (
        "silent on 0",
        &[(ORDINARY, Takes(8)), (0, Silent), (1, Takes(1)), (2, Takes(2))],
        Verdict::Healthy,
        "hybrid_ex=1",
        (1, 1),
    ),
    (
        "silent on 2",
        &[(ORDINARY, Takes(8)), (0, Fails(1)), (1, Takes(1)), (2, Silent), (4, Takes(4))],
        Verdict::Healthy,
        "rdp=0 ssl=1 hybrid_ex=1 nla=0",
        (1, 2),
    ),
    (
        "selects what was not asked for",
        &[(ORDINARY, Takes(8)), (0, Fails(5)), (2, Takes(1)), (4, Takes(8)), (16, Takes(0))],
        Verdict::Healthy,
        "rdp=0 ssl=0 hybrid=0 hybrid_ex=1 rdstls=0 rdsaad=0 nla=1",
        (1, 6),
    ),
];

/// The settings of nearly all rows: nobody but the silent waits.
fn patient() -> Settings {
    Settings { timeout: Duration::from_millis(1500), ..sample::settings() }
}

#[test]
fn the_layers_come_out_as_the_decision_table_says() {
    at_once(TABLE.iter().chain(UNWANTED), check_row);
}

fn check_row((name, answers, verdict, matrix, (probe, most)): &Row) {
    let bench = Bench::new(vec![script(answers, &tls_anew())], patient());
    let report = bench.probe();
    assert_eq!(report.diagnosis.verdict, *verdict, "{name}: {}", report.evidence());
    assert_eq!(bench.endpoint.seen().len(), *probe, "{name}: an ordinary probe");
    bench.survey(&report.observation);
    assert_eq!(shown(&bench), *matrix, "{name}: {:#?}", offers(&bench.endpoint.seen()));
    assert_eq!(bench.verdict(), Some(*verdict), "{name}: a survey never changes the verdict");
    check_metrics(&bench, name);
    let seen = bench.finish();
    let surveyed = seen.len() - probe;
    assert!(surveyed <= *most, "{name}: {surveyed} connections, {:?}", offers(&seen));
    if most == &1 {
        assert_eq!(surveyed, 1, "{name}: it ends at the first silence");
    }
}

/// The metrics say what the survey says.
fn check_metrics(bench: &Bench, name: &str) {
    let lines = bench.metrics();
    let survey = surveyed(bench);
    let shown = |prefix: &str| lines.iter().filter(|line| line.starts_with(prefix)).count();
    assert_eq!(shown("rdp_security_layer_accepted{"), survey.layers.iter().count(), "{name}");
    assert_eq!(shown("rdp_tls_version_accepted{"), survey.versions.iter().count(), "{name}");
    assert_eq!(shown("rdp_encryption_method_accepted{"), survey.methods.iter().count(), "{name}");
    assert!(bench.metric("rdp_survey_timestamp_seconds").is_some(), "{name}");
    assert_eq!(bench.metric("rdp_nla_required"), survey.nla_required.map(f64::from), "{name}");
}

/// Codes in answer to every offer.
#[test]
fn every_failure_code_has_its_place() {
    let verdict = |code| if code == 3 { Verdict::NoCertificate } else { Verdict::NegotiationRefused };
    at_once([1, 2, 3, 4, 5, 6, 99], |code| {
        let all = [ORDINARY, 0, 1, 2, 4, 8, 16].map(|offer| (offer, Fails(code)));
        let bench = Bench::new(vec![script(&all, &tls_anew())], patient());
        let report = bench.probe();
        assert_eq!(report.diagnosis.verdict, verdict(code), "{code}: {}", report.evidence());
        assert_eq!(bench.metric("rdp_negotiation_failure_code"), Some(f64::from(code)));
        bench.survey(&report.observation);
        assert_eq!(bench.verdict(), Some(verdict(code)), "{code}");
        let nla = match code {
            1 => " nla=0",
            5 => " nla=1",
            _ => "",
        };
        assert_eq!(shown(&bench), format!("rdp=0 ssl=0 hybrid=0 hybrid_ex=0 rdstls=0 rdsaad=0{nla}"), "{code}");
        let seen = bench.finish();
        assert!(seen.len() <= 2 + 6, "{code}: {:?}", offers(&seen));
    });
}

/// Codes in answer to 0, where NLA is offered and SSL alone is taken unless it is refused.
#[test]
fn every_failure_code_in_answer_to_0_has_its_place() {
    let rows = [(1, "ssl=1", "nla=0"), (2, "ssl=1", "nla=0"), (3, "ssl=1", "nla=0"), (4, "ssl=1", "nla=0")];
    at_once(rows.into_iter().chain([(6, "ssl=1", "nla=0"), (99, "ssl=1", "nla=0"), (5, "ssl=0", "nla=1")]), |row| {
        let (code, ssl, nla) = row;
        let to_ssl = if code == 5 { Fails(5) } else { Takes(1) };
        let answers = [(ORDINARY, Takes(8)), (0, Fails(code)), (1, to_ssl), (2, Takes(2))];
        let bench = Bench::new(vec![script(&answers, &tls_anew())], patient());
        let report = bench.probe();
        bench.survey(&report.observation);
        let expected = format!("rdp=0 {ssl} hybrid=1 hybrid_ex=1 rdstls=0 rdsaad=0 {nla}");
        assert_eq!(shown(&bench), expected, "failure {code} to 0");
    });
}

/// NLA is not required where the ordinary offer is answered without it: known before any survey.
#[test]
fn nla_is_known_at_once_where_it_is_not_spoken() {
    at_once([(1, Some(0.0)), (0, Some(0.0)), (2, None), (8, None)], |(protocol, required)| {
        let bench = Bench::new(vec![script(&[(ORDINARY, Takes(protocol))], &tls_anew())], patient());
        bench.probe();
        assert_eq!(bench.metric("rdp_nla_required"), required, "{protocol}");
    });
}

#[test]
fn tls_versions_ride_along() {
    let answers = [(ORDINARY, Takes(1)), (0, Fails(1)), (1, Takes(1))];
    let bench = Bench::new(vec![script(&answers, &tls_anew())], patient());
    let report = bench.probe();
    bench.survey(&report.observation);
    let versions: Vec<_> = surveyed(&bench).versions.iter().map(|(version, is)| (version.label(), is)).collect();
    assert_eq!(versions, [("TLS 1.0", false), ("TLS 1.1", false), ("TLS 1.2", true), ("TLS 1.3", true)]);
}

#[test]
fn a_survey_ends_after_four_times_the_timeout() {
    let timeout = Duration::from_millis(1000);
    let late = |script: Script| [vec![Step::ReadRequest, Step::Wait(timeout * 3 / 4)], script].concat();
    let answers: Answers = &[(ORDINARY, Takes(0)), (0, Takes(0)), (4, Takes(0)), (16, Takes(0))];
    let whole = script(answers, &tls_anew());
    let bench = Bench::new(vec![whole.clone(), late(whole[1..].to_vec())], Settings { timeout, ..sample::settings() });
    let report = bench.probe();
    let watch = Watch::begin();
    bench.survey(&report.observation);
    let took = watch.elapsed();
    // The pauses do not count; the last question may still take its time.
    let limit = timeout * 5 + Duration::from_millis(250) * 6;
    assert!(took <= limit + watch.stood_still(), "took {took:?}");
    let seen = bench.finish();
    // Seven questions are there to be asked.
    assert!((2..=6).contains(&(seen.len() - 1)), "{:?}", offers(&seen));
}

#[test]
fn an_interrupted_survey_goes_on() {
    let answers: Answers = &[(ORDINARY, Takes(8)), (0, Fails(1)), (1, Takes(1)), (2, Takes(2)), (4, Takes(4))];
    let tls = tls_anew();
    let run = |interrupted: bool| {
        let bench = Bench::new(vec![script(answers, &tls)], patient());
        let report = bench.probe();
        let mut probes = 1;
        if interrupted {
            assert!(bench.laboratory.states.begin_survey(&bench.target, &report.observation));
            while bench.survey_on() {
                assert_eq!(bench.probe().diagnosis.verdict, Verdict::Healthy);
                assert!(bench.memory().survey.last.is_none(), "not before it ends");
                probes += 1;
            }
            assert!(!bench.survey_on(), "it has ended");
        } else {
            bench.survey(&report.observation);
        }
        let survey = surveyed(&bench);
        (survey, bench.finish().len() - probes)
    };
    let [whole, interrupted] = std::thread::scope(|scope| {
        let run = &run;
        [false, true].map(|interrupted| scope.spawn(move || run(interrupted))).map(|run| run.join().unwrap())
    });
    assert_eq!(interrupted, whole, "the same answers by the same number of connections");
}

/// Layers that were accepted before, one of which meets silence now, and one of which is not asked again after it.
#[test]
fn a_survey_that_is_cut_short_keeps_what_was_known_but_for_what_met_silence() {
    let whole: Answers = &[(ORDINARY, Takes(8)), (0, Takes(0)), (1, Takes(1)), (2, Takes(2)), (4, Takes(4))];
    let silent: Answers = &[(ORDINARY, Takes(8)), (0, Fails(5)), (2, Silent)];
    let tls = tls_anew();
    let before = Bench::new(vec![script(whole, &tls)], patient());
    before.survey(&before.probe().observation);
    assert_eq!(shown(&before), "rdp=1 ssl=1 hybrid=1 hybrid_ex=1 rdstls=1 rdsaad=0 nla=0");
    assert!(surveyed(&before).encryption.is_some() && surveyed(&before).methods.iter().count() > 0);
    let bench = Bench::new(vec![script(silent, &tls)], patient());
    let known = Memory { survey: before.memory().survey, ..Memory::default() };
    bench.laboratory.states.remember(&bench.target, known).unwrap();
    for _ in 0..2 {
        bench.survey(&bench.probe().observation);
        assert!(bench.memory().survey.was_cut_short);
        assert_eq!(shown(&bench), "rdp=0 ssl=0 hybrid_ex=1 rdstls=1 rdsaad=0 nla=1", "not what met silence");
        assert_eq!(surveyed(&bench).methods.iter().count(), 0, "there is no Standard RDP Security any more");
        assert_eq!(surveyed(&bench).encryption, None);
    }
    // The next one gets no answer to its first question; what the one before it learnt by itself still holds.
    let deaf = Bench::new(vec![script(silent, &tls), vec![Step::Wait(patient().timeout * 2)]], patient());
    let known = Memory { survey: bench.memory().survey, ..Memory::default() };
    deaf.laboratory.states.remember(&deaf.target, known).unwrap();
    deaf.survey(&deaf.probe().observation);
    assert_eq!(shown(&deaf), "ssl=0 hybrid_ex=1 rdstls=1 rdsaad=0 nla=1", "nor what met silence before");
    // Once the whole one is too old, only what was learnt since holds, however often the rest was handed on.
    let mut seen = bench.probe().observation;
    let settings = Settings { facts_max_age: Duration::from_secs(30), ..patient() };
    let strict = Target { settings: Arc::new(settings), ..Target::clone(&bench.target) };
    let mut learn = |ended, after| {
        seen.ended = ended + Duration::from_secs(after);
        bench.memory().learn(&strict, &seen, &bench.laboratory.roots())
    };
    let [first, last] = [&before, &bench].map(|bench| bench.memory().survey.last.unwrap().1);
    assert!(last > first + Duration::from_secs(2), "two silences apart");
    let [whole, own, none] = [(first, 29), (first, 31), (last, 31)].map(|(ended, after)| learn(ended, after));
    assert_eq!(none.survey.last, None);
    let shown_of = |memory: Memory| {
        bench.laboratory.states.remember(&bench.target, memory).unwrap();
        shown(&bench)
    };
    assert_eq!(shown_of(whole), "rdp=0 ssl=0 hybrid_ex=1 rdstls=1 rdsaad=0 nla=1");
    assert_eq!(shown_of(own), "rdp=0 ssl=0 hybrid_ex=1 nla=1");
}

/// Whoever asks `/probe` for a survey and does not wait for it has not met silence.
#[test]
fn a_question_that_a_hurry_cut_takes_nothing_back() {
    let whole: Answers = &[(ORDINARY, Takes(8)), (0, Takes(0)), (1, Takes(1)), (2, Takes(2)), (4, Takes(4))];
    let silent: Answers = &[(ORDINARY, Takes(8)), (0, Silent)];
    let tls = tls_anew();
    let before = Bench::new(vec![script(whole, &tls)], patient());
    before.survey(&before.probe().observation);
    let known = shown(&before);
    let bench = Bench::new(vec![script(silent, &tls)], patient());
    let memory = Memory { survey: before.memory().survey, ..Memory::default() };
    bench.laboratory.states.remember(&bench.target, memory).unwrap();
    let seen = bench.probe().observation;
    bench.survey_within(&seen, Duration::from_millis(500));
    assert!(bench.memory().survey.is_under_way(), "no question was begun");
    bench.survey_within(&seen, Duration::from_millis(1200));
    assert!(bench.memory().survey.was_cut_short && !bench.memory().survey.is_under_way());
    assert_eq!(shown(&bench), known);
    bench.survey(&seen);
    assert!(known.starts_with("rdp=1") && !shown(&bench).contains("rdp="), "a whole timeout is silence");
    assert_eq!(offers(&bench.finish()), [ORDINARY, 0, 0]);
}

/// Where the addresses of a name have changed, what is under way is of a host that may be another one, or not allowed.
#[test]
fn a_survey_under_way_ends_where_its_address_is_gone() {
    let answers: Answers = &[(ORDINARY, Takes(8)), (0, Fails(1)), (1, Takes(1)), (2, Takes(2)), (4, Takes(4))];
    let bench = Bench::new(vec![script(answers, &tls_anew())], patient());
    let mut seen = bench.probe().observation;
    let step = |bench: &Bench| bench.memory().survey.next_step().unwrap().address.ip();
    assert!(bench.laboratory.states.begin_survey(&bench.target, &seen));
    assert!(bench.survey_on());
    assert_eq!(step(&bench), seen.addresses[0]);
    let elsewhere = SocketAddr::from(([127, 0, 0, 9], 3389));
    seen.addresses = vec![elsewhere.ip()];
    for conversation in &mut seen.conversations {
        conversation.connect.as_mut().unwrap().fact = elsewhere;
    }
    assert!(bench.laboratory.states.begin_survey(&bench.target, &seen));
    assert_eq!(step(&bench), elsewhere.ip());
}

/// A target that never answered is asked nothing.
#[test]
fn without_a_whole_answer_there_is_no_survey() {
    let rows = [vec![Step::ReadRequest, Step::Fin], vec![Step::ReadRequest, Step::Send(b"SSH-2.0\r\n".to_vec())]];
    at_once(rows, |script| {
        let bench = Bench::new(vec![script], patient());
        let report = bench.probe();
        assert!(!report.observation.is_confirmed());
        bench.survey(&report.observation);
        assert!(bench.memory().survey.last.is_none());
        assert_eq!(bench.finish().len(), 1);
    });
}

#[test]
fn further_addresses_are_asked_for_their_certificate_once_each() {
    let answers: Answers = &[(ORDINARY, Takes(8)), (0, Fails(5)), (2, Takes(2))];
    at_once([true, false], |differs| {
        let tls = tls_anew();
        let bench = Bench::new(vec![script(answers, &tls)], patient());
        let other = SocketAddr::from(([127, 0, 0, if differs { 2 } else { 3 }], bench.endpoint.address.port()));
        let own = bench.endpoint.address;
        let theirs = if differs { tls_anew() } else { tls };
        let second = Endpoint::listen(other, vec![script(answers, &theirs)]);
        let mut seen = bench.probe().observation;
        seen.addresses.push(other.ip());
        bench.survey(&seen);
        let survey = surveyed(&bench);
        let shown: Vec<_> = survey.fingerprints.iter().map(|(address, _)| *address).collect();
        assert_eq!(shown, [own, other]);
        assert_eq!(bench.findings().contains(&Finding::CertificateDiffers), differs);
        let further = second.finish();
        assert_eq!(offers(&further), [ORDINARY]);
        let mut all = bench.endpoint.finish();
        assert!(all.len() <= 1 + 6);
        all.extend(further);
        all.sort_by_key(|seen| seen.accepted);
        check_gaps(&all, &bench.watch);
    });
}

/// A farm of old hosts shows its certificates to nobody but the hello by which they are read.
#[test]
fn further_addresses_of_an_old_host_are_asked_as_it_is() {
    let mut memory = SurveyMemory::default();
    let other = SocketAddr::from(([10, 1, 0, 11], 3389));
    let way = Way::Clear(HelloForm::Tls12);
    let hello = ServerHello { cipher: 0x0035, speaks_tls_1_3: false, version: 0x0301 };
    let fact = ClearFlight { hello, rustls_speaks: false, has_certificate: true };
    let clear = Some(Timed { fact, took: Duration::from_millis(9) });
    let read = Conversation { clear, way, ..answered(Protocols::ORDINARY, selected(Protocols::SSL)) };
    let mut seen = observation(vec![read]);
    seen.addresses.push(other.ip());
    memory.begin(&seen, None, None);
    let mut asked = None;
    while let Some(step) = memory.next_step() {
        let fact = match step.address == other {
            true => {
                asked = Some(step.question);
                unconnected(Fault::Refused)
            }
            false => Conversation { way: step.question.way, ..answered(step.question.offer, refused(5)) },
        };
        let answer = Timed { fact, took: Duration::from_millis(9) };
        memory.learn(step, &answer, Duration::from_secs(60), noon());
    }
    assert_eq!(asked, Some(Question { way, ..Question::ORDINARY }));
}

/// Rustls is tried again, and nothing is said twice.
#[test]
fn a_legacy_target_is_surveyed_by_hand() {
    let hello = [&[3, 1][..], &[7; 32], &[0, 0, 0x35, 0]].concat();
    let der = rcgen::generate_simple_self_signed(vec!["old".to_owned()]).unwrap().cert.der().to_vec();
    let u24 = |length: usize| u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
    let message = |kind: u8, body: &[u8]| [vec![kind], u24(body.len()), body.to_vec()].concat();
    let certificates = [u24(der.len() + 3), u24(der.len()), der].concat();
    let payload = [message(2, &hello), message(11, &certificates), message(14, &[])].concat();
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let flight = [&[22, 3, 1][..], &length, &payload].concat();
    let tls = || vec![Step::ByHello(vec![Step::Rst], vec![Step::Send(flight.clone())])];
    let spoken = |protocol: Protocols| [vec![Step::Send(selecting(protocol))], tls()].concat();
    let rows = vec![
        (ORDINARY, spoken(Protocols::HYBRID)),
        (0, vec![Step::Send(refusing(1))]),
        (1, spoken(Protocols::SSL)),
        (2, spoken(Protocols::HYBRID)),
    ];
    let bench = Bench::new(vec![vec![Step::ReadRequest, Step::ByOffer(rows)]], patient());
    bench.probe();
    let report = bench.probe();
    let before = bench.endpoint.seen().len();
    assert_eq!(before, 3, "the extra connection once");
    bench.survey(&report.observation);
    assert_eq!(shown(&bench), "rdp=0 ssl=1 hybrid=1 hybrid_ex=0 rdstls=0 rdsaad=0 nla=0");
    let versions: Vec<_> = surveyed(&bench).versions.iter().map(|(_, is)| is).collect();
    assert_eq!(versions, [true, false, false, false]);
    assert!(bench.findings().contains(&Finding::TlsLegacy), "{:?}", bench.findings());
    let after = bench.probe();
    assert_eq!(after.diagnosis.verdict, Verdict::Healthy);
    let seen = bench.finish();
    assert!(seen.len() - before - 1 <= 6, "{:?}", offers(&seen));
    assert_eq!(seen.last().unwrap().clear_hello(), Some(0x0303), "still straight to what works");
    let by_rustls = seen[before..].iter().filter(|seen| !seen.hello.is_empty() && seen.clear_hello().is_none()).count();
    assert_eq!(by_rustls, 1, "rustls is tried again");
}

/// The certificates of Standard RDP Security: whatever they are, the host is healthy.
#[test]
fn standard_security_tells_its_encryption_and_its_certificate() {
    type Expected = (Option<(&'static str, &'static str)>, bool);
    let rows: [(&str, Option<Step>, Expected); 7] = [
        ("proprietary", Some(mcs(|method| connect_response(method, 2, &proprietary()))), (CLIENT, false)),
        ("X.509", Some(mcs(|method| connect_response(method, 2, &chain()))), (CLIENT, true)),
        ("unreadable", Some(mcs(|method| connect_response(method, 2, &[7; 80]))), (CLIENT, false)),
        ("a broken DER", Some(mcs(|method| connect_response(method, 2, &broken_chain()))), (CLIENT, false)),
        ("not encrypted", Some(mcs(|_| connect_response(0, 0, &[]))), (Some(("none", "none")), false)),
        ("garbage", Some(mcs(|_| [&[3, 0, 0, 40][..], &[0xaa; 36]].concat())), (None, false)),
        ("silence", None, (None, false)),
    ];
    at_once(rows, |(name, step, (encryption, has_end))| {
        let mut rows = vec![(ORDINARY, vec![Step::Send(selecting(Protocols::RDP))])];
        rows.push((0, [vec![Step::Send(selecting(Protocols::RDP))], step.into_iter().collect()].concat()));
        let bench = Bench::new(vec![vec![Step::ReadRequest, Step::ByOffer(rows)]], patient());
        let report = bench.probe();
        bench.survey(&report.observation);
        assert_eq!(bench.verdict(), Some(Verdict::Healthy), "{name}");
        assert_eq!(bench.metric("rdp_up"), Some(1.0), "{name}");
        assert!(bench.findings().contains(&Finding::StandardSecurityOnly), "{name}");
        let lines = bench.metrics();
        let info = lines.iter().find(|line| line.starts_with("rdp_encryption_info{"));
        assert_eq!(info.is_some(), encryption.is_some(), "{name}");
        if let (Some(info), Some((method, level))) = (info, encryption) {
            let labels = [format!("method=\"{method}\""), format!("level=\"{level}\"")];
            assert!(labels.iter().all(|label| info.contains(label)), "{name}: {info}");
        }
        let end =
            has_end.then(|| CertificateFacts::read(&[own_der()]).unwrap().not_after.unwrap().unix_timestamp() as f64);
        assert_eq!(bench.metric("rdp_mcs_certificate_not_after_timestamp_seconds"), end, "{name}");
        assert!(!lines.iter().any(|line| line.starts_with("rdp_certificate_")), "{name}: never in the TLS series");
        bench.finish();
    });
}

#[test]
fn methods_are_asked_alone() {
    let rows: [(u32, &str); 5] = [
        (0x1b, "40bit=1 56bit=1 128bit=1 fips=1"),
        (0x02, "40bit=0 56bit=0 128bit=1 fips=0"),
        (0x0b, "40bit=1 56bit=1 128bit=1 fips=0"),
        (0x10, "40bit=0 56bit=0 128bit=0 fips=1"),
        (0x01, "40bit=1 56bit=0 128bit=0 fips=0"),
    ];
    at_once(rows, |(methods, expected)| {
        let step = Step::Mcs(Mcs { methods, frame: |method| connect_response(method, 2, &proprietary()) });
        let rdp = || vec![Step::Send(selecting(Protocols::RDP)), step.clone()];
        let rows = vec![(ORDINARY, vec![Step::Send(refusing(2))]), (0, rdp())];
        let bench = Bench::new(vec![vec![Step::ReadRequest, Step::ByOffer(rows)]], patient());
        bench.probe();
        let report = bench.probe();
        let before = bench.endpoint.seen().len();
        assert_eq!(before, 3, "failure 2 once");
        bench.survey(&report.observation);
        let told = surveyed(&bench).methods.iter().map(label_of).collect::<Vec<_>>();
        assert_eq!(told.join(" "), expected);
        let seen = bench.finish();
        assert_eq!(seen.len() - before, 4, "all at once, then three alone: the chosen one is known");
    });
}

/// Where nothing is encrypted, no method is known by that, and each of the four is asked.
#[test]
fn every_method_is_asked_where_none_was_chosen() {
    let step = mcs(|_| connect_response(0, 0, &[]));
    let rows = vec![
        (ORDINARY, vec![Step::Send(selecting(Protocols::RDP))]),
        (0, vec![Step::Send(selecting(Protocols::RDP)), step]),
    ];
    let bench = Bench::new(vec![vec![Step::ReadRequest, Step::ByOffer(rows)]], patient());
    let report = bench.probe();
    bench.survey(&report.observation);
    let told = surveyed(&bench).methods.iter().map(label_of).collect::<Vec<_>>();
    assert_eq!(told.join(" "), "40bit=0 56bit=0 128bit=0 fips=0");
}

/// A host of Standard RDP Security alone that was given TLS, and no longer knows what to say to who wants none.
#[test]
fn a_host_that_no_longer_answers_as_it_is_known_to_is_asked_like_any_other() {
    let rows = |rdp: Vec<Step>, ordinary: Vec<Step>| {
        vec![Step::ReadRequest, Step::ByOffer(vec![(ORDINARY, ordinary), (0, rdp)])]
    };
    let standard = || rows(vec![Step::Send(selecting(Protocols::RDP))], vec![Step::Send(refusing(2))]);
    let tls = tls_anew();
    let speaks = || vec![Step::Send(selecting(Protocols::SSL)), Step::Tls(tls.clone())];
    let ends = [vec![Step::Fin], vec![Step::Rst], vec![Step::Send(b"?????".to_vec())]];
    at_once(ends, |end| {
        let bench = Bench::new(vec![standard(), standard(), rows(end.clone(), speaks())], patient());
        for _ in 0..2 {
            let report = bench.probe();
            assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{end:?}: {}", report.evidence());
        }
        let report = bench.probe();
        assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{end:?}: {}", report.evidence());
        assert_eq!(offers(&bench.finish()), [ORDINARY, 0, 0, ORDINARY, ORDINARY], "{end:?}");
    });
    // It may also be one connection that was lost.
    let lost = Bench::new(vec![standard(), standard(), vec![Step::Fin], standard()], patient());
    for _ in 0..2 {
        let report = lost.probe();
        assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{}", report.evidence());
    }
    lost.probe();
    assert_eq!(offers(&lost.finish())[2..], [ORDINARY, 0, 0], "the lost one said nothing");
    // Silence leaves no time to ask again in the same probe.
    let bench =
        Bench::new(vec![standard(), standard(), rows(vec![Step::Wait(patient().timeout * 2)], speaks())], patient());
    let verdicts = [Verdict::Healthy, Verdict::NegotiationTimeout, Verdict::Healthy];
    assert_eq!(verdicts.map(|_| bench.probe().diagnosis.verdict), verdicts);
}

fn label_of((method, is_accepted): (EncryptionMethods, bool)) -> String {
    format!("{}={}", method.label().unwrap(), u8::from(is_accepted))
}

const CLIENT: Option<(&str, &str)> = Some(("128bit", "client_compatible"));

fn mcs(frame: fn(u32) -> Vec<u8>) -> Step {
    Step::Mcs(Mcs { methods: 0x0b, frame })
}

fn script(answers: &[(u32, To)], tls: &Tls) -> Script {
    let standard = || mcs(|method| connect_response(method, 2, &proprietary()));
    let row = |to: To| match to {
        Takes(0) => vec![Step::Send(selecting(Protocols::RDP)), standard()],
        Takes(protocol) => vec![Step::Send(selecting(Protocols(protocol))), Step::Tls(tls.clone())],
        Fails(code) => vec![Step::Send(refusing(code))],
        Bare => vec![Step::Send(Answer::Confirm(None).encode()), standard()],
        Closes => vec![Step::Fin],
        Resets => vec![Step::Rst],
        Silent => vec![],
    };
    vec![Step::ReadRequest, Step::ByOffer(answers.iter().map(|(offer, to)| (*offer, row(*to))).collect())]
}

fn surveyed(bench: &Bench) -> Survey {
    Arc::unwrap_or_clone(bench.memory().survey.last.expect("a survey that ended").0)
}

/// Layers and NLA as the survey left them.
fn shown(bench: &Bench) -> String {
    let survey = surveyed(bench);
    let layer =
        |(layer, is_accepted): (Protocols, bool)| format!("{}={}", layer.label().unwrap(), u8::from(is_accepted));
    let nla = survey.nla_required.map(|required| format!("nla={}", u8::from(required)));
    survey.layers.iter().map(layer).chain(nla).collect::<Vec<_>>().join(" ")
}

fn offers(seen: &[Seen]) -> Vec<u32> {
    seen.iter().filter_map(Seen::offer).collect()
}

/// MCS Connect Response with GCC Conference Create Response, as Windows writes it.
fn connect_response(method: u32, level: u32, certificate: &[u8]) -> Vec<u8> {
    let block = |kind: u16, contents: &[u8]| {
        let length = u16::try_from(contents.len() + 4).unwrap();
        [&kind.to_le_bytes()[..], &length.to_le_bytes(), contents].concat()
    };
    let mut security = [method.to_le_bytes(), level.to_le_bytes()].concat();
    if method != 0 {
        security.extend(32_u32.to_le_bytes());
        security.extend(u32::try_from(certificate.len()).unwrap().to_le_bytes());
        security.extend([0x5a; 32]);
        security.extend(certificate);
    }
    let blocks =
        [block(0x0c01, &0x0008_0004_u32.to_le_bytes()), block(0x0c03, &[0xeb, 3, 0, 0]), block(0x0c02, &security)]
            .concat();
    let length = u16::try_from(blocks.len()).unwrap() | 0x8000;
    let head = [0, 5, 0, 0x14, 0x7c, 0, 1, 0x2a, 0x14, 0x76, 0x0a, 1, 1, 0, 1, 0xc0, 0, b'M', b'c', b'D', b'n'];
    let data = [&head[..], &length.to_be_bytes(), &blocks].concat();
    let parameters = [2, 1, 34, 2, 1, 3, 2, 1, 0, 2, 1, 1, 2, 1, 0, 2, 1, 1, 2, 3, 0, 0xff, 0xf8, 2, 1, 2];
    let parameters = [&[0x30, u8::try_from(parameters.len()).unwrap()][..], &parameters].concat();
    let long = |tag: &[u8], contents: &[u8]| {
        [tag, &[0x82], &u16::try_from(contents.len()).unwrap().to_be_bytes(), contents].concat()
    };
    let fields = [vec![0x0a, 1, 0, 2, 1, 0], parameters, long(&[4], &data)].concat();
    let pdu = [vec![2, 0xf0, 0x80], long(&[0x7f, 0x66], &fields)].concat();
    [&[3, 0][..], &u16::try_from(pdu.len() + 4).unwrap().to_be_bytes(), &pdu].concat()
}

/// A bare RSA key of 512 bits, as a terminal server without a licence shows it.
fn proprietary() -> Vec<u8> {
    let mut bytes = [1_u32, 1, 1].map(u32::to_le_bytes).concat();
    bytes.extend([6, 0, 92, 0]);
    bytes.extend(b"RSA1");
    bytes.extend([72_u32, 512, 63, 65_537].map(u32::to_le_bytes).concat());
    bytes.extend([0x77; 72]);
    bytes.extend([8, 0, 72, 0]);
    bytes.extend([0x66; 72]);
    bytes
}

/// Root first, own last, and the padding that follows.
fn chain() -> Vec<u8> {
    x509(&[root_der(), own_der()])
}

fn broken_chain() -> Vec<u8> {
    x509(&[root_der(), vec![0x30, 0x82, 0xff, 0xff, 1, 2, 3]])
}

fn x509(chain: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = 0x8000_0002_u32.to_le_bytes().to_vec();
    bytes.extend(u32::try_from(chain.len()).unwrap().to_le_bytes());
    for certificate in chain {
        bytes.extend(u32::try_from(certificate.len()).unwrap().to_le_bytes());
        bytes.extend(certificate);
    }
    bytes.extend(vec![0; 8 + 4 * chain.len()]);
    bytes
}

fn root_der() -> Vec<u8> {
    dated("root", 2049)
}

fn own_der() -> Vec<u8> {
    dated("own", 2036)
}

/// A certificate that ends with that year; the same each time.
fn dated(name: &str, year: i32) -> Vec<u8> {
    use std::{collections::BTreeMap, sync::Mutex};
    static MADE: Mutex<BTreeMap<i32, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let generate = || {
        let mut parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    };
    MADE.lock().unwrap().entry(year).or_insert_with(generate).clone()
}

/// The schedule's own way to a survey, and that of the command, end in the same room.
#[test]
fn the_command_surveys_and_can_be_told_not_to() {
    let answers: Answers = &[(ORDINARY, Takes(8)), (0, Fails(5)), (2, Takes(2))];
    at_once([true, false], |surveys| {
        let (endpoint, watch) = (Arc::new(Endpoint::start(vec![script(answers, &tls_anew())])), Watch::begin());
        let address = endpoint.address.to_string();
        let mut arguments = vec!["probe", address.as_str(), "--output=metrics", "--timeout=1s"];
        arguments.extend((!surveys).then_some("--no-survey"));
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_rdp_exporter")).args(arguments).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(shown.contains("rdp_security_layer_accepted{"), surveys, "{shown}");
        let seen = endpoint.seen();
        assert_eq!(seen.len() > 1, surveys);
        assert!(seen.len() <= 1 + 6, "{:?}", offers(&seen));
        check_gaps(&seen, &watch);
    });
}
