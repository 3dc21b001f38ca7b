//! What differences mean, in words, where the facts carry it.

use std::collections::BTreeSet;

use super::{
    compare::{ADDRESSES, CERTIFICATE, COMPUTER, CONNECTED, Difference, LAYER, LAYERS, NLA},
    read::Sighting,
};
use crate::diagnosis::Verdict;

/// The conclusions from two sightings of one target, the weightiest first.
pub(super) fn conclude(a: &Sighting, b: &Sighting, differences: &[Difference]) -> Vec<&'static str> {
    let differs = |what: &str| differences.iter().any(|difference| difference.what == what);
    let mut found = Vec::new();
    let other_families = family(a).zip(family(b)).is_some_and(|(a, b)| a != b);
    let other_addresses = differs(ADDRESSES) && share_no_address(a, b) && !other_families;
    if other_families {
        found.push(OTHER_FAMILIES);
    } else if other_addresses {
        found.push(SPLIT_DNS);
    }
    let other_computer = differs(COMPUTER);
    if other_computer {
        found.push(OTHER_COMPUTER);
    }
    found.extend(on_verdicts(a, b, other_addresses || other_computer));
    if differs(CERTIFICATE) && !other_computer {
        found.push(match (differs(CONNECTED), was_renewed(a, b)) {
            (_, true) => RENEWED,
            (true, _) => TWO_CERTIFICATES,
            (false, _) => TLS_IN_BETWEEN,
        });
    }
    let answers_differ = differs(LAYER) || differs(LAYERS) || differs(NLA);
    if answers_differ && !differs(CERTIFICATE) && !other_addresses && !other_computer {
        found.push(OTHER_LAYERS);
    }
    found
}

/// `elsewhere`: whether it is doubtful that both met the same host.
fn on_verdicts(a: &Sighting, b: &Sighting, elsewhere: bool) -> Option<&'static str> {
    let verdicts = (a.verdict.as_deref()?, b.verdict.as_deref()?);
    let fails_here = Verdict::ExporterFault.label();
    match (a.is_healthy(), b.is_healthy()) {
        _ if verdicts == (fails_here, fails_here) => Some(BOTH_FAULTS),
        _ if verdicts.0 == fails_here => Some(FAULT_AT_A),
        _ if verdicts.1 == fails_here => Some(FAULT_AT_B),
        (true, true) => None,
        (true, false) => on_failure(verdicts.1, elsewhere, &AT_B),
        (false, true) => on_failure(verdicts.0, elsewhere, &AT_A),
        (false, false) if elsewhere => None,
        (false, false) if is_silence(verdicts.0) && is_silence(verdicts.1) => Some(on_silence(verdicts)),
        (false, false) if verdicts.0 != verdicts.1 => Some(TWO_REASONS),
        (false, false) if is_of_dns(verdicts.0) => Some(BOTH_DNS),
        (false, false) => Some(BOTH_FAIL),
    }
}

/// One of them gets in, the other sees `verdict`.
fn on_failure(verdict: &str, elsewhere: bool, texts: &Texts) -> Option<&'static str> {
    if is_of_dns(verdict) {
        return Some(texts.dns);
    }
    if elsewhere {
        return None;
    }
    let is = |label: Verdict| label.label() == verdict;
    if is(Verdict::NoCertificate) || is(Verdict::NegotiationRefused) {
        return Some(REFUSES_ONE);
    }
    if is(Verdict::NotRdp) || is(Verdict::ProtocolError) || is(Verdict::TlsError) {
        return Some(texts.impostor);
    }
    Some(texts.way)
}

/// Whether companion ports were tried is the vantage point's affair, so these three are of one kind.
fn is_silence(verdict: &str) -> bool {
    [Verdict::ConnectTimeout, Verdict::HostDown, Verdict::PortFiltered].iter().any(|of| of.label() == verdict)
}

fn on_silence((a, b): (&str, &str)) -> &'static str {
    let filtered = Verdict::PortFiltered.label();
    if a == filtered || b == filtered { HOST_LIVES } else { BOTH_FAIL }
}

fn is_of_dns(verdict: &str) -> bool {
    [Verdict::DnsNotFound, Verdict::DnsFailure].iter().any(|of| of.label() == verdict)
}

fn share_no_address(a: &Sighting, b: &Sighting) -> bool {
    let addresses = |seen: &Sighting| seen.addresses.iter().flatten().cloned().collect::<BTreeSet<_>>();
    addresses(a).is_disjoint(&addresses(b))
}

/// Whether all addresses are of IPv6; `None` where there are none, or some of each.
fn family(seen: &Sighting) -> Option<bool> {
    let mut families = seen.addresses.iter().flatten().map(|address| address.contains(':'));
    let first = families.next()?;
    families.all(|family| family == first).then_some(first)
}

/// Whether one's certificate is younger than the other's probe, at the same address.
fn was_renewed(a: &Sighting, b: &Sighting) -> bool {
    let (Some(seen_a), Some(seen_b)) = (&a.certificate, &b.certificate) else { return false };
    // Both are written as `2026-11-20T12:00:00`, in UTC: their order is that of their texts.
    let second = |date: &Option<String>| date.as_deref().and_then(|date| date.get(..19)).map(str::to_owned);
    let is_younger = |made: &Option<String>, probed: &Option<String>| {
        second(made).zip(second(probed)).is_some_and(|(made, probed)| made > probed)
    };
    let is_younger = is_younger(&seen_a.not_before, &b.started) || is_younger(&seen_b.not_before, &a.started);
    seen_a.address == seen_b.address && is_younger
}

/// What is said of the one that does not get in.
struct Texts {
    way: &'static str,
    dns: &'static str,
    impostor: &'static str,
}

const AT_A: Texts = Texts {
    way: "The host lets clients in, as B shows. What differs lies between A and the host: a firewall or another box on \
        that way, or a rule for A's network, not the host's RDP service.",
    dns: "B finds the host's address, A does not: look at the resolver that A asks (split DNS), not at the host.",
    impostor: "The host speaks RDP, as B shows. On A's way something else answers in its place: a proxy, a portal, or \
        another host with that address.",
};
const AT_B: Texts = Texts {
    way: "The host lets clients in, as A shows. What differs lies between B and the host: a firewall or another box on \
        that way, or a rule for B's network, not the host's RDP service.",
    dns: "A finds the host's address, B does not: look at the resolver that B asks (split DNS), not at the host.",
    impostor: "The host speaks RDP, as A shows. On B's way something else answers in its place: a proxy, a portal, or \
        another host with that address.",
};
const SPLIT_DNS: &str = "The name leads to other addresses here and there: split DNS, or a stale record. They may be \
    two hosts.";
const OTHER_FAMILIES: &str = "One goes by IPv4 and the other by IPv6: two ways, and two sets of firewall rules, to what \
    may be one host.";
const OTHER_COMPUTER: &str = "Two computers answer, each by its own name: A and B do not see the same host.";
const REFUSES_ONE: &str = "A refusal is the host's own answer, and a host answers everybody alike: another host \
    answers one of them, or it changed between the two probes.";
const BOTH_FAIL: &str = "Both see the same, so the cause is not on the way of one of them: look at the host itself.";
const HOST_LIVES: &str = "Both meet silence, and a companion port gave a sign of life: the host is up, and a firewall, \
    perhaps its own, drops the RDP port for both.";
const BOTH_DNS: &str = "Both fail to find the host's address: look at the name in DNS, not at the host.";
const TWO_REASONS: &str = "Neither gets in, and not for the same reason. Begin with the one that came further: it says \
    more of the host; the other has trouble on its way besides.";
const FAULT_AT_A: &str = "A's own machine failed before a packet could leave: it says nothing of the host.";
const FAULT_AT_B: &str = "B's own machine failed before a packet could leave: it says nothing of the host.";
const BOTH_FAULTS: &str = "Both vantage points failed by themselves: nothing is known of the host.";
const TLS_IN_BETWEEN: &str = "One address shows two certificates: something between one of them and the host ends TLS \
    (a proxy, an inspection), or the address leads to another host there.";
const TWO_CERTIFICATES: &str = "The two addresses show different certificates: two hosts, or two members of one farm.";
const RENEWED: &str = "One of the certificates was made after the other's probe: it may simply have been renewed. \
    Probe again from both.";
const OTHER_LAYERS: &str = "A host answers everybody alike: where the layers differ, something in between answers in \
    its place, or the settings changed between the two probes.";
