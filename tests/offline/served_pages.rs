//! The pages, the API and the button as the binary serves them.

use std::time::Duration;

use rdp_exporter::{page, wire::negotiation::Protocols};

use crate::{
    bench::at_once,
    endpoint::{Endpoint, Step, answering, selecting},
    serving::Exporter,
};

/// One target that is probed once, by the schedule, unless somebody presses the button.
fn rarely_probed(name: &str, endpoint: &Endpoint) -> Exporter {
    let name = serde_json::Value::from(name);
    Exporter::start(Some(&format!(
        "probe: {{ interval: 1h, timeout: 20s, survey_interval: 0s, challenge_interval: 0s }}\n\
         targets: [ {{ name: {name}, address: \"{}\", labels: {{ site: berlin }} }} ]\n",
        endpoint.address
    )))
}

fn standard_only() -> Endpoint {
    Endpoint::start(vec![answering(selecting(Protocols::RDP)); 100])
}

fn wait_for_the_first_probe(exporter: &Exporter) {
    exporter.wait_for("the first probe", |exporter| exporter.metric("rdp_probes_total{") == Some(1.0));
}

#[test]
fn every_page_answers_with_its_type() {
    let endpoint = standard_only();
    let exporter = rarely_probed("one", &endpoint);
    wait_for_the_first_probe(&exporter);
    for (method, path, status, kind) in [
        ("GET", "/", 200, "text/html; charset=utf-8"),
        ("HEAD", "/", 200, "text/html; charset=utf-8"),
        ("GET", "/?q=%FF%00&page=-1&label.=x", 200, "text/html; charset=utf-8"),
        ("GET", "/changes", 200, "text/html; charset=utf-8"),
        ("HEAD", "/changes?kind=verdict", 200, "text/html; charset=utf-8"),
        ("GET", "/targets/one", 200, "text/html; charset=utf-8"),
        ("GET", "/targets/%6fne", 200, "text/html; charset=utf-8"),
        ("GET", "/targets/two", 404, "text/html; charset=utf-8"),
        ("GET", "/targets/", 404, "text/html; charset=utf-8"),
        ("GET", "/targets/%ff", 404, "text/html; charset=utf-8"),
        ("GET", "/targets/one/more", 404, "text/html; charset=utf-8"),
        ("GET", "/targets", 404, "text/plain; charset=utf-8"),
        ("GET", "/style.css", 200, "text/css; charset=utf-8"),
        ("GET", "/icon.svg", 200, "image/svg+xml"),
        ("GET", "/api/v1/targets", 200, "application/json"),
        ("GET", "/api/v1/targets/one", 200, "application/json"),
        ("GET", "/api/v1/targets/two", 404, "application/json"),
        ("GET", "/api/v1/targets/%ff", 404, "application/json"),
        ("POST", "/", 405, "text/plain; charset=utf-8"),
        ("POST", "/targets/one", 405, "text/plain; charset=utf-8"),
        ("POST", "/api/v1/targets", 405, "text/plain; charset=utf-8"),
        ("GET", "/targets/one/probe", 405, "text/plain; charset=utf-8"),
        ("HEAD", "/targets/one/probe", 405, "text/plain; charset=utf-8"),
        ("PUT", "/targets/two/probe", 405, "text/plain; charset=utf-8"),
    ] {
        let answer = exporter.ask(method, path, "");
        assert_eq!(answer.0, status, "{method} {path}");
        assert!(answer.1.contains(&format!("content-type: {kind}")), "{method} {path}: {}", answer.1);
        let policy = "content-security-policy: default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'\r\n";
        assert!(answer.1.contains(policy), "{method} {path}: {}", answer.1);
        assert!(answer.1.contains("x-content-type-options: nosniff"), "{method} {path}: {}", answer.1);
        assert!(answer.1.contains("referrer-policy: same-origin"), "{method} {path}: {}", answer.1);
    }
    let refused = exporter.get("/targets/one/probe");
    assert!(refused.1.contains("allow: post"), "{}", refused.1);
    assert_eq!(endpoint.seen().len(), 1, "no page probes anything");
}

#[test]
fn the_stylesheet_that_a_page_names_may_be_kept_for_good() {
    let exporter = Exporter::start(None);
    let page = exporter.get("/").text();
    assert!(page.contains("No targets yet"), "{page}");
    for begin in ["href=\"/style.css?v=", "href=\"/icon.svg?v="] {
        let path = page.split(begin).nth(1).unwrap().split('"').next().unwrap();
        let answer = exporter.get(&format!("{}{path}", &begin[6..]));
        assert_eq!(answer.0, 200);
        assert!(answer.1.contains("cache-control: public, max-age=31536000, immutable"), "{}", answer.1);
    }
    assert!(exporter.get("/").1.contains("cache-control: no-cache"));
}

#[test]
fn any_name_has_its_page() {
    for name in ["[2001:db8::1]:3389", "a/b c?d=e#f", "Zürich \"東京\" <b>", "100%25", "x/probe", "+&;=", "\u{202e}"]
    {
        let endpoint = standard_only();
        let exporter = rarely_probed(name, &endpoint);
        let path = page::target_path(name);
        let list = exporter.get("/").text();
        assert!(list.contains(&format!("href=\"{path}\"")), "{path} in {list}");
        assert_eq!(exporter.get(&path).0, 200, "{path}");
        let read: serde_json::Value = serde_json::from_str(&exporter.get(&format!("/api/v1{path}")).text()).unwrap();
        assert_eq!(read["target"], name);
        let pressed = exporter.ask("POST", &format!("{path}/probe"), "Content-Length: 0\r\n");
        assert_eq!(pressed.0, 303, "{path}");
        assert!(pressed.1.contains(&format!("location: {}\r\n", path.to_lowercase())), "{}", pressed.1);
    }
}

/// Links of alerts are made by Prometheus' `urlquery`, which is for queries.
#[test]
fn a_space_may_be_written_as_in_a_query() {
    let endpoint = standard_only();
    let target = |name: &str| format!("{{ name: {name:?}, address: \"{}\" }}", endpoint.address);
    let targets = ["ts 01", "a+b c", "x+y", "x y"].map(target).join(", ");
    let config = format!("probe: {{ interval: 1d, survey_interval: 0s }}\ntargets: [ {targets} ]\n");
    let exporter = Exporter::start(Some(&config));
    let named = |segment: &str| {
        assert_eq!(exporter.get(&format!("/targets/{segment}")).0, 200, "{segment}");
        let answer = exporter.get(&format!("/api/v1/targets/{segment}")).text();
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()["target"].as_str().unwrap().to_owned()
    };
    for (segment, name) in
        [("ts+01", "ts 01"), ("ts%2001", "ts 01"), ("a%2Bb+c", "a+b c"), ("x+y", "x+y"), ("x%20y", "x y")]
    {
        assert_eq!(named(segment), name, "{segment}");
    }
    assert_eq!(exporter.get("/targets/ts%2B01").0, 404);
    assert_eq!(exporter.ask("POST", "/targets/ts+01/probe", "Content-Length: 0\r\n").0, 303);
}

#[test]
fn only_our_own_page_may_press_the_button_and_not_too_often() {
    let endpoint = standard_only();
    let exporter = rarely_probed("one", &endpoint);
    wait_for_the_first_probe(&exporter);
    let press = |path: &str, headers: &str| exporter.ask("POST", path, &format!("Content-Length: 0\r\n{headers}")).0;
    // `ask` sends `Host: x`.
    for refused in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://x.evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\nOrigin: http://x\r\n",
    ] {
        assert_eq!(press("/targets/one/probe", refused), 403, "{refused}");
    }
    assert_eq!(press("/targets/two/probe", ""), 404);
    assert_eq!(endpoint.seen().len(), 1, "nothing was probed by those");
    assert_eq!(press("/targets/one/probe", "Origin: http://x\r\n"), 303);
    assert_eq!(endpoint.seen().len(), 2, "this one was");
    assert_eq!(exporter.metric("rdp_probes_total{"), Some(2.0), "and taken in before the answer");
    assert_eq!(press("/targets/one/probe", "Sec-Fetch-Site: same-origin\r\n"), 303);
    assert_eq!(press("/targets/one/probe", ""), 303);
    assert_eq!(endpoint.finish().len(), 2, "within ten seconds it is probed once");
}

#[test]
fn the_button_joins_a_probe_that_is_under_way() {
    let slow = vec![Step::ReadRequest, Step::Wait(Duration::from_secs(4)), Step::Send(selecting(Protocols::RDP))];
    let endpoint = Endpoint::start(vec![slow]);
    let exporter = rarely_probed("one", &endpoint);
    exporter.wait_for("a probe under way", |exporter| exporter.metric("rdp_exporter_probes_in_flight ") == Some(1.0));
    at_once(0..2, |_| {
        let pressed = exporter.ask("POST", "/targets/one/probe", "Content-Length: 0\r\n");
        assert_eq!(pressed.0, 303);
        assert_eq!(exporter.metric("rdp_probes_total{"), Some(1.0), "it was waited for, also by who pressed again");
    });
    drop(exporter);
    assert_eq!(endpoint.finish().len(), 1, "one connection for both");
}

#[test]
fn the_api_takes_the_questions_of_the_page() {
    let endpoint = standard_only();
    let exporter = rarely_probed("one", &endpoint);
    wait_for_the_first_probe(&exporter);
    for (query, total) in [("", 1), ("?verdict=healthy&label.site=berlin&q=ONE", 1), ("?verdict=tls_reset", 0)] {
        let answer = exporter.get(&format!("/api/v1/targets{query}"));
        let read: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!((&read["total"], &read["page"], &read["pages"]), (&total.into(), &1.into(), &1.into()), "{query}");
        assert_eq!(read["targets"].as_array().unwrap().len(), total, "{query}");
    }
    let read: serde_json::Value = serde_json::from_str(&exporter.get("/api/v1/targets/one").text()).unwrap();
    assert_eq!((&read["verdict"], &read["up"]), (&"healthy".into(), &true.into()));
    assert_eq!(read["history"]["results"][0]["verdict"], "healthy");
    assert_eq!(read["history"]["verdict_changes"], serde_json::json!([]));
}
