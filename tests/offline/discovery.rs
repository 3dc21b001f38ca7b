//! Lists of targets: what is read, who wins, what drops out, and what a source that fails keeps.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rdp_exporter::{
    config::{Config, KeepLabels, ListFormat, Listing, Rejection, SourceListing, check_secrets},
    discovery::{Sources, find_all},
    metrics,
    state::{SourceVitals, Vitals},
    target::Target,
    wire::negotiation::Protocols,
};

use crate::endpoint::{Endpoint, answering, selecting};

const CONFIG: &str = "
probe: { interval: 10m, timeout: 9s, connect_timeout: 20s }
modules: { slow: { timeout: 8s, cookie: slow } }
targets:
  - { address: ts01, name: one }
  - { address: ts02, labels: { from: file } }
";

fn config(text: &str) -> Config {
    Config::from_yaml(text, Path::new("config.yaml")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn yaml(text: &str) -> Listing {
    Listing::parse(text, ListFormat::Yaml).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The targets that one list gives beside those of `CONFIG`, and the reasons of what gave none.
fn discovered(list: &str) -> (Vec<Arc<Target>>, Vec<&'static str>) {
    let (listing, keep_labels) = (yaml(list), KeepLabels::default());
    let source = SourceListing { listings: vec![&listing], keep_labels: &keep_labels };
    let (union, taken) = config(CONFIG).with_discovered(&[source]);
    let reasons = taken[0].left_out.iter().map(|left_out| left_out.reason.label()).collect();
    assert_eq!(taken[0].targets + 2, union.targets.len());
    (union.targets[2..].to_vec(), reasons)
}

fn names(targets: &[Arc<Target>]) -> Vec<&str> {
    targets.iter().map(|target| target.name.as_str()).collect()
}

/// What is left out is told with its text, so there is a limit to it.
#[test]
fn a_list_of_something_else_is_refused_as_a_whole() {
    let ones = |count: usize| vec!["1"; count].join(",");
    for text in [format!("[{}]", ones(100_000)), format!("[{{\"targets\":[{}]}}]", ones(100_000))] {
        let said = Listing::parse(&text, ListFormat::Json).unwrap_err();
        assert!(said.contains("more than 1000 entries"), "{said}");
    }
    assert!(Listing::parse(&format!("[{}]", ones(1000)), ListFormat::Json).is_ok(), "each drops out alone");
}

#[test]
fn both_formats_are_read() {
    for (text, format) in [
        ("- targets: [a, 'b:3390', '[2001:db8::1]']\n  labels: { site: x }\n- targets: [c]\n", ListFormat::Yaml),
        ("- {targets: [a, 'b:3390', '[2001:db8::1]'], labels: {site: x}}\n- targets:\n  - c\n", ListFormat::Yaml),
        (
            r#"[{"targets": ["a", "b:3390", "[2001:db8::1]"], "labels": {"site": "x"}}, {"targets": ["c"], "labels": {}}]"#,
            ListFormat::Json,
        ),
    ] {
        let (listing, keep_labels) = (Listing::parse(text, format).unwrap(), KeepLabels::default());
        let source = SourceListing { listings: vec![&listing], keep_labels: &keep_labels };
        let (union, taken) = config("").with_discovered(&[source]);
        assert_eq!(names(&union.targets), ["a:3389", "b:3390", "[2001:db8::1]:3389", "c:3389"]);
        assert_eq!((taken[0].targets, taken[0].left_out.len()), (4, 0));
        assert_eq!(union.targets[0].labels, BTreeMap::from([("site".to_owned(), "x".to_owned())]));
    }
    // YAML's parser would refuse both escapes.
    let json = Listing::parse(
        r#"[{"targets": ["a"], "labels": {"u": "https:\/\/x", "v": "\ud83d\ude42"}}]"#,
        ListFormat::Json,
    );
    assert!(json.is_ok());
    for empty in ["", "[]", "# nothing\n"] {
        assert_eq!(yaml(empty), Listing::default());
    }
    assert_eq!(Listing::parse("[]", ListFormat::Json), Ok(Listing::default()));
}

#[test]
fn a_text_that_is_no_list_is_refused_as_a_whole() {
    let many_labels: String = (0..2000).map(|number| format!("l{number}: {},", "x".repeat(200))).collect();
    let addresses = "a,".repeat(2000);
    let bomb = format!("[{{targets: [{addresses}], labels: {{{many_labels}}}}}]");
    for (text, format, part) in [
        ("{}", ListFormat::Yaml, "must be a list of groups, not a map"),
        ("{}", ListFormat::Json, "must be a list of groups, not a map"),
        ("targets: [a]", ListFormat::Yaml, "must be a list"),
        ("- targets: [a", ListFormat::Yaml, "cannot be read as YAML"),
        ("[{\"targets\": [\"a\"]}", ListFormat::Json, "1:19: [1]: cannot be read as JSON"),
        ("[] []", ListFormat::Json, "cannot be read as JSON"),
        ("", ListFormat::Json, "cannot be read as JSON"),
        ("- targets: [a]\n", ListFormat::Json, "cannot be read as JSON"),
        ("- {targets: [a], labels: {a: x, a: y}}", ListFormat::Yaml, "[0].labels.a: is set twice"),
        (&"[".repeat(5000), ListFormat::Json, "cannot be read as JSON"),
        (&"x".repeat((16 << 20) + 1), ListFormat::Json, "larger than 16 MiB"),
        (&bomb, ListFormat::Yaml, "lists more than fits"),
    ] {
        let said = Listing::parse(text, format).unwrap_err();
        assert!(said.contains(part) && said.len() < 300, "{}: {said}", &text[..text.len().min(40)]);
    }
}

#[test]
fn a_bad_entry_drops_out_alone() {
    for (group, reason) in [
        ("{ targets: ['a b'] }", "bad_address"),
        ("{ targets: ['a:0'] }", "bad_address"),
        ("{ targets: ['https://a/'] }", "bad_address"),
        ("{ targets: ['2001:db8::1'] }", "bad_address"),
        ("{ targets: [12] }", "bad_address"),
        ("{ targets: [[x]] }", "bad_address"),
        ("{ targets: [a], labels: { 'x-y': '1' } }", "bad_label"),
        ("{ targets: [a], labels: { x: [1] } }", "bad_label"),
        ("{ targets: [a], labels: { x: 1.10 } }", "bad_label"),
        ("{ targets: [a], labels: { __rdp_interval: soon } }", "bad_setting"),
        ("{ targets: [a], labels: { __rdp_interval: 0s } }", "bad_setting"),
        ("{ targets: [a], labels: { __rdp_interval: 9s } }", "bad_setting"),
        ("{ targets: [a], labels: { __rdp_timeout: 10m } }", "bad_setting"),
        ("{ targets: [a], labels: { __rdp_server_name: 'a:3389' } }", "bad_setting"),
        ("{ targets: [a], labels: { __rdp_module: fast } }", "unknown_module"),
        ("{ targets: [one], labels: { __rdp_name: one } }", "duplicate"),
        ("{ targets: ['ts01:3389'] }", "duplicate"),
        ("{ targets: [z] }", "duplicate"),
        ("{ targets: [a], tragets: [b] }", "malformed"),
        ("{ targets: a }", "malformed"),
        ("{ targets: [a], labels: [b] }", "malformed"),
        ("a", "malformed"),
    ] {
        let (targets, reasons) = discovered(&format!("- targets: [z]\n- {group}\n- targets: [y]\n"));
        assert_eq!((names(&targets), reasons), (vec!["z:3389", "y:3389"], vec![reason]), "{group}");
    }
    let long = format!("- targets: [a]\n  labels: {{ x: {} }}\n", "x".repeat(1025));
    assert_eq!(discovered(&long).1, ["bad_label"]);
    let many: String = (0..65).map(|number| format!("l{number}: x, ")).collect();
    assert_eq!(discovered(&format!("- targets: [a, b]\n  labels: {{ {many} }}\n")).1, ["bad_label", "bad_label"]);
    let reasons = Rejection::ALL.map(Rejection::label);
    assert_eq!(reasons, ["bad_address", "bad_label", "bad_setting", "duplicate", "malformed", "unknown_module"]);
}

#[test]
fn labels_choose_settings_and_the_rest_is_kept() {
    let (targets, reasons) = discovered(
        "
- targets: [gw.corp.example]
  labels:
    __rdp_name: desk
    __rdp_server_name: desk.corp.example
    __rdp_module: slow
    __rdp_interval: 30s
    __rdp_timeout: 7s
    __meta_url: x
    __rdp_other: x
    site: oslo
    empty: ''
    nothing:
    rack: 12
    spare: true
    job: windows
    exported_job: other
    version: '1'
- targets: [gw.corp.example]
  labels: { __rdp_name: desk2 }
- targets: [gw.corp.example]
",
    );
    assert_eq!(reasons, ["duplicate"], "the address is known, and the entry has no name of its own");
    assert_eq!(names(&targets), ["desk", "desk2"]);
    let desk = &targets[0];
    assert_eq!(desk.server_name.as_deref(), Some("desk.corp.example"));
    let settings = &desk.settings;
    assert_eq!((settings.interval.as_secs(), settings.timeout.as_secs(), settings.cookie.as_str()), (30, 7, "slow"));
    assert_eq!(settings.connect_timeout.as_secs(), 7, "cut to the timeout that was chosen");
    let labels: Vec<_> = desk.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("exported_exported_job", "windows"),
        ("exported_job", "other"),
        ("exported_version", "1"),
        ("rack", "12"),
        ("site", "oslo"),
        ("spare", "true"),
    ];
    assert_eq!(labels, expected);
    let plain = &targets[1];
    assert_eq!(plain.server_name.as_deref(), Some("gw.corp.example"));
    assert_eq!(plain.settings, *config(CONFIG).module("default").unwrap());
}

#[test]
fn configured_targets_win_and_then_the_first_source() {
    let config = config(&format!(
        "{CONFIG}discovery: {{ files: [ {{ path: a.yaml, keep_labels: [site] }}, b.yaml, {{ path: c.yaml, keep_labels: [] }} ] }}\n"
    ));
    let listings = [
        yaml("- targets: [ts02, ts03, ts04]\n  labels: { site: first, tier: '1' }\n"),
        yaml("- targets: [ts04, ts05]\n  labels: { site: second, tier: '2' }\n"),
        yaml("- targets: [ts05, ts06]\n  labels: { site: third }\n"),
    ];
    let of = |order: [usize; 3]| {
        let sources = order.map(|place| SourceListing {
            listings: vec![&listings[place]],
            keep_labels: &config.discovery.files[place].keep_labels,
        });
        let (union, taken) = config.with_discovered(&sources);
        let shown = |target: &Arc<Target>| {
            let labels: Vec<_> = target.labels.values().map(String::as_str).collect();
            format!("{} {}", target.name, labels.join(" "))
        };
        (
            union.targets.iter().map(shown).collect::<Vec<_>>(),
            taken.iter().map(|taken| taken.targets).collect::<Vec<_>>(),
        )
    };
    let (targets, counts) = of([0, 1, 2]);
    assert_eq!(
        targets,
        ["one ", "ts02:3389 file", "ts03:3389 first", "ts04:3389 first", "ts05:3389 second 2", "ts06:3389 "]
    );
    assert_eq!(counts, [2, 1, 1]);
    let (targets, counts) = of([2, 1, 0]);
    assert_eq!(targets[2..], ["ts05:3389 ", "ts06:3389 ", "ts04:3389 second 2", "ts03:3389 first"]);
    assert_eq!(counts, [2, 1, 1]);
}

#[test]
fn every_target_is_in_exactly_one_share_configured_or_not() {
    let listing = yaml(&format!("- targets: [{}]", (0..200).map(|number| format!("h{number},")).collect::<String>()));
    let keep_labels = KeepLabels::default();
    let mut seen = Vec::new();
    for index in 0..3 {
        let config = config(&format!(
            "targets: [ {{ addresses: [c1, c2, c3, c4] }} ]\nsharding: {{ index: {index}, count: 3 }}\n"
        ));
        let source = SourceListing { listings: vec![&listing], keep_labels: &keep_labels };
        let (union, _) = config.with_discovered(&[source]);
        assert_eq!(union.targets.len(), 204, "/probe looks at all of them");
        let share = union.share();
        assert!((40..100).contains(&share.len()), "{}", share.len());
        seen.extend(share.iter().map(|target| target.name.clone()));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 204);
}

fn vitals<'a>(sources: &'a [SourceVitals], source: &str) -> &'a SourceVitals {
    sources.iter().find(|vitals| vitals.source == source).unwrap()
}

fn rejected(vitals: &SourceVitals) -> u64 {
    vitals.rejected.iter().map(|(_, count)| count).sum()
}

#[test]
fn a_file_that_breaks_keeps_its_targets_and_one_that_goes_takes_them_along() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), folder.path().join(name)).unwrap();
    };
    let text = "discovery: { files: [ '*.yaml', one.json, 'nowhere/*.yml' ] }";
    let config = Config::from_yaml(text, &folder.path().join("config")).unwrap();
    let mut sources = Sources::default();
    sources.follow(&config.discovery);
    write("a.yaml", "- targets: [a1, a2]");
    write("b.yaml", "- targets: [b1, 'b 2', 'b 2']");
    write(".hidden.yaml", "- targets: [h]");
    fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    assert!(sources.look());
    let list = |sources: &mut Sources| names(&sources.union(&config).targets).join(" ");
    assert_eq!(list(&mut sources), "a1:3389 a2:3389 b1:3389");
    let counted = sources.vitals();
    let pattern = vitals(&counted, "*.yaml");
    assert_eq!((pattern.targets, pattern.failures, rejected(pattern)), (Some(3), 0, 2));
    let (one, nowhere) = (vitals(&counted, "one.json"), vitals(&counted, "nowhere/*.yml"));
    assert_eq!((one.targets, one.failures), (None, 1), "a file that is named has to be there");
    assert_eq!((nowhere.targets, nowhere.failures), (None, 1), "a folder, too");

    assert!(!sources.look(), "nothing changed");
    write("a.yaml", "- targets: [a1, a2");
    assert!(!sources.look());
    assert_eq!(list(&mut sources), "a1:3389 a2:3389 b1:3389", "kept");
    assert!(!sources.look());
    let counted = sources.vitals();
    let pattern = vitals(&counted, "*.yaml");
    assert_eq!((pattern.failures, rejected(pattern)), (1, 2), "counted once, however often it is looked at");

    write("a.yaml", "- targets: [a2, a3]");
    write("one.json", "[{\"targets\": [\"a3\", \"c\"]}]");
    assert!(sources.look());
    assert_eq!(list(&mut sources), "a2:3389 a3:3389 b1:3389 c:3389");
    assert_eq!(vitals(&sources.vitals(), "one.json").targets, Some(1));
    fs::remove_file(folder.path().join("b.yaml")).unwrap();
    fs::remove_file(folder.path().join("one.json")).unwrap();
    assert!(sources.look());
    assert_eq!(list(&mut sources), "a2:3389 a3:3389 c:3389", "a file that is named is missed, not one of many");

    // What was counted and listed outlives a reload that keeps the source.
    sources.follow(&config.discovery);
    assert!(!sources.look());
    assert_eq!(list(&mut sources), "a2:3389 a3:3389 c:3389");
    assert_eq!(vitals(&sources.vitals(), "*.yaml").failures, 1);
    let other = Config::from_yaml("discovery: { files: [ one.json ] }", &folder.path().join("config")).unwrap();
    sources.follow(&other.discovery);
    assert_eq!(list(&mut sources), "a3:3389 c:3389");
    assert_eq!(sources.vitals().len(), 1);
}

#[test]
fn the_swap_of_a_config_map_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, list) in [("..v1", "- targets: [old]"), ("..v2", "- targets: [new]")] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("list.yaml"), list).unwrap();
    }
    std::os::unix::fs::symlink("..v1", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/list.yaml", at("list.yaml")).unwrap();
    let config = Config::from_yaml("discovery: { files: [ '*.yaml' ] }", &at("config")).unwrap();
    let mut sources = Sources::default();
    sources.follow(&config.discovery);
    assert!(sources.look());
    assert_eq!(names(&sources.union(&config).targets), ["old:3389"]);
    std::os::unix::fs::symlink("..v2", at("..next")).unwrap();
    fs::rename(at("..next"), at("..data")).unwrap();
    fs::remove_dir_all(at("..v1")).unwrap();
    assert!(sources.look());
    assert_eq!(names(&sources.union(&config).targets), ["new:3389"]);
    assert_eq!(sources.vitals()[0].failures, 0);
}

/// Answers each request with the next of its answers, and keeps the heads of the requests.
struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                seen.lock().unwrap().push(head.join("\n").to_lowercase());
                if answer.is_empty() {
                    // Silence, until the client has enough of it.
                    lines.next();
                }
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

const JSON: &str = "Content-Type: application/json\r\n";
const LIST: &str = r#"[{"targets": ["a", "b"], "labels": {"site": "x"}}]"#;

fn http_source(address: SocketAddr, more: &str) -> Config {
    config(&format!("discovery: {{ http: [ {{ url: 'http://{address}/sd?site=1', {more} }} ] }}"))
}

/// Asks once what is due.
fn ask(sources: &mut Sources) -> bool {
    let due = sources.take_due();
    assert_eq!(due.len(), 1);
    assert!(sources.take_due().is_empty(), "each question once at a time");
    let answers: Vec<_> = due.into_iter().map(|fetch| sources.take_in(fetch.run())).collect();
    answers.contains(&true)
}

/// It may wait without end for a file of credentials, on a disk that does not answer.
#[test]
fn a_question_under_way_is_not_asked_again_and_a_lost_one_is() {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let [before, after] =
        ["1s", "2s"].map(|timeout| http_source(nobody, &format!("refresh_interval: 1s, timeout: {timeout}")));
    let mut sources = Sources::default();
    sources.follow(&before.discovery);
    let mut due = sources.take_due();
    assert_eq!(due.len(), 1);
    sources.follow(&before.discovery);
    thread::sleep(Duration::from_millis(1050));
    assert!(sources.take_due().is_empty(), "it is under way");
    drop(due.pop());
    due = sources.take_due();
    assert_eq!(due.len(), 1, "it was lost");
    sources.follow(&after.discovery);
    let other = sources.take_due();
    assert_eq!(other.len(), 1, "another one, by another configuration");
    let old = due.remove(0);
    sources.take_in(old.run());
    drop(old);
    assert!(sources.take_due().is_empty(), "the other one is under way");
}

/// The answer to a question in whose place another was asked may come last.
#[test]
fn an_answer_to_a_former_question_replaces_no_newer_list() {
    let server = Server::start(vec![answer("200 OK", JSON, LIST), answer("200 OK", JSON, "[]")]);
    let [before, after] = ["1s", "2s"].map(|timeout| http_source(server.address, &format!("timeout: {timeout}")));
    let mut sources = Sources::default();
    sources.follow(&before.discovery);
    let former = sources.take_due().remove(0);
    sources.follow(&after.discovery);
    let current = sources.take_due().remove(0);
    assert!(sources.take_in(current.run()));
    assert!(!sources.take_in(former.run()));
    assert_eq!(sources.union(&after).targets.len(), 2, "the newer list stays");
}

#[test]
fn an_answer_has_to_be_a_whole_list() {
    let large = " ".repeat((16 << 20) + 1);
    for (answer, expected) in [
        (answer("200 OK", JSON, LIST), Some(2)),
        (answer("200 OK", "content-type: application/JSON; charset=UTF-8\r\n", LIST), Some(2)),
        (answer("200 OK", JSON, "[]"), Some(0)),
        (answer("200 OK", "", LIST), None),
        (answer("200 OK", "Content-Type: text/html\r\n", LIST), None),
        (answer("201 Created", JSON, LIST), None),
        (answer("304 Not Modified", "", ""), None),
        (answer("500 Internal Server Error", JSON, LIST), None),
        (answer("200 OK", JSON, "[{"), None),
        (answer("200 OK", JSON, "{}"), None),
        (answer("200 OK", JSON, &large), None),
        (answer("200 OK", JSON, LIST).replace("Content-Length: ", "Content-Length: 9"), None),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), None),
        (String::new(), None),
    ] {
        let begin: String = answer.chars().take(120).collect();
        let server = Server::start(vec![answer]);
        let config = http_source(server.address, "timeout: 2s");
        let mut sources = Sources::default();
        sources.follow(&config.discovery);
        assert_eq!(ask(&mut sources), expected.is_some(), "{begin}");
        let union = sources.union(&config);
        let counted = &sources.vitals()[0];
        assert_eq!(counted.source, format!("http://{}/sd?site=1", server.address));
        assert_eq!((counted.targets, counted.failures), (expected, u64::from(expected.is_none())), "{begin}");
        assert_eq!(union.targets.len(), expected.unwrap_or_default());
    }
}

#[test]
fn a_failing_server_keeps_its_targets_and_an_unchanged_list_is_not_sent_again() {
    let server = Server::start(vec![
        answer("200 OK", &format!("{JSON}ETag: \"v1\"\r\n"), LIST),
        answer("304 Not Modified", "", ""),
        answer("503 Service Unavailable", "", ""),
        answer("200 OK", JSON, "[]"),
    ]);
    let config = http_source(server.address, "refresh_interval: 1s, timeout: 2s");
    let mut sources = Sources::default();
    sources.follow(&config.discovery);
    let mut counts = Vec::new();
    for _ in 0..4 {
        ask(&mut sources);
        let targets = sources.union(&config).targets.len();
        counts.push((targets, sources.vitals()[0].failures));
        thread::sleep(Duration::from_millis(1050));
    }
    assert_eq!(counts, [(2, 0), (2, 0), (2, 1), (0, 1)]);
    let heads = server.heads();
    assert!(heads[0].starts_with("get /sd?site=1 http/1.1\n") && heads[0].contains("accept: application/json"));
    assert!(
        heads[0].contains("x-prometheus-refresh-interval-seconds: 1") && heads[0].contains("user-agent: rdp_exporter/")
    );
    let conditional: Vec<_> = heads.iter().map(|head| head.contains("if-none-match: \"v1\"")).collect();
    assert_eq!(conditional, [false, true, true, true]);
}

#[test]
fn credentials_are_sent_to_their_host_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "hunter2\n").unwrap();
    let file = file.display();
    for (credentials, expected) in [
        ("basic_auth: { username: me, password: hunter2 }".to_owned(), "authorization: basic bwu6ahvudgvymg=="),
        (format!("basic_auth: {{ username: me, password_file: {file} }}"), "authorization: basic bwu6ahvudgvymg=="),
        (format!("authorization: {{ credentials_file: {file} }}"), "authorization: bearer hunter2"),
        ("authorization: { type: Token, credentials: hunter2 }".to_owned(), "authorization: token hunter2"),
        (format!("bearer_token_file: {file}"), "authorization: bearer hunter2"),
    ] {
        let elsewhere = Server::start(vec![answer("200 OK", JSON, LIST)]);
        let place = format!("Location: http://localhost:{}/other\r\n", elsewhere.address.port());
        let server =
            Server::start(vec![answer("302 Found", "Location: /moved\r\n", ""), answer("302 Found", &place, "")]);
        let union = find_all(&http_source(server.address, &credentials));
        assert_eq!(union.targets.len(), 2);
        let heads = server.heads();
        assert!(heads.len() == 2 && heads.iter().all(|head| head.contains(expected)), "{heads:?}");
        let heads = elsewhere.heads();
        assert!(heads.len() == 1 && !heads[0].contains("authorization"), "{heads:?}");
    }
    let server = Server::start(vec![answer("302 Found", "Location: /again\r\n", ""); 10]);
    assert_eq!(find_all(&http_source(server.address, "timeout: 5s")).targets.len(), 0);
    assert!(server.heads().len() <= 4, "redirects come to an end");
}

#[test]
fn what_is_counted_is_shown_by_source() {
    let vitals = Vitals::new(crate::sample::noon());
    let text = |vitals: &Vitals| {
        let mut out = Vec::new();
        for family in metrics::exporter_families(vitals, 0) {
            metrics::encode(&family, &mut out).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        text.lines().filter(|line| line.starts_with("rdp_exporter_discovery_")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(text(&vitals).is_empty(), "nothing without sources");
    let source = |source: &str, targets| SourceVitals {
        source: source.to_owned(),
        targets,
        failures: 3,
        rejected: vec![("bad_label", 0), ("duplicate", 2)],
    };
    vitals.record_discovery(vec![source("a \"b\"/*.yaml", Some(7)), source("https://cmdb.example/rdp", None)]);
    assert_eq!(
        text(&vitals),
        [
            r#"rdp_exporter_discovery_targets{source="a \"b\"/*.yaml"} 7"#,
            r#"rdp_exporter_discovery_failures_total{source="a \"b\"/*.yaml"} 3"#,
            r#"rdp_exporter_discovery_failures_total{source="https://cmdb.example/rdp"} 3"#,
            r#"rdp_exporter_discovery_rejected_total{source="a \"b\"/*.yaml",reason="bad_label"} 0"#,
            r#"rdp_exporter_discovery_rejected_total{source="a \"b\"/*.yaml",reason="duplicate"} 2"#,
            r#"rdp_exporter_discovery_rejected_total{source="https://cmdb.example/rdp",reason="bad_label"} 0"#,
            r#"rdp_exporter_discovery_rejected_total{source="https://cmdb.example/rdp",reason="duplicate"} 2"#,
        ]
    );
}

#[test]
fn files_of_secrets_are_read_before_they_are_needed_and_warned_of_where_they_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let set = |name: &str, text: &str, mode: u32| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let check = |source: &str| {
        let text = format!("discovery: {{ http: [ {{ url: 'https://a/', {source} }} ] }}");
        set("config.yaml", &text, 0o644);
        check_secrets(&Config::load(&file).unwrap(), &file).map_err(|error| error.to_string())
    };
    set("closed", "hunter2", 0o640);
    set("open", "hunter2", 0o644);
    set("empty", "\n", 0o600);
    assert_eq!(check("timeout: 1s"), Ok(vec![]));
    assert_eq!(check("bearer_token_file: closed"), Ok(vec![]));
    for (source, part) in
        [("bearer_token_file: open", "open holds a secret"), ("bearer_token: x", "config.yaml holds a secret")]
    {
        let warnings = check(source).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains(part), "{warnings:?}");
    }
    for (source, part) in [
        ("bearer_token_file: nowhere", "config.yaml:1:43: discovery.http[0].bearer_token_file: "),
        ("authorization: { credentials_file: nowhere }", ":1:60: discovery.http[0].authorization.credentials_file: "),
        ("basic_auth: { username: a, password_file: nowhere }", ":1:70: discovery.http[0].basic_auth.password_file: "),
        ("bearer_token_file: empty", "empty is empty"),
        ("tls_config: { ca_file: nowhere }", ":1:57: discovery.http[0].tls_config.ca_file: "),
        ("tls_config: { ca_file: open }", "open holds no PEM certificate"),
    ] {
        let said = check(source).unwrap_err();
        assert!(said.contains(part) && !said.contains("hunter2"), "{said}");
    }
    let plain = config("discovery: { http: [ { url: 'http://a/', bearer_token: x } ] }");
    let warnings = check_secrets(&plain, Path::new("nowhere")).unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("unencrypted"), "{warnings:?}");
}

#[test]
fn the_command_knows_discovered_targets_by_name() {
    let endpoint = Endpoint::start(vec![answering(selecting(Protocols::RDP))]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, "discovery: { files: [ list.yaml ] }\n").unwrap();
    let list = format!("- targets: ['{}']\n  labels: {{ __rdp_name: desk, site: oslo }}\n", endpoint.address);
    fs::write(folder.path().join("list.yaml"), list).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdp_exporter"));
    command.arg("probe").arg("desk").arg(format!("--config.file={}", file.display()));
    let output = command.args(["--output=metrics", "--no-survey"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("rdp_up{target=\"desk\",site=\"oslo\"} 1\n"), "{said}");
}
