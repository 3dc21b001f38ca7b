//! What is wrong with the layers: TLS, Standard RDP Security, NLA.

use std::time::SystemTime;

use super::Finding;
use crate::{
    memory::Memory,
    observation::{Conversation, Observation},
    survey::Survey,
    target::{Expectations, ExpectedNla},
    wire::{
        clear_tls::{has_forward_secrecy, is_aead},
        negotiation::Protocols,
        tls_version::TlsVersion,
    },
};

pub(super) fn findings(seen: &Observation, memory: &Memory, expect: &Expectations, now: SystemTime) -> Vec<Finding> {
    let deciding = seen.deciding();
    let layer = deciding.and_then(Conversation::layer);
    let survey = memory.survey.last.as_ref().map(|(survey, _)| &**survey);
    let accepts = |wanted: fn(Protocols) -> bool| {
        survey.is_some_and(|survey| survey.layers.iter().any(|(layer, accepted)| accepted && wanted(layer)))
    };
    let takes_standard = accepts(|layer| layer == Protocols::RDP);
    // While a host is down the survey still says what it takes.
    let takes_tls = match layer {
        Some(layer) => layer != Protocols::RDP,
        None => accepts(|layer| layer != Protocols::RDP),
    };
    let standard_only = layer == Some(Protocols::RDP) || (layer.is_none() && takes_standard && !takes_tls);
    let requires_nla = expect.nla == ExpectedNla::Required;
    let lacks_nla = matches!(layer, Some(Protocols::SSL | Protocols::RDP));
    let nla_is_optional = survey.is_some_and(|survey| survey.nla_required == Some(false));
    let stronger = |layer| memory.layers.were_stronger_than(layer, now);
    let conditions = [
        (Finding::TlsLegacy, deciding.is_some_and(is_legacy)),
        (Finding::TlsLegacyAccepted, expect.tls_min.is_some_and(|least| accepts_below(deciding, survey, least))),
        (Finding::StandardSecurityOnly, standard_only),
        (Finding::StandardSecurityAccepted, takes_standard && takes_tls),
        (Finding::SecurityDowngraded, layer.is_some_and(stronger)),
        (Finding::NlaNotOffered, requires_nla && lacks_nla),
        (Finding::NlaNotRequired, requires_nla && !lacks_nla && nla_is_optional),
    ];
    conditions.into_iter().filter(|(_, holds)| *holds).map(|(finding, _)| finding).collect()
}

/// Nothing better than TLS 1.1, or no forward secrecy, or no AEAD: only servers that were read in the clear.
fn is_legacy(seen: &Conversation) -> bool {
    seen.clear.filter(|_| seen.tls.is_none()).is_some_and(|clear| {
        let hello = clear.fact.hello;
        let is_old = TlsVersion::of_number(hello.version).is_none_or(|version| version < TlsVersion::Tls12);
        is_old || !has_forward_secrecy(hello.cipher) || !is_aead(hello.cipher)
    })
}

fn accepts_below(deciding: Option<&Conversation>, survey: Option<&Survey>, least: TlsVersion) -> bool {
    let older = || TlsVersion::ALL.into_iter().filter(|version| *version < least);
    // SSL 3.0 is older than all of them.
    let is_older = |name| {
        TlsVersion::ALL.into_iter().find(|version| version.label() == name).is_none_or(|version| version < least)
    };
    let negotiated = deciding.and_then(Conversation::tls_names).is_some_and(|(name, _)| is_older(name));
    negotiated || older().any(|version| survey.is_some_and(|survey| survey.versions.get(version) == Some(true)))
}
