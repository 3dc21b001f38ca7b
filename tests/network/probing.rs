//! A probe from the exporter's place, and what is asserted of each.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::exporter::{Probe, probe_endpoint, scrape_until, serve};
use crate::harness::process::Server;
use crate::harness::samples::Samples;
pub(crate) use crate::harness::tls::tls_server;
use crate::namespace::{HOST, Network};

/// What the command told of its one target.
pub(crate) struct Told {
    pub(crate) report: Value,
    exit: i32,
    took: Duration,
}

/// Why a probe came to nothing: the verdict, where it stopped, and the words that tell how.
pub(crate) struct Expected {
    pub(crate) verdict: &'static str,
    pub(crate) stage: &'static str,
    pub(crate) words: &'static str,
    /// Whether the TCP connection stood; nothing where it cannot be known.
    pub(crate) reachable: Option<bool>,
}

impl Network {
    /// Probes `address` with these settings, without a survey.
    pub(crate) fn probe(&self, address: &str, settings: &Value) -> Told {
        self.probe_with(address, settings, |probe| probe)
    }

    /// The same, with more about how the command is run.
    pub(crate) fn probe_with(&self, address: &str, settings: &Value, more: impl Fn(Probe) -> Probe) -> Told {
        let timeout = settings["timeout"].as_str().unwrap_or("10s");
        let arguments = ["target", "--no-survey", "--output=json", &format!("--timeout={timeout}")];
        let probe = more(Probe::with(&arguments).config(configuration(address, settings)));
        let begun = Instant::now();
        let answer = self.exporter.enter(|| probe.answer());
        let took = begun.elapsed();
        let report: Value = serde_json::from_str(&answer.output).unwrap_or_else(|_| panic!("no report: {answer:?}"));
        Told { report: report[0].clone(), exit: answer.exit, took }
    }
}

/// One target with these settings, named `target`.
fn configuration(address: &str, settings: &Value) -> Value {
    let mut target = settings.clone();
    target["address"] = json!(address);
    target["name"] = json!("target");
    json!({ "trust": { "system_roots": false }, "targets": [target] })
}

impl Told {
    /// Asserts the verdict and everything that the contract and the test's own doing tie to it.
    #[track_caller]
    pub(crate) fn assert(&self, what: &str, expected: &Expected) {
        let report = &self.report;
        assert_eq!(report["verdict"], expected.verdict, "{what}: {report:#}");
        assert_eq!(report["stop"]["stage"], expected.stage, "{what}: {report:#}");
        let evidence = report["evidence"].as_str().unwrap();
        assert!(evidence.starts_with(&format!("{} after ", expected.stage)), "{what}: {evidence}");
        assert!(evidence.contains(expected.words), "{what}: {evidence}");
        assert_eq!(report["reachable"], json!(expected.reachable), "{what}: {report:#}");
        let up = expected.reachable.map(|_| false);
        assert_eq!(report["up"], json!(up), "{what}: {report:#}");
        assert_eq!(self.exit, 1, "{what}");
        // Ten seconds for the probe and twenty for a loaded machine.
        assert!(self.took < Duration::from_secs(30), "{what}: {:?}", self.took);
    }

    #[track_caller]
    pub(crate) fn assert_healthy(&self, what: &str) {
        let report = &self.report;
        assert_eq!(report["verdict"], "healthy", "{what}: {report:#}");
        assert_eq!((&report["up"], &report["reachable"]), (&json!(true), &json!(true)), "{what}: {report:#}");
        assert_eq!(self.exit, 0, "{what}");
    }

    /// How long the stage took that the probe stopped in.
    pub(crate) fn stopped_after(&self) -> f64 {
        self.report["stop"]["seconds"].as_f64().unwrap()
    }

    /// How long a stage took.
    #[track_caller]
    pub(crate) fn stage(&self, name: &str) -> f64 {
        let stages = self.report["stages"].as_array().unwrap();
        let stage = stages.iter().find(|stage| stage["stage"] == name);
        stage.unwrap_or_else(|| panic!("no {name}: {:#}", self.report))["seconds"].as_f64().unwrap()
    }

    pub(crate) fn findings(&self) -> Vec<&str> {
        let findings = self.report["findings"].as_array().unwrap();
        findings.iter().map(|entry| entry["finding"].as_str().unwrap()).collect()
    }
}

/// A serving exporter with one target.
pub(crate) struct Serving<'network> {
    pub(crate) exporter: Server,
    network: &'network Network,
}

impl<'network> Serving<'network> {
    pub(crate) fn start(network: &'network Network, settings: &Value) -> Self {
        let config = configuration(&HOST.to_string(), settings);
        Self { exporter: network.exporter.enter(|| serve(&config)), network }
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, verdict: &str) -> Samples {
        self.scrape_until(verdict, |samples| samples.get("rdp_verdict", &[("verdict", verdict)]) == Some(1.0))
    }

    #[track_caller]
    pub(crate) fn scrape_until(&self, what: &str, wanted: impl Fn(&Samples) -> bool) -> Samples {
        self.network.exporter.enter(|| scrape_until(&self.exporter, what, wanted))
    }

    /// Probes the target now, by `/probe`.
    #[track_caller]
    pub(crate) fn probe(&self) -> Samples {
        self.network.exporter.enter(|| probe_endpoint(&self.exporter, "target=target"))
    }
}
