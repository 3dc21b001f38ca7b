//! What is known of targets, as Prometheus text, one family at a time. Pure: time is an argument.
//! A fact that was not observed is a missing series. Nothing here knows HTTP.

mod certificate;
mod exporter;
mod layer;
#[cfg(target_os = "linux")]
mod process;
mod target;

use std::{
    io::{self, Write},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus::{
    Encoder, TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram as HistogramValue, LabelPair, Metric, MetricFamily, MetricType},
};

use crate::{
    certificate::cut_text,
    observation::age,
    state::{Histogram, TargetState},
};
pub use exporter::{BuildInfo, exporter_families};

/// One row of the table of families: what it is called and how to read it from a state.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The metric's name.
    pub name: &'static str,
    /// What it says, constant.
    pub help: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    read: fn(&mut Samples<'_>),
}

/// What is shown, beside the states themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The time of the scrape; days to expiry count from here.
    pub now: SystemTime,
    /// Whether the handshake histogram is shown.
    pub histograms: bool,
}

/// The families of every target, in the order in which they are shown.
pub fn families() -> impl Iterator<Item = &'static Family> {
    target::FAMILIES.iter().chain(&layer::FAMILIES).chain(&certificate::FAMILIES)
}

/// Writes one family of all `states`; nothing at all where no state has it.
///
/// # Errors
/// Those of `out`.
pub fn write_family(family: &Family, states: &[Arc<TargetState>], view: View, out: &mut impl Write) -> io::Result<()> {
    let mut writing = Writing::of(family, view);
    states.chunks(PART).try_for_each(|part| writing.write(part, out))
}

/// One family being written, part of the targets by part: of all of them at once it would take more memory than all else
/// that a scrape needs.
#[derive(Debug)]
pub struct Writing<'a> {
    family: &'a Family,
    view: View,
    /// The lines that begin a family are there, and must not come again.
    has_begun: bool,
    text: Vec<u8>,
}

impl<'a> Writing<'a> {
    /// A family of which nothing is written yet.
    #[must_use]
    pub const fn of(family: &'a Family, view: View) -> Self {
        Self { family, view, has_begun: false, text: Vec::new() }
    }

    /// Writes the family's series of some more targets.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&mut self, states: &[Arc<TargetState>], out: &mut impl Write) -> io::Result<()> {
        let Self { family, view, .. } = *self;
        if family.kind == MetricType::HISTOGRAM && !view.histograms {
            return Ok(());
        }
        let mut metrics = Vec::with_capacity(states.len());
        for state in states {
            (family.read)(&mut Samples { state, now: view.now, kind: family.kind, metrics: &mut metrics });
        }
        let mut part = MetricFamily::default();
        part.set_name(family.name.to_owned());
        part.set_help(family.help.to_owned());
        part.set_field_type(family.kind);
        part.set_metric(metrics);
        self.text.clear();
        encode(&part, &mut self.text)?;
        let begins = if self.has_begun { BEGINNING_LINES } else { 0 };
        self.has_begun |= !self.text.is_empty();
        out.write_all(after_lines(&self.text, begins))
    }
}

/// `text` without so many lines.
fn after_lines(text: &[u8], count: usize) -> &[u8] {
    (0..count).fold(text, |rest, _| {
        rest.iter().position(|byte| *byte == b'\n').and_then(|end| rest.get(end + 1..)).unwrap_or_default()
    })
}

/// Targets whose series of one family are made at once.
pub const PART: usize = 256;
/// HELP and TYPE.
const BEGINNING_LINES: usize = 2;

/// Writes everything that is known of one probe: its target's gauges and the four names that blackbox users' rules use.
///
/// # Errors
/// Those of `out`.
pub fn write_probe(
    state: &Arc<TargetState>,
    is_configured: bool,
    now: SystemTime,
    out: &mut impl Write,
) -> io::Result<()> {
    let states = [Arc::clone(state)];
    let view = View { now, histograms: false };
    for family in target::BLACKBOX_FAMILIES.iter().chain(families()) {
        if is_of_a_probe(family, is_configured) {
            write_family(family, &states, view, out)?;
        }
    }
    Ok(())
}

/// The same for several targets at once, without the names of blackbox, which belong to one target only.
///
/// # Errors
/// Those of `out`.
pub fn write_probes(states: &[Arc<TargetState>], now: SystemTime, out: &mut impl Write) -> io::Result<()> {
    if let [state] = states {
        return write_probe(state, false, now, out);
    }
    let view = View { now, histograms: false };
    for family in families().filter(|family| is_of_a_probe(family, false)) {
        write_family(family, states, view, out)?;
    }
    Ok(())
}

/// Whether one probe alone can fill a family: no counters, no histograms.
fn is_of_a_probe(family: &Family, is_configured: bool) -> bool {
    family.kind == MetricType::GAUGE && (is_configured || !target::IS_OF_THE_SCHEDULE.contains(&family.name))
}

/// Writes a family, if it has any series.
///
/// # Errors
/// Those of `out`.
pub fn encode(family: &MetricFamily, out: &mut impl Write) -> io::Result<()> {
    if family.get_metric().is_empty() {
        return Ok(());
    }
    TextEncoder::new().encode(std::slice::from_ref(family), out).map_err(io::Error::other)
}

/// Takes the samples of one state.
struct Samples<'a> {
    state: &'a TargetState,
    now: SystemTime,
    kind: MetricType,
    metrics: &'a mut Vec<Metric>,
}

impl Samples<'_> {
    /// A series without labels of its own, where the fact is known.
    fn put(&mut self, value: Option<impl Into<f64>>) {
        if let Some(value) = value {
            self.put_with(&[], value.into());
        }
    }

    /// A series with labels of its own. Their values may be a stranger's.
    fn put_with(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels = self.labels(labels);
        self.put_bare(labels, value);
    }

    /// A series with just these labels.
    fn put_bare(&mut self, labels: Vec<LabelPair>, value: f64) {
        let mut metric = Metric::from_label(labels);
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    fn put_histogram<const N: usize>(&mut self, histogram: &Histogram<N>) {
        let mut metric = Metric::from_label(self.labels(&[]));
        metric.set_histogram(histogram_value(histogram));
        self.metrics.push(metric);
    }

    /// Whether a remembered fact of that time is still shown.
    fn is_fresh(&self, observed: SystemTime) -> bool {
        age(observed, self.now) <= self.state.target.settings.facts_max_age
    }

    fn labels(&self, own: &[(&str, &str)]) -> Vec<LabelPair> {
        let target = &self.state.target;
        let mut labels = Vec::with_capacity(1 + target.labels.len() + own.len());
        labels.push(label("target", &target.name));
        labels.extend(target.labels.iter().map(|(name, value)| label(name, value)));
        labels.extend(own.iter().map(|(name, value)| label(name, &cut_text(value))));
        labels
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    // Prometheus takes NUL for the end of the text, and would lose the whole scrape.
    pair.set_value(value.replace('\0', "\u{fffd}"));
    pair
}

fn histogram_value<const N: usize>(histogram: &Histogram<N>) -> HistogramValue {
    let buckets = histogram.cumulative().map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut value = HistogramValue::default();
    value.set_bucket(buckets.collect());
    value.set_sample_count(histogram.count());
    value.set_sample_sum(histogram.sum());
    value
}

/// Seconds since 1970, negative before.
fn unix_seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}
