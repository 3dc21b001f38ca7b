//! Something wrong on a target, whether it is up or not.
//! Labels are written constants: dashboards and alerts rely on them.

use std::fmt;

/// Something wrong on a target. In the order of the contract with users: certificate, TLS, layer, host, network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// `not_after` has passed.
    CertificateExpired,
    /// Too few days are left.
    CertificateExpiring,
    /// `not_before` has not come.
    CertificateNotYetValid,
    /// The certificate is for another name.
    CertificateNameMismatch,
    /// It reaches no root in `trust`.
    CertificateUntrusted,
    /// It vouches for itself, where a trusted one is expected.
    CertificateSelfSigned,
    /// RSA under 2048 or EC under 256 bits.
    CertificateWeakKey,
    /// MD5 or SHA-1.
    CertificateWeakSignature,
    /// The server could not prove that it has the certificate's key.
    CertificateUnverifiedKey,
    /// It was replaced although it was not due.
    CertificateChangedEarly,
    /// The addresses of one name show different ones.
    CertificateDiffers,
    /// Nothing better than TLS 1.1, or no forward secrecy, or no AEAD was negotiated.
    TlsLegacy,
    /// A version below the expected one is accepted.
    TlsLegacyAccepted,
    /// The server speaks Standard RDP Security and nothing else.
    StandardSecurityOnly,
    /// The server takes Standard RDP Security beside better layers.
    StandardSecurityAccepted,
    /// The layer is below the strongest of the last week.
    SecurityDowngraded,
    /// NLA is expected, and not spoken.
    NlaNotOffered,
    /// NLA is expected, and clients without it get in.
    NlaNotRequired,
    /// TLS stood, and CredSSP met silence in two challenges running.
    NlaNoAnswer,
    /// The challenge gives another computer's name.
    WrongHost,
    /// The server's clock and ours differ.
    ClockSkew,
    /// Segments are lost between probes that go well.
    NetworkUnstable,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// To be mended soon.
    Warning,
    /// To be mended now.
    Critical,
}

impl Finding {
    /// Every finding.
    pub const ALL: [Self; 22] = [
        Self::CertificateExpired,
        Self::CertificateExpiring,
        Self::CertificateNotYetValid,
        Self::CertificateNameMismatch,
        Self::CertificateUntrusted,
        Self::CertificateSelfSigned,
        Self::CertificateWeakKey,
        Self::CertificateWeakSignature,
        Self::CertificateUnverifiedKey,
        Self::CertificateChangedEarly,
        Self::CertificateDiffers,
        Self::TlsLegacy,
        Self::TlsLegacyAccepted,
        Self::StandardSecurityOnly,
        Self::StandardSecurityAccepted,
        Self::SecurityDowngraded,
        Self::NlaNotOffered,
        Self::NlaNotRequired,
        Self::NlaNoAnswer,
        Self::WrongHost,
        Self::ClockSkew,
        Self::NetworkUnstable,
    ];

    /// The value of the `finding` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateExpiring => "certificate_expiring",
            Self::CertificateNotYetValid => "certificate_not_yet_valid",
            Self::CertificateNameMismatch => "certificate_name_mismatch",
            Self::CertificateUntrusted => "certificate_untrusted",
            Self::CertificateSelfSigned => "certificate_self_signed",
            Self::CertificateWeakKey => "certificate_weak_key",
            Self::CertificateWeakSignature => "certificate_weak_signature",
            Self::CertificateUnverifiedKey => "certificate_unverified_key",
            Self::CertificateChangedEarly => "certificate_changed_early",
            Self::CertificateDiffers => "certificate_differs",
            Self::TlsLegacy => "tls_legacy",
            Self::TlsLegacyAccepted => "tls_legacy_accepted",
            Self::StandardSecurityOnly => "standard_security_only",
            Self::StandardSecurityAccepted => "standard_security_accepted",
            Self::SecurityDowngraded => "security_downgraded",
            Self::NlaNotOffered => "nla_not_offered",
            Self::NlaNotRequired => "nla_not_required",
            Self::NlaNoAnswer => "nla_no_answer",
            Self::WrongHost => "wrong_host",
            Self::ClockSkew => "clock_skew",
            Self::NetworkUnstable => "network_unstable",
        }
    }

    /// The finding of that label.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|finding| finding.label() == label)
    }

    /// How bad it is, unless circumstances say otherwise.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::CertificateExpired
            | Self::CertificateUnverifiedKey
            | Self::StandardSecurityOnly
            | Self::SecurityDowngraded => Severity::Critical,
            Self::CertificateExpiring
            | Self::CertificateNotYetValid
            | Self::CertificateUntrusted
            | Self::CertificateSelfSigned
            | Self::CertificateWeakKey
            | Self::CertificateWeakSignature
            | Self::CertificateChangedEarly
            | Self::TlsLegacy
            | Self::StandardSecurityAccepted
            | Self::NlaNotOffered
            | Self::NlaNotRequired
            | Self::NlaNoAnswer
            | Self::WrongHost
            | Self::ClockSkew
            | Self::NetworkUnstable => Severity::Warning,
            Self::CertificateNameMismatch | Self::CertificateDiffers | Self::TlsLegacyAccepted => Severity::Info,
        }
    }
}

impl Severity {
    /// The value of the `severity` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
