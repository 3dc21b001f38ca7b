//! Handshake signatures made by `openssl`, checked with the keys of its certificates.

use std::path::{Path, PathBuf};

use rdp_exporter::certificate::{CertificateFacts, signature::verify};
use tempfile::TempDir;

use super::openssl;

const MESSAGE: &[u8] = b"what the server signed";

/// Keys with a certificate each, in files.
struct Keys(TempDir);

struct Key {
    private: PathBuf,
    certificate: Vec<u8>,
}

impl Keys {
    fn make(&self, name: &str, algorithm: &str, option: &str) -> Key {
        let private = self.0.path().join(name);
        let mut arguments = vec!["genpkey", "-algorithm", algorithm, "-out", text(&private)];
        if !option.is_empty() {
            arguments.extend(["-pkeyopt", option]);
        }
        openssl(&arguments, b"");
        let arguments = ["req", "-x509", "-new", "-subj", "/CN=ts01", "-outform", "DER", "-key", text(&private)];
        let certificate = openssl(&arguments, b"");
        Key { private, certificate }
    }
}

impl Key {
    /// `how` is a digest and, for PSS, the word `pss`.
    fn sign(&self, how: &str, folder: &Path) -> Vec<u8> {
        let message = folder.join("message");
        std::fs::write(&message, MESSAGE).unwrap();
        let key = text(&self.private);
        let Some((digest, padding)) = how.split_once(' ') else {
            return openssl(&["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", text(&message)], b"");
        };
        let mut arguments = vec!["dgst", digest, "-sign", key];
        if padding == "pss" {
            arguments.extend(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]);
        }
        arguments.push(text(&message));
        openssl(&arguments, b"")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// (how it was signed, scheme, the answer for the right key)
type Row = (&'static str, u16, Option<bool>);

const NO_ALGORITHM: Option<bool> = None;

const RSA_2048: &[Row] = &[
    ("-sha1 ", 0x0201, Some(true)),
    ("-sha256 ", 0x0401, Some(true)),
    ("-sha384 ", 0x0501, Some(true)),
    ("-sha512 ", 0x0601, Some(true)),
    ("-sha256 pss", 0x0804, Some(true)),
    ("-sha384 pss", 0x0805, Some(true)),
    ("-sha512 pss", 0x0806, Some(true)),
    // The wrong padding, the wrong hash, the wrong family, no scheme.
    ("-sha256 ", 0x0804, Some(false)),
    ("-sha256 ", 0x0601, Some(false)),
    ("-sha256 ", 0x0403, Some(false)),
    ("-sha256 ", 0x0807, Some(false)),
    ("-sha256 ", 0x0808, Some(false)),
    ("-sha256 ", 0x0402, NO_ALGORITHM),
    ("-sha256 ", 0xFFFF, NO_ALGORITHM),
];
const RSA_1024: &[Row] = &[
    ("-sha1 ", 0x0201, Some(true)),
    ("-sha256 ", 0x0401, Some(true)),
    ("-sha512 ", 0x0601, Some(true)),
    ("-sha384 ", 0x0501, NO_ALGORITHM),
    ("-sha256 pss", 0x0804, NO_ALGORITHM),
];
const P256: &[Row] = &[
    ("-sha256 ", 0x0403, Some(true)),
    ("-sha384 ", 0x0503, Some(true)),
    ("-sha512 ", 0x0603, NO_ALGORITHM),
    ("-sha1 ", 0x0203, NO_ALGORITHM),
    ("-sha256 ", 0x0804, Some(false)),
    ("-sha256 ", 0x0807, Some(false)),
];
const P384: &[Row] =
    &[("-sha384 ", 0x0503, Some(true)), ("-sha256 ", 0x0403, Some(true)), ("-sha512 ", 0x0603, NO_ALGORITHM)];
const P521: &[Row] = &[("-sha512 ", 0x0603, NO_ALGORITHM), ("-sha256 ", 0x0401, Some(false))];
const K256: &[Row] = &[("-sha256 ", 0x0403, NO_ALGORITHM)];
const ED25519: &[Row] = &[("raw", 0x0807, Some(true)), ("raw", 0x0403, Some(false)), ("raw", 0x0804, Some(false))];
const ED448: &[Row] = &[("raw", 0x0808, NO_ALGORITHM), ("raw", 0x0807, Some(false))];

#[test]
fn the_right_key_and_another_one() {
    let keys = Keys(TempDir::new().unwrap());
    let families: [(&str, &str, &str, &[Row]); 8] = [
        ("RSA", "rsa_keygen_bits:2048", "RSA 2048", RSA_2048),
        ("RSA", "rsa_keygen_bits:1024", "RSA 1024", RSA_1024),
        ("EC", "ec_paramgen_curve:P-256", "EC P-256", P256),
        ("EC", "ec_paramgen_curve:P-384", "EC P-384", P384),
        ("EC", "ec_paramgen_curve:P-521", "EC P-521", P521),
        ("EC", "ec_paramgen_curve:secp256k1", "EC 1.3.132.0.10", K256),
        ("ED25519", "", "Ed25519", ED25519),
        ("ED448", "", "Ed448", ED448),
    ];
    for (algorithm, option, label, rows) in families {
        let right = keys.make("right", algorithm, option);
        let wrong = keys.make("wrong", algorithm, option);
        let facts = CertificateFacts::read(std::slice::from_ref(&right.certificate)).unwrap();
        assert_eq!(facts.key.as_deref(), Some(label));
        for (how, scheme, expected) in rows {
            let signature = right.sign(how, keys.0.path());
            let check = |key: &Key, message: &[u8]| verify(&key.certificate, *scheme, message, &signature);
            let refused = expected.map(|_| false);
            assert_eq!(check(&right, MESSAGE), *expected, "{option} {how} {scheme:#06x}");
            assert_eq!(check(&right, b"something else"), refused, "{option} {how} {scheme:#06x}");
            assert_eq!(check(&wrong, MESSAGE), refused, "{option} {how} {scheme:#06x}");
            assert_eq!(verify(&right.certificate, *scheme, MESSAGE, b""), refused);
        }
    }
}

#[test]
fn a_version_1_certificate_and_a_compressed_point() {
    let keys = Keys(TempDir::new().unwrap());
    let key = keys.make("key", "EC", "ec_paramgen_curve:P-256");
    let signature = key.sign("-sha256 ", keys.0.path());
    let request = openssl(&["req", "-new", "-subj", "/CN=ts01", "-key", text(&key.private)], b"");
    let version_1 = openssl(&["x509", "-req", "-signkey", text(&key.private), "-outform", "DER"], &request);
    let listing = openssl(&["x509", "-inform", "DER", "-noout", "-text"], &version_1);
    assert!(String::from_utf8(listing).unwrap().contains("Version: 1"));
    assert_eq!(verify(&version_1, 0x0403, MESSAGE, &signature), Some(true));
    assert_eq!(CertificateFacts::read(&[version_1]).unwrap().key.as_deref(), Some("EC P-256"));

    let private = keys.0.path().join("compressed");
    let arguments = ["ec", "-in", text(&key.private), "-conv_form", "compressed", "-out", text(&private)];
    openssl(&arguments, b"");
    let arguments = ["req", "-x509", "-new", "-subj", "/CN=ts01", "-outform", "DER", "-key", text(&private)];
    let compressed = openssl(&arguments, b"");
    assert_eq!(verify(&compressed, 0x0403, MESSAGE, &signature), None);
    assert_eq!(verify(b"no certificate", 0x0403, MESSAGE, &signature), None);
}
