//! The families of layers: negotiated and surveyed, TLS, Standard RDP Security, and what the challenge told.

use std::{sync::Arc, time::SystemTime};

use prometheus::proto::MetricType;

use super::{Family, Samples, target::deciding, unix_seconds};
use crate::{
    observation::{ChallengeFacts, Conversation, Negotiation},
    survey::Survey,
    wire::negotiation::{Protocols, ResponseFlags},
};

const GAUGE: MetricType = MetricType::GAUGE;

pub(super) const FAMILIES: [Family; 13] = [
    Family {
        name: "rdp_security_layer",
        help: "1 for the negotiated security layer; hybrid and hybrid_ex are NLA.",
        kind: GAUGE,
        read: |samples| {
            if let Some(layer) = deciding(samples).and_then(Conversation::layer).and_then(Protocols::label) {
                samples.put_with(&[("layer", layer)], 1.0);
            }
        },
    },
    Family {
        name: "rdp_security_layer_accepted",
        help: "Whether each security layer is accepted, as far as the survey learnt. Kept from the last survey.",
        kind: GAUGE,
        read: |samples| {
            for (layer, accepted) in survey(samples).into_iter().flat_map(|(survey, _)| survey.layers.iter()) {
                if let Some(label) = layer.label() {
                    samples.put_with(&[("layer", label)], f64::from(accepted));
                }
            }
        },
    },
    Family {
        name: "rdp_nla_required",
        help: "Whether clients without NLA are refused.",
        kind: GAUGE,
        read: |samples| {
            let layer = deciding(samples).and_then(Conversation::layer);
            let lacks_nla = matches!(layer, Some(Protocols::SSL | Protocols::RDP)).then_some(false);
            samples.put(lacks_nla.or(survey(samples).and_then(|(survey, _)| survey.nla_required)));
        },
    },
    Family {
        name: "rdp_negotiation_flag",
        help: "What the server says it supports, from its answer to the connection request.",
        kind: GAUGE,
        read: |samples| {
            let answer = deciding(samples).and_then(|conversation| conversation.negotiation);
            if let Some(Negotiation::Selected { flags, .. }) = answer.map(|timed| timed.fact) {
                for (flag, name) in ResponseFlags::NAMED {
                    samples.put_with(&[("flag", name)], f64::from(flags.contains(flag)));
                }
            }
        },
    },
    Family {
        name: "rdp_negotiation_failure_code",
        help: "The RDP_NEG_FAILURE code with which the server refused the ordinary offer.",
        kind: GAUGE,
        read: |samples| samples.put(samples.state.failure_code().map(|code| code.0)),
    },
    Family {
        name: "rdp_tls_info",
        help: "1; version and cipher suite of the last completed handshake.",
        kind: GAUGE,
        read: |samples| {
            if let Some((version, cipher)) = deciding(samples).and_then(Conversation::tls_names) {
                samples.put_with(&[("version", version), ("cipher", cipher)], 1.0);
            }
        },
    },
    Family {
        name: "rdp_tls_version_accepted",
        help: "Whether each TLS version is accepted, as far as the survey learnt. Kept from the last survey.",
        kind: GAUGE,
        read: |samples| {
            for (version, accepted) in survey(samples).into_iter().flat_map(|(survey, _)| survey.versions.iter()) {
                samples.put_with(&[("version", version.label())], f64::from(accepted));
            }
        },
    },
    Family {
        name: "rdp_encryption_info",
        help: "1; what the server chose for Standard RDP Security when all methods were offered, in the last survey.",
        kind: GAUGE,
        read: |samples| {
            if let Some((method, level)) = survey(samples).and_then(|(survey, _)| survey.encryption) {
                let labels =
                    [("method", method.label().unwrap_or_default()), ("level", level.label().unwrap_or_default())];
                samples.put_with(&labels, 1.0);
            }
        },
    },
    Family {
        name: "rdp_encryption_method_accepted",
        help: "Whether each encryption method of Standard RDP Security is accepted, asked alone in the last survey.",
        kind: GAUGE,
        read: |samples| {
            for (method, accepted) in survey(samples).into_iter().flat_map(|(survey, _)| survey.methods.iter()) {
                if let Some(label) = method.label() {
                    samples.put_with(&[("method", label)], f64::from(accepted));
                }
            }
        },
    },
    Family {
        name: "rdp_mcs_certificate_not_after_timestamp_seconds",
        help: "When the X.509 certificate of Standard RDP Security ends, in the last survey.",
        kind: GAUGE,
        read: |samples| {
            let not_after = survey(samples).and_then(|(survey, _)| survey.standard_not_after);
            samples.put(not_after.map(|end| end.unix_timestamp() as f64));
        },
    },
    Family {
        name: "rdp_survey_timestamp_seconds",
        help: "When the last survey ended.",
        kind: GAUGE,
        read: |samples| samples.put(survey(samples).map(|(_, ended)| unix_seconds(*ended))),
    },
    Family {
        name: "rdp_server_info",
        help: "1; what the server says of itself in the NTLM challenge. Kept from the last challenge.",
        kind: GAUGE,
        read: |samples| {
            let Some(challenge) = challenge(samples).map(|facts| &facts.challenge) else { return };
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let version = challenge.version.map(|version| version.to_string()).unwrap_or_default();
            let labels = [
                ("computer", text(&challenge.netbios_computer)),
                ("domain", text(&challenge.netbios_domain)),
                ("dns_computer", text(&challenge.dns_computer)),
                ("dns_domain", text(&challenge.dns_domain)),
                ("version", version),
            ];
            samples.put_with(&labels.each_ref().map(|(name, value)| (*name, value.as_str())), 1.0);
        },
    },
    Family {
        name: "rdp_clock_skew_seconds",
        help: "The server's clock minus ours, from the NTLM challenge. Kept from the last challenge.",
        kind: GAUGE,
        read: |samples| samples.put(challenge(samples).and_then(|facts| facts.clock_skew_seconds)),
    },
];

/// The last survey, unless it ended too long ago.
fn survey<'a>(samples: &Samples<'a>) -> Option<&'a (Arc<Survey>, SystemTime)> {
    let last = samples.state.memory.survey.last.as_ref()?;
    samples.is_fresh(last.1).then_some(last)
}

/// The last challenge, unless it is too old.
fn challenge<'a>(samples: &Samples<'a>) -> Option<&'a ChallengeFacts> {
    let (facts, observed) = samples.state.memory.challenge.last.as_ref()?;
    samples.is_fresh(*observed).then_some(facts)
}
