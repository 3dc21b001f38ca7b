//! What is read on the operator's side: configuration, lists, queries, files of earlier processes and of other people.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use rdp_exporter::{
    config::{
        Config, FileSource, KeepLabels, ListFormat, Listing, SourceListing, WebConfig, format_duration, parse_duration,
    },
    http::{Subject, fence},
    observation::{Fault, Stage, Stop},
    page::{ChangeQuery, Query},
    report::{Ink, diff},
    state::{States, TargetState},
    state_file,
    target::{Address, Reach, Settings, Target},
};

use super::{conversation::absorb, faces, strangers::observation};

/// The configuration, or the web configuration where the first byte is odd. What is accepted is shown as YAML that says
/// the same; what is refused is refused in words that are safe to print.
pub(super) fn configuration(bytes: &[u8]) {
    let Some((&choice, text)) = split_text(bytes) else { return };
    let file = Path::new("config.yaml");
    if choice & 1 == 1 {
        match WebConfig::from_yaml(text, file) {
            Ok(config) => faces::check_harmless("summary", &config.summary()),
            Err(error) => faces::check_harmless("error", &error.to_string()),
        }
        return;
    }
    match Config::from_yaml(text, file) {
        Ok(config) => {
            let shown = config.to_yaml();
            // A secret is not shown, and a URL is shown in its whole form.
            if !shown.contains("<secret>") {
                let again = Config::from_yaml(&shown, file).unwrap_or_else(|error| panic!("{error}\n{shown}"));
                // A URL is shown with its path, also where it was written without.
                assert!(again == config || !config.discovery.http.is_empty(), "{shown}");
                assert_eq!(again.to_yaml(), shown);
            }
            check_targets(&config.targets);
            faces::check_harmless("summary", &config.summary());
        }
        Err(error) => faces::check_harmless("error", &error.to_string()),
    }
}

/// A list of targets, JSON where the first byte is odd, beside a configuration that has some of its own.
pub(super) fn listing(bytes: &[u8]) {
    let Some((&choice, text)) = split_text(bytes) else { return };
    let format = if choice & 1 == 1 { ListFormat::Json } else { ListFormat::Yaml };
    let listing = match Listing::parse(text, format) {
        Ok(listing) => listing,
        Err(error) => return faces::check_harmless("error", &error),
    };
    let config = configured();
    let keep_labels = keep_labels(choice & 2 == 2);
    let (union, taken) = config.with_discovered(&[SourceListing { listings: vec![&listing], keep_labels }]);
    assert!(union.targets.starts_with(&config.targets), "its own targets come first");
    assert_eq!(union.targets.len(), config.targets.len() + taken[0].targets);
    for left_out in &taken[0].left_out {
        faces::check_harmless("entry", &left_out.entry);
    }
    check_targets(&union.targets);
}

/// The queries of `/probe` and of the pages, an address, and a duration: the input is each of them.
pub(super) fn probe_query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_fence(text);
    let query = Query::parse(text);
    let _ = query.select(&[]);
    let _ = ChangeQuery::parse(text);
    if let Ok(address) = text.parse::<Address>() {
        check_address(&address);
    }
    if let Ok(duration) = parse_duration(text) {
        let shown = format_duration(duration);
        assert_eq!(parse_duration(&shown), Ok(duration), "{text} {shown}");
    }
}

/// Two outputs of `probe --output=json`, cut at the byte 0xFE.
pub(super) fn sightings(bytes: &[u8]) {
    let mut files = bytes.splitn(2, |byte| *byte == 0xFE).map(diff::read);
    let (Some(Ok(a)), b) = (files.next(), files.next()) else { return };
    assert!(!diff::compare(&a, &a).differs(), "a file is like itself");
    let b = b.unwrap_or_else(|| Ok(vec![])).unwrap_or_default();
    let comparison = diff::compare(&a, &b);
    let text = diff::text(&comparison, ("a.json", &a), ("b.json", &b), Ink::Plain);
    faces::check_harmless("comparison", &text);
}

/// What an earlier process wrote, or somebody else in its place. It is read, shown in every way, and written again.
pub(super) fn state_file(bytes: &[u8]) {
    let file = std::env::temp_dir().join(format!("rdp_exporter-fuzz-{}-state", std::process::id()));
    fs::write(&file, bytes).unwrap();
    let settings = settings();
    let absent = state_file::load(&file, settings, noon()).unwrap();
    let targets: Vec<_> = absent.iter().map(|absent| Arc::clone(&absent.state.target)).collect();
    let names: BTreeSet<_> = targets.iter().map(|target| &target.name).collect();
    if !targets.is_empty() && names.len() == targets.len() {
        let states = States::default();
        states.restore(absent);
        states.replace(&targets);
        let restored = states.snapshot();
        assert_eq!(restored.len(), targets.len());
        restored.iter().for_each(|state| faces::check(state, noon()));
        restored.iter().for_each(|state| probe_on(state));
        state_file::save(&file, &restored, &[], noon()).unwrap();
        let again = state_file::load(&file, settings, noon()).unwrap();
        assert_eq!(again.len(), restored.len(), "what was written is read again");
    }
    for ending in ["", ".unreadable"] {
        let _ = fs::remove_file(format!("{}{ending}", file.display()));
    }
}

/// One more probe that fails, and one that does not: both count on from what was counted.
fn probe_on(state: &TargetState) {
    let stop = Stop { stage: Stage::Tls, fault: Fault::Closed, after: Duration::ZERO };
    let at = state.memory.address.unwrap_or(SocketAddr::from(([10, 1, 0, 10], 3389)));
    for stop in [Some(stop), None] {
        let state = absorb(state.clone(), &state.target, observation(at, stop, None), state.memory.clone());
        assert!(state.probes() > 0);
        faces::check_scrape(&state, noon());
    }
}

/// The first byte, and the rest as text.
fn split_text(bytes: &[u8]) -> Option<(&u8, &str)> {
    let (first, rest) = bytes.split_first()?;
    Some((first, std::str::from_utf8(rest).ok()?))
}

/// Names are there once, and addresses are written as they are read.
fn check_targets(targets: &[Arc<Target>]) {
    let mut names = BTreeSet::new();
    for target in targets {
        assert!(names.insert(&target.name), "{} twice", target.name);
        check_address(&target.address);
        assert!(target.labels.keys().all(|name| is_label_name(name)), "{:?}", target.labels);
        assert!(target.settings.timeout < target.settings.interval);
    }
}

fn is_label_name(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(is_first) && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit())
}

fn check_address(address: &Address) {
    let shown = address.to_string();
    assert_eq!(shown.parse().as_ref(), Ok(address), "{shown}");
    assert!(shown.is_ascii() && shown.len() <= 262 && address.port != 0, "{shown}");
}

/// Without a configuration nothing special is reached and no other port; with one, nothing but what it allows.
fn check_fence(query: &str) {
    match fence(&Config::without_file(), query) {
        Ok(Subject::PasserBy(target, reach)) => {
            assert_eq!(target.address.port, 3389);
            let ip = target.address.as_socket_address().map(|address| address.ip().to_canonical());
            let is_special = ip.is_some_and(|ip| {
                ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([169, 254, 169, 254])
            });
            assert!(!is_special || ip.is_some_and(|ip| !reach.allows(ip)), "{target:?}");
        }
        Ok(other) => panic!("nothing is configured: {other:?}"),
        Err((status, reason)) => check_refusal(status.as_u16(), &reason),
    }
    match fence(configured(), query) {
        Ok(Subject::PasserBy(target, reach)) => {
            assert!([3389, 13389].contains(&target.address.port), "{target:?}");
            let Reach::Networks(networks) = &reach else { panic!("{reach:?}") };
            assert_eq!(networks.len(), 1);
            assert!(reach.allows([10, 1, 2, 3].into()) && !reach.allows([11, 1, 2, 3].into()));
        }
        Ok(Subject::Configured(name)) => assert!(name == "ts01" || name == "ts02.corp.example:3389", "{name}"),
        Ok(Subject::OfAnotherShard(target)) => panic!("there is one shard: {target:?}"),
        Err((status, reason)) => check_refusal(status.as_u16(), &reason),
    }
}

fn check_refusal(status: u16, reason: &str) {
    assert!([400, 403].contains(&status));
    faces::check_harmless("refusal", reason);
}

fn configured() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| Config::from_yaml(CONFIGURED, Path::new("config.yaml")).unwrap())
}

/// Those of a source that keeps all labels but some, or some only.
fn keep_labels(all: bool) -> &'static KeepLabels {
    static SOURCES: OnceLock<Vec<FileSource>> = OnceLock::new();
    let sources = SOURCES.get_or_init(|| configured().discovery.files.clone());
    &sources[usize::from(all)].keep_labels
}

fn settings() -> &'static Arc<Settings> {
    static SETTINGS: OnceLock<Arc<Settings>> = OnceLock::new();
    SETTINGS.get_or_init(|| Arc::clone(Config::without_file().module("default").unwrap()))
}

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_126_400)
}

const CONFIGURED: &str = "
modules: { slow: { timeout: 20s } }
targets:
  - { address: ts01.corp.example, name: ts01, labels: { site: oslo } }
  - address: ts02.corp.example
probe_endpoint: { allow: [10.0.0.0/8], ports: [3389, 13389] }
discovery: { files: [ { path: a.yaml, keep_labels: [site, tier] }, b.yaml ] }
";
