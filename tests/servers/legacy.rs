//! Servers that rustls cannot finish with, and some that it just can: version, suite and certificate as openssl says.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::exporter::{Probe, address, scrape, scrape_until, serve};
use crate::harness::openssl::{Certificate, Key, Recipe, Workshop};
use crate::harness::peer::{CONFIRM_SSL, Peer, answer};
use crate::harness::process::{Server, require, wait_until};
use crate::harness::samples::Samples;
use crate::harness::servers::{Xrdp, negotiated, start_s_server_with};

/// A server that is limited somehow, with a front that counts.
struct Limited {
    name: &'static str,
    /// Connections of the first probe; all later ones need one.
    first: usize,
    certificate: Certificate,
    /// Version and suite as openssl's client is given them for the offer that can succeed here.
    agreed: (String, String),
    front: Peer,
    _server: Server,
}

/// An xrdp that speaks only this.
fn xrdp(name: &'static str, ssl_protocols: &'static str, tls_ciphers: &'static str, workshop: &Workshop) -> Limited {
    let certificate = workshop.self_signed(&Recipe::default());
    let server = Xrdp { ssl_protocols, tls_ciphers, weak: true, ..Xrdp::tls(&certificate) }.start();
    let agreed = negotiated(Peer::tls_of(server.port).port, CLEAR_OFFER);
    Limited { name, first: 2, certificate, agreed, front: Peer::counter(server.port), _server: server }
}

/// An `openssl s_server` that speaks only TLS 1.2 and this, behind a front.
fn s_server(name: &'static str, first: usize, key: Key, arguments: &[&str], workshop: &Workshop) -> Limited {
    let certificate = workshop.self_signed(&Recipe { key, ..Recipe::default() });
    let server = start_s_server_with(&certificate, &[&["-tls1_2"], arguments].concat());
    let agreed = negotiated(server.port, if first == 1 { RUSTLS_OFFER } else { CLEAR_OFFER });
    Limited { name, first, certificate, agreed, front: Peer::relay(&CONFIRM_SSL, server.port), _server: server }
}

/// Debian builds OpenSSL without 3DES: the front writes the suite into the ServerHello of a server that agrees on
/// AES-128-CBC, which looks the same up to there. Nobody looks further than the first flight.
fn triple_des(workshop: &Workshop) -> Limited {
    let certificate = workshop.self_signed(&Recipe::default());
    let server = start_s_server_with(&certificate, &["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"]);
    let port = server.port;
    let front = Peer::start(move |mut client| {
        answer(&mut client, &CONFIRM_SSL)?;
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        relay_as_triple_des(client, server)
    });
    let (version, cipher) = negotiated(port, CLEAR_OFFER);
    assert_eq!(cipher, "TLS_RSA_WITH_AES_128_CBC_SHA");
    let agreed = (version, "TLS_RSA_WITH_3DES_EDE_CBC_SHA".to_owned());
    Limited { name: "3DES", first: 2, certificate, agreed, front, _server: server }
}

fn relay_as_triple_des(mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
    let (mut up_from, mut up_to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut up_from, &mut up_to);
        up_to.shutdown(Shutdown::Write)?;
        copied
    });
    let mut head = [0; 5];
    server.read_exact(&mut head)?;
    let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    server.read_exact(&mut record)?;
    // A ServerHello: 4 bytes of message header, 2 of version, 32 of random, then the session's length and the suite.
    if head[0] == 0x16 && record[0] == 2 {
        let suite = 39 + usize::from(record[38]);
        assert_eq!(record[suite..suite + 2], [0x00, 0x2f]);
        record[suite + 1] = 0x0a;
    }
    client.write_all(&head)?;
    client.write_all(&record)?;
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Write)
}

fn all(workshop: &Workshop) -> Vec<Limited> {
    let rsa = Key::Rsa(2048);
    vec![
        xrdp("TLS 1.0", "TLSv1", "ALL:@SECLEVEL=0", workshop),
        xrdp("TLS 1.1", "TLSv1.1", "ALL:@SECLEVEL=0", workshop),
        xrdp("RSA key exchange and CBC", "TLSv1.2", "AES256-SHA256:AES128-SHA", workshop),
        s_server("DHE with CBC", 2, rsa, &["-cipher", "DHE-RSA-AES256-SHA"], workshop),
        s_server("DHE with GCM", 2, rsa, &["-cipher", "DHE-RSA-AES256-GCM-SHA384"], workshop),
        s_server("ECDHE with CBC", 2, rsa, &["-cipher", "ECDHE-RSA-AES256-SHA384"], workshop),
        s_server("RSA key exchange with GCM", 2, rsa, &["-cipher", "AES128-GCM-SHA256"], workshop),
        triple_des(workshop),
        s_server("SHA-1 signatures", 1, rsa, &["-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "RSA+SHA1"], workshop),
    ]
}

/// Every fact of the TLS equals openssl's, and old is called old.
#[track_caller]
fn assert_as_openssl(samples: &Samples, limited: &Limited) {
    let name = limited.name;
    let facts = limited.certificate.facts();
    assert_eq!(samples.value("rdp_up"), 1.0, "{name}");
    let label = |family, label| samples.label(family, label);
    assert_eq!(label("rdp_verdict", "verdict"), "healthy", "{name}");
    assert_eq!((label("rdp_tls_info", "version"), label("rdp_tls_info", "cipher")), limited.agreed, "{name}");
    assert_eq!(label("rdp_certificate_info", "sha256"), facts.sha256, "{name}");
    assert_eq!(samples.value("rdp_certificate_not_after_timestamp_seconds"), facts.not_after, "{name}");
    let (version, cipher) = &limited.agreed;
    let is_modern = ["TLS 1.2", "TLS 1.3"].contains(&version.as_str());
    let is_good = is_modern && cipher.contains("DHE_") && cipher.contains("_GCM_");
    let expected = (!is_good).then_some("warning");
    assert_eq!(samples.finding("tls_legacy").as_deref(), expected, "{name}: {:?}", limited.agreed);
    let proven = samples.get("rdp_certificate_key_proven", &[]);
    assert_eq!(proven, (limited.first == 1).then_some(1.0), "{name}: key proven");
    assert_eq!(samples.finding("certificate_unverified_key"), None, "{name}");
}

#[test]
fn legacy_servers_are_as_openssl_says() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    for limited in all(&workshop) {
        let report = Probe::of(limited.front.port).run();
        report.assert_healthy("ssl");
        assert_as_openssl(&report.samples, &limited);
        assert_eq!(limited.front.accepted(), limited.first, "connections of one probe: {}", limited.name);
    }
}

/// TLS 1.2 with a key that ring cannot check: either way in is right, and nobody claims that the key was not proven.
#[test]
fn legacy_p521_with_tls_1_2() {
    if !require(&["openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let limited = s_server("P-521", 2, Key::Curve("P-521"), &["-cipher", "ALL:@SECLEVEL=0"], &workshop);
    let report = Probe::of(limited.front.port).run();
    let samples = report.assert_healthy("ssl");
    assert_eq!(samples.label("rdp_tls_info", "version"), "TLS 1.2");
    assert_eq!(samples.label("rdp_tls_info", "cipher"), limited.agreed.1);
    assert_eq!(samples.label("rdp_certificate_info", "sha256"), limited.certificate.facts().sha256);
    assert_ne!(samples.get("rdp_certificate_key_proven", &[]), Some(0.0));
    assert_eq!(samples.finding("certificate_unverified_key"), None);
    assert_eq!(samples.finding("tls_legacy"), None);
}

/// What is learnt in the first probe is remembered: the host's event log gets one extra event, not one per probe.
#[test]
fn legacy_servers_cost_one_extra_connection_once() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let servers = all(&workshop);
    let targets: Vec<Value> =
        servers.iter().map(|limited| json!({ "address": address(limited.front.port), "name": limited.name })).collect();
    let config = json!({
        "probe": {
            "interval": "2s", "timeout": "1900ms", "confirm_after": "1s",
            "challenge_interval": "0s", "survey_interval": "0s",
        },
        "targets": targets,
    });
    let exporter = serve(&config);
    let healthy = |samples: &Samples, name| {
        samples.get("rdp_probes_total", &[("target", name), ("verdict", "healthy")]).unwrap_or_default()
    };
    for limited in &servers {
        let name = limited.name;
        scrape_until(&exporter, "three more probes", |samples| healthy(samples, name) >= 3.0);
        let (samples, connections) = wait_until("pause between two probes", Duration::from_secs(30), || {
            let before = Samples::parse(&scrape(&exporter));
            let connections = limited.front.taken();
            let after = Samples::parse(&scrape(&exporter));
            let is_still = [&before, &after].iter().all(|now| now.value("rdp_exporter_probes_in_flight") == 0.0);
            (is_still && healthy(&before, name) == healthy(&after, name)).then_some((after, connections))
        });
        let verdicts = samples.all("rdp_probes_total", &[("target", name)]).count();
        assert_eq!(verdicts, 1, "{name}: every probe was healthy");
        let probes = healthy(&samples, name);
        assert_eq!(connections as f64, probes + (limited.first - 1) as f64, "{name}: connections of {probes} probes");
    }
}

/// What a hello without TLS 1.3 can offer that reaches all of Windows, as openssl calls it, in order (protocol 2.4).
const CLEAR_OFFER: &[&str] = &[
    "-max_protocol",
    "TLSv1.2",
    "-groups",
    "X25519:P-256:P-384:P-521",
    "-cipher",
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:\
     ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-SHA384:\
     ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA:\
     ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES128-SHA:DHE-RSA-AES256-SHA:DHE-RSA-AES128-SHA:\
     AES256-GCM-SHA384:AES128-GCM-SHA256:AES256-SHA256:AES128-SHA256:AES256-SHA:AES128-SHA:@SECLEVEL=0",
];
/// What rustls with ring offers below TLS 1.3.
const RUSTLS_OFFER: &[&str] = &[
    "-max_protocol",
    "TLSv1.2",
    "-cipher",
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:\
     ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305:@SECLEVEL=0",
];
