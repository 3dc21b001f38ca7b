//! Distinguished names as RFC 4514 and OpenSSL write them, and which server names a certificate is made out to.

use rdp_exporter::certificate::{CertificateFacts, name_matches};

use super::{odd::*, openssl_says};

fn subject(der: &[u8]) -> Option<String> {
    CertificateFacts::read(&[der.to_vec()]).unwrap().subject
}

/// Everything but the street, which OpenSSL spells in lower case.
const ALL_NAMED: [(&[u8], u8, &[u8]); 8] = [
    (&[0x55, 4, 6], PRINTABLE, b"DE"),
    (&[0x55, 4, 8], PRINTABLE, b"Hesse"),
    (&[0x55, 4, 7], PRINTABLE, b"Kassel"),
    (&[0x55, 4, 10], PRINTABLE, b"Corp"),
    (&[0x55, 4, 11], PRINTABLE, b"IT"),
    (&[9, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 0x19], 22, b"corp"),
    (&[9, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1], UTF8, b"jdoe"),
    (COMMON_NAME, UTF8, b"ts01"),
];

#[test]
fn as_openssl_writes_them() {
    let common_names: [(u8, &[u8], &str); 14] = [
        (UTF8, b"plain", "plain"),
        (UTF8, "Zürich €".as_bytes(), "Zürich €"),
        (UTF8, b"a,b+c\"d\\e<f>g;h", "a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h"),
        (UTF8, b" both ends ", "\\ both ends\\ "),
        (UTF8, b" ", "\\ "),
        (UTF8, b"#hash # inside", "\\#hash # inside"),
        (UTF8, b"a=b", "a=b"),
        (UTF8, b"", ""),
        (PRINTABLE, b"printable", "printable"),
        (20, b"Z\xFCrich", "Zürich"),
        (22, b"ia5", "ia5"),
        (18, b"0123", "0123"),
        (30, b"\0Z\0\xFC\x20\xAC", "Zü€"),
        (28, b"\0\0\0Z\0\x01\xF6\0", "Z😀"),
    ];
    for (tag, value, expected) in common_names {
        let der = Odd { subject: name(&[(COMMON_NAME, tag, value)]), ..Odd::default() }.der();
        assert_eq!(subject(&der), Some(format!("CN={expected}")));
        assert_eq!(openssl_says(SUBJECT, &der), format!("CN={expected}"));
    }
    let der = Odd { subject: name(&ALL_NAMED), ..Odd::default() }.der();
    assert_eq!(subject(&der).unwrap(), "CN=ts01,UID=jdoe,DC=corp,OU=IT,O=Corp,L=Kassel,ST=Hesse,C=DE");
    assert_eq!(openssl_says(SUBJECT, &der), subject(&der).unwrap());
}

#[test]
fn beyond_what_openssl_writes() {
    let cases: [(Vec<u8>, Option<&str>); 13] = [
        (name(&[]), Some("")),
        (name(&[(COMMON_NAME, 26, b"visible")]), Some("CN=visible")),
        (name(&[(COMMON_NAME, 2, b"\x05")]), Some("CN=#020105")),
        (name(&[(COMMON_NAME, UTF8, b"a\0b")]), Some("CN=a\\00b")),
        (name(&[(COMMON_NAME, UTF8, b"a\xFFb")]), Some("CN=a\u{FFFD}b")),
        (name(&[(COMMON_NAME, PRINTABLE, b"Z\xFCrich")]), Some("CN=Z\u{FFFD}rich")),
        (name(&[(COMMON_NAME, 30, b"\0a\xD8\0\0")]), Some("CN=a\u{FFFD}\u{FFFD}")),
        (name(&[(COMMON_NAME, 28, b"\0\x11\0\0\0")]), Some("CN=\u{FFFD}\u{FFFD}")),
        (name(&[(&[0x55, 4, 9], UTF8, b"Main")]), Some("STREET=Main")),
        (
            name(&[(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1], 22, b"a@b")]),
            Some("1.2.840.113549.1.9.1=#1603614062"),
        ),
        (
            tlv(0x30, &[&tlv(0x31, &[&attribute(COMMON_NAME, UTF8, b"a"), &attribute(&[0x55, 4, 11], UTF8, b"b")])]),
            Some("CN=a+OU=b"),
        ),
        (name(&[(&[0x55, 0x84], UTF8, b"cut-off arc")]), None),
        (tlv(0x30, &[b"noise"]), None),
    ];
    for (subject_der, expected) in cases {
        let der = Odd { subject: subject_der, ..Odd::default() }.der();
        assert_eq!(subject(&der).as_deref(), expected);
    }
}

const SUBJECT: &str = "-subject -nameopt esc_2253,sep_comma_plus,dn_rev,sname,utf8,dump_nostr,dump_der,dump_unknown";

const DNS: u8 = 2;
const EMAIL: u8 = 1;
const IP: u8 = 7;
const V6: &[u8] = &[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Common name, alternative names, server name, does it match.
type Row = (&'static str, &'static [(u8, &'static [u8])], &'static str, bool);

#[test]
fn server_names() {
    let cases: &[Row] = &[
        ("", &[(DNS, b"ts01.corp.example")], "ts01.corp.example", true),
        ("", &[(DNS, b"ts01.corp.example")], "TS01.Corp.Example", true),
        ("", &[(DNS, b"TS01.corp.example")], "ts01.corp.example.", true),
        ("", &[(DNS, b"ts01.corp.example.")], "ts01.corp.example", true),
        ("", &[(DNS, b"ts01.corp.example")], "ts02.corp.example", false),
        ("", &[(DNS, b"other.example"), (DNS, b"ts01.corp.example")], "ts01.corp.example", true),
        ("", &[(DNS, b"*.corp.example")], "ts01.corp.example", true),
        ("", &[(DNS, b"*.CORP.example")], "ts01.corp.EXAMPLE.", true),
        ("", &[(DNS, b"*.corp.example")], "a.ts01.corp.example", false),
        ("", &[(DNS, b"*.corp.example")], "corp.example", false),
        ("", &[(DNS, b"*.corp.example")], ".corp.example", false),
        ("", &[(DNS, b"ts*.corp.example")], "ts01.corp.example", false),
        ("", &[(DNS, b"ts01.*.example")], "ts01.corp.example", false),
        ("", &[(DNS, b"*")], "ts01", false),
        ("", &[(DNS, b"*.")], "ts01.", false),
        ("", &[(DNS, b"")], "", false),
        ("", &[(DNS, b"ts01.corp.example\0.evil.example")], "ts01.corp.example", false),
        ("", &[(DNS, b"ts01\xFF")], "ts01", false),
        ("", &[(IP, &[10, 0, 0, 1])], "10.0.0.1", true),
        ("", &[(IP, &[10, 0, 0, 2])], "10.0.0.1", false),
        ("", &[(IP, V6)], "2001:db8::1", true),
        ("", &[(IP, V6)], "2001:DB8:0::1", true),
        ("", &[(IP, b"10.0.0.1")], "10.0.0.1", false),
        ("10.0.0.1", &[(DNS, b"10.0.0.1")], "10.0.0.1", false),
        ("10.0.0.1", &[], "10.0.0.1", true),
        ("10.0.0.10", &[], "10.0.0.1", false),
        ("ts01", &[], "ts01", true),
        ("ts01", &[], "TS01.", true),
        ("*.corp.example", &[], "ts01.corp.example", true),
        ("ts01\0.evil.example", &[], "ts01", false),
        ("ts01", &[(DNS, b"other.example")], "ts01", false),
        ("ts01", &[(IP, &[10, 0, 0, 1])], "ts01", false),
        // Only names of hosts push the common name aside.
        ("ts01", &[(EMAIL, b"admin@corp.example")], "ts01", true),
    ];
    for (common, alternatives, server_name, expected) in cases {
        let extensions = if alternatives.is_empty() { Vec::new() } else { alternative_names(alternatives) };
        let subject = name(&[(COMMON_NAME, UTF8, common.as_bytes())]);
        let der = Odd { subject, extensions, ..Odd::default() }.der();
        assert_eq!(name_matches(&der, server_name), Some(*expected), "{common:?} {alternatives:?} {server_name}");
    }
}

#[test]
fn server_names_of_unreadable_certificates() {
    assert_eq!(name_matches(b"", "ts01"), None);
    let broken_extensions = Odd { extensions: vec![0x30, 0x7F], ..Odd::default() }.der();
    assert_eq!(name_matches(&broken_extensions, "Subject"), None);
    let broken_subject = Odd { subject: tlv(0x30, &[b"noise"]), ..Odd::default() };
    assert_eq!(name_matches(&broken_subject.der(), "ts01"), None);
    let broken_subject = Odd { extensions: alternative_names(&[(DNS, b"ts01")]), ..broken_subject };
    assert_eq!(name_matches(&broken_subject.der(), "ts01"), Some(true));
    // No common name at all is a readable no.
    assert_eq!(name_matches(&Odd { subject: name(&[]), ..Odd::default() }.der(), "ts01"), Some(false));
}
