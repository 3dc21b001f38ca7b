//! The pages, from states made by hand: what they say, in which order, and that no stranger's text becomes markup.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rdp_exporter::{
    certificate::trust::Roots,
    diagnosis::{Finding, Verdict, diagnose},
    examine::Report,
    memory::Memory,
    observation::{Attempt, ChallengeFacts, Fault, LocalFault, LocalReason, Observation},
    page::{self, ChangeQuery, Query, Standing, View},
    report,
    state::TargetState,
    target::{Expectations, Settings, Target},
    wire::{negotiation::Protocols, ntlm::Challenge},
};

use crate::{
    judgement,
    sample::{self, HOSTILE, is_harmless, noon, observation, shaken, stopped_in_tls, unanswered, unconnected},
};

const VIEW: fn() -> View<'static> =
    || View { now: noon() + Duration::from_secs(90), telemetry_path: "/metrics", prefix: "" };

/// Texts that would be markup, or leave an attribute, where they were not escaped.
const MARKUP: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "\" onfocus=\"alert(1)\" autofocus=\"",
    "</title></svg></style><b>",
    "javascript:alert(1)",
    "&lt;script&gt;&#60;b&#62;&amp;",
    "`code` [2001:db8::1]:3389 %3Cb%3E ?a=b&c=d#e /../..",
];

fn strangers() -> impl Iterator<Item = &'static str> {
    MARKUP.into_iter().chain(HOSTILE).filter(|text| !text.is_empty())
}

fn named(name: &str, labels: &[(&str, &str)]) -> TargetState {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    TargetState::new(Arc::new(Target { labels, ..sample::target(name, "host.example", sample::settings()) }))
}

fn probed(state: TargetState, seen: Observation) -> TargetState {
    let memory = state.memory.clone().learn(&state.target, &seen, &Roots::new(Vec::new(), Vec::new()));
    with(state, seen, memory)
}

fn with(state: TargetState, seen: Observation, memory: Memory) -> TargetState {
    let diagnosis = diagnose(&seen, &memory, &state.target, seen.ended);
    state.absorb(Report { observation: seen, diagnosis }, memory)
}

fn healthy() -> Observation {
    observation(vec![shaken(Protocols::HYBRID_EX)])
}

fn refused() -> Observation {
    observation(vec![unconnected(Fault::Refused)])
}

fn our_fault() -> Observation {
    let fault = LocalFault { reason: LocalReason::Descriptors, text: "no descriptors".to_owned() };
    observation(vec![unconnected(Fault::Local(fault))])
}

fn at(minute: u64, seen: Observation) -> Observation {
    Observation { ended: minutes(minute), ..seen }
}

fn minutes(minute: u64) -> SystemTime {
    noon() + Duration::from_secs(60 * minute)
}

/// A target that shows a certificate which ends in so many days, judged with `expect`.
fn ending(name: &str, days: i64, self_signed: bool) -> TargetState {
    let mut memory = judgement::remembered();
    judgement::change(memory.certificates.last.as_mut().unwrap(), |facts| {
        facts.not_after = Some(time::OffsetDateTime::from(noon()) + time::Duration::days(days));
        facts.self_signed = Some(self_signed);
    });
    with(named(name, &[]), healthy(), memory)
}

fn shared(states: Vec<TargetState>) -> Vec<Arc<TargetState>> {
    states.into_iter().map(Arc::new).collect()
}

fn names(states: &[Arc<TargetState>], query: &str) -> Vec<String> {
    Query::parse(query).select(states).items.into_iter().map(|state| state.target.name.clone()).collect()
}

/// Whether that text stands between tags or as an attribute's value, unescaped by one step.
fn shows(page: &str, text: &str) -> bool {
    let shown = rdp_exporter::text::printable(text);
    let escaped = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    page.contains(&escaped)
}

/// The tags of a page, read as a browser would: names, and the names of their attributes. Panics where one is not closed.
fn tags(page: &str) -> Vec<(String, Vec<String>)> {
    let mut tags = Vec::new();
    for tag in page.split('<').skip(1) {
        let mut rest = tag.trim_start_matches('/');
        let end = rest.find([' ', '>']).unwrap_or_else(|| panic!("a tag without an end: {tag}"));
        let name = rest[..end].to_owned();
        let mut attributes = Vec::new();
        rest = &rest[end..];
        while !rest.starts_with('>') {
            rest = rest.trim_start();
            let end = rest.find(['=', ' ', '>']).unwrap_or_else(|| panic!("no end: {tag}"));
            attributes.push(rest[..end].to_owned());
            rest = &rest[end..];
            if let Some(value) = rest.strip_prefix("=\"") {
                rest = value.split_once('"').unwrap_or_else(|| panic!("no closing quote: {tag}")).1;
            }
        }
        assert!(!rest[1..].contains('>') || rest.len() > 1, "{tag}");
        tags.push((name, attributes));
    }
    tags
}

/// Tags and attributes are ours alone, and nothing in the page turns text around.
fn check_markup(page: &str, of: &str) {
    assert!(page.chars().all(is_harmless), "{of:?}: {page}");
    for (name, attributes) in tags(page) {
        let known = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '!');
        assert!(known && !["script", "img", "style", "iframe"].contains(&name.as_str()), "{of:?}: {name}");
        for attribute in attributes {
            let known = attribute.chars().all(|character| character.is_ascii_alphanumeric() || character == '-');
            assert!(known && !attribute.starts_with("on") && attribute != "style", "{of:?}: {name} {attribute}");
        }
    }
}

#[test]
fn no_strangers_text_becomes_markup() {
    for text in strangers() {
        for (place, state) in hostile_states(text) {
            let name = state.target.name.clone();
            let alone = page::target(&state, VIEW());
            check_markup(&alone, text);
            assert!(shows(&alone, text), "{place} {text:?} is not shown by its page:\n{alone}");
            let states = shared(vec![state]);
            let query = format!("q={}", form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
            let found = page::overview(&states, &Query::parse(&query), VIEW());
            check_markup(&found, text);
            check_markup(&page::overview(&states, &Query::default(), VIEW()), text);
            check_markup(&page::changes(&states, &ChangeQuery { kind: text.to_owned(), page: 1 }, VIEW()), text);
            check_markup(&page::not_found(&name, VIEW()), text);
        }
        let query = Query {
            text: text.to_owned(),
            verdict: text.to_owned(),
            standing: text.to_owned(),
            labels: BTreeMap::from([(text.to_owned(), text.to_owned())]),
            page: 3,
        };
        check_markup(&page::overview(&shared(vec![named("t", &[("site", "berlin")])]), &query, VIEW()), text);
        let path = page::target_path(text);
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
        assert!(path.strip_prefix("/targets/").unwrap().bytes().all(known), "{path}");
    }
}

/// A target with that text in each place where strangers or the configuration put theirs.
fn hostile_states(text: &'static str) -> Vec<(&'static str, TargetState)> {
    let mut certificate = judgement::remembered();
    judgement::change(certificate.certificates.last.as_mut().unwrap(), |facts| {
        facts.subject = Some(text.to_owned());
        facts.issuer = Some(text.to_owned());
        facts.san = Some(text.to_owned());
        facts.key = Some(text.to_owned());
    });
    let names = Some(text.to_owned());
    let challenge = Challenge {
        dns_computer: names.clone(),
        netbios_computer: names.clone(),
        netbios_domain: names.clone(),
        dns_domain: names,
        ..Challenge::default()
    };
    let mut server = Memory::default();
    server.challenge.last = Some((Arc::new(ChallengeFacts { challenge, clock_skew_seconds: Some(-1.5) }), noon()));
    let local = || Fault::Local(LocalFault { reason: LocalReason::System, text: text.to_owned() });
    let attempt = Attempt { address: sample::address(), fault: local(), after: Duration::ZERO };
    let mut tried = unconnected(local());
    tried.attempts.push(attempt);
    let broken = observation(vec![stopped_in_tls(Fault::TlsBroken(text.to_owned()))]);
    let sni = Target { server_name: Some(text.to_owned()), ..Target::clone(&named("t", &[]).target) };
    vec![
        ("name", probed(named(text, &[]), healthy())),
        ("label", probed(named("t", &[("site", text)]), healthy())),
        ("server_name", TargetState::new(Arc::new(sni))),
        ("certificate", with(named("t", &[]), healthy(), certificate)),
        ("server", with(named("t", &[]), healthy(), server)),
        ("attempt", probed(named("t", &[]), observation(vec![tried]))),
        ("library", probed(named("t", &[]), broken.clone())),
        ("evidence of a change", probed(probed(probed(named("t", &[]), healthy()), broken), at(1, healthy()))),
    ]
}

#[test]
fn bytes_of_a_stranger_are_shown_as_escapes() {
    let seen = observation(vec![unanswered(Protocols::ORDINARY, Fault::NotTpkt((0..=255).collect()))]);
    let state = probed(named("t", &[]), seen);
    check_markup(&page::target(&state, VIEW()), "all bytes");
    check_markup(&page::overview(&shared(vec![state]), &Query::default(), VIEW()), "all bytes");
}

#[test]
fn worst_comes_first() {
    let flapping = |name: &str, since: u64| {
        let state = probed(named(name, &[]), at(0, healthy()));
        probed(probed(state, at(since, refused())), at(since + 1, stopped()))
    };
    fn stopped() -> Observation {
        observation(vec![stopped_in_tls(Fault::Reset)])
    }
    let states = shared(vec![
        probed(named("a-good", &[]), healthy()),
        named("b-new", &[]),
        ending("c-warning-soon", 3, false),
        ending("d-warning", 10, false),
        ending("e-critical", -1, false),
        ending("f-critical-long", -9, false),
        probed(named("g-unknown", &[]), our_fault()),
        probed(probed(named("h-unknown-was-up", &[]), healthy()), our_fault()),
        probed(named("i-down-ever", &[]), at(0, refused())),
        flapping("j-down-long", 2),
        flapping("k-down-lately", 7),
        probed(probed(named("l-down-our-fault", &[]), at(0, refused())), at(9, our_fault())),
        // Only an information in the first two days, as Windows renews its own.
        ending("m-good-own", -1, true),
        ending("n-good", 300, false),
    ]);
    let expected = [
        "k-down-lately",
        "j-down-long",
        "i-down-ever",
        "l-down-our-fault",
        "g-unknown",
        "h-unknown-was-up",
        "f-critical-long",
        "e-critical",
        "c-warning-soon",
        "d-warning",
        "b-new",
        "a-good",
        "m-good-own",
        "n-good",
    ];
    assert_eq!(names(&states, ""), expected);
    let page = page::overview(&states, &Query::default(), VIEW());
    let places: Vec<_> = expected.iter().map(|name| page.find(&format!("/targets/{name}\"")).unwrap()).collect();
    assert!(places.is_sorted(), "the page keeps the order");
    for (standing, count) in Standing::ALL.into_iter().zip([4, 2, 2, 2, 1, 3]) {
        let found = names(&states, &format!("state={}", standing.label()));
        assert_eq!(found.len(), count, "{standing:?}");
    }
}

#[test]
fn down_since_is_the_first_probe_that_saw_it() {
    let mut state = probed(named("t", &[]), at(0, healthy()));
    assert_eq!(page::down_since(&state), None);
    for (minute, seen) in [(1, our_fault()), (2, refused()), (3, our_fault()), (4, refused()), (5, refused())] {
        state = probed(state, at(minute, seen));
    }
    let since = page::down_since(&state).unwrap();
    assert_eq!((since.at, since.is_exact), (minutes(2), true));
    let mut state = probed(named("t", &[]), at(0, refused()));
    assert!(page::down_since(&state).unwrap().is_exact, "nothing was before");
    for minute in 1..100 {
        state = probed(state, at(minute, refused()));
    }
    let since = page::down_since(&state).unwrap();
    assert_eq!((since.at, since.is_exact), (minutes(40), false), "sixty probes are remembered");
    state = probed(state, at(100, healthy()));
    assert_eq!(page::down_since(&state), None);
}

#[test]
fn what_is_asked_for_is_what_is_shown() {
    let mut server = Memory::default();
    let challenge = Challenge { dns_computer: Some("RDSH07.corp.example".to_owned()), ..Challenge::default() };
    server.challenge.last = Some((Arc::new(ChallengeFacts { challenge, clock_skew_seconds: None }), noon()));
    let states = shared(vec![
        probed(named("ts01", &[("site", "berlin"), ("tier", "prod")]), refused()),
        probed(named("ts02", &[("site", "oslo"), ("tier", "prod")]), refused()),
        with(named("ts03", &[("site", "berlin")]), healthy(), server),
        ending("ws01", 3, false),
        named("Zürich [1]", &[("site", "a b&c=d")]),
    ]);
    let sha256 = states[3].memory.certificates.last.as_ref().unwrap().facts.sha256.clone();
    for (query, expected) in [
        ("", &["ts01", "ts02", "ws01", "Zürich [1]", "ts03"][..]),
        ("q=", &["ts01", "ts02", "ws01", "Zürich [1]", "ts03"]),
        // The third by a name of its certificate.
        ("q=TS0", &["ts01", "ts02", "ws01", "ts03"]),
        ("q=host.EXAMPLE:3389", &["ts01", "ts02", "ws01", "Zürich [1]", "ts03"]),
        ("q=oslo", &["ts02"]),
        ("q=connect_refused+berlin", &["ts01"]),
        ("q=connect_refused%20oslo", &["ts02"]),
        ("q=rdsh07", &["ts03"]),
        ("q=expiring", &["ws01"]),
        (&format!("q={}", sha256.to_uppercase()), &["ws01"]),
        ("q=z%C3%BCr", &["Zürich [1]"]),
        ("q=Z%C3%9CRICH", &["Zürich [1]"]),
        ("q=nothing+like+it", &[]),
        ("verdict=connect_refused", &["ts01", "ts02"]),
        ("verdict=connect_refused&label.site=oslo", &["ts02"]),
        ("label.site=berlin", &["ts01", "ts03"]),
        ("label.site=berlin&label.tier=prod", &["ts01"]),
        ("label.site=a+b%26c%3Dd", &["Zürich [1]"]),
        ("label.site=berl", &[]),
        ("label.none=x", &[]),
        ("verdict=nonsense", &[]),
        ("state=warning", &["ws01"]),
        ("state=nonsense", &[]),
        ("verdict=&state=&label.site=&page=x&else=y", &["ts01", "ts02", "ws01", "Zürich [1]", "ts03"]),
    ] {
        assert_eq!(names(&states, query), expected, "{query}");
        let page = page::overview(&states, &Query::parse(query), VIEW());
        assert_eq!(page.matches("<td class=\"c-target\"").count(), expected.len(), "{query}");
    }
    let page = page::overview(&states, &Query::parse("q=ts0&label.site=berlin&verdict=healthy"), VIEW());
    for part in ["value=\"ts0\"", "<option value=\"berlin\" selected>", "<option value=\"healthy\" selected>"] {
        assert!(page.contains(part), "{part} in\n{page}");
    }
}

#[test]
fn a_text_that_turns_around_is_found_as_it_is_shown() {
    let states = shared(vec![named("right\u{202e}left", &[("site", "a\u{202e}b")])]);
    for query in
        ["q=right%E2%80%AEleft", "q=right%5Cu%7B202e%7Dleft", "label.site=a%E2%80%AEb", "label.site=a%5Cu%7B202e%7Db"]
    {
        assert_eq!(names(&states, query).len(), 1, "{query}");
    }
}

#[test]
fn a_long_list_comes_in_pages_that_keep_the_question() {
    let states = shared((0..250).map(|number| named(&format!("t{number:03}"), &[("site", "berlin")])).collect());
    for (query, first, count, page) in [
        ("page=1", "t000", 100, 1),
        ("page=2", "t100", 100, 2),
        ("page=3", "t200", 50, 3),
        ("page=0", "t000", 100, 1),
        ("page=99999999999999999999999", "t000", 100, 1),
        ("page=77", "t200", 50, 3),
        ("q=t2&page=2", "t200", 50, 1),
    ] {
        let asked = Query::parse(query);
        let found = asked.select(&states);
        assert_eq!(
            (found.items[0].target.name.as_str(), found.items.len(), found.page),
            (first, count, page),
            "{query}"
        );
    }
    let page = page::overview(&states, &Query::parse("q=t&label.site=berlin&page=2"), VIEW());
    for link in ["/?q=t&amp;label.site=berlin&amp;page=3", "/?q=t&amp;label.site=berlin\""] {
        assert!(page.contains(&format!("href=\"{link}")), "{link} in\n{page}");
    }
    assert!(page.contains("101–200 of 250 targets"), "{page}");
}

#[test]
fn an_empty_estate_says_how_to_add_targets() {
    let page = page::overview(&[], &Query::default(), VIEW());
    for part in ["No targets yet", "--config.file=", "targets:<br>  - address:", "/-/reload"] {
        assert!(page.contains(part), "{part} in\n{page}");
    }
    let page = page::overview(&shared(vec![named("t", &[])]), &Query::parse("q=other"), VIEW());
    assert!(page.contains("No target matches"), "{page}");
}

#[test]
fn a_page_says_why_and_what_to_do() {
    let state =
        probed(probed(named("t", &[]), at(0, healthy())), at(1, observation(vec![stopped_in_tls(Fault::Reset)])));
    let page = page::target(&state, View { now: minutes(4), ..VIEW() });
    let entry = Verdict::TlsReset.runbook();
    let texts = [entry.sentence, entry.windows_shows, entry.causes[0], "Windows clients show", "Likely", "Next"];
    for part in texts.into_iter().chain(["It does not mean", "for 3 min", "stopped: ", "every 5m", "Probe now"]) {
        assert!(shows(&page, part), "{part} in\n{page}");
    }
    assert!(page.contains("action=\"/targets/t/probe\" method=\"post\""), "{page}");
    assert!(page.contains("healthy</span>") && page.contains("tls_reset</span>"), "the change of the verdict: {page}");
    // Bars begin where the one before ended: 1 ms, 2 ms and 5 ms of 8.
    for bar in [
        "x=\"0.00\" y=\"1.5\" width=\"12.50\"",
        "x=\"12.50\" y=\"1.5\" width=\"25.00\"",
        "x=\"37.50\" y=\"1.5\" width=\"62.50\"",
    ] {
        assert!(page.contains(bar), "{bar} in\n{page}");
    }
}

#[test]
fn findings_carry_their_remedy_and_accepted_ones_are_greyed() {
    let expect = Expectations { accept: vec![Finding::CertificateExpiring], ..sample::settings().expect };
    let accepting = sample::target("t", "ts01", Settings { expect, ..sample::settings() });
    let mut memory = judgement::remembered();
    judgement::change(memory.certificates.last.as_mut().unwrap(), |facts| {
        facts.not_after = Some((noon() + Duration::from_secs(3 * 24 * 60 * 60)).into());
        facts.weak_key = true;
    });
    let state = with(TargetState::new(Arc::new(accepting)), healthy(), memory);
    let page = page::target(&state, VIEW());
    let (found, accepted) = (Finding::CertificateWeakKey.runbook(), Finding::CertificateExpiring.runbook());
    for part in [found.sentence, found.next[0], accepted.sentence, "Rename"] {
        assert_eq!(shows(&page, part.split('`').next().unwrap()), part != "Rename", "{part} in\n{page}");
    }
    assert!(page.contains("finding warning\"") && page.contains("finding accepted\""), "{page}");
    let list = page::overview(&shared(vec![state]), &Query::default(), VIEW());
    assert!(list.contains("finding warning\"") && list.contains("finding accepted\""), "{list}");
}

#[test]
fn changes_of_a_day_are_shown_newest_first() {
    let one = probed(probed(named("one", &[]), at(0, healthy())), at(5, refused()));
    let ssl = observation(vec![shaken(Protocols::SSL)]);
    let two = probed(probed(named("two", &[]), at(0, healthy())), at(7, ssl));
    let states = shared(vec![one, two, named("three", &[])]);
    let view = View { now: minutes(10), ..VIEW() };
    let all = page::changes(&states, &ChangeQuery::default(), view);
    let (newer, older) = (all.find("/targets/two").unwrap(), all.find("/targets/one").unwrap());
    assert!(newer < older && !all.contains("/targets/three"), "{all}");
    assert!(all.contains("security layer") && all.contains("hybrid_ex") && all.contains("2 changes"), "{all}");
    let verdicts = page::changes(&states, &ChangeQuery::parse("kind=verdict"), view);
    assert!(verdicts.contains("/targets/one") && !verdicts.contains("/targets/two"), "{verdicts}");
    let later = page::changes(&states, &ChangeQuery::default(), View { now: minutes(25 * 60), ..VIEW() });
    assert!(later.contains("Nothing changed"), "{later}");
}

#[test]
fn json_has_the_history_beside_what_the_command_prints() {
    let layer = observation(vec![shaken(Protocols::SSL)]);
    let state = probed(probed(probed(named("t", &[]), at(0, healthy())), at(1, layer)), at(2, refused()));
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let mut whole = read(&report::json_with_history(&state, noon()));
    let history = whole.as_object_mut().unwrap().remove("history").unwrap();
    assert_eq!(whole, read(&report::json(&[&state], noon()))[0]);
    let results = history["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!(
        results[2],
        serde_json::json!({ "ended": "2026-11-20T12:02:00Z", "verdict": "connect_refused", "seconds": 0.03 })
    );
    let change = &history["verdict_changes"][0];
    assert_eq!(change["before"], "healthy");
    assert_eq!((&change["after"], &change["at"]), (&"connect_refused".into(), &"2026-11-20T12:02:00Z".into()));
    assert_eq!(change["evidence"], state.last.as_ref().unwrap().evidence());
    let change =
        serde_json::json!({ "at": "2026-11-20T12:01:00Z", "what": "layer", "before": "hybrid_ex", "after": "ssl" });
    assert_eq!(history["changes"], serde_json::json!([change]));
    let page = read(&report::json_page(&[&state], (7, 2, 3), noon()));
    assert_eq!((&page["total"], &page["page"], &page["pages"]), (&7.into(), &2.into(), &3.into()));
    assert_eq!(page["targets"][0]["target"], "t");
}

/// 5,000 targets with a full history stay quick, also in a build without optimisation on a busy machine. What it takes is
/// printed: `cargo test --test offline five_thousand -- --nocapture`.
#[test]
fn five_thousand_targets_stay_usable() {
    let sites = ["berlin", "oslo", "lyon", "porto"];
    let mut prototypes: Vec<TargetState> = [healthy(), refused(), observation(vec![stopped_in_tls(Fault::Reset)])]
        .into_iter()
        .map(|seen| {
            let memory = judgement::remembered();
            (0..80).fold(named("t", &[]), |state, minute| {
                let seen = if minute % 13 == 0 { refused() } else { seen.clone() };
                with(state, at(minute, seen), memory.clone())
            })
        })
        .collect();
    prototypes.push(named("t", &[]));
    let states = shared(
        (0..5_000_usize)
            .map(|number| {
                let state = prototypes[if number % 9 == 0 { number / 9 % 4 } else { 0 }].clone();
                let labels = [("site", sites[number % 4]), ("rack", ["a", "b", "c"][number % 3])];
                let target = Target::clone(&named(&format!("ts{number:04}.corp.example"), &labels).target);
                TargetState { target: Arc::new(target), ..state }
            })
            .collect(),
    );
    let view = View { now: minutes(80), ..VIEW() };
    let endless = format!("q={}", "e+".repeat(20_000));
    for query in ["", "q=ts0+corp", "verdict=tls_reset&label.site=berlin", "page=50", "q=nothing", &endless] {
        let begun = Instant::now();
        let page = page::overview(&states, &Query::parse(query), view);
        println!("/?{query:.50}: {:?}, {} KiB", begun.elapsed(), page.len() / 1024);
        assert!(begun.elapsed() < Duration::from_secs(20), "{query}: {:?}", begun.elapsed());
        assert!(page.len() < 400 * 1024, "{query}: {} bytes", page.len());
    }
    let begun = Instant::now();
    let page = page::changes(&states, &ChangeQuery::default(), view);
    println!("/changes: {:?}, {} KiB", begun.elapsed(), page.len() / 1024);
    assert!(begun.elapsed() < Duration::from_secs(20) && page.len() < 400 * 1024);
}

#[test]
fn below_a_prefix_every_link_leads_there() {
    let states = [Arc::new(probed(named("ts01", &[("site", "oslo")]), healthy()))];
    let view = View { prefix: "/rdp", ..VIEW() };
    let pages = [
        page::overview(&states, &Query::default(), view),
        page::overview(&[], &Query::default(), view),
        page::target(&states[0], view),
        page::changes(&states, &ChangeQuery::default(), view),
        page::not_found("x", view),
    ];
    for page in pages {
        let mut links = 0;
        for attribute in ["href=\"", "action=\"", "src=\""] {
            for after in page.split(attribute).skip(1).filter(|after| !after.starts_with('#')) {
                assert!(after.starts_with("/rdp/"), "{attribute}{}", &after[..after.len().min(40)]);
                links += 1;
            }
        }
        assert!(links > 5, "{page}");
    }
}
