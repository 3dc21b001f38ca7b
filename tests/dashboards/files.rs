//! The shipped files, read.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

/// A file or folder below `dashboards/`.
pub(crate) fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards").join(below)
}

pub(crate) fn text(below: &str) -> String {
    fs::read_to_string(path(below)).unwrap_or_else(|error| panic!("{below}: {error}"))
}

/// A YAML file as JSON values.
pub(crate) fn yaml(below: &str) -> Value {
    serde_yaml::from_str(&text(below)).unwrap_or_else(|error| panic!("{below}: {error}"))
}

/// A dashboard and the name of its file.
pub(crate) struct Dashboard {
    pub(crate) file: &'static str,
    pub(crate) json: Value,
}

pub(crate) fn dashboards() -> [Dashboard; 2] {
    ["rdp-estate", "rdp-target"].map(|file| {
        let below = format!("grafana/{file}.json");
        let json = serde_json::from_str(&text(&below)).unwrap_or_else(|error| panic!("{below}: {error}"));
        Dashboard { file, json }
    })
}

impl Dashboard {
    pub(crate) fn estate() -> Self {
        dashboards().into_iter().next().unwrap()
    }

    /// Every panel that is no row, those in collapsed rows too.
    pub(crate) fn panels(&self) -> Vec<&Value> {
        self.panels_and_rows().into_iter().filter(|panel| panel["type"] != "row").collect()
    }

    pub(crate) fn panels_and_rows(&self) -> Vec<&Value> {
        let outer = items(&self.json["panels"]);
        outer.iter().flat_map(|panel| std::iter::once(panel).chain(items(&panel["panels"]))).collect()
    }

    pub(crate) fn variables(&self) -> &[Value] {
        items(&self.json["templating"]["list"])
    }

    pub(crate) fn variable(&self, name: &str) -> &Value {
        let found = self.variables().iter().find(|variable| variable["name"] == name);
        found.unwrap_or_else(|| panic!("{}: no variable {name}", self.file))
    }

    /// What each variable stands for when the dashboard is opened.
    pub(crate) fn defaults(&self) -> BTreeMap<String, String> {
        let default = |variable: &Value| {
            let all = variable["allValue"].as_str();
            let current = variable["current"]["value"].as_str();
            let value = all.or(current).or_else(|| (variable["type"] == "query").then_some("ts01"));
            Some((string(&variable["name"]), value.or_else(|| variable["query"].as_str())?.to_owned()))
        };
        self.variables().iter().filter_map(default).collect()
    }

    pub(crate) fn where_is(&self, panel: &Value) -> String {
        format!("{} panel {} ({})", self.file, panel["id"], string(&panel["title"]))
    }
}

/// One alert rule of Prometheus.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrometheusRule {
    pub(crate) alert: String,
    pub(crate) expr: String,
    #[serde(rename = "for")]
    pub(crate) pending: String,
    pub(crate) keep_firing_for: Option<String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

pub(crate) fn prometheus_rules() -> Vec<PrometheusRule> {
    let groups = yaml("prometheus/rules.yml")["groups"].take();
    let rules = items(&groups).iter().flat_map(|group| items(&group["rules"]));
    rules.map(|rule| serde_json::from_value(rule.clone()).unwrap()).collect()
}

/// One alert rule of Grafana: the fields that its provisioning knows, and no others, as Grafana drops a misspelt one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrafanaRule {
    pub(crate) uid: String,
    pub(crate) title: String,
    pub(crate) condition: String,
    #[serde(rename = "for")]
    pub(crate) pending: String,
    #[serde(rename = "keepFiringFor")]
    pub(crate) keep_firing_for: Option<String>,
    pub(crate) missing_series_evals_to_resolve: Option<u32>,
    #[serde(rename = "noDataState")]
    pub(crate) no_data: String,
    #[serde(rename = "execErrState")]
    pub(crate) error: String,
    #[serde(rename = "isPaused")]
    pub(crate) is_paused: bool,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(rename = "dashboardUid")]
    pub(crate) dashboard: String,
    #[serde(rename = "panelId")]
    pub(crate) panel: u32,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) data: Vec<GrafanaQuery>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrafanaQuery {
    #[serde(rename = "refId")]
    pub(crate) id: String,
    #[serde(rename = "datasourceUid")]
    pub(crate) source: String,
    #[serde(rename = "relativeTimeRange")]
    pub(crate) range: Option<Range>,
    pub(crate) model: Value,
}

/// Seconds before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl GrafanaRule {
    /// Titles are unique in a folder, so what is one alert in Prometheus has a number of days behind its name.
    pub(crate) fn alert(&self) -> &str {
        self.title.split(' ').next().unwrap()
    }

    /// The query of that name.
    pub(crate) fn query(&self, id: &str) -> Option<&GrafanaQuery> {
        self.data.iter().find(|query| query.id == id)
    }

    /// The data source's queries: name and expression.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.data.iter().filter_map(|query| Some((query.id.as_str(), query.model["expr"].as_str()?)))
    }

    /// The comparison of the condition and its number.
    pub(crate) fn threshold(&self) -> (String, f64) {
        let evaluator = &self.query(&self.condition).unwrap().model["conditions"][0]["evaluator"];
        (string(&evaluator["type"]), evaluator["params"][0].as_f64().unwrap())
    }
}

pub(crate) const GRAFANA_RULES: &str = "grafana/provisioning/alerting/rdp-alerts.yaml";

pub(crate) fn grafana_rules() -> Vec<GrafanaRule> {
    let groups = yaml(GRAFANA_RULES)["groups"].take();
    let rules = items(&groups).iter().flat_map(|group| items(&group["rules"]));
    rules.map(|rule| serde_json::from_value(rule.clone()).unwrap()).collect()
}

/// The items of a list; none where there is no list.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A string; empty where there is none.
pub(crate) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
