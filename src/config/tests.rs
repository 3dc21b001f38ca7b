//! The example against the keys and defaults of the code, and texts that no file on disk could show well.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::{
    diagnosis::Finding,
    target::{Address, Expectations, ExpectedCertificate, ExpectedNla, IpProtocol},
};

const EXAMPLE: &str = include_str!("../../config.example.yaml");

fn config(text: &str) -> Config {
    Config::from_yaml(text, Path::new("config.yaml")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refusal(text: &str) -> String {
    Config::from_yaml(text, Path::new("config.yaml")).unwrap_err().to_string()
}

#[test]
fn the_example_says_what_an_empty_file_says() {
    assert_eq!(config(EXAMPLE), config(""));
    let without_file = Config { probe_endpoint: ProbeEndpoint::ConfiguredTargets, ..Config::without_file() };
    assert_eq!(config(""), without_file);
}

#[test]
fn the_examples_in_the_example_are_right() {
    let config = config(&with_examples());
    assert_eq!(config.targets.len(), 3);
    assert!(config.module("slow").is_some());
}

/// The example with its commented keys set. Prose has one space after the `#`, a key has none or its indentation.
fn with_examples() -> String {
    let is_key = |rest: &&str| rest.starts_with("  ") || rest.starts_with(|c: char| c.is_ascii_lowercase());
    let shown = |line: &'static str| line.strip_prefix('#').filter(is_key).unwrap_or(line);
    let is_default = |line: &&str| ["targets: []", "  files: []", "  http: []"].iter().any(|key| line.starts_with(key));
    EXAMPLE.lines().filter(|line| !is_default(line)).map(|line| format!("{}\n", shown(line))).collect()
}

#[test]
fn the_example_shows_every_key() {
    let root = document::parse(&with_examples()).unwrap();
    let of_sources = |kind: &str| {
        let sources = items(value(value(&root, "discovery"), kind));
        sources.iter().filter(|source| matches!(source, Node::Map(_))).flat_map(keys_of).collect()
    };
    let of_targets = items(value(&root, "targets")).iter().flat_map(keys_of).collect();
    for (section, keys, shown) in [
        ("", ROOT_KEYS, keys_of(&root)),
        ("exporter", EXPORTER_KEYS, keys_of(value(&root, "exporter"))),
        ("probe", LAYER_KEYS, keys_of(value(&root, "probe"))),
        ("expect", settings::EXPECT_KEYS, keys_of(value(value(&root, "probe"), "expect"))),
        ("targets", Keys { shared: &[], ..targets::TARGET_KEYS }, of_targets),
        ("discovery", DISCOVERY_KEYS, keys_of(value(&root, "discovery"))),
        ("files", discovery::FILE_KEYS, of_sources("files")),
        ("http", Keys { own: &HTTP_KEYS_OF_THE_EXAMPLE, ..discovery::HTTP_KEYS }, of_sources("http")),
        ("sharding", SHARDING_KEYS, keys_of(value(&root, "sharding"))),
        ("trust", TRUST_KEYS, keys_of(value(&root, "trust"))),
        ("probe_endpoint", PROBE_ENDPOINT_KEYS, keys_of(value(&root, "probe_endpoint"))),
    ] {
        for key in keys.known() {
            assert!(shown.iter().any(|shown| shown == key), "{section} lacks {key}");
        }
    }
}

fn value<'a>(node: &'a Node, key: &str) -> &'a Node {
    let Node::Map(entries) = node else { panic!("{node:?} is no map") };
    entries.iter().find_map(|(known, value)| (known == key).then_some(value)).unwrap()
}

fn keys_of(node: &Node) -> Vec<String> {
    let Node::Map(entries) = node else { panic!("{node:?} is no map") };
    entries.iter().map(|(key, _)| key.clone()).collect()
}

fn items(node: &Node) -> &[Node] {
    let Node::List(items) = node else { panic!("{node:?} is no list") };
    items
}

/// All but the ones that put a secret into the configuration.
const HTTP_KEYS_OF_THE_EXAMPLE: [&str; 8] = [
    "url",
    "refresh_interval",
    "timeout",
    "basic_auth",
    "authorization",
    "bearer_token_file",
    "tls_config",
    "keep_labels",
];

#[test]
fn the_reference_names_every_key() {
    let reference = include_str!("../../docs/configuration.md");
    for keys in [
        ROOT_KEYS,
        EXPORTER_KEYS,
        LAYER_KEYS,
        settings::EXPECT_KEYS,
        targets::TARGET_KEYS,
        DISCOVERY_KEYS,
        discovery::FILE_KEYS,
        discovery::HTTP_KEYS,
        discovery::BASIC_KEYS,
        discovery::AUTHORIZATION_KEYS,
        discovery::TLS_KEYS,
        SHARDING_KEYS,
        TRUST_KEYS,
        PROBE_ENDPOINT_KEYS,
    ] {
        for key in keys.known() {
            assert!(reference.contains(&format!("`{key}`")), "docs/configuration.md lacks {key}");
        }
    }
    for reason in Rejection::ALL.map(Rejection::label) {
        assert!(reference.contains(&format!("`{reason}`")), "docs/configuration.md lacks the reason {reason}");
    }
}

#[test]
fn secrets_are_shown_to_nobody() {
    let config = config(
        "
discovery:
  http:
    - { url: 'https://a.example/', basic_auth: { username: me, password: hunter2 } }
    - { url: 'https://b.example/', authorization: { credentials: hunter2 } }
    - { url: 'https://c.example/', bearer_token: hunter2 }
    - { url: 'https://d.example/?token=hunter2' }
",
    );
    let shown = config.to_yaml();
    assert!(!shown.contains("hunter2") && !format!("{config:?}").contains("hunter2"), "{shown}");
    assert_eq!(shown.matches("<secret>").count(), 4, "{shown}");
    assert!(config.discovery.http[3].url().ends_with("hunter2"));
    // Whatever is wrong beside a secret, it is not quoted.
    for text in [
        "discovery: { http: [ { url: 'https://me:hunter2@a.example/' } ] }",
        "discovery: { http: [ { url: 'hunter2' } ] }",
        "discovery: { http: [ { url: 'https://a/', bearer_token: [hunter2] } ] }",
        "discovery: { http: [ { url: 'https://a/', bearer_token: hunter2, bearer_token_file: f } ] }",
        "discovery: { http: [ { url: 'https://a/', basic_auth: { username: 'a:', password: hunter2 } } ] }",
        "discovery: { http: [ { url: 'https://a/', basic_auth: 'me:hunter2' } ] }",
        "discovery: { http: [ { url: 'https://a/', basic_auth: { me:hunter2 } } ] }",
        "discovery: { http: [ { url: 'https://a/', basic_auth: { password:hunter2 } } ] }",
        "discovery: { http: [ { url: 'https://a/', authorization: Bearer hunter2 } ] }",
        "discovery: { http: [ { url: 'https://a/', authorization: { Bearer hunter2 } } ] }",
        "discovery: { http: [ { url: 'https://a/', bearer_token:hunter2 } ] }",
        "discovery: { http: [ 'https://me:hunter2@a.example/' ] }",
        "discovery: { http: 'https://me:hunter2@a.example/' }",
        "discovery: 'https://me:hunter2@a.example/'",
    ] {
        let said = refusal(text);
        assert!(!said.contains("hunter2") && said.contains("discovery"), "{said}");
    }
    let said = refusal("discovery: { http: [ { url: 'https://a/', oauth2: {} } ] }");
    assert!(said.contains("1:43: discovery.http[0].oauth2: unknown key, the keys here are url"), "{said}");
    let said = refusal("discovery: { http: [ { url: 'https://a/', basic_auth: { pasword: hunter2 } } ] }");
    assert!(said.contains("basic_auth.pasword: unknown key, did you mean password?"), "{said}");
    for text in [
        "basic_auth_users: 'alice:$2y$hunter2'",
        "basic_auth_users: { alice:$2y$hunter2 }",
        "basic_auth_users: { alice: [hunter2] }",
        "basic_auth_users: { alice: hunter2 }",
        "tls_server_config: { cert_file: a, key: [hunter2] }",
        "tls_server_config: hunter2",
    ] {
        let said = WebConfig::from_yaml(text, Path::new("web.yml")).unwrap_err().to_string();
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_target_wins_over_its_module_and_a_module_over_probe_key_by_key() {
    let config = config(
        "
probe: { interval: 10m, timeout: 9s, cookie: probe, expect: { certificate_days: 1, accept: [certificate_weak_key] } }
modules:
  m: { timeout: 8s, cookie: module, expect: { certificate: trusted } }
targets:
  - { address: a, module: m, cookie: target, expect: { accept: [certificate_expired] } }
  - { address: b, module: m }
  - { address: c }
",
    );
    let [a, b, c] = &config.targets[..] else { panic!("three targets") };
    let expected = Settings {
        interval: Duration::from_secs(600),
        confirm_after: Duration::from_secs(15),
        timeout: Duration::from_secs(8),
        connect_timeout: Duration::from_millis(2500),
        survey_interval: Duration::from_secs(24 * 60 * 60),
        challenge_interval: Duration::from_secs(60 * 60),
        cookie: "target".to_owned(),
        companion_ports: vec![445, 135],
        ip_protocol: IpProtocol::Any,
        source_address: None,
        facts_max_age: Duration::from_secs(30 * 86_400),
        expect: Expectations {
            certificate: ExpectedCertificate::Trusted,
            certificate_days: 1,
            self_signed_renews: true,
            nla: ExpectedNla::Any,
            clock_skew: Duration::from_secs(300),
            tls_min: None,
            computer: String::new(),
            accept: vec![Finding::CertificateExpired],
        },
    };
    assert_eq!(*a.settings, expected);
    assert_eq!(b.settings.cookie, "module");
    assert_eq!(b.settings.expect.accept, [Finding::CertificateWeakKey]);
    assert!(Arc::ptr_eq(&b.settings, config.module("m").unwrap()), "one copy of the settings for all who share them");
    assert_eq!((c.settings.timeout, c.settings.cookie.as_str()), (Duration::from_secs(9), "probe"));
    assert!(Arc::ptr_eq(&c.settings, &config.defaults));
}

#[test]
fn a_long_connect_timeout_is_cut_and_given_back() {
    let config = config(
        "
probe: { connect_timeout: 20s }
targets: [ { address: a }, { address: b, timeout: 30s }, { address: c, timeout: 1s } ]
",
    );
    let seconds: Vec<_> = config.targets.iter().map(|target| target.settings.connect_timeout.as_secs()).collect();
    assert_eq!((config.defaults.connect_timeout.as_secs(), seconds), (10, vec![10, 20, 1]));
}

#[test]
fn names_and_server_names_have_defaults() {
    let config = config(
        "
targets:
  - address: ts01.corp.example.
  - addresses: [10.0.0.1, '[2001:db8::1]:3390', ts02]
    server_name: gw.corp.example
  - { address: ts03, name: three, server_name: '' }
",
    );
    let shown: Vec<_> = config.targets.iter().map(|t| (t.name.as_str(), t.server_name.as_deref())).collect();
    let gateway = Some("gw.corp.example");
    assert_eq!(
        shown,
        [
            ("ts01.corp.example.:3389", Some("ts01.corp.example")),
            ("10.0.0.1:3389", gateway),
            ("[2001:db8::1]:3390", gateway),
            ("ts02:3389", gateway),
            ("three", None),
        ]
    );
    let adhoc = adhoc_target("10.0.0.1".parse::<Address>().unwrap(), Arc::clone(&config.defaults));
    assert_eq!((adhoc.name.as_str(), adhoc.server_name), ("10.0.0.1:3389", None));
}

#[test]
fn a_target_is_found_however_its_host_is_spelled() {
    let config = config("targets: [{ name: one, address: ts01.corp.example }, { address: ts02.corp.example }]");
    let found = |asked| config.target(asked).map(|target| target.name.as_str());
    assert_eq!(found("TS01.Corp.example"), Some("one"));
    assert_eq!(found("TS02.corp.example"), Some("ts02.corp.example:3389"));
    assert_eq!(found("TS01.corp.example:3390"), None);
}

#[test]
fn authorities_are_looked_for_beside_the_file() {
    let text = "trust: { ca_files: [ca.pem, /srv/root.pem] }";
    let config = Config::from_yaml(text, Path::new("/etc/exporter/config.yaml")).unwrap();
    assert_eq!(config.trust.ca_files, [Path::new("/etc/exporter/ca.pem"), Path::new("/srv/root.pem")]);
}

#[test]
fn the_probe_endpoint_is_read() {
    let config =
        config("probe_endpoint: { allow: [10.1.2.3/8, '2001:db8::1', '*.Corp.Example'], ports: [3389, 3390] }");
    let ProbeEndpoint::Allowed { networks, names, ports } = &config.probe_endpoint else { panic!("a list was given") };
    assert_eq!(networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "2001:db8::1/128"]);
    assert!(names.iter().any(|name| name.matches("ts01.corp.example")));
    assert_eq!(*ports, [3389, 3390]);
}

#[test]
fn the_summary_counts() {
    let one = config("targets: [{ address: a }]").summary();
    assert_eq!(one, "1 target, 1 module, a probe every 5m by default, /probe for configured targets only");
    let more = config("modules: { m: }\nprobe_endpoint: { allow: [10.0.0.0/8, a] }").summary();
    let allowed = "/probe for configured targets, 1 network and 1 name";
    assert_eq!(more, format!("0 targets, 2 modules, a probe every 5m by default, {allowed}"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.yaml");
    let error = Config::load(&missing).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot be read: ", missing.display())), "{error}");
    let latin = folder.path().join("latin.yaml");
    std::fs::write(&latin, b"targets: # \xe9\n").unwrap();
    let error = Config::load(&latin).unwrap_err().to_string();
    assert_eq!(error, format!("{}: is not UTF-8 after byte 11", latin.display()));
    std::fs::write(&latin, EXAMPLE).unwrap();
    assert_eq!(Config::load(&latin).unwrap(), config(EXAMPLE));
}

/// Deep, self-similar and large texts end in an error, in memory and time that a small file may take.
#[test]
fn hostile_texts_are_refused_quickly() {
    let laughs = (0..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        let (next, stars) = (n + 1, [format!("*a{n}"), format!("*a{n}")].join(", "));
        format!("{text}a{next}: &a{next} [{stars}]\n")
    });
    // Few aliases of one large value: the parser's own limit lets them through.
    let flat_laughs = format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(3000), "*a, ".repeat(3000));
    let long_laughs = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(5000));
    for (text, part) in [
        (laughs, "repetition limit"),
        (flat_laughs, "too many values"),
        (long_laughs, "too many values"),
        ("a: &a [*a]".to_owned(), "recursion limit"),
        ("[".repeat(10_000_000), "brackets open"),
        (format!("{}x{}", "[".repeat(9000), "]".repeat(9000)), "cannot be read as YAML"),
        ("a: ".repeat(5000), "cannot be read as YAML"),
        ("{a: ".repeat(2000), "cannot be read as YAML"),
        ("- ".repeat(5000), "cannot be read as YAML"),
        ("? ".repeat(5000), "cannot be read as YAML"),
        (format!("targets: {}", "x".repeat(2_000_000)), "must be a list"),
        ("x".repeat(MAX_BYTES + 1), "is larger than 16 MiB"),
    ] {
        let start = text.chars().take(20).collect::<String>();
        #[expect(clippy::disallowed_methods, reason = "the test is about time")]
        let started = Instant::now();
        let error = refusal(&text);
        let took = started.elapsed();
        assert!(error.contains(part), "{start}: {error}");
        assert!(error.len() < 400, "{start}: {error}");
        // Milliseconds to seconds; a loaded machine takes some times as long, an unbounded reader for ever.
        assert!(took < Duration::from_secs(120), "{start} took {took:?}");
        println!("{start:24} {took:?} {error}");
    }
}

fn round_trip(config: &Config) -> Config {
    let yaml = config.to_yaml();
    Config::from_yaml(&yaml, Path::new("config.yaml")).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

#[test]
fn what_is_shown_can_be_read_again() {
    let full = config(
        "
exporter: { max_concurrent: 12, histograms: false }
probe: { interval: 90s, source_address: 10.0.0.1, ip_protocol: ip4, cookie: '' }
modules: { default: { timeout: 20s }, 'odd name: *': { connect_timeout: 15s } }
targets:
  - { address: a, timeout: 30s, connect_timeout: 1m, expect: { accept: [certificate_expired] } }
  - { address: b, module: 'odd name: *', server_name: '' }
  - { address: '[2001:DB8:0::1]:1', name: 'null', expect: { certificate: trusted, self_signed_renews: false } }
trust: { system_roots: false, ca_files: [/srv/ca.pem] }
probe_endpoint: { allow: [10.0.0.0/8, '*.corp.example', ts01], ports: [1, 65535] }
",
    );
    assert_eq!(round_trip(&full), full);
    assert_eq!(round_trip(&full).targets[2].address.as_written(), "[2001:DB8:0::1]:1", "it decides whose it is");
    assert_eq!(round_trip(&config("")), config(""));
}

#[test]
fn hostile_label_values_survive() {
    let values = [
        "",
        " ",
        "x ",
        "\"",
        "'",
        "\\",
        "\n",
        "\r\n",
        "a\nb\n",
        "a: b",
        "a:",
        "# no",
        "x # y",
        "*a",
        "&a",
        "!a",
        "!!str a",
        "- a",
        "? a",
        "[a",
        "{a}",
        "%a",
        "@a",
        "`a",
        "|",
        ">",
        "---",
        "...",
        "<<",
        "=",
        "~",
        "null",
        "true",
        "no",
        "1",
        "1e3",
        "0x10",
        "010",
        ".nan",
        "1:30",
        "2026-01-01",
        "\t",
        "a\tb",
        "\u{0}",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{202e}",
        "é",
        "日本語",
        "🙂",
        "\u{10ffff}",
    ];
    for value in values {
        survives(value);
    }
}

fn survives(value: &str) {
    let mut config = config("targets: [{ address: a, labels: { site: x } }]");
    let mut target = Target::clone(&config.targets[0]);
    target.name = format!("n{value}");
    target.labels.insert("site".to_owned(), value.to_owned());
    config.targets = vec![Arc::new(target)];
    assert_eq!(round_trip(&config), config, "{value:?}");
}

proptest! {
    #[test]
    fn any_label_value_survives(value in "\\PC{0,40}|[ \\n\\t:#'\"*&!|>\\[\\]{},%@`~a0-]{0,12}|.{0,20}") {
        survives(&value);
    }

    #[test]
    fn no_text_makes_reading_panic(text in "(targets|probe|[ \\n\\t:#'\"*&!|>\\[\\]{},%@`~<?a0-]){0,60}") {
        let _ = Config::from_yaml(&text, Path::new("config.yaml"));
    }

    #[test]
    fn no_list_makes_reading_panic(
        text in "(targets|labels|__rdp_(name|interval|module)|[ \\n:'\"{}\\[\\],<&*a01-]){0,60}",
        labels in proptest::collection::btree_map("(__rdp_)?(name|module|interval|timeout|server_name|target|\\PC{0,4})", ".{0,9}", 0..4),
        addresses in proptest::collection::vec(".{0,12}|[a-z]{1,3}(:[0-9]{0,5})?|\\[[0-9a-f:]{0,9}\\]", 0..4),
    ) {
        let _ = Listing::parse(&text, ListFormat::Yaml);
        let _ = Listing::parse(&text, ListFormat::Json);
        let json = serde_json::json!([{ "targets": addresses, "labels": labels }]).to_string();
        let (listing, keep_labels) = (Listing::parse(&json, ListFormat::Json).unwrap(), KeepLabels::default());
        let source = SourceListing { listings: vec![&listing], keep_labels: &keep_labels };
        let (union, taken) = config("targets: [ { address: a } ]").with_discovered(&[source]);
        prop_assert_eq!(union.targets.len() - 1 + taken[0].left_out.len(), addresses.len());
        for target in &union.targets {
            prop_assert!(target.labels.keys().all(|name| targets::is_label_name(name) && !name.starts_with("__")));
            prop_assert!(target.settings.timeout < target.settings.interval);
        }
    }
}

#[test]
fn the_longest_memory_is_of_all_that_is_configured() {
    let longest = |text: &str| config(text).longest_memory().as_secs() / 3600;
    assert_eq!(longest("probe: { facts_max_age: 1h }"), 1);
    assert_eq!(longest("{ probe: { facts_max_age: 1h }, modules: { old: { facts_max_age: 2h } } }"), 2);
    assert_eq!(longest("{ probe: { facts_max_age: 1h }, targets: [{ address: a, facts_max_age: 3h }] }"), 3);
}
