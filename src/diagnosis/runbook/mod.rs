//! The runbook: what each verdict and each finding means, what Windows' own client shows for it, and what to do.
//! The one home of these texts: command, page, alerts and docs show them. How they are shown is no business of this room.
//!
//! In the texts backticks enclose what is typed or looked for literally, and upper-case HOST is the reader's to replace.

mod findings;
mod verdicts;

use super::{Finding, Verdict};

/// What is to be said of a verdict or a finding.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value of the `verdict` or `finding` label.
    pub label: &'static str,
    /// What it is, in one sentence.
    pub sentence: &'static str,
    /// What Windows' own client shows for it; empty where it shows nothing.
    pub windows_shows: &'static str,
    /// Likely causes, the likeliest first.
    pub causes: &'static [&'static str],
    /// What to look at or do next, in order.
    pub next: &'static [&'static str],
    /// What it does not mean: that …
    pub not: &'static str,
}

impl Verdict {
    /// What is to be said of it.
    #[must_use]
    pub const fn runbook(self) -> &'static Entry {
        match self {
            Self::Healthy => &verdicts::HEALTHY,
            Self::DnsNotFound => &verdicts::DNS_NOT_FOUND,
            Self::DnsFailure => &verdicts::DNS_FAILURE,
            Self::HostUnreachable => &verdicts::HOST_UNREACHABLE,
            Self::ConnectRefused => &verdicts::CONNECT_REFUSED,
            Self::ConnectTimeout => &verdicts::CONNECT_TIMEOUT,
            Self::HostDown => &verdicts::HOST_DOWN,
            Self::PortFiltered => &verdicts::PORT_FILTERED,
            Self::ClosedAfterRequest => &verdicts::CLOSED_AFTER_REQUEST,
            Self::NegotiationTimeout => &verdicts::NEGOTIATION_TIMEOUT,
            Self::NotRdp => &verdicts::NOT_RDP,
            Self::ProtocolError => &verdicts::PROTOCOL_ERROR,
            Self::NoCertificate => &verdicts::NO_CERTIFICATE,
            Self::NegotiationRefused => &verdicts::NEGOTIATION_REFUSED,
            Self::TlsReset => &verdicts::TLS_RESET,
            Self::TlsAlert => &verdicts::TLS_ALERT,
            Self::TlsTimeout => &verdicts::TLS_TIMEOUT,
            Self::TlsError => &verdicts::TLS_ERROR,
            Self::ExporterFault => &verdicts::EXPORTER_FAULT,
        }
    }
}

impl Finding {
    /// What is to be said of it.
    #[must_use]
    pub const fn runbook(self) -> &'static Entry {
        match self {
            Self::CertificateExpired => &findings::CERTIFICATE_EXPIRED,
            Self::CertificateExpiring => &findings::CERTIFICATE_EXPIRING,
            Self::CertificateNotYetValid => &findings::CERTIFICATE_NOT_YET_VALID,
            Self::CertificateNameMismatch => &findings::CERTIFICATE_NAME_MISMATCH,
            Self::CertificateUntrusted => &findings::CERTIFICATE_UNTRUSTED,
            Self::CertificateSelfSigned => &findings::CERTIFICATE_SELF_SIGNED,
            Self::CertificateWeakKey => &findings::CERTIFICATE_WEAK_KEY,
            Self::CertificateWeakSignature => &findings::CERTIFICATE_WEAK_SIGNATURE,
            Self::CertificateUnverifiedKey => &findings::CERTIFICATE_UNVERIFIED_KEY,
            Self::CertificateChangedEarly => &findings::CERTIFICATE_CHANGED_EARLY,
            Self::CertificateDiffers => &findings::CERTIFICATE_DIFFERS,
            Self::TlsLegacy => &findings::TLS_LEGACY,
            Self::TlsLegacyAccepted => &findings::TLS_LEGACY_ACCEPTED,
            Self::StandardSecurityOnly => &findings::STANDARD_SECURITY_ONLY,
            Self::StandardSecurityAccepted => &findings::STANDARD_SECURITY_ACCEPTED,
            Self::SecurityDowngraded => &findings::SECURITY_DOWNGRADED,
            Self::NlaNotOffered => &findings::NLA_NOT_OFFERED,
            Self::NlaNotRequired => &findings::NLA_NOT_REQUIRED,
            Self::NlaNoAnswer => &findings::NLA_NO_ANSWER,
            Self::WrongHost => &findings::WRONG_HOST,
            Self::ClockSkew => &findings::CLOCK_SKEW,
            Self::NetworkUnstable => &findings::NETWORK_UNSTABLE,
        }
    }
}

// Steps that more than one entry gives.

/// Where Windows tells of trouble with the listener's certificate.
const CERTIFICATE_EVENTS: &str = "on the host, System log, source TerminalServices-RemoteConnectionManager: 1057 and \
    1058 (could not create its own certificate, or replace the expired one), 1051, 1055 and 1059 (trouble with a \
    certificate that was bound)";
/// What has to run for Windows to make its own certificate.
const CERTIFICATE_SERVICES: &str =
    "these must run: `Get-Service SessionEnv, KeyIso, CryptSvc, CertPropSvc`; SessionEnv makes the certificate";
/// How Windows is made to make its own certificate anew.
const MAKE_ANEW: &str = "to have it made anew: delete it from the computer's store Remote Desktop \
    (`Get-ChildItem 'Cert:\\LocalMachine\\Remote Desktop'`), then `Restart-Service SessionEnv, TermService -Force`, \
    which interrupts sessions";
/// The permissions of the private key.
const KEY_PERMISSIONS: &str = "permissions in `C:\\ProgramData\\Microsoft\\Crypto\\RSA\\MachineKeys`: folder \
    Administrators full, Everyone read and write; file `f686aace6942fb7f7ceb231212eef4a4_*` SYSTEM full, \
    NETWORK SERVICE read";
/// The certificate that somebody chose.
const BOUND_CERTIFICATE: &str = "`SSLCertificateSHA1Hash` of `WinStations\\RDP-Tcp` under \
    `HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server`: names a certificate that is in the store and whose \
    key NETWORK SERVICE may read, or is absent";
/// What Schannel says of a failed handshake.
const SCHANNEL_EVENTS: &str = "on the host, System log, source Schannel: 36870 or 36872 is the private key; 36871 \
    with 10013 is TLS versions or FIPS; 36874 with 36888 is nothing in common";
/// The settings that leave nothing in common.
const TLS_SETTINGS: &str = "TLS 1.2 for servers is on in `SecurityProviders\\SCHANNEL\\Protocols` under \
    `HKLM\\SYSTEM\\CurrentControlSet\\Control`, and the policy SSL Cipher Suite Order is not configured";
/// Where the security layer is set.
const LAYER_SETTINGS: &str = "set `SecurityLayer` to 2 and `UserAuthentication` to 1 in `WinStations\\RDP-Tcp` under \
    `HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server`; values under \
    `HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows NT\\Terminal Services` come from a group policy: change it there";
/// How a box in between is told from the host.
const OTHER_VANTAGE: &str =
    "run `rdp_exporter probe HOST` in the host's own subnet: another answer there means a box in between";

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> impl Iterator<Item = (&'static str, &'static Entry)> {
        let verdicts = Verdict::ALL.into_iter().map(|verdict| (verdict.label(), verdict.runbook()));
        verdicts.chain(Finding::ALL.into_iter().map(|finding| (finding.label(), finding.runbook())))
    }

    fn texts(entry: &Entry) -> impl Iterator<Item = &'static str> {
        [entry.sentence, entry.windows_shows, entry.not]
            .into_iter()
            .chain(entry.causes.iter().copied())
            .chain(entry.next.iter().copied())
    }

    #[test]
    fn every_verdict_and_finding_has_its_own_whole_entry() {
        let mut labels = std::collections::BTreeSet::new();
        for (label, entry) in entries() {
            assert_eq!(entry.label, label);
            assert!(labels.insert(label), "{label} twice");
            assert!(!entry.causes.is_empty() && !entry.next.is_empty(), "{label}");
            let Entry { sentence, not, .. } = entry;
            assert!(sentence.starts_with(char::is_uppercase) && sentence.ends_with('.'), "{label}: {sentence:?}");
            assert!(not.starts_with("that ") && not.ends_with('.'), "{label}: {not:?}");
            assert!(!entry.sentence.trim_end_matches('.').contains(". "), "{label}: one sentence");
        }
    }

    #[test]
    fn texts_are_short_clean_and_say_only_what_is_known() {
        for (label, entry) in entries() {
            for text in texts(entry) {
                assert!(text.chars().count() <= 400, "{label}: {text:?} is too long");
                assert!(text.is_ascii() && !text.contains(char::is_control), "{label}: {text:?}");
                assert!(!text.contains("  ") && text == text.trim(), "{label}: {text:?} has stray blanks");
                let marks = ["[U]", "[I]", "[T]", "[E]", "TODO"];
                assert!(!marks.iter().any(|mark| text.contains(mark)), "{label}: {text:?} has a mark");
            }
            for item in entry.causes.iter().chain(entry.next) {
                assert!(!item.is_empty() && !item.ends_with('.'), "{label}: {item:?}");
            }
        }
    }

    /// So that Markdown shows the texts as they are, and that a command fits on a line of a terminal.
    #[test]
    fn what_is_literal_stands_in_backticks() {
        for (label, entry) in entries() {
            for text in texts(entry) {
                let parts: Vec<_> = text.split('`').collect();
                assert!(parts.len() % 2 == 1, "{label}: {text:?} has a lonely backtick");
                for (number, part) in parts.iter().enumerate() {
                    match number % 2 {
                        0 => assert!(!part.contains(['<', '*', '\\', '|', '#', '[']), "{label}: {part:?}"),
                        _ => assert!((1..=63).contains(&part.len()), "{label}: {part:?}"),
                    }
                }
            }
        }
    }
}
