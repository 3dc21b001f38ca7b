//! The families of a target's certificate. They outlive an outage: they say when they were observed.

use prometheus::proto::MetricType;
use time::OffsetDateTime;

use super::{Family, Samples, unix_seconds};
use crate::memory::SeenCertificate;

const GAUGE: MetricType = MetricType::GAUGE;

pub(super) const FAMILIES: [Family; 11] = [
    Family {
        name: "rdp_certificate_not_after_timestamp_seconds",
        help: "When the certificate ends. Kept from the last probe that saw one.",
        kind: GAUGE,
        read: |samples| samples.put(seen(samples).and_then(|seen| seen.facts.not_after).map(timestamp)),
    },
    Family {
        name: "rdp_certificate_not_before_timestamp_seconds",
        help: "When the certificate begins. Kept from the last probe that saw one.",
        kind: GAUGE,
        read: |samples| samples.put(seen(samples).and_then(|seen| seen.facts.not_before).map(timestamp)),
    },
    Family {
        name: "rdp_certificate_days_to_expiry",
        help: "Days from this scrape to the end of the certificate, negative once it has expired.",
        kind: GAUGE,
        read: |samples| {
            let not_after = seen(samples).and_then(|seen| seen.facts.not_after).map(timestamp);
            samples.put(not_after.map(|end| (end - unix_seconds(samples.now)) / SECONDS_A_DAY));
        },
    },
    Family {
        name: "rdp_certificate_chain_not_after_timestamp_seconds",
        help: "The earliest end in the chain that the server presents.",
        kind: GAUGE,
        read: |samples| samples.put(seen(samples).and_then(|seen| seen.facts.chain_not_after).map(timestamp)),
    },
    Family {
        name: "rdp_certificate_info",
        help: "1; what the certificate says of itself.",
        kind: GAUGE,
        read: |samples| {
            let Some(facts) = seen(samples).map(|seen| &seen.facts) else { return };
            let text = |fact: &'static str, value: &Option<String>| (fact, value.clone().unwrap_or_default());
            let labels = [
                text("subject", &facts.subject),
                text("issuer", &facts.issuer),
                text("serial", &facts.serial),
                ("sha256", facts.sha256.clone()),
                text("key", &facts.key),
                text("signature", &facts.signature),
                text("san", &facts.san),
            ];
            samples.put_with(&labels.each_ref().map(|(name, value)| (*name, value.as_str())), 1.0);
        },
    },
    Family {
        name: "rdp_certificate_self_signed",
        help: "1 when subject and issuer are the same name.",
        kind: GAUGE,
        read: |samples| samples.put(seen(samples).and_then(|seen| seen.facts.self_signed)),
    },
    Family {
        name: "rdp_certificate_trusted",
        help: "1 when the presented chain reaches a root in trust.",
        kind: GAUGE,
        read: |samples| samples.put(seen(samples).and_then(|seen| seen.trusted)),
    },
    Family {
        name: "rdp_certificate_name_match",
        help: "1 when the certificate is for the target's server_name.",
        kind: GAUGE,
        read: |samples| samples.put(seen(samples).and_then(|seen| seen.name_match)),
    },
    Family {
        name: "rdp_certificate_key_proven",
        help: "1 when the handshake signature was made with the certificate's key.",
        kind: GAUGE,
        read: |samples| samples.put(seen(samples).and_then(|seen| seen.key_proven)),
    },
    Family {
        name: "rdp_certificate_observed_timestamp_seconds",
        help: "When this certificate was last seen.",
        kind: GAUGE,
        read: |samples| samples.put(seen(samples).map(|seen| unix_seconds(seen.observed))),
    },
    Family {
        name: "rdp_certificate_changes_total",
        help: "How often the certificate at one address was replaced by another.",
        kind: MetricType::COUNTER,
        read: |samples| {
            let certificates = &samples.state.memory.certificates;
            samples.put(certificates.were_ever_seen().then_some(certificates.changes as f64));
        },
    },
];

/// The certificate, unless it was seen too long ago.
fn seen<'a>(samples: &Samples<'a>) -> Option<&'a SeenCertificate> {
    let seen = samples.state.memory.certificates.last.as_ref()?;
    samples.is_fresh(seen.observed).then_some(seen)
}

fn timestamp(time: OffsetDateTime) -> f64 {
    time.unix_timestamp() as f64
}

const SECONDS_A_DAY: f64 = 86_400.0;
