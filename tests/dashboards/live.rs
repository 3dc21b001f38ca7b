//! What a running Prometheus can be asked: every query of the dashboards and rules, with its variables filled in.

use std::collections::BTreeMap;

use crate::{
    files::{Dashboard, dashboards, grafana_rules, items, string},
    promql,
};

/// A panel's query, as Grafana would send it.
#[derive(Debug, Clone)]
pub(crate) struct PanelQuery {
    pub(crate) panel: String,
    pub(crate) expr: String,
    /// Asked for one moment; else for a range.
    pub(crate) is_instant: bool,
}

/// A variable's query: `label_values(selector, label)`, or `label_names(selector)`.
#[derive(Debug, Clone)]
pub(crate) struct VariableQuery {
    pub(crate) name: String,
    pub(crate) selector: String,
    /// The label whose values are asked for; none where the labels themselves are.
    pub(crate) label: Option<String>,
}

/// Every query of every panel, with the variables as they are when the dashboard is opened.
pub(crate) fn every_panel_query(dashboard: &Dashboard) -> Vec<PanelQuery> {
    every_panel_query_with(dashboard, &dashboard.defaults())
}

/// The same with other values of the variables.
pub(crate) fn every_panel_query_with(dashboard: &Dashboard, variables: &BTreeMap<String, String>) -> Vec<PanelQuery> {
    let mut all = Vec::new();
    for panel in dashboard.panels() {
        all.extend(items(&panel["targets"]).iter().map(|target| PanelQuery {
            panel: format!("{} {}: {}", panel["id"], string(&panel["title"]), string(&target["refId"])),
            expr: promql::fill(&string(&target["expr"]), variables),
            is_instant: target["instant"] == true,
        }));
    }
    all
}

/// Every query of every variable.
pub(crate) fn every_variable_query(dashboard: &Dashboard) -> Vec<VariableQuery> {
    let values = dashboard.defaults();
    let queried = dashboard.variables().iter().filter(|variable| variable["type"] == "query");
    let read = |variable: &serde_json::Value| {
        let query = promql::fill(&string(&variable["query"]["query"]), &values);
        let (function, arguments) = query.strip_suffix(')').unwrap().split_once('(').unwrap();
        let (selector, label) = match function {
            "label_names" => (arguments, None),
            "label_values" => arguments.rsplit_once(", ").map(|(selector, label)| (selector, Some(label))).unwrap(),
            other => panic!("{}: {other}", dashboard.file),
        };
        VariableQuery {
            name: string(&variable["name"]),
            selector: selector.to_owned(),
            label: label.map(str::to_owned),
        }
    };
    queried.map(read).collect()
}

/// Every query that marks moments on the charts.
pub(crate) fn every_annotation_query(dashboard: &Dashboard) -> Vec<String> {
    let annotations = items(&dashboard.json["annotations"]["list"]).iter();
    let queries = annotations.filter_map(|annotation| annotation["expr"].as_str());
    queries.map(|query| promql::fill(query, &dashboard.defaults())).collect()
}

/// Every query of every Grafana-managed rule: title, name of the query, query.
pub(crate) fn every_alert_query() -> Vec<(String, String, String)> {
    let of_rule = |rule: &crate::files::GrafanaRule| {
        let queries = rule.expressions().map(|(id, expr)| (rule.title.clone(), id.to_owned(), expr.to_owned()));
        queries.collect::<Vec<_>>()
    };
    grafana_rules().iter().flat_map(of_rule).collect()
}

#[test]
fn every_query_can_be_sent_as_it_is() {
    for dashboard in dashboards() {
        let panels = every_panel_query(&dashboard);
        assert!(panels.len() >= dashboard.panels().len());
        let variables = every_variable_query(&dashboard);
        assert!(variables.iter().any(|variable| variable.label.is_none()));
        let of_panels = panels.iter().map(|query| &query.expr);
        for query in of_panels.chain(variables.iter().map(|variable| &variable.selector)) {
            promql::parse(query);
        }
        assert!(panels.iter().any(|query| query.is_instant) && panels.iter().any(|query| !query.is_instant));
    }
    let mut other = Dashboard::estate().defaults();
    for label in ["instance", "target", "tier"] {
        other.insert("label".to_owned(), label.to_owned());
        for query in every_panel_query_with(&Dashboard::estate(), &other) {
            promql::parse(&query.expr);
        }
    }
    assert!(every_alert_query().iter().all(|(.., query)| !query.contains('$')));
}
