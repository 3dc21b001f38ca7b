//! What is wrong with the host behind the name, and with the way to it.

use super::Finding;
use crate::{memory::Memory, target::Target, wire::ntlm::Challenge};

pub(super) fn findings(memory: &Memory, target: &Target) -> Vec<Finding> {
    let challenge = memory.challenge.last.as_ref().map(|(facts, _)| facts);
    let skew = challenge.and_then(|facts| facts.clock_skew_seconds).unwrap_or_default();
    let expected = target.expected_computer();
    let is_another = |challenge: &Challenge| expected.is_some_and(|expected| !is_named(challenge, expected));
    let conditions = [
        (Finding::NlaNoAnswer, memory.challenge.is_unanswered()),
        (Finding::WrongHost, challenge.is_some_and(|facts| is_another(&facts.challenge))),
        (Finding::ClockSkew, skew.abs() > target.settings.expect.clock_skew.as_secs_f64()),
        (Finding::NetworkUnstable, memory.network.is_unstable()),
    ];
    conditions.into_iter().filter(|(_, holds)| *holds).map(|(finding, _)| finding).collect()
}

/// Whether a challenge is from the computer of that name. NetBIOS names end after 15 characters; a challenge without a
/// name says nothing against it.
fn is_named(challenge: &Challenge, expected: &str) -> bool {
    let first_label = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
    let whole = expected.to_lowercase();
    let short: String = first_label(expected).chars().take(NETBIOS_LENGTH).collect();
    let netbios = challenge.netbios_computer.as_ref().map(|name| name.to_lowercase());
    let dns = challenge.dns_computer.as_ref().map(|name| name.to_lowercase());
    match (netbios, dns) {
        (None, None) => true,
        (_, Some(dns)) if expected.contains('.') => dns == whole,
        (netbios, dns) => netbios == Some(short) || dns.is_some_and(|dns| first_label(&dns) == whole),
    }
}

const NETBIOS_LENGTH: usize = 15;
