//! Which chains reach a root.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rdp_exporter::certificate::trust::Roots;
use time::{OffsetDateTime, macros::datetime};

type Authority = CertifiedIssuer<'static, KeyPair>;

const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);
const YEAR_2025: (OffsetDateTime, OffsetDateTime) = (datetime!(2025-01-01 0:00 UTC), datetime!(2026-01-01 0:00 UTC));
const YEAR_2026: (OffsetDateTime, OffsetDateTime) = (datetime!(2026-01-01 0:00 UTC), datetime!(2027-01-01 0:00 UTC));
const DECADE: (OffsetDateTime, OffsetDateTime) = (datetime!(2020-01-01 0:00 UTC), datetime!(2030-01-01 0:00 UTC));

fn params(name: &str, validity: (OffsetDateTime, OffsetDateTime)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = validity;
    params
}

fn authority_params(name: &str, validity: (OffsetDateTime, OffsetDateTime)) -> CertificateParams {
    let mut params = params(name, validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn root(validity: (OffsetDateTime, OffsetDateTime)) -> Authority {
    CertifiedIssuer::self_signed(authority_params("Root", validity), KeyPair::generate().unwrap()).unwrap()
}

fn intermediate(root: &Authority, validity: (OffsetDateTime, OffsetDateTime)) -> Authority {
    let key = KeyPair::generate().unwrap();
    CertifiedIssuer::signed_by(authority_params("Intermediate", validity), key, root).unwrap()
}

fn leaf(issuer: &Authority, params: &CertificateParams) -> Vec<u8> {
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().to_vec()
}

fn der(authority: &Authority) -> Vec<u8> {
    authority.der().to_vec()
}

#[test]
fn chains() {
    let root = root(DECADE);
    let middle = intermediate(&root, DECADE);
    let roots = Roots::new(vec![der(&root)], Vec::new());
    let judge = |chain: &[Vec<u8>]| roots.judge(chain, NOW);
    let valid = leaf(&middle, &params("ts01", YEAR_2026));
    assert_eq!(judge(&[valid.clone(), der(&middle)]), Some(true));
    assert_eq!(judge(&[valid.clone(), der(&middle), der(&root)]), Some(true));
    assert_eq!(judge(std::slice::from_ref(&valid)), Some(false));
    assert_eq!(judge(&[leaf(&root, &params("ts01", YEAR_2026))]), Some(true));
    let expired = leaf(&middle, &params("ts01", YEAR_2025));
    assert_eq!(judge(&[expired, der(&middle)]), Some(true));
    let stranger = self::root(DECADE);
    assert_eq!(judge(&[leaf(&stranger, &params("ts01", YEAR_2026)), der(&stranger)]), Some(false));
    assert_eq!(judge(&[]), Some(false));
    assert_eq!(judge(&[b"noise".to_vec()]), Some(false));
    // No roots, no answer; what is no certificate is no root.
    assert_eq!(Roots::new(Vec::new(), Vec::new()).judge(std::slice::from_ref(&valid), NOW), None);
    assert_eq!(Roots::new(vec![b"noise".to_vec()], Vec::new()).judge(&[valid], NOW), None);
}

#[test]
fn issuers_that_outlived_or_were_outlived() {
    let root = root(DECADE);
    let roots = Roots::new(vec![der(&root)], Vec::new());
    let leaf_years = (YEAR_2025.0, YEAR_2026.1);
    // An intermediate that has expired since, one that was renewed since, and one that never lived beside the leaf.
    let cases = [(YEAR_2025, true), (YEAR_2026, true), ((DECADE.0, datetime!(2024-01-01 0:00 UTC)), false)];
    for (validity, expected) in cases {
        let middle = intermediate(&root, validity);
        let chain = [leaf(&middle, &params("ts01", leaf_years)), der(&middle)];
        assert_eq!(roots.judge(&chain, NOW), Some(expected));
    }
}

#[test]
fn usages() {
    let root = root(DECADE);
    let roots = Roots::new(vec![der(&root)], Vec::new());
    let remote_desktop = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 311, 54, 1, 2]);
    let cases = [
        (ExtendedKeyUsagePurpose::ServerAuth, true),
        (remote_desktop, true),
        (ExtendedKeyUsagePurpose::ClientAuth, false),
    ];
    for (usage, expected) in cases {
        let mut params = params("ts01", YEAR_2026);
        params.extended_key_usages = vec![usage];
        assert_eq!(roots.judge(&[leaf(&root, &params)], NOW), Some(expected));
    }
    let mut params = params("ts01", YEAR_2026);
    let mut critical = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    critical.set_criticality(true);
    params.custom_extensions = vec![critical];
    assert_eq!(roots.judge(&[leaf(&root, &params)], NOW), Some(false));
}

#[test]
fn self_signed_and_pinned() {
    let root = root(DECADE);
    let own = params("ts01", YEAR_2025).self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    let other = params("ts01", YEAR_2025).self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    let chain = std::slice::from_ref(&own);
    assert_eq!(Roots::new(vec![der(&root)], Vec::new()).judge(chain, NOW), Some(false));
    assert_eq!(Roots::new(Vec::new(), vec![own.clone()]).judge(chain, NOW), Some(true));
    assert_eq!(Roots::new(Vec::new(), vec![other]).judge(chain, NOW), Some(false));
    // A pinned certificate is a root too, also for what stands beside a system root.
    let pinned = Roots::new(vec![own], vec![der(&root)]);
    assert_eq!(pinned.judge(&[leaf(&root, &params("ts01", YEAR_2026))], NOW), Some(true));
}

#[test]
fn fingerprint_ignores_order() {
    let certificates: Vec<Vec<u8>> = (0..3).map(|_| der(&root(DECADE))).collect();
    let reversed: Vec<Vec<u8>> = certificates.iter().rev().cloned().collect();
    let fingerprint = |roots: &[Vec<u8>], pinned: &[Vec<u8>]| Roots::new(roots.to_vec(), pinned.to_vec()).fingerprint();
    assert_eq!(fingerprint(&certificates, &[]), fingerprint(&reversed, &[]));
    assert_ne!(fingerprint(&certificates, &[]), fingerprint(&certificates[1..], &[]));
    assert_ne!(fingerprint(&certificates, &[]), fingerprint(&[], &certificates));
}

#[test]
fn cross_signed_authority() {
    let (root, gone) = (root(DECADE), root(DECADE));
    let roots = Roots::new(vec![der(&root)], Vec::new());
    let middle = intermediate(&root, DECADE);
    let by_the_other = authority_params("Intermediate", DECADE).signed_by(middle.key(), &gone).unwrap().der().to_vec();
    let leaf = leaf(&middle, &params("ts01", YEAR_2026));
    assert_eq!(roots.judge(&[leaf.clone(), by_the_other.clone()], NOW), Some(false));
    assert_eq!(roots.judge(&[leaf, by_the_other, der(&middle)], NOW), Some(true));
}

/// A stranger may present any number of authorities that could all have issued one another. Judged without a bound on
/// them, each of these takes longer than anybody waits.
#[test]
fn tangled_chains_are_judged_at_once() {
    let roots = Roots::new(vec![der(&intermediate(&root(DECADE), DECADE))], Vec::new());
    let issuer = root(DECADE);
    let leaf = leaf(&issuer, &params("ts01", YEAR_2026));
    let namesakes: Vec<_> = (0..200).map(|_| der(&root(DECADE))).collect();
    let mut ladder = Vec::new();
    for step in 0..60 {
        let name = |step: u32| if step == 0 { "Root".to_owned() } else { format!("Step {step}") };
        let above = authority_params(&name(step + 1), DECADE);
        let above = CertifiedIssuer::self_signed(above, KeyPair::generate().unwrap()).unwrap();
        let below = authority_params(&name(step), DECADE);
        ladder.extend((0..3).map(|_| self::leaf(&above, &below)));
    }
    for others in [namesakes, ladder] {
        assert_eq!(roots.judge(&[vec![leaf.clone()], others].concat(), NOW), Some(false));
    }
}
