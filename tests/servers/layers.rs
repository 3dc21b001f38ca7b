//! What the survey learns about layers, TLS versions and encryption, and what the challenge tells.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};

use serde_json::json;

use crate::harness::exporter::{Probe, Report, address, probe_endpoint, scrape_until, serve};
use crate::harness::openssl::{Certificate, Recipe, Workshop};
use crate::harness::peer::{Peer, read_frame, request};
use crate::harness::process::require;
use crate::harness::samples::Samples;
use crate::harness::servers::{Shadow, Xrdp, start_weston};

fn surveyed(port: u16) -> Report {
    Probe::with(&[&address(port), "--timeout=5s"]).run()
}

#[track_caller]
fn assert_layers(samples: &Samples, expected: &[(&str, f64)]) {
    for (layer, accepted) in expected {
        let found = samples.get("rdp_security_layer_accepted", &[("layer", layer)]);
        assert_eq!(found, Some(*accepted), "{layer}: {:#?}", samples.0);
    }
}

/// Method and level of Standard RDP Security as the server itself says them to a client that offers every method.
fn chosen_encryption(port: u16) -> (u32, u32) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    stream.write_all(&request(0)).unwrap();
    read_frame(&mut stream).unwrap();
    let connect: String = CONNECT_INITIAL.split_ascii_whitespace().collect();
    let bytes = (0..connect.len() / 2).map(|at| u8::from_str_radix(&connect[2 * at..2 * at + 2], 16).unwrap());
    stream.write_all(&bytes.collect::<Vec<_>>()).unwrap();
    let response = read_frame(&mut stream).unwrap();
    let key = response.windows(4).position(|window| window == b"McDn").expect("a conference's answer") + 4;
    let mut blocks = &response[key + if response[key] & 0x80 == 0 { 1 } else { 2 }..];
    loop {
        let (kind, length) = (u16::from_le_bytes([blocks[0], blocks[1]]), u16::from_le_bytes([blocks[2], blocks[3]]));
        let word = |at: usize| u32::from_le_bytes(blocks[at..at + 4].try_into().unwrap());
        if kind == SC_SECURITY {
            return (word(4), word(8));
        }
        blocks = &blocks[usize::from(length)..];
    }
}

/// xrdp.ini(5) promises: low and medium are as strong as the client can, high and fips what the server wants. What xrdp
/// 0.9.21 really sends to a client that can everything is 40 bit at low and at medium, and 128 bit at high only; every
/// row is checked against a connection of this test's own first.
#[test]
fn xrdp_encryption_is_as_configured() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    for (crypt_level, sent, method, level) in [
        ("none", (0x00, 0), "none", "none"),
        ("low", (0x01, 1), "40bit", "low"),
        ("medium", (0x01, 2), "40bit", "client_compatible"),
        ("high", (0x02, 3), "128bit", "high"),
        ("fips", (0x10, 4), "fips", "fips"),
    ] {
        let server = Xrdp { security_layer: "rdp", crypt_level, ..Xrdp::tls(&certificate) }.start();
        assert_eq!(chosen_encryption(server.port), sent, "{crypt_level}: what xrdp says to this test");
        let report = surveyed(server.port);
        let samples = report.assert_healthy("rdp");
        assert_eq!(samples.label("rdp_encryption_info", "method"), method, "{crypt_level}");
        assert_eq!(samples.label("rdp_encryption_info", "level"), level, "{crypt_level}");
        assert_layers(samples, &[("rdp", 1.0), ("ssl", 0.0), ("hybrid", 0.0), ("hybrid_ex", 0.0)]);
        assert_eq!(samples.value("rdp_nla_required"), 0.0);
        assert_eq!(samples.finding("standard_security_only").as_deref(), Some("critical"));
        if method != "none" {
            let accepted = samples.get("rdp_encryption_method_accepted", &[("method", method)]);
            assert_eq!(accepted, Some(1.0), "{crypt_level}");
        }
        assert!(!samples.has_family("rdp_tls_version_accepted"), "{crypt_level}");
    }
}

#[test]
fn shadow_nla_tells_its_name_and_clock() {
    if !require(&["freerdp-shadow-cli", "Xvfb", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let shadow = Shadow::start("nla", &workshop.self_signed(&Recipe::default()));
    let report = surveyed(shadow.server.port);
    let samples = report.assert_healthy("hybrid");
    assert_layers(samples, &[("hybrid", 1.0), ("ssl", 0.0), ("rdp", 0.0)]);
    assert_eq!(samples.value("rdp_nla_required"), 1.0);
    // FreeRDP gives the host's own name, in the case and length that NetBIOS and DNS have for it.
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim().to_lowercase();
    let netbios: String = host.split('.').next().unwrap().chars().take(15).collect();
    let label = |name| samples.label("rdp_server_info", name).to_lowercase();
    assert_eq!(label("computer"), netbios);
    assert_eq!(label("dns_computer").split('.').next(), host.split('.').next());
    assert_eq!(label("version"), "6.1.7601");
    let skew = samples.value("rdp_clock_skew_seconds");
    assert!(skew.abs() < 1.5, "{skew} s on one machine");
    assert!(samples.get("rdp_stage_duration_seconds", &[("stage", "challenge")]).is_some());
    assert_eq!(samples.finding("clock_skew"), None);
    assert_eq!(samples.finding("nla_no_answer"), None);
}

/// nmap calls every confirm a success; an answer with another layer is none.
#[test]
fn servers_without_nla_are_not_said_to_have_it() {
    if !require(&["freerdp-shadow-cli", "Xvfb", "weston", "xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let shadow = Shadow::start("tls", &certificate);
    let (weston, xrdp) = (start_weston(&certificate), Xrdp::tls(&certificate).start());
    for (name, port, rdp) in
        [("shadow", shadow.server.port, None), ("weston", weston.port, Some(1.0)), ("xrdp", xrdp.port, Some(0.0))]
    {
        let report = surveyed(port);
        let samples = report.assert_healthy("ssl");
        assert_layers(samples, &[("hybrid", 0.0), ("hybrid_ex", 0.0), ("ssl", 1.0)]);
        assert_eq!(samples.value("rdp_nla_required"), 0.0, "{name}");
        if rdp.is_some() {
            assert_eq!(samples.get("rdp_security_layer_accepted", &[("layer", "rdp")]), rdp, "{name}");
        }
        assert!(!samples.has_family("rdp_server_info"), "{name}: no CredSSP, no names");
        assert!(samples.get("rdp_survey_timestamp_seconds", &[]).is_some(), "{name}");
    }
}

#[test]
fn xrdp_negotiate_accepts_standard_security() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let server = Xrdp { security_layer: "negotiate", ..Xrdp::tls(&certificate) }.start();
    let report = surveyed(server.port);
    let samples = report.assert_healthy("ssl");
    assert_layers(samples, &[("rdp", 1.0), ("ssl", 1.0), ("hybrid", 0.0), ("hybrid_ex", 0.0)]);
    assert_eq!(samples.finding("standard_security_accepted").as_deref(), Some("warning"));
    assert_eq!(samples.finding("standard_security_only"), None);
    assert_eq!(samples.label("rdp_encryption_info", "method"), "128bit");
    for (method, accepted) in [("128bit", 1.0), ("40bit", 0.0), ("56bit", 0.0), ("fips", 0.0)] {
        let found = samples.get("rdp_encryption_method_accepted", &[("method", method)]);
        assert!(found == Some(accepted) || (accepted == 0.0 && found.is_none()), "{method}: {found:?}");
    }
}

#[test]
fn tls_versions_are_surveyed() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    for (ssl_protocols, weak, expected) in [
        ("TLSv1.2", false, [0.0, 0.0, 1.0, 0.0]),
        ("TLSv1.3", false, [0.0, 0.0, 0.0, 1.0]),
        ("TLSv1.2, TLSv1.3", false, [0.0, 0.0, 1.0, 1.0]),
        ("TLSv1, TLSv1.1, TLSv1.2, TLSv1.3", true, [1.0, 1.0, 1.0, 1.0]),
        ("TLSv1, TLSv1.1", true, [1.0, 1.0, 0.0, 0.0]),
        ("TLSv1", true, [1.0, 0.0, 0.0, 0.0]),
    ] {
        let tls_ciphers = if weak { "ALL:@SECLEVEL=0" } else { "" };
        let server = Xrdp { ssl_protocols, tls_ciphers, weak, ..Xrdp::tls(&certificate) }.start();
        let report = surveyed(server.port);
        let samples = report.assert_healthy("ssl");
        let accepted = ["TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"]
            .map(|version| samples.get("rdp_tls_version_accepted", &[("version", version)]));
        assert_eq!(accepted, expected.map(Some), "{ssl_protocols}");
    }
}

#[test]
fn no_survey_leaves_the_survey_out() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let server = Xrdp { security_layer: "negotiate", ..Xrdp::tls(&certificate) }.start();
    let report = Probe::of(server.port).run();
    assert_no_survey(report.assert_healthy("ssl"));
    let report = surveyed(server.port);
    let samples = report.assert_healthy("ssl");
    assert!(SURVEY.iter().all(|family| samples.has_family(family)), "{:#?}", samples.0);
}

#[test]
fn probe_endpoint_surveys_when_asked() {
    if !require(&["xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate: Certificate = workshop.self_signed(&Recipe::default());
    let server = Xrdp { security_layer: "negotiate", ..Xrdp::tls(&certificate) }.start();
    let config = json!({
        "probe": { "interval": "1h", "timeout": "5s", "survey_interval": "1d" },
        "targets": [{ "address": address(server.port), "name": "desk" }],
    });
    let exporter = serve(&config);
    scrape_until(&exporter, "first probe", |samples| samples.get("rdp_up", &[]) == Some(1.0));
    assert_no_survey(&probe_endpoint(&exporter, "target=desk"));
    let surveyed = probe_endpoint(&exporter, "target=desk&survey=true");
    assert!(SURVEY.iter().all(|family| surveyed.has_family(family)), "{:#?}", surveyed.0);
    assert_layers(&surveyed, &[("rdp", 1.0), ("ssl", 1.0), ("hybrid", 0.0)]);
    let ended = surveyed.value("rdp_survey_timestamp_seconds");
    for samples in [
        probe_endpoint(&exporter, "target=desk"),
        scrape_until(&exporter, "survey on /metrics", |samples| samples.has_family("rdp_survey_timestamp_seconds")),
    ] {
        assert_eq!(samples.value("rdp_survey_timestamp_seconds"), ended, "known, not asked again");
        assert_layers(&samples, &[("rdp", 1.0), ("ssl", 1.0), ("hybrid", 0.0)]);
    }
}

/// One connection for an ordinary probe; the survey needs at most six more, and three for the methods of Standard RDP
/// Security where that is accepted.
#[test]
fn surveys_are_short() {
    if !require(&["freerdp-shadow-cli", "Xvfb", "weston", "xrdp", "openssl"]) {
        return;
    }
    let workshop = Workshop::new();
    let certificate = workshop.self_signed(&Recipe::default());
    let shadow = Shadow::start("nla", &certificate);
    let weston = start_weston(&certificate);
    let xrdp = |security_layer| Xrdp { security_layer, ..Xrdp::tls(&certificate) }.start();
    let (tls, negotiate, rdp) = (xrdp("tls"), xrdp("negotiate"), xrdp("rdp"));
    for (name, port, most) in [
        ("shadow nla", shadow.server.port, 6),
        ("weston", weston.port, 9),
        ("xrdp tls", tls.port, 6),
        ("xrdp negotiate", negotiate.port, 9),
        ("xrdp rdp", rdp.port, 9),
    ] {
        let counter = Peer::counter(port);
        Probe::of(counter.port).run().assert_verdict("healthy");
        assert_eq!(counter.taken(), 1, "{name}: an ordinary probe");
        surveyed(counter.port).assert_verdict("healthy");
        let survey = counter.taken() - 2;
        assert!((1..=most).contains(&survey), "{name}: {survey} connections of the survey");
    }
}

#[track_caller]
fn assert_no_survey(samples: &Samples) {
    for family in SURVEY {
        assert!(!samples.has_family(family), "{family} without a survey");
    }
}

const SURVEY: [&str; 4] = [
    "rdp_security_layer_accepted",
    "rdp_tls_version_accepted",
    "rdp_encryption_method_accepted",
    "rdp_survey_timestamp_seconds",
];
/// The block of the answer that tells method and level ([MS-RDPBCGR] 2.2.1.4.3).
const SC_SECURITY: u16 = 0x0c02;
/// MCS Connect Initial that offers 40, 56 and 128 bit and FIPS.
const CONNECT_INITIAL: &str = "
0300018802f0807f6582017c0401010401010101ff30190201220201020201000201010201000201010202ffff020102
301902010102010102010102010102010002010102020420020102301c0202ffff0202fc170202ffff02010102010002
01010202ffff0201020482011b000500147c00018112000800100001c00044756361810401c0d8000400080000040003
01ca03aa09040000280a00007200640070002d006500780070006f007200740065007200000000000000000004000000
000000000c00000000000000000000000000000000000000000000000000000000000000000000000000000000000000
00000000000000000000000000000000000000000000000001ca01000000000018000700010000000000000000000000
000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
00000000000000000000000004c00c000d0000000000000002c00c001b0000000000000003c014000100000072647064
7200000000008080";
