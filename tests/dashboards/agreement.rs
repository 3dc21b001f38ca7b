//! The rules of Prometheus and those of Grafana are the same ones.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    files::{GrafanaRule, grafana_rules, items, prometheus_rules, yaml},
    programs, promql,
};

type Key = (String, Option<String>, String);

#[test]
fn names_times_and_severities_agree() {
    let of_prometheus: BTreeSet<Key> = prometheus_rules()
        .into_iter()
        .map(|rule| (rule.alert, rule.labels.get("severity").cloned(), rule.pending))
        .collect();
    let of_grafana: BTreeSet<Key> = grafana_rules()
        .into_iter()
        .map(|rule| (rule.alert().to_owned(), rule.labels.get("severity").cloned(), rule.pending.clone()))
        .collect();
    assert_eq!(of_prometheus, of_grafana);
    for rule in grafana_rules() {
        let other = counterpart(&rule);
        assert_eq!(rule.keep_firing_for, other.keep_firing_for, "{}", rule.title);
        assert_eq!(rule.missing_series_evals_to_resolve.is_some(), other.keep_firing_for.is_some(), "{}", rule.title);
        assert_eq!(rule.annotations["summary"], other.annotations["summary"], "{}", rule.title);
        assert_eq!(rule.annotations["runbook_url"], other.annotations["runbook_url"], "{}", rule.title);
    }
}

#[test]
fn thresholds_agree() {
    for rule in grafana_rules() {
        let query = promql::parse(rule.query("A").unwrap().model["expr"].as_str().unwrap());
        let mut of_prometheus = promql::numbers(&promql::parse(&counterpart(&rule).expr));
        let threshold = rule.threshold().1.abs();
        if rule.alert() == "RdpTargetDown" {
            // Inhibition by the dark site is part of the query.
            let dark = prometheus_rules().into_iter().find(|rule| rule.alert == "RdpSiteDark").unwrap();
            of_prometheus = promql::numbers(&promql::parse(&dark.expr));
        }
        assert_eq!(promql::numbers(&query), of_prometheus, "{}", rule.title);
        assert!([0.0, 1.0].contains(&threshold) || of_prometheus.contains(&threshold), "{}", rule.title);
    }
}

/// The unit tests of Prometheus' rules, run on Grafana's queries and conditions.
#[test]
fn rules_of_grafana_pass_the_unit_tests_of_prometheus() {
    let rules: Vec<Value> = grafana_rules().iter().map(as_prometheus_rule).collect();
    let mut tests = yaml("prometheus/rules_test.yml");
    for group in tests["tests"].as_array_mut().unwrap() {
        for test in group["alert_rule_test"].as_array_mut().unwrap() {
            let is_absent = test["alertname"] == "RdpExporterAbsent";
            let alerts = test["exp_alerts"].as_array_mut().unwrap();
            // Expired and Overdue speak for this finding; Alertmanager would inhibit it.
            alerts.retain(|alert| alert["exp_labels"]["finding"] != "certificate_expired");
            for alert in alerts {
                alert.as_object_mut().unwrap().remove("exp_annotations");
                if is_absent {
                    alert["exp_labels"].as_object_mut().unwrap().remove("job");
                }
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &Value| {
        std::fs::write(folder.path().join(name), serde_yaml::to_string(value).unwrap()).unwrap();
    };
    write("rules.yml", &json!({"groups": [{"name": "grafana", "rules": rules}]}));
    write("rules_test.yml", &tests);
    programs::check("promtool", &["test", "rules", "rules_test.yml"], folder.path());
}

/// What Grafana would do: ask the query, compare with the threshold, wait.
fn as_prometheus_rule(rule: &GrafanaRule) -> Value {
    let (comparison, threshold) = rule.threshold();
    let comparison = match comparison.as_str() {
        "gt" => ">",
        "lt" => "<",
        "lte" => "<=",
        other => panic!("{}: {other}", rule.title),
    };
    let mut written = json!({
        "alert": rule.alert(),
        "expr": format!("({}) {comparison} {threshold}", rule.query("A").unwrap().model["expr"].as_str().unwrap()),
        "for": rule.pending,
        "labels": rule.labels,
    });
    if let Some(time) = &rule.keep_firing_for {
        written["keep_firing_for"] = json!(time);
    }
    written
}

fn counterpart(rule: &GrafanaRule) -> crate::files::PrometheusRule {
    let severity = rule.labels.get("severity");
    let found = prometheus_rules()
        .into_iter()
        .find(|other| other.alert == rule.alert() && other.labels.get("severity") == severity);
    found.unwrap_or_else(|| panic!("{} is no rule of Prometheus", rule.title))
}

#[test]
fn every_group_is_evaluated_at_the_same_pace() {
    for below in ["prometheus/rules.yml", crate::files::GRAFANA_RULES] {
        assert!(items(&yaml(below)["groups"]).iter().all(|group| group["interval"] == "1m"), "{below}");
    }
}
