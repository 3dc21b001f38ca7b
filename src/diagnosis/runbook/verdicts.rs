//! The runbook's entries of the verdicts, in their order.

use super::{
    BOUND_CERTIFICATE, CERTIFICATE_EVENTS, CERTIFICATE_SERVICES, Entry, KEY_PERMISSIONS, MAKE_ANEW, OTHER_VANTAGE,
    SCHANNEL_EVENTS, TLS_SETTINGS,
};
use crate::diagnosis::Verdict;

pub(super) static HEALTHY: Entry = Entry {
    label: Verdict::Healthy.label(),
    sentence: "A client can get in: the server agreed on a security layer and, where that is TLS, on \
        version and cipher suite.",
    windows_shows: "",
    causes: &[
        "where users fail all the same: licensing, the user's profile, a gateway's policy, an idle \
            firewall or the user's own client, none of which this probe can see",
        "where some users fail: their way to the host differs from the exporter's",
        "where users with NLA fail: no domain controller in reach of the host (0x1807)",
    ],
    next: &[
        "look at the findings: a healthy target can have critical ones, such as an expired certificate",
        "run `rdp_exporter probe HOST` in the user's network and compare",
        "ask for both codes of the dialog: extended 0x100 to 0x10B is licensing, 5 is a session taken \
            over, 3 is idle time",
    ],
    not: "that a logon succeeds, or that the certificate is good: the probe has no credentials, \
        and a certificate's faults are findings.",
};

pub(super) static DNS_NOT_FOUND: Entry = Entry {
    label: Verdict::DnsNotFound.label(),
    sentence: "The name has no address, or none of the wanted family.",
    windows_shows: "0x104 or 0x508",
    causes: &[
        "the host was retired or renamed",
        "its dynamic DNS record was scavenged",
        "wrong suffix, or a short name in the configuration",
        "`ip_protocol` asks for a family that the name does not have",
    ],
    next: &[
        "on the exporter's machine: `getent ahosts HOST`; on a client: `Resolve-DnsName HOST`",
        "compare with the target's address in the configuration; write the full name",
        "host still there: `ipconfig /registerdns` on it",
    ],
    not: "that the host is down: nothing was sent to it. Clients that ask another resolver or \
        add another suffix may get in.",
};

pub(super) static DNS_FAILURE: Entry = Entry {
    label: Verdict::DnsFailure.label(),
    sentence: "The resolver answered with an error or not at all, so the host's address is not known.",
    windows_shows: "0x104",
    causes: &[
        "the exporter's resolver is down or out of reach",
        "split DNS: the resolver that is asked cannot answer for this zone",
        "the VPN to the resolver is down",
    ],
    next: &[
        "many targets at once: look at the resolver, not at the hosts",
        "on the exporter's machine: `getent ahosts HOST`, and the servers in `/etc/resolv.conf`",
        "on a client: `Resolve-DnsName HOST`",
    ],
    not: "that the name is gone or the host is down: nothing was sent to the host.",
};

pub(super) static HOST_UNREACHABLE: Entry = Entry {
    label: Verdict::HostUnreachable.label(),
    sentence: "Something on the way answered that the host cannot be reached or may not be (ICMP \
        unreachable).",
    windows_shows: "0x204",
    causes: &[
        "no route, or a wrong one",
        "an access list or a firewall that rejects and says so",
        "the virtual machine is off and its gateway reports that",
    ],
    next: &[
        "on the exporter's machine: `ip route get ADDRESS` and `traceroute HOST`",
        "the firewall's log for the exporter's address",
        "the host's power state",
    ],
    not: "that the host is off: somebody on the way answered, and clients elsewhere may have \
        another way.",
};

pub(super) static CONNECT_REFUSED: Entry = Entry {
    label: Verdict::ConnectRefused.label(),
    sentence: "The address answers, and refuses connections to the port.",
    windows_shows: "0x204",
    causes: &[
        "the service TermService is stopped",
        "remote connections are switched off: `fDenyTSConnections` is 1",
        "the listener is missing: `qwinsta` shows no rdp-tcp in state Listen",
        "RDP listens on another port: `PortNumber` was changed",
        "a firewall rejects with a reset",
    ],
    next: &[
        "on the host: `qwinsta` and `Get-Service TermService, UmRdpService`",
        "`fDenyTSConnections` in `HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server` is 0, also \
            under `HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows NT\\Terminal Services`",
        "`PortNumber` in `WinStations\\RDP-Tcp` under the first of these is the port that is probed",
        "in the host's own subnet: `Test-NetConnection HOST -Port 3389`",
    ],
    not: "that the host is dead: something at that address answers. With a stale DNS record it \
        may be another host.",
};

pub(super) static CONNECT_TIMEOUT: Entry = Entry {
    label: Verdict::ConnectTimeout.label(),
    sentence: "No address of the target answered the request for a TCP connection.",
    windows_shows: "0x204 or 0x108",
    causes: &[
        "the host is off or asleep",
        "a firewall drops the packets: a network security group, or Windows Firewall, perhaps after the \
            network's profile became Public",
        "wrong port, or an address that is no longer the host's",
    ],
    next: &[
        "the host's power state, and its console",
        "ask another port: `Test-NetConnection HOST -Port 445`; an answer means that the host lives and \
            the RDP port is filtered",
        "on the host: `Get-NetConnectionProfile` and `Get-NetFirewallRule -DisplayGroup 'Remote Desktop'`",
        "firewalls and security groups between exporter and host",
    ],
    not: "that the host is down: dropped packets look the same, and clients elsewhere may get \
        in.",
};

pub(super) static HOST_DOWN: Entry = Entry {
    label: Verdict::HostDown.label(),
    sentence: "Neither the RDP port nor any companion port gave a sign of life.",
    windows_shows: "0x204 or 0x108",
    causes: &[
        "the host is off or asleep, or has no network",
        "a firewall drops everything that comes from the exporter",
        "the address is no longer the host's: a stale DNS record, or a new lease",
    ],
    next: &[
        "the host's power state and its console; for desktops the energy settings, and Wake-on-LAN",
        "from a client in the host's own subnet: `Test-NetConnection HOST -Port 3389`; an answer there \
            means a firewall on the way",
        "`Resolve-DnsName HOST`: is the address still the host's?",
    ],
    not: "that the host is off for certain: where everything from the exporter is filtered it looks the \
        same, and clients elsewhere may get in.",
};

pub(super) static PORT_FILTERED: Entry = Entry {
    label: Verdict::PortFiltered.label(),
    sentence: "The host lives, since a companion port answered or refused, and its RDP port is silent.",
    windows_shows: "0x204 or 0x108",
    causes: &[
        "Windows Firewall: the rules of Remote Desktop are off, or not for the network's present profile, \
            such as Public",
        "a firewall or network security group on the way drops the RDP port",
        "the RDP port is another one than the configured one",
    ],
    next: &[
        "on the host: `Get-NetConnectionProfile` and `Get-NetFirewallRule -DisplayGroup 'Remote Desktop'`",
        "firewalls and security groups between exporter and host: what do they do with the port?",
        "on the host: `PortNumber` of `WinStations\\RDP-Tcp`, and `qwinsta`: does it listen?",
    ],
    not: "that clients elsewhere are filtered as well: the filter may be for the exporter's network alone.",
};

pub(super) static CLOSED_AFTER_REQUEST: Entry = Entry {
    label: Verdict::ClosedAfterRequest.label(),
    sentence: "The TCP connection was made, and ended before the server said a single byte of RDP.",
    windows_shows: "0x904, extended 0x7",
    causes: &[
        "a box or program that guards RDP cut it: intrusion prevention, a filter by country, a blocker of \
            brute force that has banned this address",
        "a proxy or TCP wrapper without a living RDP server behind it",
        "the server's limit of connections is reached",
        "the listener is just starting",
    ],
    next: &[
        "on the host, Operational log of `TerminalServices-RemoteConnectionManager`: event 261 at that \
            time? If not, the connection ended before it came to Windows",
        "logs and block lists of what is in between, for the exporter's address",
        OTHER_VANTAGE,
        "on the host: `qwinsta` and `Get-Service TermService`",
    ],
    not: "that certificate or TLS are at fault: it never came that far. Nor that the port is \
        closed.",
};

pub(super) static NEGOTIATION_TIMEOUT: Entry = Entry {
    label: Verdict::NegotiationTimeout.label(),
    sentence: "The TCP connection was made, and the server did not answer the RDP request in time.",
    windows_shows: "0x704 or 0x904",
    causes: &[
        "TermService hangs: no processor time, memory or disk",
        "a load balancer in front waits for a cookie",
        "a half-dead virtual machine whose TCP stack still answers",
        "a flood of connections, such as brute force",
    ],
    next: &[
        "the host's console: processor, memory, disk",
        "the history of `rdp_stage_duration_seconds{stage=\"negotiate\"}`: a slow rise is load, a jump is \
            a hang",
        "on the host: `Get-Service TermService` and who is connected: `qwinsta`",
        "with a load balancer in front: `cookie` of the configuration",
    ],
    not: "that the port is blocked: the TCP connection was made.",
};

pub(super) static NOT_RDP: Entry = Entry {
    label: Verdict::NotRdp.label(),
    sentence: "Something answered on the port, and it does not speak RDP.",
    windows_shows: "0x904, extended 0x7",
    causes: &[
        "another service has the port: HTTP, SSH, NoMachine",
        "a port that wants TLS from the first byte",
        "wrong port in the configuration, or an address that is no longer the host's",
        "a honeypot",
    ],
    next: &[
        "the first bytes, in the evidence: `rdp_exporter probe HOST`",
        "on the host: `Get-NetTCPConnection -LocalPort 3389 -State Listen`, column OwningProcess",
        "`PortNumber` in `WinStations\\RDP-Tcp` under \
            `HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server`",
    ],
    not: "that RDP is broken on the host: it may listen on another port.",
};

pub(super) static PROTOCOL_ERROR: Entry = Entry {
    label: Verdict::ProtocolError.label(),
    sentence: "The server's answer has the frame of RDP, but is not valid.",
    windows_shows: "0x904",
    causes: &["a broken RDP server", "something in between that changed the answer or cut it off", "a honeypot"],
    next: &[
        "which field was wrong, in the evidence: `rdp_exporter probe HOST`",
        OTHER_VANTAGE,
        "product and version of the server",
    ],
    not: "that the server refused: refusals are negotiation_refused and no_certificate.",
};

pub(super) static NO_CERTIFICATE: Entry = Entry {
    label: Verdict::NoCertificate.label(),
    sentence: "The server has no usable certificate and so cannot start TLS (RDP_NEG_FAILURE 3).",
    windows_shows: "0x904, extended 0x7, or an internal error",
    causes: &[
        "Windows could not create its own certificate or replace the expired one: permissions in \
            MachineKeys",
        "SessionEnv, KeyIso or CryptSvc is stopped",
        "`SSLCertificateSHA1Hash` names a certificate that is not there",
        "xrdp with `security_layer=tls`: certificate or key file cannot be read",
    ],
    next: &[CERTIFICATE_EVENTS, MAKE_ANEW, KEY_PERMISSIONS, CERTIFICATE_SERVICES, BOUND_CERTIFICATE],
    not: "that the certificate is expired or untrusted: with such a one TLS still starts.",
};

pub(super) static NEGOTIATION_REFUSED: Entry = Entry {
    label: Verdict::NegotiationRefused.label(),
    sentence: "The server answered, and refused every security layer that it was offered.",
    windows_shows: "0xB09 where the server requires NLA and the client has none",
    causes: &[
        "failure code 2: the server is set to Standard RDP Security alone, and refused that as well",
        "failure code 6: it wants a client certificate",
        "failure code 4: the port expects TLS first, as Hyper-V's 2179 does",
        "failure code 1 or 5: it asks for TLS or NLA although both were offered: a server that does not \
            follow the protocol",
        "no code: xrdp could not agree and disconnected",
    ],
    next: &[
        "the code: `rdp_negotiation_failure_code`, or `rdp_exporter probe HOST`",
        "`SecurityLayer` and `UserAuthentication` in `WinStations\\RDP-Tcp` under \
            `HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server`",
        "on the host, System log, source TerminalServices-RemoteConnectionManager: 1050 (layer and \
            encryption do not fit together)",
        "xrdp: its log, and `security_layer` in xrdp.ini",
    ],
    not: "that a logon was rejected: nobody tried to log on.",
};

pub(super) static TLS_RESET: Entry = Entry {
    label: Verdict::TlsReset.label(),
    sentence: "The server agreed on TLS, and the connection ended before the handshake was complete.",
    windows_shows: "0x904, extended 0x7",
    causes: &[
        "the certificate's private key cannot be read (Schannel 36870): permissions in MachineKeys",
        "TLS versions switched off, or FIPS (Schannel 36871 with 10013)",
        "no TLS version or cipher suite in common (Schannel 36874 with 36888)",
        "a box in between that inspects or cuts TLS",
    ],
    next: &[SCHANNEL_EVENTS, KEY_PERMISSIONS, MAKE_ANEW, TLS_SETTINGS, CERTIFICATE_SERVICES, OTHER_VANTAGE],
    not: "that the server is merely an old Windows: one whose only fault is a version or suite \
        that the exporter's TLS library lacks is read in the clear and counts as healthy.",
};

pub(super) static TLS_ALERT: Entry = Entry {
    label: Verdict::TlsAlert.label(),
    sentence: "The server broke off the TLS handshake with a fatal alert, whose number says why.",
    windows_shows: "0x904",
    causes: &[
        "40: no cipher suite or signature in common",
        "70: no TLS version in common; 71: the server's policy",
        "80: an internal error of the server, such as a private key that it cannot use",
        "42 to 48: about certificates",
    ],
    next: &[
        "the alert's number, in the evidence: `rdp_exporter probe HOST`",
        SCHANNEL_EVENTS,
        TLS_SETTINGS,
        KEY_PERMISSIONS,
    ],
    not: "that the exporter rejects the certificate: it accepts every one.",
};

pub(super) static TLS_TIMEOUT: Entry = Entry {
    label: Verdict::TlsTimeout.label(),
    sentence: "The TLS handshake began and did not complete in time.",
    windows_shows: "0x904, or it hangs at \"Configuring remote session\"",
    causes: &[
        "lsass on the host is busy or hangs",
        "the path loses large packets (MTU): the server's certificate is lost, while the small packets \
            before it pass",
    ],
    next: &[
        "large packets: `ping -M do -s 1472 HOST` on Linux, `ping -f -l 1472 HOST` on Windows",
        "the host's console: processor time of lsass",
        "the history of `rdp_stage_duration_seconds{stage=\"tls\"}`: a slow rise is load",
        OTHER_VANTAGE,
    ],
    not: "that the server refuses: one without a common version or suite, or without its key, \
        says so or ends the connection.",
};

pub(super) static TLS_ERROR: Entry = Entry {
    label: Verdict::TlsError.label(),
    sentence: "What came in the place of TLS is not TLS, or breaks its rules.",
    windows_shows: "likely 0x904",
    causes: &[
        "a box in between that answers in the server's place",
        "a broken TLS implementation",
        "a certificate chain of more than 64 KiB",
    ],
    next: &[
        "what was wrong, in the evidence: `rdp_exporter probe HOST`",
        OTHER_VANTAGE,
        "product and version of the server; the size of its certificates",
    ],
    not: "that a version or suite is missing: a server answers that with an alert or ends the \
        connection.",
};

pub(super) static EXPORTER_FAULT: Entry = Entry {
    label: Verdict::ExporterFault.label(),
    sentence: "The exporter's own system refused before a packet could leave, so nothing new is known of \
        the target.",
    windows_shows: "",
    causes: &[
        "no file descriptors left",
        "no free local port, or a `source_address` that is not this machine's",
        "a route that prohibits, or a missing right",
        "no route to any of the target's addresses",
    ],
    next: &[
        "on the exporter: `rdp_exporter_local_failures_total`, by its label reason",
        "descriptors: `LimitNOFILE` of the unit, and `max_concurrent` of the configuration",
        "routes: `ip route get ADDRESS`",
        "a firewall on the exporter's machine does not show here: it reads as one on the way, as silence, \
            refusal or `host_unreachable`",
    ],
    not: "that anything is wrong with the target: `rdp_up` and `rdp_reachable` keep the values \
        they had.",
};
