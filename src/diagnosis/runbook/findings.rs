//! The runbook's entries of the findings, in their order.

use super::{
    BOUND_CERTIFICATE, CERTIFICATE_EVENTS, CERTIFICATE_SERVICES, Entry, KEY_PERMISSIONS, LAYER_SETTINGS, MAKE_ANEW,
    OTHER_VANTAGE, TLS_SETTINGS,
};
use crate::diagnosis::Finding;

pub(super) static CERTIFICATE_EXPIRED: Entry = Entry {
    label: Finding::CertificateExpired.label(),
    sentence: "The certificate's validity has ended.",
    windows_shows: "a warning, or 0x1B07; where the key cannot be read either: 0x904, extended 0x7",
    causes: &[
        "Windows could not replace its own certificate (event 1058): permissions in MachineKeys, or a \
            stopped service",
        "a certificate that somebody installed was forgotten",
        "the clock of the host or of the exporter is wrong",
    ],
    next: &[
        CERTIFICATE_EVENTS,
        MAKE_ANEW,
        KEY_PERMISSIONS,
        CERTIFICATE_SERVICES,
        BOUND_CERTIFICATE,
        "both clocks: `rdp_clock_skew_seconds`",
    ],
    not: "that nobody gets in: the target can be healthy. On a self-signed certificate, which \
        Windows renews itself, its severity is only info for the first two days.",
};

pub(super) static CERTIFICATE_EXPIRING: Entry = Entry {
    label: Finding::CertificateExpiring.label(),
    sentence: "The certificate has fewer days left than `expect.certificate_days` asks for.",
    windows_shows: "",
    causes: &[
        "a certificate that somebody installed, and that nobody renews",
        "a certificate of a template that TermService could not replace (event 1065)",
        "the threshold is longer than what the issuer leaves before it renews",
    ],
    next: &[
        "on the host, System log, source TerminalServices-RemoteConnectionManager: 1052 (expires in days) \
            and 1065 (the template's certificate could not be replaced)",
        "issue and bind a new one; NETWORK SERVICE needs to read its key",
        BOUND_CERTIFICATE,
    ],
    not: "that anything is broken yet. Windows' own certificate is not reported before it is \
        overdue, because Windows renews it (`expect.self_signed_renews`).",
};

pub(super) static CERTIFICATE_NOT_YET_VALID: Entry = Entry {
    label: Finding::CertificateNotYetValid.label(),
    sentence: "The certificate's validity has not begun.",
    windows_shows: "a warning",
    causes: &["the host's clock was ahead when the certificate was made", "the exporter's clock is behind"],
    next: &[
        "`rdp_clock_skew_seconds`: of this target, and of others to judge the exporter's clock",
        "on the host: `w32tm /query /status`",
        "after the clock is right, a new certificate; Windows' own: see the next step",
        MAKE_ANEW,
    ],
    not: "that nobody gets in. It passes by itself when the day comes.",
};

pub(super) static CERTIFICATE_NAME_MISMATCH: Entry = Entry {
    label: Finding::CertificateNameMismatch.label(),
    sentence: "The certificate is for another name than the one the target is reached by.",
    windows_shows: "a warning",
    causes: &[
        "the target is reached by an alias or a farm's name, and Windows' own certificate has only the \
            host's name",
        "the host was renamed",
        "the name leads to another host: see wrong_host",
    ],
    next: &[
        "names of the certificate: labels subject and san of `rdp_certificate_info`",
        "configure the name that clients use: `server_name`",
        "for an alias or a farm: a certificate with that name among its subject alternative names",
    ],
    not: "that it is the wrong host: the computer's own name is in `rdp_server_info`.",
};

pub(super) static CERTIFICATE_UNTRUSTED: Entry = Entry {
    label: Finding::CertificateUntrusted.label(),
    sentence: "A trusted certificate is expected here, and this one reaches no root in `trust`.",
    windows_shows: "a warning, where the client does not trust the issuer either",
    causes: &[
        "the issuer's root is not among `trust.ca_files` or the system's roots",
        "the host does not send the intermediate certificate",
        "the certificate is for neither server authentication nor Remote Desktop (event 1054)",
        "its chain cannot be checked here: a signature by SHA-1 or by ECDSA with SHA-512, an authority's key that is EC \
            P-521, RSA-PSS or RSA under 2048 bits, a leaf of X.509 version 1 (as by a plain `openssl x509 -req`) or that \
            is an authority",
    ],
    next: &[
        "issuer: label issuer of `rdp_certificate_info`; add its root to `trust.ca_files`",
        "where the chain cannot be checked, the leaf itself: in `trust.ca_files` it is trusted as it is",
        "on the host, System log, source TerminalServices-RemoteConnectionManager: 1054 (wrong purpose)",
        "the intermediate certificate in the host's store of intermediate authorities",
    ],
    not: "that its name or its dates are wrong or that it was revoked: none of them is looked at \
        here.",
};

pub(super) static CERTIFICATE_SELF_SIGNED: Entry = Entry {
    label: Finding::CertificateSelfSigned.label(),
    sentence: "A trusted certificate is expected here, and this one vouches for itself.",
    windows_shows: "a warning, where the client was not told to trust this very certificate",
    causes: &[
        "no certificate was ever bound, so Windows shows its own",
        "the policy Server authentication certificate template does not reach the host",
        "the bound certificate cannot be used (events 1051, 1055, 1059)",
    ],
    next: &[
        CERTIFICATE_EVENTS,
        "with a template: `gpresult /r /scope computer`, and events 1063 (installed) and 1065 (could not \
            be replaced)",
        BOUND_CERTIFICATE,
    ],
    not: "that the connection is in the clear: it is encrypted, but clients cannot tell the host \
        from an impostor.",
};

pub(super) static CERTIFICATE_WEAK_KEY: Entry = Entry {
    label: Finding::CertificateWeakKey.label(),
    sentence: "The certificate's key is too short: RSA under 2048 bits, or EC under 256.",
    windows_shows: "newer clients refuse it",
    causes: &["a certificate from an old system, or an old xrdp", "a template or a script that asks for a short key"],
    next: &[
        "label key of `rdp_certificate_info`",
        "bound certificate: issue a new one, RSA 2048 or longer",
        "self-signed one: see the next step; today's Windows makes RSA 2048",
        MAKE_ANEW,
    ],
    not: "that anybody knows the key, or that nobody gets in.",
};

pub(super) static CERTIFICATE_WEAK_SIGNATURE: Entry = Entry {
    label: Finding::CertificateWeakSignature.label(),
    sentence: "A certificate of the chain, other than its root, is signed with MD5 or SHA-1.",
    windows_shows: "newer clients refuse it",
    causes: &[
        "an old Windows, of 2008 R2's days, signs its own certificate with SHA-1",
        "an old authority or an old intermediate certificate",
        "an old xrdp",
    ],
    next: &[
        "label signature of `rdp_certificate_info` shows the host's own certificate; if that is good, an \
            intermediate one is meant",
        "issue a new one, signed with SHA-256, and bind it",
        BOUND_CERTIFICATE,
    ],
    not: "that the cipher suite is weak: see tls_legacy.",
};

pub(super) static CERTIFICATE_UNVERIFIED_KEY: Entry = Entry {
    label: Finding::CertificateUnverifiedKey.label(),
    sentence: "The server could not prove that it holds the key of the certificate it showed.",
    windows_shows: "likely 0x904: a client has to end such a handshake",
    causes: &[
        "certificate and key do not belong together",
        "something in between shows a certificate that is not its own",
        "a broken TLS implementation",
    ],
    next: &[
        OTHER_VANTAGE,
        "label sha256 of `rdp_certificate_info`: is it the host's own?",
        "xrdp: `certificate` and `key_file` in xrdp.ini belong together",
        "until it is explained, let nobody log on there",
    ],
    not: "that there is an attack. Nor is a key meant that could not be checked: that gives no \
        finding.",
};

pub(super) static CERTIFICATE_CHANGED_EARLY: Entry = Entry {
    label: Finding::CertificateChangedEarly.label(),
    sentence: "The certificate was replaced though it was not due: over 30 days were left, or self-signed \
        and issued changed places.",
    windows_shows: "likely a warning, also to users who had accepted the old one",
    causes: &[
        "somebody installed another certificate, or a policy with a template now reaches the host",
        "the host was set up anew, or its address is another host's now",
        "a template's certificate that is enrolled again and again (KB 2531138)",
        "something in between shows its own certificate",
    ],
    next: &[
        "who is it: `rdp_server_info` and the labels of `rdp_certificate_info`, before and after",
        "on the host, System log, source TerminalServices-RemoteConnectionManager: 1063 (the template's \
            certificate was installed)",
        OTHER_VANTAGE,
    ],
    not: "that there is an attack. It is shown for a day and then goes, explained or not.",
};

pub(super) static CERTIFICATE_DIFFERS: Entry = Entry {
    label: Finding::CertificateDiffers.label(),
    sentence: "The addresses of one name show different certificates.",
    windows_shows: "likely a warning on some connections and none on others",
    causes: &[
        "a farm under one name, each host with its own certificate",
        "a record of a host that is gone, whose address is another's now",
        "one of several hosts was left out when a certificate was replaced",
    ],
    next: &[
        "the name's addresses: `Resolve-DnsName HOST`; then probe each: `rdp_exporter probe ADDRESS`",
        "for a farm: one certificate with the farm's name, on every host",
        "meant to be so: `expect.accept`",
    ],
    not: "that one of them is bad.",
};

pub(super) static TLS_LEGACY: Entry = Entry {
    label: Finding::TlsLegacy.label(),
    sentence: "What was negotiated is old: TLS 1.1 or less, or a cipher suite without forward secrecy or AEAD.",
    windows_shows: "",
    causes: &[
        "Windows up to Server 2012 R2, which has no ECDHE suite with GCM for RSA certificates",
        "TLS 1.2 is switched off; for RDP on 2008 R2 it also needs KB3080079",
        "a policy or a hardening tool removed the modern suites",
    ],
    next: &[
        "what was negotiated: `rdp_tls_info`; the version of the host: `rdp_server_info`",
        TLS_SETTINGS,
        "an old Windows: a newer one",
    ],
    not: "that nobody gets in: clients that speak it do.",
};

pub(super) static TLS_LEGACY_ACCEPTED: Entry = Entry {
    label: Finding::TlsLegacyAccepted.label(),
    sentence: "The server accepts a TLS version below `expect.tls_min`.",
    windows_shows: "",
    causes: &["an older Windows, where old versions are on unless switched off", "an old client had to be let in"],
    next: &[
        "which: `rdp_tls_version_accepted`",
        "switch the version off for servers in `SecurityProviders\\SCHANNEL\\Protocols` under \
            `HKLM\\SYSTEM\\CurrentControlSet\\Control`; this holds for every Schannel service of the host",
        "before that: TLS 1.2 for servers is on, or nobody gets in",
    ],
    not: "that anybody uses the old version: clients take the best that both have.",
};

pub(super) static STANDARD_SECURITY_ONLY: Entry = Entry {
    label: Finding::StandardSecurityOnly.label(),
    sentence: "The server speaks Standard RDP Security and nothing else, so it cannot prove who it is.",
    windows_shows: "",
    causes: &[
        "`SecurityLayer` is 0 (RDP), on the host or by policy",
        "xrdp with `security_layer=rdp`, or with `negotiate` and a certificate that it cannot read",
        "Windows 2003 or older",
    ],
    next: &[
        LAYER_SETTINGS,
        "xrdp: `security_layer`, `certificate` and `key_file` in xrdp.ini, and who may read the files",
    ],
    not: "that nobody gets in: clients do, without knowing with whom they speak.",
};

pub(super) static STANDARD_SECURITY_ACCEPTED: Entry = Entry {
    label: Finding::StandardSecurityAccepted.label(),
    sentence: "Beside better layers the server takes Standard RDP Security, which proves nothing of who it \
        is.",
    windows_shows: "",
    causes: &[
        "`SecurityLayer` is 1 (negotiate) and `UserAuthentication` is 0",
        "xrdp with `security_layer=negotiate`, its default",
    ],
    next: &[LAYER_SETTINGS, "xrdp: `security_layer=tls` in xrdp.ini"],
    not: "that clients use it: those that can do better do so.",
};

pub(super) static SECURITY_DOWNGRADED: Entry = Entry {
    label: Finding::SecurityDowngraded.label(),
    sentence: "The server agrees on a weaker layer than it did within the last seven days.",
    windows_shows: "",
    causes: &[
        "somebody or a policy changed `SecurityLayer` or `UserAuthentication`",
        "another host or other software is at this address now",
        "xrdp cannot read its certificate any more and falls back to Standard RDP Security",
        "something in between that speaks in the server's place",
    ],
    next: &["when it changed: `rdp_security_layer`; who answers: `rdp_server_info`", LAYER_SETTINGS, OTHER_VANTAGE],
    not: "that there is an attack. It ends seven days after the stronger layer was last seen.",
};

pub(super) static NLA_NOT_OFFERED: Entry = Entry {
    label: Finding::NlaNotOffered.label(),
    sentence: "NLA is expected here, and the server does not offer it.",
    windows_shows: "",
    causes: &[
        "xrdp, which has no NLA",
        "`SecurityLayer` is 0 (RDP), on the host or by policy",
        "a Windows whose settings are far from the default",
    ],
    next: &[
        "what was agreed on: `rdp_security_layer`",
        LAYER_SETTINGS,
        "`fAllowSecProtocolNegotiation` in the same places is 1",
        "meant to be so: `expect.nla` or `expect.accept`",
    ],
    not: "that nobody gets in: users meet the logon screen before they have proved who they are.",
};

pub(super) static NLA_NOT_REQUIRED: Entry = Entry {
    label: Finding::NlaNotRequired.label(),
    sentence: "NLA is expected to be required here, and clients without it get in.",
    windows_shows: "",
    causes: &[
        "`UserAuthentication` is 0, on the host or by policy; 1 is the default since Windows 8 and Server \
            2012",
        "it was switched off for an old client",
    ],
    next: &["`rdp_nla_required` and `rdp_security_layer_accepted`: which layers get in", LAYER_SETTINGS],
    not: "that NLA is missing: clients that have it use it.",
};

pub(super) static NLA_NO_ANSWER: Entry = Entry {
    label: Finding::NlaNoAnswer.label(),
    sentence: "TLS stood, and the server twice left the first message of NLA (CredSSP) unanswered.",
    windows_shows: "likely a long wait, then 0x704 or 0x904",
    causes: &[
        "the logon service hangs or is overloaded: lsass on Windows",
        "a server that agrees on NLA without speaking it, such as xrdp behind Hyper-V",
    ],
    next: &[
        "the host's console: can one log on there? Processor time and memory of lsass",
        "try again: `rdp_exporter probe HOST`, line challenge",
        "if it stays: restart the host in an hour that suits",
    ],
    not: "that a password is wrong or an account locked: no account's name was sent. It does not \
        make `rdp_up` 0.",
};

pub(super) static WRONG_HOST: Entry = Entry {
    label: Finding::WrongHost.label(),
    sentence: "The computer behind the address gives another name than `expect.computer`.",
    windows_shows: "a warning, where its certificate has the other name too",
    causes: &[
        "a DNS record that was left behind, and whose address is another host's now",
        "the host was renamed",
        "a load balancer, a port forwarding or a broker leads elsewhere",
        "`expect.computer` is wrong",
    ],
    next: &[
        "who answers: `rdp_server_info`",
        "`Resolve-DnsName HOST`, and the address of the host itself: `ipconfig`",
        "host still there: `ipconfig /registerdns` on it",
    ],
    not: "that there is an impostor: the name is what the server says of itself.",
};

pub(super) static CLOCK_SKEW: Entry = Entry {
    label: Finding::ClockSkew.label(),
    sentence: "The clocks of host and exporter differ by more than `expect.clock_skew`.",
    windows_shows: "0x1B07, where a clock makes a good certificate look expired; failed logons by Kerberos",
    causes: &[
        "the host does not reach its time source",
        "a virtual machine that was paused or restored",
        "the exporter's clock is wrong",
    ],
    next: &[
        "many targets at once: the exporter's clock",
        "on the host: `w32tm /query /status` and `w32tm /resync`",
        "`rdp_clock_skew_seconds`: positive where the host is ahead",
    ],
    not: "that the host's clock is the wrong one: it may be the exporter's. It does not make \
        `rdp_up` 0.",
};

pub(super) static NETWORK_UNSTABLE: Entry = Entry {
    label: Finding::NetworkUnstable.label(),
    sentence: "Packets are lost, or single probes fail to connect, between probes that go well.",
    windows_shows: "now and then 0x204 or 0x108; connecting is slow",
    causes: &[
        "a link or a VPN that loses packets or is overloaded",
        "a firewall or load balancer that drops some connections",
        "an overloaded host",
    ],
    next: &[
        "`rdp_tcp_retransmits` and `rdp_tcp_rtt_seconds`: one target, or a whole site",
        "on the exporter's machine: `mtr --tcp --port 3389 HOST`",
        "the same in the host's own subnet: is it the way or the host",
    ],
    not: "that RDP itself is at fault. It clears after twenty clean probes.",
};
