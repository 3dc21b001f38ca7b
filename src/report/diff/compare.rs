//! One sighting against the other. What only one of them could see is no difference: a connection that was cut shows no
//! certificate, and the verdict says that already.

use std::collections::{BTreeMap, BTreeSet};

use super::{conclude::conclude, read::Sighting};

/// What came of comparing all targets of two files.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// By the target's name.
    pub outcomes: BTreeMap<String, Outcome>,
}

/// What came of comparing one target.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It stands only in the first file.
    OnlyA,
    /// It stands only in the second.
    OnlyB,
    /// It stands in both.
    Both {
        /// The verdict at both, where it is the same one.
        verdict: Option<String>,
        /// What is seen differently.
        differences: Vec<Difference>,
        /// What that means, as far as the facts carry it.
        conclusions: Vec<&'static str>,
    },
}

/// One fact, as it is seen here and there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is.
    pub what: &'static str,
    /// At the first vantage point.
    pub a: String,
    /// At the second.
    pub b: String,
}

impl Comparison {
    /// Whether anything differs. A target that stands in one file only does: nobody knows what the other would see.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.outcomes.values().any(Outcome::differs)
    }
}

impl Outcome {
    /// Whether anything differs.
    #[must_use]
    pub fn differs(&self) -> bool {
        !matches!(self, Self::Both { differences, .. } if differences.is_empty())
    }
}

/// Compares what two vantage points saw, target by target.
#[must_use]
pub fn compare(a: &[Sighting], b: &[Sighting]) -> Comparison {
    let mut left: BTreeMap<_, _> = b.iter().map(|sighting| (sighting.target.as_str(), sighting)).collect();
    let mut outcomes = BTreeMap::new();
    for seen_a in a {
        let seen_b = left.remove(seen_a.target.as_str());
        outcomes.insert(seen_a.target.clone(), seen_b.map_or(Outcome::OnlyA, |seen_b| compare_one(seen_a, seen_b)));
    }
    outcomes.extend(left.into_keys().map(|name| (name.to_owned(), Outcome::OnlyB)));
    Comparison { outcomes }
}

fn compare_one(a: &Sighting, b: &Sighting) -> Outcome {
    let differences = differences(a, b);
    let conclusions = conclude(a, b, &differences);
    let verdict = a.verdict.clone().filter(|verdict| Some(verdict) == b.verdict.as_ref());
    Outcome::Both { verdict, differences, conclusions }
}

fn differences(a: &Sighting, b: &Sighting) -> Vec<Difference> {
    let mut found = Differences(Vec::new());
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let pair = |of: fn(&Sighting) -> Option<String>| [of(a), of(b)];
    found.see(VERDICT, pair(|seen| seen.verdict.clone()).map(|verdict| Some(or_dash(verdict))));
    found.see(STOPPED, pair(Sighting::stopped).map(|stopped| Some(or_dash(stopped))));
    found.see(ADDRESSES, pair(addresses));
    found.see(CONNECTED, pair(|seen| seen.connected_to().map(str::to_owned)));
    found.see(LAYER, pair(|seen| seen.layer.clone()));
    found.see(TLS, pair(|seen| seen.tls.as_ref().map(|tls| format!("{}, {}", tls.version, tls.cipher))));
    see_certificates(&mut found, a, b);
    let server = |name: fn(&super::read::Server) -> &Option<String>| {
        [a, b].map(|seen| seen.server.as_ref().and_then(|server| name(server).clone()))
    };
    found.see(COMPUTER, server(|server| &server.computer));
    found.see("dns name", server(|server| &server.dns_computer));
    found.see("domain", server(|server| &server.domain));
    found.see("version", server(|server| &server.version));
    if let (Some(a), Some(b)) = (&a.survey, &b.survey) {
        found.see_accepted(LAYERS, &a.layers, &b.layers);
        found.see_accepted("tls versions", &a.tls_versions, &b.tls_versions);
        found.see_accepted("encryption", &a.encryption_methods, &b.encryption_methods);
        let nla = |required: Option<bool>| required.map(|is| if is { "required" } else { "not required" }.to_owned());
        found.see(NLA, [nla(a.nla_required), nla(b.nla_required)]);
    }
    see_times(&mut found, a, b);
    found.0
}

/// In an order of their own: a resolver turns them at will.
fn addresses(seen: &Sighting) -> Option<String> {
    let sorted: BTreeSet<_> = seen.addresses.as_ref()?.iter().map(String::as_str).collect();
    (!sorted.is_empty()).then(|| sorted.into_iter().collect::<Vec<_>>().join(", "))
}

fn see_certificates(found: &mut Differences, a: &Sighting, b: &Sighting) {
    let (Some(a), Some(b)) = (&a.certificate, &b.certificate) else { return };
    if a.sha256 != b.sha256 {
        let [a_told, b_told] = [a, b].map(|of| {
            let subject = of.subject.as_deref().unwrap_or("unreadable subject");
            // The whole fingerprint would not fit, and is in the files.
            format!("{subject}, sha256 {}...", of.sha256.chars().take(16).collect::<String>())
        });
        found.0.push(Difference { what: CERTIFICATE, a: a_told, b: b_told });
        found.see("issuer", [a.issuer.clone(), b.issuer.clone()]);
    }
}

/// Times of stages that went well at both, and the round trip: only where they are far apart.
fn see_times(found: &mut Differences, a: &Sighting, b: &Sighting) {
    let time = |seen: &Sighting, stage: &str| {
        let went_well = seen.stop.as_ref().is_none_or(|stop| stop.stage != stage);
        let took = seen.stages.iter().find(|of| of.stage == stage && went_well);
        took.map(|took| took.seconds)
    };
    for (stage, what) in TIMES {
        found.see_time(what, time(a, stage), time(b, stage));
    }
    let round_trip = |seen: &Sighting| seen.network.as_ref().map(|network| network.round_trip_seconds);
    found.see_time("round trip", round_trip(a), round_trip(b));
}

struct Differences(Vec<Difference>);

impl Differences {
    fn see(&mut self, what: &'static str, seen: [Option<String>; 2]) {
        if let [Some(a), Some(b)] = seen
            && a != b
        {
            self.0.push(Difference { what, a, b });
        }
    }

    /// What one accepts and the other refuses, of what both were asked.
    fn see_accepted(&mut self, what: &'static str, a: &BTreeMap<String, bool>, b: &BTreeMap<String, bool>) {
        let told = |name: &str, accepted: bool| format!("{name} {}", if accepted { "yes" } else { "no" });
        let differing: Vec<_> =
            a.iter().filter_map(|(name, a)| Some((name, *a, *b.get(name)?))).filter(|(_, a, b)| a != b).collect();
        if !differing.is_empty() {
            let list = |of: fn(&(&String, bool, bool)) -> bool| {
                differing.iter().map(|row| told(row.0, of(row))).collect::<Vec<_>>().join(", ")
            };
            self.see(what, [Some(list(|row| row.1)), Some(list(|row| row.2))]);
        }
    }

    fn see_time(&mut self, what: &'static str, a: Option<f64>, b: Option<f64>) {
        let (Some(a), Some(b)) = (a, b) else { return };
        let (less, more) = (a.min(b), a.max(b));
        if more - less > FAR_SECONDS && more > less * FAR_TIMES {
            let told = |seconds: f64| Some(format!("{:.1} ms", seconds * 1000.0));
            self.see(what, [told(a), told(b)]);
        }
    }
}

pub(super) const VERDICT: &str = "verdict";
pub(super) const STOPPED: &str = "stopped";
pub(super) const ADDRESSES: &str = "addresses";
pub(super) const CONNECTED: &str = "connected to";
pub(super) const LAYER: &str = "layer";
pub(super) const TLS: &str = "tls";
pub(super) const CERTIFICATE: &str = "certificate";
pub(super) const COMPUTER: &str = "computer";
pub(super) const LAYERS: &str = "accepts";
pub(super) const NLA: &str = "nla";
const TIMES: [(&str, &str); 5] = [
    ("resolve", "resolve time"),
    ("connect", "connect time"),
    ("negotiate", "negotiate"),
    ("tls", "tls time"),
    ("challenge", "challenge"),
];
/// Two vantage points are never equally far away.
const FAR_TIMES: f64 = 3.0;
const FAR_SECONDS: f64 = 0.05;
