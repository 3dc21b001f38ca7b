//! The one answer to "can a client get in, and if not, why".
//! Labels are written constants: dashboards and alerts rely on them.

use std::fmt;

use crate::{
    observation::{Companion, Conversation, Fault, Negotiation, Observation, Stage, Stop},
    target::Settings,
    wire::negotiation::FailureCode,
};

/// Whether a client can get in, and if not, why. In the order of the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// A layer was negotiated and, where it is TLS, the handshake completed.
    Healthy,
    /// No such name, or no address of the wanted family.
    DnsNotFound,
    /// The resolver failed or was silent.
    DnsFailure,
    /// An ICMP unreachable.
    HostUnreachable,
    /// RST or ICMP port unreachable to the SYN.
    ConnectRefused,
    /// Every address was silent, nothing more is known.
    ConnectTimeout,
    /// Every address was silent, and so were its companion ports.
    HostDown,
    /// Every address was silent, but the host lives: a companion port answered or refused.
    PortFiltered,
    /// The connection ended before one byte of answer.
    ClosedAfterRequest,
    /// No whole answer to the request within the time.
    NegotiationTimeout,
    /// An answer that is not TPKT.
    NotRdp,
    /// TPKT, but not a valid confirm.
    ProtocolError,
    /// The server has no certificate for TLS.
    NoCertificate,
    /// Any other refusal that leaves no way in.
    NegotiationRefused,
    /// The connection ended inside TLS.
    TlsReset,
    /// The server sent a fatal alert.
    TlsAlert,
    /// TLS began and did not complete within the time.
    TlsTimeout,
    /// Bytes inside TLS that are not TLS, or break it.
    TlsError,
    /// Our own system refused before a packet could leave.
    ExporterFault,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 19] = [
        Self::Healthy,
        Self::DnsNotFound,
        Self::DnsFailure,
        Self::HostUnreachable,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::HostDown,
        Self::PortFiltered,
        Self::ClosedAfterRequest,
        Self::NegotiationTimeout,
        Self::NotRdp,
        Self::ProtocolError,
        Self::NoCertificate,
        Self::NegotiationRefused,
        Self::TlsReset,
        Self::TlsAlert,
        Self::TlsTimeout,
        Self::TlsError,
        Self::ExporterFault,
    ];

    /// The value of the `verdict` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::DnsNotFound => "dns_not_found",
            Self::DnsFailure => "dns_failure",
            Self::HostUnreachable => "host_unreachable",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::HostDown => "host_down",
            Self::PortFiltered => "port_filtered",
            Self::ClosedAfterRequest => "closed_after_request",
            Self::NegotiationTimeout => "negotiation_timeout",
            Self::NotRdp => "not_rdp",
            Self::ProtocolError => "protocol_error",
            Self::NoCertificate => "no_certificate",
            Self::NegotiationRefused => "negotiation_refused",
            Self::TlsReset => "tls_reset",
            Self::TlsAlert => "tls_alert",
            Self::TlsTimeout => "tls_timeout",
            Self::TlsError => "tls_error",
            Self::ExporterFault => "exporter_fault",
        }
    }
}

impl Verdict {
    /// The verdict on one observation.
    #[must_use]
    pub fn of(seen: &Observation) -> Self {
        match (seen.stop(), seen.deciding()) {
            (_, Some(conversation)) if conversation.leads_in() => Self::Healthy,
            (Some(stop), _) => Self::of_stop(stop),
            (None, Some(conversation)) => Self::of_answer(conversation),
            (None, None) => Self::ExporterFault,
        }
    }

    /// The same, where silence is explained by what the companion ports said; and what they said, if it is.
    #[must_use]
    pub fn beside_companions(self, said: Vec<Companion>, settings: &Settings) -> (Self, Vec<Companion>) {
        let host_lives = said.iter().filter_map(Companion::lives).reduce(|one, other| one || other);
        match (self, host_lives) {
            _ if settings.companion_ports.is_empty() => (self, Vec::new()),
            (Self::ConnectTimeout, Some(true)) => (Self::PortFiltered, said),
            (Self::ConnectTimeout, Some(false)) => (Self::HostDown, said),
            _ => (self, Vec::new()),
        }
    }

    fn of_answer(conversation: &Conversation) -> Self {
        match conversation.negotiation.map(|timed| timed.fact) {
            // A first flight in the clear that explains nothing, and no time left for the handshake.
            Some(answer) if answer.leads_to_tls() => Self::TlsTimeout,
            Some(Negotiation::Absent | Negotiation::Selected { .. }) => Self::Healthy,
            Some(Negotiation::Refused(FailureCode::SSL_CERT_NOT_ON_SERVER)) => Self::NoCertificate,
            Some(Negotiation::Disconnected | Negotiation::Refused(_)) => Self::NegotiationRefused,
            None => Self::ExporterFault,
        }
    }

    fn of_stop(stop: &Stop) -> Self {
        if matches!(stop.fault, Fault::Local(_) | Fault::Forbidden(_)) {
            return Self::ExporterFault;
        }
        match stop.stage {
            Stage::Resolve => match stop.fault {
                Fault::NameNotFound => Self::DnsNotFound,
                _ => Self::DnsFailure,
            },
            Stage::Connect => match stop.fault {
                Fault::Refused => Self::ConnectRefused,
                Fault::Unreachable(_) => Self::HostUnreachable,
                Fault::Closed | Fault::Reset => Self::ClosedAfterRequest,
                _ => Self::ConnectTimeout,
            },
            Stage::Negotiate => match stop.fault {
                Fault::Closed | Fault::Reset => Self::ClosedAfterRequest,
                Fault::NotTpkt(_) => Self::NotRdp,
                Fault::Timeout => Self::NegotiationTimeout,
                _ => Self::ProtocolError,
            },
            // A challenge decides nothing, so it never stops a probe.
            Stage::Tls | Stage::Challenge => match stop.fault {
                Fault::Alert(_) => Self::TlsAlert,
                Fault::Closed | Fault::Reset => Self::TlsReset,
                Fault::Timeout => Self::TlsTimeout,
                _ => Self::TlsError,
            },
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
