//! The real demo, scraped by a real Prometheus: every query has an answer there, and every alert that the demo deserves
//! arrives at a real Alertmanager. What is missing here is Grafana itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread::sleep,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{
    contract,
    files::{Dashboard, dashboards, grafana_rules, items, prometheus_rules, string},
    http,
    live::{self, PanelQuery},
    process::{Server, require, wait_until},
    served::{Demo, Receiver, ask, start_alertmanager, start_prometheus},
};

/// Queries of panels that have nothing to show in this demo.
const EMPTY: [(&str, &str); 4] = [
    ("51 Late or never probed: A", "no probe is late"),
    ("55 Exporters: D", "the demo has no web configuration"),
    ("55 Exporters: E", "the demo has no state file"),
    ("11 Stages: A", "the demo's members are addresses: there is no name to resolve"),
];

/// Every alert that the demo deserves: name, severity, target.
const ALERTS: [(&str, &str, &str); 15] = [
    ("RdpCertificateExpired", "critical", "ts03"),
    ("RdpCertificateExpiring", "critical", RENEWED),
    ("RdpCertificateExpiring", "info", "ts01"),
    ("RdpCertificateExpiring", "info", RENEWED),
    ("RdpCertificateExpiring", "warning", "ts01"),
    ("RdpCertificateExpiring", "warning", RENEWED),
    ("RdpClockSkew", "warning", "clock01"),
    ("RdpCriticalFinding", "critical", "old01"),
    ("RdpCriticalFinding", "critical", "ts03"),
    ("RdpCriticalFinding", "critical", "ws01"),
    ("RdpSelfSignedRenewalOverdue", "warning", "ws01"),
    ("RdpTargetDown", "warning", "broken01"),
    ("RdpTargetDown", "warning", "broken02"),
    ("RdpTargetDown", "warning", "hung01"),
    ("RdpTargetDown", "warning", "off01"),
];

const RENEWED: &str = "ts02";
/// Members whose dashboards together have to show everything.
const SHOWN: [&str; 5] = ["broken02", "dc01", "legacy01", "old01", RENEWED];

#[test]
fn the_demo_fills_every_panel_and_its_alerts_arrive() {
    if !require(&["prometheus", "prometheus-alertmanager"]) {
        return;
    }
    let receiver = Receiver::start();
    let demo = Demo::start();
    let alertmanager = start_alertmanager(&receiver);
    let prometheus = start_prometheus(&demo, &alertmanager);
    let value = |query: &str| number(&ask(&prometheus, "query", &[("query", query)])["result"][0]["value"][1]);
    wait_until("surveys", PATIENCE, || (value("count(rdp_survey_timestamp_seconds)") == Some(10.0)).then_some(()));

    every_series_is_in_the_contract(&prometheus);
    every_variable_has_values(&prometheus);
    every_panel_shows_something(&prometheus);
    the_rules_fire_as_the_demo_deserves(&prometheus);
    the_rules_of_grafana_find_the_same(&prometheus);

    let expiring = [("alertname", "RdpCertificateExpiring"), ("target", RENEWED), ("severity", "critical")];
    wait_until("message to the pager", PATIENCE, || receiver.was_told("pager", "firing", &expiring).then_some(()));
    assert_eq!(active(&alertmanager, RENEWED), [("critical", false), ("info", true), ("warning", true)].map(own));
    demo.renew();
    let is_over =
        || !firing(&prometheus).iter().any(|(alert, _, target)| alert == "RdpCertificateExpiring" && target == RENEWED);
    wait_until("end of the alert", PATIENCE, || is_over().then_some(()));
    wait_until("all-clear to the pager", PATIENCE, || receiver.was_told("pager", "resolved", &expiring).then_some(()));
    wait_until("silence", PATIENCE, || active(&alertmanager, RENEWED).is_empty().then_some(()));
    assert_eq!(value("rdp_certificate_changes_total{target=\"ts02\"}"), Some(1.0));
    the_change_is_marked(&prometheus);
}

/// No label and no value that the dashboards' tests do not know of.
fn every_series_is_in_the_contract(prometheus: &Server) {
    let series = ask(prometheus, "series", &[("match[]", "{__name__=~\"rdp_.+\"}")]);
    assert!(items(&series).len() > 500);
    for labels in items(&series).iter().map(|series| series.as_object().unwrap()) {
        let name = labels["__name__"].as_str().unwrap();
        if name.ends_with("_sum") || name.ends_with("_count") {
            continue;
        }
        let known = contract::labels(name).unwrap();
        for (label, value) in labels.iter().filter(|(label, _)| *label != "__name__") {
            assert!(known.contains(label), "{name} has the label {label}");
            let values = contract::values(label);
            assert!(values.is_none_or(|values| values.contains(&value.as_str().unwrap())), "{name}: {label}={value}");
        }
    }
}

fn every_variable_has_values(prometheus: &Server) {
    for dashboard in dashboards() {
        for variable in live::every_variable_query(&dashboard) {
            let path = variable.label.map_or("labels".to_owned(), |label| format!("label/{label}/values"));
            let values = ask(prometheus, &path, &[("match[]", &variable.selector)]);
            let values: Vec<_> = items(&values).iter().map(string).collect();
            let expected = match variable.name.as_str() {
                "job" => "rdp",
                "label" => "site",
                "label_value" => "oslo",
                "target" => "legacy01",
                _ => continue,
            };
            assert!(values.iter().any(|value| value == expected), "{} {}: {values:?}", dashboard.file, variable.name);
        }
    }
}

fn every_panel_shows_something(prometheus: &Server) {
    let [estate, target] = dashboards();
    for label in ["site", "instance", "target"] {
        let mut variables = estate.defaults();
        variables.insert("label".to_owned(), label.to_owned());
        shows_everything(prometheus, &live::every_panel_query_with(&estate, &variables));
    }
    let of_member = |name: &str| {
        let mut variables = target.defaults();
        variables.insert("target".to_owned(), name.to_owned());
        live::every_panel_query_with(&target, &variables)
    };
    shows_everything(prometheus, &SHOWN.map(of_member).concat());
}

/// Each query has an answer, for one member at least.
#[track_caller]
fn shows_everything(prometheus: &Server, queries: &[PanelQuery]) {
    let mut answers = BTreeMap::<&str, usize>::new();
    for query in queries {
        *answers.entry(&query.panel).or_default() += evaluate(prometheus, query);
    }
    let empty: BTreeSet<_> = answers.iter().filter(|(_, count)| **count == 0).map(|(panel, _)| *panel).collect();
    let expected = EMPTY.map(|(panel, _)| panel).into_iter().filter(|panel| answers.contains_key(panel)).collect();
    assert_eq!(empty, expected, "panels without an answer");
}

/// How many finite numbers come back; an instant query may give no others.
fn evaluate(prometheus: &Server, query: &PanelQuery) -> usize {
    let now = seconds_now();
    let begin = (now - 600.0).to_string();
    let now = now.to_string();
    let answer = match query.is_instant {
        true => ask(prometheus, "query", &[("query", &query.expr), ("time", &now)]),
        false => {
            let range = [("query", query.expr.as_str()), ("start", &begin), ("end", &now), ("step", "5")];
            ask(prometheus, "query_range", &range)
        }
    };
    let series = items(&answer["result"]);
    if query.is_instant {
        assert_eq!(answer["resultType"], "vector", "{}", query.panel);
        let values: Vec<_> = series.iter().map(|series| number(&series["value"][1])).collect();
        assert!(values.iter().all(Option::is_some), "{}: {answer}", query.panel);
        return values.len();
    }
    let points = series.iter().flat_map(|series| items(&series["values"]));
    points.filter(|point| number(&point[1]).is_some()).count()
}

fn the_rules_fire_as_the_demo_deserves(prometheus: &Server) {
    let expected: BTreeSet<_> = ALERTS.map(|row| <[&str; 3]>::from(row).map(str::to_owned).into()).into();
    let mut found = firing(prometheus);
    for _ in 0..PATIENCE.as_secs() {
        if found == expected {
            break;
        }
        sleep(Duration::from_secs(1));
        found = firing(prometheus);
    }
    assert_eq!(found, expected);
    let groups = ask(prometheus, "rules", &[]);
    let rules: Vec<_> = items(&groups["groups"]).iter().flat_map(|group| items(&group["rules"])).collect();
    assert_eq!(rules.len(), prometheus_rules().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        for alert in items(&rule["alerts"]) {
            let description = string(&alert["annotations"]["description"]);
            assert!(!description.contains("not known") && !description.contains("error"), "{description}");
        }
    }
}

/// What is firing: name, severity, target.
fn firing(prometheus: &Server) -> BTreeSet<(String, String, String)> {
    let alerts = ask(prometheus, "alerts", &[]);
    let firing = items(&alerts["alerts"]).iter().filter(|alert| alert["state"] == "firing");
    let label = |alert: &Value, label: &str| string(&alert["labels"][label]);
    firing.map(|alert| (label(alert, "alertname"), label(alert, "severity"), label(alert, "target"))).collect()
}

/// The queries of the Grafana-managed rules, each compared with its threshold.
fn the_rules_of_grafana_find_the_same(prometheus: &Server) {
    for rule in grafana_rules() {
        for (id, expr) in rule.expressions() {
            let answer = ask(prometheus, "query", &[("query", expr)]);
            let (comparison, threshold) = rule.threshold();
            let exceeds = |value: f64| match comparison.as_str() {
                "gt" => value > threshold,
                "lt" => value < threshold,
                _ => value <= threshold,
            };
            if id != "A" {
                assert!(!items(&answer["result"]).is_empty(), "{} {id}", rule.title);
                continue;
            }
            let exceeding =
                items(&answer["result"]).iter().filter(|series| exceeds(number(&series["value"][1]).unwrap()));
            let found: BTreeSet<_> = exceeding.map(|series| string(&series["metric"]["target"])).collect();
            let severity = rule.labels.get("severity").map_or("critical", String::as_str);
            let expected = ALERTS.into_iter().filter(|(alert, of, _)| *alert == rule.alert() && *of == severity);
            // Expired and Overdue speak for these; Alertmanager inhibits them.
            let expected = expected.filter(|(alert, _, target)| *alert != "RdpCriticalFinding" || *target == "old01");
            let expected: BTreeSet<_> = expected.map(|(.., target)| target.to_owned()).collect();
            assert_eq!(found, expected, "{}", rule.title);
        }
    }
}

/// The alerts for expiring certificates of a target that Alertmanager has: severity, and whether it is inhibited.
fn active(alertmanager: &Server, target: &str) -> Vec<(String, bool)> {
    let (status, body) = http::get(alertmanager.port, "/api/v2/alerts").unwrap();
    assert_eq!(status, 200, "{body}");
    let alerts: Value = serde_json::from_str(&body).unwrap();
    let of_target = items(&alerts).iter().filter(|alert| {
        alert["labels"]["alertname"] == "RdpCertificateExpiring" && alert["labels"]["target"] == target
    });
    let mut found: Vec<_> = of_target
        .map(|alert| (string(&alert["labels"]["severity"]), !items(&alert["status"]["inhibitedBy"]).is_empty()))
        .collect();
    found.sort();
    found
}

fn own((severity, is_inhibited): (&str, bool)) -> (String, bool) {
    (severity.to_owned(), is_inhibited)
}

/// The marks on the charts of a host whose certificate was replaced.
fn the_change_is_marked(prometheus: &Server) {
    let [_, mut target] = dashboards();
    set_target(&mut target, RENEWED);
    let queries = live::every_annotation_query(&target);
    assert!(!queries.is_empty());
    for query in queries {
        let query = PanelQuery { panel: "mark".to_owned(), expr: query, is_instant: true };
        assert!(evaluate(prometheus, &query) > 0, "{}", query.expr);
    }
}

fn set_target(dashboard: &mut Dashboard, name: &str) {
    let variables = dashboard.json["templating"]["list"].as_array_mut().unwrap();
    let variable = variables.iter_mut().find(|variable| variable["name"] == "target").unwrap();
    variable["current"] = serde_json::json!({ "value": name });
}

/// A number of Prometheus, where it is one.
fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok().filter(|number: &f64| number.is_finite())
}

#[expect(clippy::disallowed_methods, reason = "a query names the time of its answer")]
fn seconds_now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

const PATIENCE: Duration = Duration::from_secs(120);
