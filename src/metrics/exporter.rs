//! The families of the exporter itself.

use std::sync::atomic::Ordering;

use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

use super::{histogram_value, label, unix_seconds};
use crate::{
    logging,
    state::{Save, SourceVitals, Vitals},
};

/// Which build this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version.
    pub version: &'static str,
    /// The commit it was built from, where that is known.
    pub revision: &'static str,
}

impl BuildInfo {
    /// This build.
    pub const THIS: Self = Self {
        version: env!("CARGO_PKG_VERSION"),
        revision: match option_env!("RDP_EXPORTER_REVISION") {
            Some(revision) => revision,
            None => "",
        },
    };
}

/// The families of the exporter and of its process.
#[must_use]
pub fn exporter_families(vitals: &Vitals, targets: usize) -> Vec<MetricFamily> {
    let reload = vitals.reload();
    let build = [("version", BuildInfo::THIS.version), ("revision", BuildInfo::THIS.revision)];
    let failures = vitals.local_failures().map(|(reason, count)| (vec![("reason", reason.label())], count as f64));
    let mut delays = Metric::default();
    delays.set_histogram(histogram_value(&vitals.start_delays()));
    let mut families = vec![
        gauge("rdp_exporter_build_info", "1; which build this is.", &build, 1.0),
        gauge("rdp_exporter_targets", "How many targets are known.", &[], targets as f64),
        gauge(
            "rdp_exporter_probes_in_flight",
            "Probes under way.",
            &[],
            vitals.in_flight.load(Ordering::Relaxed) as f64,
        ),
        gauge(
            "rdp_exporter_tasks",
            "Tasks alive: probes, connections and requests under way, and a few.",
            &[],
            vitals.tasks.load(Ordering::Relaxed) as f64,
        ),
        counters(
            "rdp_exporter_probes_deferred_total",
            "Probes that had to wait because max_concurrent were under way.",
            [(Vec::new(), vitals.deferred.load(Ordering::Relaxed) as f64)],
        ),
        family("rdp_exporter_probe_start_delay_seconds", "How late probes began.", MetricType::HISTOGRAM, vec![delays]),
        counters(
            "rdp_exporter_local_failures_total",
            "Probes that the exporter's own system refused, by reason.",
            failures,
        ),
        gauge(
            "rdp_exporter_config_last_reload_successful",
            "Whether the last reload of the configuration succeeded.",
            &[],
            f64::from(reload.successful),
        ),
        gauge(
            "rdp_exporter_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded.",
            &[],
            unix_seconds(reload.last_success),
        ),
        counters(
            "rdp_exporter_log_lines_lost_total",
            "Lines of the log that could not be written: a full disk, or nobody who reads.",
            [(Vec::new(), logging::lines_lost() as f64)],
        ),
    ];
    families.extend(vitals.access().map(|is_current| {
        gauge(
            "rdp_exporter_web_config_last_reload_successful",
            "Whether the web configuration is in force as its files are now.",
            &[],
            f64::from(is_current),
        )
    }));
    families.extend(vitals.save().map_or_else(Vec::new, save_families));
    families.extend(discovery_families(&vitals.discovery()));
    #[cfg(target_os = "linux")]
    families.extend(super::process::process_families());
    families
}

/// How it goes with the state file; nothing where there is none.
fn save_families(save: Save) -> Vec<MetricFamily> {
    let successful = gauge(
        "rdp_exporter_state_file_last_save_successful",
        "Whether the state file could be written the last time.",
        &[],
        f64::from(save.successful),
    );
    let when = save.last_success.map(|at| {
        gauge(
            "rdp_exporter_state_file_last_save_success_timestamp_seconds",
            "When the state file was last written.",
            &[],
            unix_seconds(at),
        )
    });
    [Some(successful), when].into_iter().flatten().collect()
}

/// What is counted of the sources of targets; nothing where there are none.
fn discovery_families(sources: &[SourceVitals]) -> Vec<MetricFamily> {
    if sources.is_empty() {
        return Vec::new();
    }
    let of = |source: &SourceVitals| label("source", &source.source);
    let targets = sources.iter().filter_map(|source| Some((of(source), source.targets?)));
    let targets = targets.map(|(source, targets)| {
        let mut metric = Metric::from_label(vec![source]);
        let mut gauge = Gauge::default();
        gauge.set_value(targets as f64);
        metric.set_gauge(gauge);
        metric
    });
    let failures = sources.iter().map(|source| (vec![("source", source.source.as_str())], source.failures as f64));
    let rejected = sources.iter().flat_map(|source| {
        let labels = move |reason| vec![("source", source.source.as_str()), ("reason", reason)];
        source.rejected.iter().map(move |(reason, count)| (labels(*reason), *count as f64))
    });
    vec![
        family(
            "rdp_exporter_discovery_targets",
            "Targets that a source gave when it could last be read, of all shards.",
            MetricType::GAUGE,
            targets.collect(),
        ),
        counters(
            "rdp_exporter_discovery_failures_total",
            "How often a source could not be read; its last targets are kept.",
            failures,
        ),
        counters(
            "rdp_exporter_discovery_rejected_total",
            "Entries of a source that are no targets, by reason; each once as long as it is listed.",
            rejected,
        ),
    ]
}

pub(super) fn gauge(name: &str, help: &str, labels: &[(&str, &str)], value: f64) -> MetricFamily {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(labels.iter().map(|(name, value)| label(name, value)).collect());
    metric.set_gauge(gauge);
    family(name, help, MetricType::GAUGE, vec![metric])
}

pub(super) fn counters<'a>(
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = Metric::from_label(labels.iter().map(|(name, value)| label(name, value)).collect());
        metric.set_counter(counter);
        metric
    });
    family(name, help, MetricType::COUNTER, metrics.collect())
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}
