//! The families of a target: verdict, findings, stages, network.

use prometheus::proto::MetricType;

use super::{Family, Samples, label, unix_seconds};
use crate::{
    diagnosis::Verdict,
    examine::Report,
    observation::{Conversation, NetworkFacts, Observation},
};

const GAUGE: MetricType = MetricType::GAUGE;
const COUNTER: MetricType = MetricType::COUNTER;

pub(super) const FAMILIES: [Family; 15] = [
    Family {
        name: "rdp_up",
        help: "1 when a client can get in, that is when the verdict is healthy. Result of the last scheduled probe.",
        kind: GAUGE,
        read: |samples| samples.put(samples.state.up),
    },
    Family {
        name: "rdp_reachable",
        help: "1 when the TCP connection was made. Result of the last scheduled probe.",
        kind: GAUGE,
        read: |samples| samples.put(samples.state.reachable),
    },
    Family {
        name: "rdp_verdict",
        help: "1 for the current verdict: whether a client can get in, and if not, why.",
        kind: GAUGE,
        read: |samples| {
            if let Some(verdict) = samples.state.last_verdict() {
                samples.put_with(&[("verdict", verdict.label())], 1.0);
            }
        },
    },
    Family {
        name: "rdp_finding",
        help: "1 for each thing that is wrong on the target, whether it is up or not.",
        kind: GAUGE,
        read: |samples| {
            for (finding, severity) in last(samples).map_or(&[][..], |report| &report.diagnosis.findings) {
                samples.put_with(&[("finding", finding.label()), ("severity", severity.label())], 1.0);
            }
        },
    },
    Family {
        name: "rdp_findings_accepted",
        help: "How many findings expect.accept hides.",
        kind: GAUGE,
        read: |samples| samples.put(last(samples).map(|report| count(report.diagnosis.accepted.len()))),
    },
    Family {
        name: "rdp_probes_total",
        help: "Scheduled probes run, by verdict.",
        kind: COUNTER,
        read: |samples| {
            for (verdict, count) in Verdict::ALL.into_iter().zip(samples.state.tally) {
                if count > 0 {
                    samples.put_with(&[("verdict", verdict.label())], count as f64);
                }
            }
        },
    },
    Family {
        name: "rdp_consecutive_failures",
        help: "Scheduled probes in a row that were not healthy.",
        kind: GAUGE,
        read: |samples| samples.put(last(samples).map(|_| samples.state.consecutive_failures as f64)),
    },
    Family {
        name: "rdp_probe_interval_seconds",
        help: "The configured time between two probes of the target.",
        kind: GAUGE,
        read: |samples| samples.put(Some(samples.state.target.settings.interval.as_secs_f64())),
    },
    Family {
        name: "rdp_last_probe_timestamp_seconds",
        help: "When the last probe of the target ended.",
        kind: GAUGE,
        read: |samples| samples.put(last(samples).map(|report| unix_seconds(report.observation.ended))),
    },
    Family {
        name: "rdp_probe_duration_seconds",
        help: "How long the last probe took, all stages together.",
        kind: GAUGE,
        read: |samples| samples.put(last(samples).map(|report| report.observation.duration.as_secs_f64())),
    },
    Family {
        name: "rdp_stage_duration_seconds",
        help: "How long each stage of the last probe took, as far as it came.",
        kind: GAUGE,
        read: |samples| {
            for (stage, took) in last(samples).map(|report| report.observation.stages()).unwrap_or_default() {
                samples.put_with(&[("stage", stage.label())], took.as_secs_f64());
            }
        },
    },
    Family {
        name: "rdp_handshake_duration_seconds",
        help: "Connect, negotiate and TLS of healthy scheduled probes: the network part before authentication.",
        kind: MetricType::HISTOGRAM,
        read: |samples| {
            if last(samples).is_some() {
                let handshakes = samples.state.handshakes;
                samples.put_histogram(&handshakes);
            }
        },
    },
    Family {
        name: "rdp_address_info",
        help: "1 for the address that answered last.",
        kind: GAUGE,
        read: |samples| {
            if let Some(address) = samples.state.memory.address {
                samples.put_with(&[("address", &address.ip().to_string())], 1.0);
            }
        },
    },
    Family {
        name: "rdp_tcp_rtt_seconds",
        help: "The smoothed round trip of the last probe's own connection.",
        kind: GAUGE,
        read: |samples| samples.put(network(samples).map(|network| network.round_trip.as_secs_f64())),
    },
    Family {
        name: "rdp_tcp_retransmits",
        help: "Segments that the last probe's own connection had to send again.",
        kind: GAUGE,
        read: |samples| samples.put(network(samples).map(|network| network.retransmits)),
    },
];

/// Families that make sense only where a schedule probes the target.
pub(super) const IS_OF_THE_SCHEDULE: [&str; 2] = ["rdp_probe_interval_seconds", "rdp_consecutive_failures"];

/// The names that rules made for blackbox_exporter ask for, without a label that it would not have.
pub(super) const BLACKBOX_FAMILIES: [Family; 4] = [
    Family {
        name: "probe_success",
        help: "The same as rdp_up.",
        kind: GAUGE,
        read: |samples| {
            if let Some(up) = samples.state.up {
                samples.put_bare(Vec::new(), f64::from(up));
            }
        },
    },
    Family {
        name: "probe_duration_seconds",
        help: "The same as rdp_probe_duration_seconds.",
        kind: GAUGE,
        read: |samples| {
            if let Some(report) = last(samples) {
                samples.put_bare(Vec::new(), report.observation.duration.as_secs_f64());
            }
        },
    },
    Family {
        name: "probe_ssl_earliest_cert_expiry",
        help: "The same as rdp_certificate_chain_not_after_timestamp_seconds.",
        kind: GAUGE,
        read: |samples| {
            let certificate = samples.state.memory.certificates.last.as_ref();
            if let Some(not_after) = certificate.and_then(|seen| seen.facts.chain_not_after) {
                samples.put_bare(Vec::new(), not_after.unix_timestamp() as f64);
            }
        },
    },
    Family {
        name: "probe_tls_version_info",
        help: "1; the version of rdp_tls_info.",
        kind: GAUGE,
        read: |samples| {
            if let Some((version, _)) = deciding(samples).and_then(Conversation::tls_names) {
                samples.put_bare(vec![label("version", version)], 1.0);
            }
        },
    },
];

fn network(samples: &Samples<'_>) -> Option<NetworkFacts> {
    deciding(samples)?.network
}

fn last<'a>(samples: &Samples<'a>) -> Option<&'a Report> {
    samples.state.last.as_ref()
}

pub(super) fn deciding<'a>(samples: &Samples<'a>) -> Option<&'a Conversation> {
    last(samples).map(|report| &report.observation).and_then(Observation::deciding)
}

fn count(number: usize) -> f64 {
    number as f64
}
