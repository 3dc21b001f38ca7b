//! Whatever a query, a legend, a column or a link names is something that the exporter renders.

use serde_json::Value;

use crate::{
    contract,
    files::{Dashboard, dashboards, grafana_rules, items, prometheus_rules, string},
    live,
    promql::{self, Expr},
};

/// A query somewhere, and where.
fn every_query() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for dashboard in dashboards() {
        let panels = live::every_panel_query(&dashboard);
        all.extend(panels.into_iter().map(|query| (format!("{}: {}", dashboard.file, query.panel), query.expr)));
        let variables = live::every_variable_query(&dashboard);
        all.extend(variables.into_iter().map(|query| (format!("{}: {}", dashboard.file, query.name), query.selector)));
        all.extend(live::every_annotation_query(&dashboard).into_iter().map(|expr| (dashboard.file.to_owned(), expr)));
    }
    for rule in prometheus_rules() {
        for text in rule.annotations.values() {
            all.extend(queries_of_template(text).into_iter().map(|query| (format!("{} text", rule.alert), query)));
        }
        all.push((rule.alert, rule.expr));
    }
    for (title, id, expr) in live::every_alert_query() {
        all.push((format!("{title} {id}"), expr));
    }
    all
}

/// The queries that a text of Prometheus makes, with something in the place of what is printed into them.
fn queries_of_template(text: &str) -> Vec<String> {
    let queries = text.split("printf \"").skip(1).filter_map(|rest| rest.split_once("\" $labels"));
    queries.map(|(query, _)| query.replace("%q", "\"x\"")).collect()
}

#[test]
fn every_query_names_what_the_exporter_renders() {
    let mut wrong = Vec::new();
    for (place, query) in every_query() {
        if let Err(error) = check_names(&promql::parse(&query)) {
            wrong.push(format!("{place}: {error}\n    {query}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub(crate) fn check_names(expr: &Expr) -> Result<(), String> {
    let mut known = Vec::new();
    for selector in promql::selectors(expr) {
        let metrics = promql::metrics(&selector);
        if metrics.is_empty() {
            return Err(format!("a selector without a metric: {selector}"));
        }
        for metric in metrics {
            let labels = contract::labels(&metric)?;
            for matcher in selector.matchers.matchers.iter().filter(|matcher| matcher.name != "__name__") {
                if !labels.contains(&matcher.name) {
                    return Err(format!("{metric} has no label {}", matcher.name));
                }
                check_values(&matcher.name, &promql::alternatives(matcher))?;
            }
            known.extend(labels);
        }
    }
    match promql::grouping(expr).into_iter().find(|label| !known.contains(label)) {
        Some(label) => Err(format!("nothing in the query has the label {label}")),
        None => Ok(()),
    }
}

fn check_values(label: &str, named: &[String]) -> Result<(), String> {
    // Templates print anything into their queries.
    let Some(values) = contract::values(label) else { return Ok(()) };
    match named.iter().find(|value| !values.contains(&value.as_str())) {
        Some(value) => Err(format!("{label} is never \"{value}\"")),
        None => Ok(()),
    }
}

#[test]
fn a_name_that_is_not_rendered_is_found() {
    for query in [
        "rdp_upp",
        "rdp_up{verdict=\"healthy\"}",
        "rdp_verdict{verdict=\"asleep\"}",
        "rdp_finding{severity=~\"critical|major\"}",
        "count by (colour) (rdp_verdict)",
        "rdp_handshake_duration_seconds",
        "rdp_exporter_discovery_sources",
        "rdp_exporter_discovery_targets{reason=\"duplicate\"}",
        "rdp_exporter_local_failures_total{source=\"file\"}",
    ] {
        assert!(check_names(&promql::parse(query)).is_err(), "{query}");
    }
}

#[test]
fn legends_name_labels_of_their_results() {
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            for target in items(&panel["targets"]) {
                let labels = result_labels(&dashboard, target);
                let legend = filled(&dashboard, &string(&target["legendFormat"]));
                for label in legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")) {
                    assert!(labels.contains(&label.0.to_owned()), "{}: {legend}", dashboard.where_is(panel));
                }
            }
        }
    }
}

#[test]
fn columns_and_overrides_name_what_the_panel_shows() {
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            let place = dashboard.where_is(panel);
            let shown = shown(&dashboard, panel);
            for change in items(&panel["fieldConfig"]["overrides"]) {
                let matcher = string(&change["matcher"]["options"]);
                let hits = shown.iter().filter(|name| matches_name(&matcher, name)).count();
                assert!(hits > 0, "{place}: {matcher} matches none of {shown:?}");
            }
            for transformation in items(&panel["transformations"]) {
                let options = &transformation["options"];
                let named =
                    [&options["excludeByName"], &options["indexByName"]].into_iter().filter_map(Value::as_object);
                for column in named.flat_map(|columns| columns.keys()) {
                    assert!(shown.contains(column), "{place}: there is no column {column} in {shown:?}");
                }
            }
        }
    }
}

/// A change of verdicts must not leave one of them without a colour, or with two.
#[test]
fn every_verdict_has_one_colour() {
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            let overrides = items(&panel["fieldConfig"]["overrides"]);
            let by_verdict = items(&panel["targets"]).iter().any(|target| target["legendFormat"] == "{{verdict}}");
            if !by_verdict || overrides.is_empty() {
                continue;
            }
            for verdict in contract::values("verdict").unwrap() {
                let colours =
                    overrides.iter().filter(|change| matches_name(&string(&change["matcher"]["options"]), verdict));
                assert_eq!(colours.count(), 1, "{}: {verdict}", dashboard.where_is(panel));
            }
        }
    }
}

#[test]
fn links_name_what_is_there() {
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            for url in urls(panel) {
                let place = format!("{}: {url}", dashboard.where_is(panel));
                for variable in url.split("${").skip(1).map(|rest| rest.split('}').next().unwrap()) {
                    let name = variable.split(':').next().unwrap();
                    assert!(is_available(&dashboard, panel, name), "{place}: {name}");
                }
                if let Some(rest) = url.strip_prefix("/d/") {
                    let uid = rest.split('?').next().unwrap();
                    let other = dashboards().into_iter().find(|other| other.json["uid"] == uid);
                    let other = other.unwrap_or_else(|| panic!("{place}: no such dashboard"));
                    check_link_to(&other, rest, &place);
                }
            }
        }
    }
}

fn check_link_to(dashboard: &Dashboard, url: &str, place: &str) {
    for parameter in url.split(['?', '&']).skip(1) {
        if let Some((name, _)) = parameter.strip_prefix("var-").and_then(|rest| rest.split_once('=')) {
            dashboard.variable(name);
        }
        if let Some(id) = parameter.strip_prefix("viewPanel=") {
            assert!(
                dashboard.panels().iter().any(|panel| panel["id"].as_u64() == id.parse().ok()),
                "{place}: no panel {id}"
            );
        }
    }
}

/// Whether a link of the panel may use the variable.
fn is_available(dashboard: &Dashboard, panel: &Value, name: &str) -> bool {
    let in_result = |label: &str| {
        let mut targets = items(&panel["targets"]).iter();
        targets.all(|target| result_labels(dashboard, target).contains(&label.to_owned()))
    };
    if let Some(label) = name.strip_prefix("__data.fields.") {
        let excluded =
            items(&panel["transformations"]).iter().any(|step| step["options"]["excludeByName"][label] == true);
        return in_result(label) && !excluded;
    }
    if let Some(label) = name.strip_prefix("__field.labels.") {
        return in_result(label);
    }
    ["__url_time_range", "__all_variables"].contains(&name)
        || dashboard.variables().iter().any(|variable| variable["name"] == name)
}

fn urls(panel: &Value) -> Vec<String> {
    let config = &panel["fieldConfig"];
    let properties = items(&config["overrides"]).iter().flat_map(|change| items(&change["properties"]));
    let of_columns =
        properties.filter(|property| property["id"] == "links").flat_map(|property| items(&property["value"]));
    items(&config["defaults"]["links"]).iter().chain(of_columns).map(|link| string(&link["url"])).collect()
}

fn filled(dashboard: &Dashboard, text: &str) -> String {
    promql::fill(text, &dashboard.defaults())
}

fn result_labels(dashboard: &Dashboard, target: &Value) -> Vec<String> {
    promql::labels(&promql::parse(&filled(dashboard, &string(&target["expr"]))))
}

/// The names of the columns of a table, or of the series of a chart.
fn shown(dashboard: &Dashboard, panel: &Value) -> Vec<String> {
    let targets = items(&panel["targets"]);
    let mut names = Vec::new();
    for target in targets {
        if panel["type"] == "table" {
            let value = match targets.len() {
                1 => "Value".to_owned(),
                _ => format!("Value #{}", string(&target["refId"])),
            };
            names.extend(["Time".to_owned(), value]);
            names.extend(result_labels(dashboard, target));
        } else {
            names.extend(legends(&string(&target["legendFormat"])));
        }
    }
    names
}

/// What a legend can be: with every value of a label that has a closed list, and else with the label itself.
fn legends(format: &str) -> Vec<String> {
    let Some((before, rest)) = format.split_once("{{") else { return vec![format.to_owned()] };
    let (label, after) = rest.split_once("}}").unwrap();
    let values = contract::values(label).unwrap_or_else(|| vec![label]);
    let tails = legends(after);
    values.iter().flat_map(|value| tails.iter().map(move |tail| format!("{before}{value}{tail}"))).collect()
}

/// A name, or a pattern of the forms that we use: `/^(a|b_)/` and `/^a /`, beginnings all of them.
fn matches_name(matcher: &str, name: &str) -> bool {
    let Some(pattern) = matcher.strip_prefix("/^").and_then(|rest| rest.strip_suffix('/')) else {
        return matcher == name;
    };
    let (beginnings, after) = match pattern.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((beginnings, after)) => (beginnings, after),
        None => (pattern, ""),
    };
    beginnings.split('|').any(|beginning| name.starts_with(&format!("{beginning}{after}")))
}

#[test]
fn texts_of_alerts_name_labels_that_the_alert_has() {
    for rule in prometheus_rules() {
        let labels = promql::labels(&promql::parse(&rule.expr));
        check_texts(&rule.alert, rule.annotations.values(), &labels);
    }
    for rule in grafana_rules() {
        let labels = promql::labels(&promql::parse(rule.query("A").unwrap().model["expr"].as_str().unwrap()));
        check_texts(&rule.title, rule.annotations.values(), &labels);
    }
}

fn check_texts<'a>(alert: &str, texts: impl Iterator<Item = &'a String>, labels: &[String]) {
    for text in texts {
        for rest in text.split("$labels.").skip(1) {
            let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            assert!(labels.contains(&name), "{alert}: the label {name} does not survive the query: {labels:?}");
        }
    }
}
