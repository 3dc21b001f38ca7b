//! One defect per certificate: the fact it spoils is right or missing, and the others are all there.

use rdp_exporter::certificate::{CertificateFacts, cut_text};
use time::{OffsetDateTime, macros::datetime};

use super::{odd::*, openssl, openssl_says};

fn facts(odd: &Odd) -> CertificateFacts {
    CertificateFacts::read(&[odd.der()]).unwrap()
}

/// Every fact that `odd` was not meant to spoil.
fn assert_rest_intact(odd: &Odd) {
    let found = facts(odd);
    assert_eq!(found.sha256.len(), 64);
    assert!(found.subject.is_some() && found.issuer.is_some() && found.serial.is_some(), "{found:?}");
    assert!(found.key.is_some() && found.signature.is_some() && found.self_signed.is_some(), "{found:?}");
}

#[test]
fn plain_certificate() {
    let der = Odd::default().der();
    let found = CertificateFacts::read(std::slice::from_ref(&der)).unwrap();
    let fingerprint = openssl_says("-fingerprint -sha256", &der).replace(':', "").to_lowercase();
    let expected = CertificateFacts {
        sha256: fingerprint,
        subject: Some("CN=Subject".to_owned()),
        issuer: Some("CN=Issuer".to_owned()),
        serial: Some("1234".to_owned()),
        not_before: Some(datetime!(2025-01-02 03:04:05 UTC)),
        not_after: Some(datetime!(2030-01-02 03:04:05 UTC)),
        chain_not_after: Some(datetime!(2030-01-02 03:04:05 UTC)),
        key: Some("EC P-256".to_owned()),
        signature: Some("sha256WithRSAEncryption".to_owned()),
        san: Some(String::new()),
        self_signed: Some(false),
        weak_key: false,
        weak_signature: false,
    };
    assert_eq!(found, expected);
    assert_eq!(CertificateFacts::read(&[]), None);
}

#[test]
fn dates() {
    let none: Option<OffsetDateTime> = None;
    let cases: [(u8, &str, Option<OffsetDateTime>); 28] = [
        (UTC_TIME, "491231235959Z", Some(datetime!(2049-12-31 23:59:59 UTC))),
        (UTC_TIME, "500101000000Z", Some(datetime!(1950-01-01 00:00 UTC))),
        (UTC_TIME, "000229000000Z", Some(datetime!(2000-02-29 00:00 UTC))),
        (UTC_TIME, "2001020304Z", Some(datetime!(2020-01-02 03:04 UTC))),
        (UTC_TIME, "200102030405+0100", Some(datetime!(2020-01-02 02:04:05 UTC))),
        (UTC_TIME, "200102030405-0130", Some(datetime!(2020-01-02 04:34:05 UTC))),
        (UTC_TIME, "200102030405-0030", Some(datetime!(2020-01-02 03:34:05 UTC))),
        (UTC_TIME, "200102030405+0030", Some(datetime!(2020-01-02 02:34:05 UTC))),
        (UTC_TIME, "200102030405+2400", none),
        (UTC_TIME, "200102030405+0060", none),
        (UTC_TIME, "200102030405", none),
        (UTC_TIME, "201301000000Z", none),
        (UTC_TIME, "200001000000Z", none),
        (UTC_TIME, "200230000000Z", none),
        (UTC_TIME, "210229000000Z", none),
        (UTC_TIME, "200100000000Z", none),
        (UTC_TIME, "200101250000Z", none),
        (UTC_TIME, "200101006000Z", none),
        (UTC_TIME, "200101000060Z", none),
        (UTC_TIME, "2001010000 0Z", none),
        (UTC_TIME, "", none),
        (GENERALIZED_TIME, "20500101000000Z", Some(datetime!(2050-01-01 00:00 UTC))),
        (GENERALIZED_TIME, "99991231235959Z", Some(datetime!(9999-12-31 23:59:59 UTC))),
        (GENERALIZED_TIME, "99991231235959-0100", none),
        (GENERALIZED_TIME, "20500101000000", none),
        (GENERALIZED_TIME, "20501301000000Z", none),
        (GENERALIZED_TIME, "20500101000000.5Z", Some(datetime!(2050-01-01 00:00:00.5 UTC))),
        (PRINTABLE, "200101000000Z", none),
    ];
    for (tag, text, expected) in cases {
        let odd = Odd { not_after: tlv(tag, &[text.as_bytes()]), ..Odd::default() };
        let found = facts(&odd);
        assert_eq!(found.not_after, expected, "{text}");
        assert_eq!(found.chain_not_after, expected, "{text}");
        assert_eq!(found.not_before, Some(datetime!(2025-01-02 03:04:05 UTC)), "{text}");
        assert_rest_intact(&odd);
    }
}

#[test]
fn dates_as_openssl_reads_them() {
    for (tag, text) in [
        (UTC_TIME, "491231235959Z"),
        (UTC_TIME, "500101000000Z"),
        (GENERALIZED_TIME, "20500101000000Z"),
        (GENERALIZED_TIME, "99991231235959Z"),
    ] {
        let odd = Odd { not_after: tlv(tag, &[text.as_bytes()]), ..Odd::default() };
        let found = facts(&odd).not_after.unwrap();
        let (date, time) = (found.date(), found.time());
        let (hour, minute, second) = time.as_hms();
        let printed = format!("{date} {hour:02}:{minute:02}:{second:02}Z");
        assert_eq!(printed, openssl_says("-enddate -dateopt iso_8601", &odd.der()));
    }
}

#[test]
fn serials() {
    let long = [0x7F; 300];
    let cases: [(&[u8], &str); 6] = [
        (&[0x00], "00"),
        (&[0x7F], "7f"),
        (&[0x00, 0xA0, 0x0B], "a00b"),
        (&[0x00, 0x00, 0x05], "05"),
        (&[0xFF, 0x01], "ff01"),
        (&long, &"7f".repeat(128)),
    ];
    for (content, expected) in cases {
        let odd = Odd { serial: tlv(0x02, &[content]), ..Odd::default() };
        assert_eq!(facts(&odd).serial.as_deref(), Some(expected));
        // OpenSSL prints a negative serial with its sign, refuses a padded one, and breaks a long one into lines.
        if content[0] < 0x80 && !content.starts_with(&[0, 0]) && content.len() < 30 {
            assert_eq!(openssl_says("-serial", &odd.der()).to_lowercase(), expected);
        }
    }
    assert_eq!(facts(&Odd { serial: tlv(0x02, &[]), ..Odd::default() }).serial, None);
}

#[test]
fn keys() {
    let rsa = |bits: usize| {
        let mut modulus = vec![0xFF; bits.div_ceil(8)];
        modulus[0] >>= (8 - bits % 8) % 8;
        let numbers = tlv(0x30, &[&tlv(0x02, &[&[0], &modulus]), &[2, 3, 1, 0, 1]]);
        spki(&[&oid(RSA_KEY), &[5, 0]], &[&[0], &numbers[..]].concat())
    };
    let ec = |curve: &[u8], length: usize| {
        let point = [&[0, 4][..], &vec![7; 2 * length]].concat();
        spki(&[&oid(EC_KEY), &oid(curve)], &point)
    };
    let dsa = tlv(0x30, &[&tlv(0x02, &[&[0], &[0xFF; 128]]), &[2, 1, 3], &[2, 1, 5]]);
    let cases = [
        (rsa(1024), "RSA 1024", true),
        (rsa(2047), "RSA 2047", true),
        (rsa(2048), "RSA 2048", false),
        (rsa(4096), "RSA 4096", false),
        (ec(P256, 32), "EC P-256", false),
        (ec(&[0x2B, 0x81, 4, 0, 0x22], 48), "EC P-384", false),
        (ec(&[0x2B, 0x81, 4, 0, 0x23], 66), "EC P-521", false),
        (ec(&[0x2B, 0x81, 4, 0, 0x0A], 32), "EC 1.3.132.0.10", false),
        (ec(&[0x2B, 0x81, 4, 0, 0x21], 28), "EC 1.3.132.0.33", true),
        (spki(&[&oid(&[0x2B, 0x65, 0x70])], &[0; 33]), "Ed25519", false),
        (spki(&[&oid(&[0x2B, 0x65, 0x71])], &[0; 58]), "Ed448", false),
        (spki(&[&oid(&[0x2A, 0x86, 0x48, 0xCE, 0x38, 4, 1]), &dsa], &[0, 2, 1, 3]), "DSA 1024", false),
        (spki(&[&oid(&[0x2B, 0x65, 0x6E])], &[0; 33]), "1.3.101.110", false),
        // 2.999: the first two arcs in two bytes.
        (spki(&[&oid(&[0x88, 0x37])], &[0; 33]), "2.999", false),
    ];
    for (key, label, weak) in cases {
        let found = facts(&Odd { key, ..Odd::default() });
        assert_eq!((found.key.as_deref(), found.weak_key), (Some(label), weak));
    }
    let explicit = spki(&[&oid(EC_KEY), &tlv(0x30, &[])], &[&[0, 4][..], &[7; 40]].concat());
    let found = facts(&Odd { key: explicit, ..Odd::default() });
    assert_eq!((found.key.as_deref(), found.weak_key), (Some("1.2.840.10045.2.1"), true));
    let garbage = facts(&Odd { key: spki(&[&oid(RSA_KEY), &[5, 0]], &[0, 1, 2, 3]), ..Odd::default() });
    assert_eq!((garbage.key, garbage.weak_key, garbage.serial.as_deref()), (None, false, Some("1234")));
}

#[test]
fn signature_algorithms_bear_openssl_names() {
    let rsa = |last: u8| [&SHA256_WITH_RSA[..8], &[last]].concat();
    let ecdsa_sha2 = |last: u8| vec![0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, last];
    let dsa_sha2 = |last: u8| vec![0x60, 0x86, 0x48, 0x01, 0x65, 3, 4, 3, last];
    let strong = [11, 12, 13, 14].map(rsa).into_iter();
    let strong = strong.chain([1, 2, 3, 4].map(ecdsa_sha2)).chain([1, 2, 3, 4].map(dsa_sha2));
    let weak = [2, 3, 4, 5].map(rsa).into_iter().chain([3, 15, 27, 29].map(|last| vec![0x2B, 0x0E, 3, 2, last]));
    let weak = weak.chain([vec![0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 1], vec![0x2A, 0x86, 0x48, 0xCE, 0x38, 4, 3]]);
    for (algorithm, is_weak) in strong.map(|oid| (oid, false)).chain(weak.map(|oid| (oid, true))) {
        let listing = String::from_utf8(openssl(&["asn1parse", "-inform", "DER"], &oid(&algorithm))).unwrap();
        let expected = listing.trim_end().rsplit(':').next().unwrap().to_owned();
        let found = facts(&Odd { algorithm: tlv(0x30, &[&oid(&algorithm), &[5, 0]]), ..Odd::default() });
        assert_eq!((found.signature.unwrap(), found.weak_signature), (expected, is_weak));
    }
    for (last, expected) in [(0x70, "Ed25519"), (0x71, "Ed448"), (0x72, "1.3.101.114")] {
        let algorithm = tlv(0x30, &[&oid(&[0x2B, 0x65, last])]);
        assert_eq!(facts(&Odd { algorithm, ..Odd::default() }).signature.as_deref(), Some(expected));
    }
}

#[test]
fn pss_is_as_weak_as_its_hash() {
    let pss = |parameters: &[u8]| {
        let algorithm = tlv(0x30, &[&oid(&[&SHA256_WITH_RSA[..8], &[10]].concat()), parameters]);
        let found = facts(&Odd { algorithm, ..Odd::default() });
        assert_eq!(found.signature.as_deref(), Some("rsassaPss"));
        found.weak_signature
    };
    let hash = |content: &[u8]| tlv(0x30, &[&tlv(0xA0, &[&tlv(0x30, &[&oid(content)])])]);
    assert!(pss(&tlv(0x30, &[])));
    assert!(pss(&hash(&[0x2B, 0x0E, 3, 2, 0x1A])));
    assert!(!pss(&hash(&[0x60, 0x86, 0x48, 0x01, 0x65, 3, 4, 2, 1])));
}

#[test]
fn weakness_of_the_chain() {
    let sha1 = tlv(0x30, &[&oid(&[&SHA256_WITH_RSA[..8], &[5]].concat()), &[5, 0]]);
    let leaf = Odd::default().der();
    let intermediate = Odd { algorithm: sha1.clone(), ..Odd::default() };
    let root = Odd { algorithm: sha1, subject: Odd::default().issuer, ..Odd::default() };
    let weak = |chain: &[&[u8]]| {
        let chain: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
        CertificateFacts::read(&chain).unwrap().weak_signature
    };
    assert!(!weak(&[&leaf]));
    assert!(weak(&[&leaf, &intermediate.der()]));
    assert!(!weak(&[&leaf, &root.der()]));
    assert!(weak(&[&root.der()]));
}

#[test]
fn earliest_end_of_the_chain() {
    let sooner = Odd { not_after: tlv(UTC_TIME, &[b"290101000000Z"]), ..Odd::default() }.der();
    let unknown = Odd { not_after: tlv(UTC_TIME, &[b"291301000000Z"]), ..Odd::default() }.der();
    let found = CertificateFacts::read(&[Odd::default().der(), unknown, sooner]).unwrap();
    assert_eq!(found.chain_not_after, Some(datetime!(2029-01-01 00:00 UTC)));
}

#[test]
fn version_1_and_a_self_signed_name() {
    let odd = Odd { version: Vec::new(), subject: Odd::default().issuer, ..Odd::default() };
    let found = facts(&odd);
    assert_eq!((found.self_signed, found.san.as_deref()), (Some(true), Some("")));
    assert_rest_intact(&odd);
}

#[test]
fn extensions() {
    let unknown = extension(&[0x2A, 3, 4], true, b"anything");
    let san = alternative_names(&[(2, b"a.example"), (7, &[10, 0, 0, 1])]);
    let other = alternative_names(&[(2, b"b.example")]);
    let broken_san = extension(&[0x55, 0x1D, 0x11], false, &[0x30, 0x05, 0x82]);
    let cases = [
        (unknown.clone(), Some("")),
        ([unknown.clone(), san.clone()].concat(), Some("DNS:a.example, IP:10.0.0.1")),
        ([san.clone(), other].concat(), Some("DNS:a.example, IP:10.0.0.1")),
        ([unknown, broken_san].concat(), None),
        ([san, vec![0x30, 0x7F]].concat(), Some("DNS:a.example, IP:10.0.0.1")),
        (vec![0x30, 0x7F], None),
    ];
    for (extensions, expected) in cases {
        let odd = Odd { extensions, ..Odd::default() };
        assert_eq!(facts(&odd).san.as_deref(), expected);
        assert_rest_intact(&odd);
    }
}

#[test]
fn kinds_of_alternative_names() {
    let directory = name(&[(COMMON_NAME, UTF8, b"a,b")]);
    let names = [
        alternative_names(&[(2, b"a, DNS:b\0\xFF"), (1, b"me@x"), (6, b"http://x/"), (7, &[1, 2]), (8, &[0x2A, 3])]),
        extension(
            &[0x55, 0x1D, 0x11],
            false,
            &tlv(
                0x30,
                &[
                    &tlv(0xA4, &[&directory]),
                    &tlv(0xA0, &[&oid(&[0x2A, 3, 4])]),
                    &tlv(0x87, &[&[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]),
                ],
            ),
        ),
    ];
    let found = names.map(|extensions| facts(&Odd { extensions, ..Odd::default() }).san.unwrap());
    assert_eq!(
        found,
        [
            "DNS:a\\, DNS:b\\00\u{FFFD}, email:me@x, URI:http://x/, IP:#0102, Registered ID:1.2.3",
            "DirName:CN=a\\,b, othername:1.2.3.4, IP:2001:db8::1"
        ]
    );
}

#[test]
fn trailing_bytes_and_a_long_chain() {
    let der = Odd::default().der();
    let trailing = [&der[..], b"more"].concat();
    let found = CertificateFacts::read(&[trailing]).unwrap();
    assert_eq!(found.subject.as_deref(), Some("CN=Subject"));
    assert_ne!(found.sha256, facts(&Odd::default()).sha256);
    let long = name(&[(COMMON_NAME, UTF8, "ü".repeat(20_000).as_bytes())]);
    let found = CertificateFacts::read(&[Odd { subject: long, ..Odd::default() }.der(), der]).unwrap();
    assert_eq!(found.subject.unwrap(), format!("CN={}", "ü".repeat(126)));
}

#[test]
fn deep_nesting() {
    let mut nested = Vec::new();
    // Built from the inside, as 30 83 xx xx xx all the way.
    for depth in 0..20_000_u32 {
        let length = (5 * depth).to_be_bytes();
        nested.extend([length[3], length[2], length[1], 0x83, 0x30]);
    }
    nested.reverse();
    assert!(CertificateFacts::read(std::slice::from_ref(&nested)).is_some());
    let odd = Odd { subject: nested.clone(), ..Odd::default() };
    let found = facts(&odd);
    assert_eq!((found.subject, found.issuer.as_deref()), (None, Some("CN=Issuer")));
    let odd = Odd { extensions: nested, ..Odd::default() };
    assert_eq!(facts(&odd).san, None);
    assert_rest_intact(&odd);
}

#[test]
fn text_is_cut_between_characters() {
    assert_eq!(cut_text("short"), "short");
    assert_eq!(cut_text(&"a".repeat(300)).len(), 256);
    assert_eq!(cut_text(&format!("{}€", "a".repeat(254))), "a".repeat(254));
    assert_eq!(cut_text(""), "");
}
