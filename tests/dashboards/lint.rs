//! The rules of Grafana's dashboard linter, and those of ours on top: cost, colours, words.

use std::{collections::BTreeSet, time::Duration};

use promql_parser::label::MatchOp;
use serde_json::{Value, json};

use crate::{
    files::{Dashboard, dashboards, items, string, text},
    promql::{self, Expr},
};

#[test]
fn a_dashboard_can_be_imported_and_provisioned() {
    let known = [
        "annotations",
        "description",
        "editable",
        "graphTooltip",
        "id",
        "links",
        "panels",
        "refresh",
        "schemaVersion",
        "tags",
        "templating",
        "time",
        "timezone",
        "title",
        "uid",
    ];
    for Dashboard { file, json } in dashboards() {
        let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, known, "{file}");
        assert_eq!(json["uid"], file);
        assert_eq!(json["id"], Value::Null, "{file}: the id is the server's");
        assert_eq!(json["schemaVersion"], 39, "{file}: what Grafana 10.4 wrote, and every later one reads");
        assert_eq!(json["editable"], false, "{file}");
        assert!(json["refresh"].is_string(), "{file}");
        assert!(!text(&format!("grafana/{file}.json")).contains("${DS_"), "{file}: only an import fills that in");
    }
}

#[test]
fn variables_are_as_the_linter_wants_them() {
    for dashboard in dashboards() {
        let file = dashboard.file;
        let sources = dashboard.variables().iter().filter(|variable| variable["type"] == "datasource");
        let sources: Vec<_> = sources.map(|source| (&source["name"], &source["label"], &source["query"])).collect();
        assert_eq!(sources, [(&json!("datasource"), &json!("Data source"), &json!("prometheus"))], "{file}");
        for (name, label) in [("job", "Job"), ("instance", "Instance")] {
            let variable = dashboard.variable(name);
            assert_eq!(variable["label"], label, "{file}");
            assert_eq!(variable["multi"], true, "{file} {name}");
            assert_eq!(variable["allValue"], ".+", "{file} {name}");
        }
        assert_eq!(dashboard.variable("label_value")["allValue"], ".*", "{file}: some targets lack the label");
        for variable in dashboard.variables() {
            if variable["type"] == "query" {
                assert_eq!(variable["datasource"], source(), "{file} {}", variable["name"]);
                assert_eq!(variable["refresh"], 2, "{file} {}: on a change of the time range", variable["name"]);
            }
            assert!(!string(&variable["label"]).is_empty() && !string(&variable["description"]).is_empty());
        }
    }
}

#[test]
fn panels_have_what_the_linter_wants() {
    let units = ["none", "short", "percentunit", "s", "dtdurations", "ops", "bytes"];
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            let place = dashboard.where_is(panel);
            assert_eq!(panel["datasource"], source(), "{place}");
            assert!(!string(&panel["title"]).is_empty(), "{place}");
            let description = string(&panel["description"]);
            assert!(
                description.contains('?') && description.contains("(rdp_") || description.contains("(process_"),
                "{place}"
            );
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(units.contains(&string(&defaults["unit"]).as_str()), "{place}");
            assert!(defaults["noValue"].is_string(), "{place}: an empty panel must say what that means");
            let targets = items(&panel["targets"]);
            let ids: BTreeSet<_> = targets.iter().map(|target| string(&target["refId"])).collect();
            assert!(!targets.is_empty() && ids.len() == targets.len(), "{place}");
            assert!(targets.iter().all(|target| target["datasource"] == source()), "{place}");
        }
    }
}

/// The variables, each as itself, so that it can be found again in the parsed query.
fn parsed(dashboard: &Dashboard, target: &Value) -> Expr {
    let mut values = dashboard.defaults();
    for name in ["job", "instance", "target"] {
        values.insert(name.to_owned(), format!("the-{name}"));
    }
    promql::parse(&promql::fill(&string(&target["expr"]), &values))
}

#[test]
fn every_selector_takes_the_chosen_jobs_and_instances() {
    for_each_target(|place, expr, dashboard, _, _| {
        for selector in promql::selectors(expr) {
            let takes = |name: &str| {
                let mut matchers = selector.matchers.matchers.iter().filter(|matcher| matcher.name == name);
                matchers.any(|found| {
                    matches!(found.op, MatchOp::Re(_) | MatchOp::Equal) && found.value == format!("the-{name}")
                })
            };
            assert!(takes("job") && takes("instance"), "{place}: {selector}");
            let of_exporter = promql::metrics(&selector)
                .iter()
                .any(|name| name.starts_with("rdp_exporter_") || name.starts_with("process_"));
            assert!(of_exporter || takes("target"), "{place}: {selector}");
            let by_label = selector.matchers.matchers.iter().any(|matcher| matcher.name == "site");
            assert_eq!(by_label, dashboard.file == "rdp-estate" && !of_exporter, "{place}: {selector}");
        }
    });
}

#[test]
fn counters_are_read_as_rates_over_the_interval_that_grafana_computes() {
    for_each_target(|place, expr, _, _, target| {
        let mut rated = 0;
        promql::walk(expr, |node| {
            if let Expr::Call(call) = node
                && ["rate", "irate", "increase"].contains(&call.func.name)
            {
                let Some(Expr::MatrixSelector(matrix)) = call.args.args.first().map(AsRef::as_ref) else {
                    panic!("{place}: {call}");
                };
                assert_eq!(matrix.range, promql::RATE_INTERVAL, "{place}");
                rated += 1;
                let name = matrix.vs.name.clone().unwrap();
                // Probes are minutes apart, so the window of a 30 s scrape would see none.
                let is_slow = !name.starts_with("process_") && !name.starts_with("rdp_exporter_");
                assert!(!is_slow || target["interval"] == "5m", "{place}: {name} needs the interval 5m");
            }
        });
        let counters = promql::selectors(expr).into_iter().flat_map(|selector| promql::metrics(&selector));
        let counters = counters.filter(|name| name.ends_with("_total") || name.ends_with("_bucket")).count();
        assert_eq!(counters, rated, "{place}");
    });
}

/// At 5,000 targets a series each would be 31 MB of answer for one chart, and a range query at a thousand steps for one
/// number takes twelve seconds.
#[test]
fn queries_are_affordable_on_a_large_estate() {
    for_each_target(|place, expr, dashboard, panel, target| {
        let is_chart = ["timeseries", "state-timeline", "heatmap"].contains(&string(&panel["type"]).as_str());
        assert_eq!(target["range"] == true, is_chart, "{place}");
        assert_eq!(target["instant"] == true, !is_chart, "{place}");
        let is_table = panel["type"] == "table";
        assert_eq!(target["format"] == "table", is_table, "{place}");
        if dashboard.file != "rdp-estate" {
            return;
        }
        let per_target = promql::labels(expr).contains(&"target".to_owned());
        let bounded =
            string(&target["expr"]).contains("topk($limit") || string(&target["expr"]).contains("bottomk($limit");
        assert_eq!(per_target, bounded, "{place}: one row per target, and no limit, or the other way round");
        assert!(!(is_chart && per_target), "{place}");
        let buckets = string(&target["expr"]).contains("rdp_handshake_duration_seconds_bucket");
        assert!(!buckets || panel["maxDataPoints"] == 150, "{place}: too many samples at 1,000 steps");
    });
}

#[test]
fn ids_are_unique_and_no_panel_lies_on_another() {
    for dashboard in dashboards() {
        let all = dashboard.panels_and_rows();
        let ids: BTreeSet<_> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), all.len(), "{}", dashboard.file);
        let mut taken = BTreeSet::new();
        for panel in &all {
            let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            assert!(side("x") + side("w") <= 24, "{}", dashboard.where_is(panel));
            for place in
                (side("x")..side("x") + side("w")).flat_map(|x| (side("y")..side("y") + side("h")).map(move |y| (x, y)))
            {
                assert!(taken.insert(place), "{}", dashboard.where_is(panel));
            }
        }
        for row in all.iter().filter(|panel| panel["type"] == "row") {
            assert_eq!(row["collapsed"] == true, !items(&row["panels"]).is_empty(), "{}", dashboard.where_is(row));
        }
    }
}

/// Blue is good, yellow asks for attention, red is bad: told apart with any colour vision. Green and red are not.
#[test]
fn colours_are_of_the_palette() {
    let palette = [
        "#3274D9",
        "#E0B400",
        "#C4162A",
        "#8E8E8E",
        "#8AB8FF",
        "#8F3BB8",
        "transparent",
        // Grafana's own annotation, and what a heatmap has to be given though it does not use it.
        "rgba(0, 211, 255, 1)",
        "rgba(255,0,255,0.7)",
    ];
    for dashboard in dashboards() {
        let mut colours = Vec::new();
        collect_colours(&dashboard.json, &mut colours);
        assert!(colours.len() > 20);
        for colour in colours {
            assert!(palette.contains(&colour.as_str()), "{}: {colour}", dashboard.file);
        }
    }
}

fn collect_colours(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(colour) if ["color", "fixedColor", "iconColor"].contains(&key.as_str()) => {
                        found.push(colour.clone());
                    }
                    value => collect_colours(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_colours(value, found)),
        _ => {}
    }
}

#[test]
fn the_runbook_is_named_in_one_place() {
    for Dashboard { file, .. } in dashboards() {
        assert_eq!(text(&format!("grafana/{file}.json")).matches("rdp-exporter.example").count(), 1, "{file}");
    }
}

#[test]
fn the_interval_of_the_tests_is_one_that_no_query_writes() {
    assert_ne!(promql::RATE_INTERVAL, Duration::from_secs(300));
    for dashboard in dashboards() {
        assert!(!text(&format!("grafana/{}.json", dashboard.file)).contains("1234s"));
    }
}

fn for_each_target(mut check: impl FnMut(&str, &Expr, &Dashboard, &Value, &Value)) {
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            for target in items(&panel["targets"]) {
                let expr = parsed(&dashboard, target);
                check(&dashboard.where_is(panel), &expr, &dashboard, panel, target);
            }
        }
    }
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}
