//! The rules and the examples beside them, each by itself.

use std::collections::BTreeSet;

use crate::{
    files::{GRAFANA_RULES, GrafanaRule, dashboards, grafana_rules, items, prometheus_rules, string, text, yaml},
    promql,
};

const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

#[test]
fn rules_of_prometheus_are_complete() {
    for rule in prometheus_rules() {
        let alert = &rule.alert;
        assert!(alert.starts_with("Rdp") && alert.chars().all(char::is_alphanumeric), "{alert}");
        let keys: Vec<_> = rule.annotations.keys().map(String::as_str).collect();
        assert_eq!(keys, ["description", "runbook_url", "summary"], "{alert}");
        let summary = &rule.annotations["summary"];
        assert!(summary.ends_with('.') && !summary.contains("{{"), "{alert}: {summary}");
        assert!(rule.annotations["runbook_url"].starts_with("https://rdp-exporter.example/runbook/"), "{alert}");
        check_severity(alert, rule.labels.get("severity"), &rule.expr);
        let expr = promql::parse(&rule.expr);
        assert!(promql::filters(&expr), "{alert} fires for whatever exists");
        check_steady(alert, &promql::labels(&expr));
    }
}

/// Given by the rule, or else by the series.
fn check_severity(alert: &str, given: Option<&String>, expr: &str) {
    match given {
        Some(severity) => assert!(SEVERITIES.contains(&severity.as_str()), "{alert}: {severity}"),
        None => assert!(expr.contains("severity=\"critical\""), "{alert} has no severity"),
    }
}

/// A label that changes while the trouble lasts makes a new alert each time, and none is ever old enough.
fn check_steady(alert: &str, labels: &[String]) {
    let changing = ["verdict", "sha256", "serial", "subject", "issuer", "san", "cipher", "address"];
    for label in changing {
        assert!(!labels.contains(&label.to_owned()), "{alert} changes with {label}");
    }
}

#[test]
fn every_alert_of_prometheus_is_seen_firing_and_silent() {
    let tests = yaml("prometheus/rules_test.yml");
    let asserted = || items(&tests["tests"]).iter().flat_map(|group| items(&group["alert_rule_test"]));
    for rule in prometheus_rules() {
        let of_rule = || asserted().filter(|test| test["alertname"] == rule.alert);
        let severity = rule.labels.get("severity").map_or("critical", String::as_str);
        let fires = |alert: &serde_json::Value| alert["exp_labels"]["severity"] == severity;
        assert!(of_rule().any(|test| items(&test["exp_alerts"]).iter().any(fires)), "{} {severity}", rule.alert);
        assert!(of_rule().any(|test| items(&test["exp_alerts"]).is_empty()), "{}", rule.alert);
    }
}

#[test]
fn rules_of_grafana_are_complete() {
    let rules = grafana_rules();
    let uids: BTreeSet<_> = rules.iter().map(|rule| &rule.uid).collect();
    let titles: BTreeSet<_> = rules.iter().map(|rule| &rule.title).collect();
    assert_eq!((uids.len(), titles.len()), (rules.len(), rules.len()));
    for rule in &rules {
        let title = &rule.title;
        let is_plain =
            |uid: &str| uid.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        assert!(rule.uid.len() <= 40 && rule.uid.starts_with("rdp-") && is_plain(&rule.uid), "{title}: {}", rule.uid);
        assert!(!rule.is_paused, "{title}");
        assert!(!title.contains('$') && rule.labels.values().all(|label| !label.contains('$')), "{title}");
        let speaks_without_data = rule.alert() == "RdpExporterAbsent";
        let states = if speaks_without_data { ("Alerting", "Alerting") } else { ("OK", "KeepLast") };
        assert_eq!((rule.no_data.as_str(), rule.error.as_str()), states, "{title}");
        check_severity(title, rule.labels.get("severity"), rule.query("A").unwrap().model["expr"].as_str().unwrap());
        check_panel(rule);
        check_queries(rule);
        check_values(rule);
    }
    assert!(!text(GRAFANA_RULES).contains("$$"), "annotations are taken as they are");
}

fn check_panel(rule: &GrafanaRule) {
    let dashboard = dashboards().into_iter().find(|dashboard| dashboard.json["uid"] == rule.dashboard);
    let dashboard = dashboard.unwrap_or_else(|| panic!("{}: no dashboard {}", rule.title, rule.dashboard));
    assert!(
        dashboard.panels().iter().any(|panel| panel["id"] == rule.panel),
        "{}: no panel {}",
        rule.title,
        rule.panel
    );
    assert_eq!(rule.annotations["__dashboardUid__"], rule.dashboard, "{}", rule.title);
    assert_eq!(rule.annotations["__panelId__"], rule.panel.to_string(), "{}", rule.title);
    let keys: Vec<_> = rule.annotations.keys().map(String::as_str).collect();
    assert_eq!(keys, ["__dashboardUid__", "__panelId__", "description", "runbook_url", "summary"], "{}", rule.title);
}

fn check_queries(rule: &GrafanaRule) {
    let title = &rule.title;
    let source = string(&yaml("grafana/provisioning/datasources/prometheus.yaml")["datasources"][0]["uid"]);
    let ids: BTreeSet<_> = rule.data.iter().map(|query| &query.id).collect();
    assert_eq!(ids.len(), rule.data.len(), "{title}");
    for query in &rule.data {
        assert_eq!(query.model["refId"], query.id, "{title}");
        assert_eq!(query.model["datasource"]["uid"], query.source, "{title}");
        if query.id == rule.condition {
            assert_eq!(query.source, "__expr__", "{title}");
            assert_eq!(query.model["type"], "threshold", "{title}");
            assert!(rule.query(&string(&query.model["expression"])).is_some(), "{title}");
            assert_eq!(items(&query.model["conditions"]).len(), 1, "{title}");
            continue;
        }
        assert_eq!(query.source, source, "{title}");
        let range = query.range.unwrap_or_else(|| panic!("{title}: no relativeTimeRange"));
        assert!(range.from > range.to, "{title}");
        assert!(
            query.model["instant"] == true && query.model["range"] == false,
            "{title}: a range would need a reduction"
        );
        let expr = promql::parse(query.model["expr"].as_str().unwrap());
        assert!(!promql::keeps_name(&expr), "{title} {}: Grafana would carry the name as a label", query.id);
    }
    check_steady(title, &promql::labels(&promql::parse(rule.query("A").unwrap().model["expr"].as_str().unwrap())));
}

/// `$values.V.Labels.verdict`: the query is there, and its result has the label.
fn check_values(rule: &GrafanaRule) {
    let description = &rule.annotations["description"];
    assert!(
        !description.contains("| query") && !description.contains("$value "),
        "{}: no such thing in Grafana",
        rule.title
    );
    let word =
        |rest: &str| rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>();
    for rest in description.split("$values.").skip(1) {
        let id = word(rest);
        let query = rule.query(&id).unwrap_or_else(|| panic!("{}: no query {id}", rule.title));
        let labels = promql::labels(&promql::parse(query.model["expr"].as_str().unwrap()));
        let block = rest.split("{{ end }}").next().unwrap();
        for label in block.split(".Labels.").skip(1).map(word) {
            assert!(labels.contains(&label), "{}: {id} has no label {label}", rule.title);
        }
    }
}

#[test]
fn the_examples_fit_together() {
    let prometheus = yaml("prometheus/prometheus.yml");
    let jobs: Vec<_> = items(&prometheus["scrape_configs"]).iter().map(|job| string(&job["job_name"])).collect();
    assert_eq!(jobs, ["rdp"], "the rules name this job");
    let source = &yaml("grafana/provisioning/datasources/prometheus.yaml")["datasources"][0];
    assert_eq!(source["jsonData"]["timeInterval"], prometheus["global"]["scrape_interval"]);
    let provider = &yaml("grafana/provisioning/dashboards/rdp.yaml")["providers"][0];
    let groups = yaml(GRAFANA_RULES);
    assert!(items(&groups["groups"]).iter().all(|group| group["folder"] == provider["folder"]));
}

#[test]
fn alertmanager_names_alerts_and_labels_that_there_are() {
    let config = yaml("alertmanager/alertmanager.yml");
    let mut matchers = Vec::new();
    for rule in items(&config["inhibit_rules"]) {
        matchers.extend(["source_matchers", "target_matchers"].iter().flat_map(|key| items(&rule[*key])));
    }
    matchers.extend(items(&config["route"]["routes"]).iter().flat_map(|route| items(&route["matchers"])));
    let alerts: BTreeSet<_> = prometheus_rules().into_iter().map(|rule| rule.alert).collect();
    assert!(matchers.len() > 10);
    for matcher in matchers {
        let text = string(matcher);
        let (label, value) = text.split_once(['=', '!']).unwrap();
        let values = value.trim_start_matches(['=', '~', '"']).trim_end_matches('"').split('|');
        for value in values.filter(|value| !value.is_empty()) {
            let is_known = match label {
                "alertname" => alerts.contains(value),
                "severity" => SEVERITIES.contains(&value),
                "finding" => crate::contract::values("finding").unwrap().contains(&value),
                other => crate::contract::CONFIGURED.contains(&other),
            };
            assert!(is_known, "{text}");
        }
    }
}
