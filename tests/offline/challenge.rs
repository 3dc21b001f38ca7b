//! What a server tells over CredSSP, with a challenge made by hand; and that nothing follows it.

use std::time::{Duration, SystemTime};

use rdp_exporter::{
    diagnosis::{Finding, Verdict},
    observation::{Fault, Stage},
    target::{Expectations, Settings},
    wire::{credssp, negotiation::Protocols},
};

use crate::{
    bench::{Bench, at_once},
    endpoint::{Ending, Reply, Script, Step, Tls, selecting, speaking, tls12, tls13},
    sample,
};

/// Asks for the challenge once an hour, and expects this.
fn settings(expect: Expectations) -> Settings {
    Settings { challenge_interval: HOUR, timeout: Duration::from_secs(4), expect, ..sample::settings() }
}

fn replying(tls: Tls, reply: Vec<u8>) -> Script {
    speaking(Protocols::HYBRID_EX, Tls { reply: Some(Reply::Bytes(reply)), ..tls })
}

#[test]
fn a_challenge_tells_names_version_and_clock() {
    at_once([tls12(), tls13()], |tls| {
        for protocol in [Protocols::HYBRID, Protocols::HYBRID_EX] {
            let reply = Some(Reply::Bytes(request(&challenge(now(), 0))));
            let script = speaking(protocol, Tls { reply, ..tls.clone() });
            let bench = Bench::new(vec![script], settings(sample::settings().expect));
            let report = bench.probe();
            assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{}", report.evidence());
            assert!(report.observation.stages().iter().any(|(stage, _)| *stage == Stage::Challenge));
            let info = bench.metrics().into_iter().find(|line| line.starts_with("rdp_server_info{")).unwrap();
            let expected = [
                "computer=\"TS01\"",
                "domain=\"CORP\"",
                "dns_computer=\"ts01.corp.example\"",
                "dns_domain=\"corp.example\"",
                "version=\"10.0.20348\"",
            ];
            assert!(expected.iter().all(|label| info.contains(label)), "{info}");
            assert!(bench.metric("rdp_clock_skew_seconds").unwrap().abs() < 1.0);
            assert_eq!(bench.findings(), []);
            // Within the interval it is not asked for again, and its facts stay.
            bench.probe();
            assert!(bench.metric("rdp_clock_skew_seconds").is_some());
            let seen = bench.finish();
            assert_eq!(seen.len(), 2);
            assert_eq!(seen[0].received, credssp::negotiate(), "one request, and nothing after the challenge");
            assert!(seen[1].received.is_empty(), "{seen:?}");
            assert!(seen.iter().all(|seen| seen.ending == Ending::CloseNotify), "{seen:#?}");
        }
    });
}

#[test]
fn the_clock_may_be_wrong_by_so_much() {
    let rows = [(0, false), (290, false), (-290, false), (310, true), (-310, true), (86_400, true), (-86_400, true)];
    at_once(rows, |(skew, is_found)| {
        let bench =
            Bench::new(vec![replying(tls13(), request(&challenge(now(), skew)))], settings(sample::settings().expect));
        assert_eq!(bench.probe().diagnosis.verdict, Verdict::Healthy, "{skew}");
        let found = bench.metric("rdp_clock_skew_seconds").unwrap();
        assert!((found - skew as f64).abs() < 1.0, "{skew}: {found}");
        assert_eq!(bench.findings().contains(&Finding::ClockSkew), is_found, "{skew}");
    });
}

#[test]
fn the_host_may_be_another() {
    let rows = [("", false), ("TS01", false), ("ts01", false), ("ts01.corp.example", false)];
    let wrong = [("TS02", true), ("ts01.other.example", true), ("TS0", true), ("TS011", true)];
    at_once(rows.into_iter().chain(wrong), |(computer, is_found)| {
        let expect = Expectations { computer: computer.to_owned(), ..sample::settings().expect };
        let bench = Bench::new(vec![replying(tls13(), request(&challenge(now(), 0)))], settings(expect));
        bench.probe();
        assert_eq!(bench.findings().contains(&Finding::WrongHost), is_found, "{computer:?}");
    });
}

/// It loses these facts and nothing else.
#[test]
fn rubbish_is_no_challenge() {
    let well = request(&challenge(now(), 0));
    let mut another_type = challenge(now(), 0);
    another_type[8] = 3;
    let mut past_the_end = challenge(now(), 0);
    past_the_end[44..48].copy_from_slice(&0xffff_ff00_u32.to_le_bytes());
    let rows = [
        ("noise", vec![0xff; 40]),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("an empty sequence", vec![0x30, 0]),
        ("a length of 4 GiB", vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
        ("an error and no token", vec![0x30, 12, 0xa0, 3, 2, 1, 6, 0xa4, 5, 2, 3, 0xc0, 0, 5]),
        ("another type", request(&another_type)),
        ("a target info past the end", request(&past_the_end)),
        ("an authentication", request(b"NTLMSSP\0\x03\0\0\0")),
        ("no NTLM", request(b"negotiate me")),
        ("more behind it is ignored", [well, vec![1, 2, 3]].concat()),
    ];
    at_once(rows, |(name, reply)| {
        let bench = Bench::new(vec![replying(tls12(), reply)], settings(sample::settings().expect));
        let report = bench.probe();
        assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{name}: {}", report.evidence());
        let is_known = bench.metrics().iter().any(|line| line.starts_with("rdp_server_info{"));
        assert_eq!(is_known, name.contains("ignored"), "{name}");
        assert_eq!(bench.metric("rdp_clock_skew_seconds").is_some(), is_known, "{name}");
        assert_eq!(bench.findings(), [], "{name}");
        let seen = bench.finish();
        assert_eq!(seen.len(), 1, "{name}");
        assert_eq!(seen[0].received, credssp::negotiate(), "{name}");
    });
}

#[test]
fn a_challenge_without_target_info_has_its_version() {
    let mut bare = challenge(now(), 0);
    bare[20..24].copy_from_slice(&0x0200_0001_u32.to_le_bytes());
    let bench = Bench::new(vec![replying(tls13(), request(&bare))], settings(sample::settings().expect));
    bench.probe();
    let info = bench.metrics().into_iter().find(|line| line.starts_with("rdp_server_info{")).unwrap();
    assert!(info.contains("version=\"10.0.20348\"") && info.contains("computer=\"\""), "{info}");
    assert_eq!(bench.metric("rdp_clock_skew_seconds"), None);
}

#[test]
fn silence_twice_running_is_a_finding_and_once_is_not() {
    let short = || Settings { timeout: Duration::from_millis(600), ..settings(sample::settings().expect) };
    let silent = || replying(tls13(), Vec::new());
    let closing = || speaking(Protocols::HYBRID, Tls { reply: Some(Reply::Close), ..tls13() });
    let telling = || replying(tls13(), request(&challenge(now(), 0)));
    let rows: [(&str, Vec<Script>, &[bool]); 4] = [
        ("silent", vec![silent()], &[false, true, true]),
        ("silent once", vec![silent(), telling()], &[false, false]),
        ("silent, then closing", vec![silent(), closing()], &[false, false]),
        ("closing", vec![closing()], &[false, false, false]),
    ];
    at_once(rows, |(name, scripts, found)| {
        let bench = Bench::new(scripts, short());
        for is_found in found {
            let report = bench.probe();
            assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{name}: {}", report.evidence());
            assert_eq!(bench.findings().contains(&Finding::NlaNoAnswer), *is_found, "{name}");
        }
        let asked = bench.finish().iter().filter(|seen| !seen.received.is_empty()).count();
        let most = if name == "closing" { 1 } else { 2 };
        assert_eq!(asked, most, "{name}: asked by the interval, and once more after a silence");
    });
}

#[test]
fn silence_is_a_timeout_of_the_challenge_alone() {
    let settings = Settings { timeout: Duration::from_millis(600), ..settings(sample::settings().expect) };
    let bench = Bench::new(vec![replying(tls12(), Vec::new())], settings);
    let report = bench.probe();
    assert_eq!(report.observation.deciding().unwrap().challenge.clone().unwrap().fact, Err(Fault::Timeout));
    assert_eq!(bench.metric("rdp_up"), Some(1.0));
    assert!(report.observation.handshake().unwrap() < Duration::from_millis(500), "without the challenge");
}

#[test]
fn what_breaks_right_behind_the_handshake_is_no_silence() {
    let script = vec![Step::ReadRequest, Step::Send(selecting(Protocols::HYBRID)), Step::Rubbish(tls13().config)];
    let bench = Bench::new(vec![script], settings(sample::settings().expect));
    for _ in 0..2 {
        let report = bench.probe();
        assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{}", report.evidence());
        let told = report.observation.deciding().unwrap().challenge.clone();
        assert!(told.is_none_or(|told| matches!(told.fact, Err(Fault::TlsBroken(_)))), "{report:?}");
        assert!(report.observation.duration < Duration::from_secs(1), "{:?}", report.observation.duration);
        assert!(!bench.findings().contains(&Finding::NlaNoAnswer));
    }
}

/// A `TSRequest` with that token.
pub(crate) fn request(token: &[u8]) -> Vec<u8> {
    let token = element(0x04, token);
    let tokens = element(0xa1, &element(0x30, &element(0x30, &element(0xa0, &token))));
    element(0x30, &[vec![0xa0, 3, 2, 1, 6], tokens].concat())
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).unwrap();
    [&[tag, 0x82][..], &length.to_be_bytes(), contents].concat()
}

/// CHALLENGE of a Windows Server 2022 whose clock is ahead by so many seconds.
pub(crate) fn challenge(now: SystemTime, skew: i64) -> Vec<u8> {
    let since_1601 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(11_644_473_600);
    let units = u64::try_from(since_1601.as_nanos() / 100).unwrap().checked_add_signed(skew * 10_000_000).unwrap();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let pairs: [(u16, Vec<u8>); 7] = [
        (2, utf16("CORP")),
        (1, utf16("TS01")),
        (4, utf16("corp.example")),
        (3, utf16("ts01.corp.example")),
        (5, utf16("corp.example")),
        (7, units.to_le_bytes().to_vec()),
        (0, Vec::new()),
    ];
    let pair = |(id, value): &(u16, Vec<u8>)| {
        let length = u16::try_from(value.len()).unwrap();
        [&id.to_le_bytes()[..], &length.to_le_bytes(), value].concat()
    };
    let info: Vec<u8> = pairs.iter().flat_map(pair).collect();
    let name = utf16("CORP");
    let mut bytes = b"NTLMSSP\0\x02\0\0\0".to_vec();
    bytes.extend(field(name.len(), 56));
    bytes.extend(0xe289_8235_u32.to_le_bytes());
    bytes.extend([0x5a; 8]); // server challenge
    bytes.extend([0; 8]);
    bytes.extend(field(info.len(), 56 + name.len()));
    bytes.extend([10, 0]);
    bytes.extend(20_348_u16.to_le_bytes());
    bytes.extend([0, 0, 0, 15]);
    [bytes, name, info].concat()
}

fn field(length: usize, offset: usize) -> Vec<u8> {
    let length = u16::try_from(length).unwrap().to_le_bytes();
    [&length[..], &length, &u32::try_from(offset).unwrap().to_le_bytes()].concat()
}

fn now() -> SystemTime {
    SystemTime::now()
}

const HOUR: Duration = Duration::from_secs(3600);
