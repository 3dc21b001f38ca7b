//! Certificates made by openssl when the test starts, and openssl's own reading of them.
//! INVARIANT: expected values come from `openssl x509`, never from the exporter.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::format_description;

use super::process::{command, directory, run};

/// What a certificate is to be: an ordinary one for `host.example`, unless said otherwise.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// An argument of `openssl genpkey`.
    pub(crate) key: Key,
    /// As `openssl req -subj` takes it.
    pub(crate) subject: String,
    /// Lines of an extension section; none makes an X.509 v1 certificate.
    pub(crate) extensions: Vec<String>,
    /// Days from now, negative in the past.
    pub(crate) valid_from: f64,
    pub(crate) valid_until: f64,
    /// The digest of the signature; `default` where the key decides.
    pub(crate) digest: &'static str,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            key: Key::Rsa(2048),
            subject: "/CN=host.example".to_owned(),
            extensions: vec!["subjectAltName=DNS:host.example".to_owned()],
            valid_from: -100.0,
            valid_until: 200.0,
            digest: "sha256",
        }
    }
}

impl Recipe {
    pub(crate) fn named(common_name: &str, extensions: &[&str]) -> Self {
        let extensions = extensions.iter().map(|line| (*line).to_owned()).collect();
        Self { subject: format!("/CN={common_name}"), extensions, key: Key::Curve("P-256"), ..Self::default() }
    }

    pub(crate) fn authority(common_name: &str) -> Self {
        Self::named(common_name, &["basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign,cRLSign"])
    }
}

/// A kind of key.
#[derive(Clone, Copy)]
pub(crate) enum Key {
    Curve(&'static str),
    Ed25519,
    Rsa(u16),
}

/// A certificate and its key, both in PEM.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// The same leaf followed by other certificates in one file, as servers take a chain.
    pub(crate) fn with_chain(&self, others: &[&Self]) -> Self {
        let name = format!("{}-chain.pem", self.certificate.file_stem().unwrap().display());
        let file = self.certificate.with_file_name(name);
        let parts = [self].into_iter().chain(others.iter().copied());
        let text: String = parts.map(|part| fs::read_to_string(&part.certificate).unwrap()).collect();
        fs::write(&file, text).unwrap();
        Self { certificate: file, key: self.key.clone() }
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts::of(&self.certificate)
    }
}

/// A place where certificates are made; they are gone with it.
pub(crate) struct Workshop {
    directory: TempDir,
    made: AtomicU32,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let directory = directory();
        fs::write(directory.path().join("ca.cnf"), CONFIGURATION).unwrap();
        Self { directory, made: AtomicU32::new(0) }
    }

    pub(crate) fn self_signed(&self, recipe: &Recipe) -> Certificate {
        self.make(recipe, None)
    }

    pub(crate) fn issued(&self, recipe: &Recipe, issuer: &Certificate) -> Certificate {
        self.make(recipe, Some(issuer))
    }

    fn make(&self, recipe: &Recipe, issuer: Option<&Certificate>) -> Certificate {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let file = |ending: &str| self.directory.path().join(format!("{number}.{ending}"));
        let made = Certificate { certificate: file("pem"), key: file("key") };
        run(genpkey(recipe.key).arg("-out").arg(&made.key));
        run(self
            .openssl(&["req", "-config", "ca.cnf", "-new", "-utf8", "-subj", &recipe.subject])
            .arg("-key")
            .arg(&made.key)
            .arg("-out")
            .arg(file("csr")));
        fs::write(file("db"), "").unwrap();
        let mut ca = self.openssl(&["ca", "-config", "ca.cnf", "-batch", "-notext", "-md", recipe.digest]);
        ca.env("DATABASE", file("db"));
        ca.args(["-startdate", &moment(recipe.valid_from), "-enddate", &moment(recipe.valid_until)]);
        if !recipe.extensions.is_empty() {
            fs::write(file("ext"), format!("[all]\n{}\n", recipe.extensions.join("\n"))).unwrap();
            ca.args(["-extensions", "all", "-extfile"]).arg(file("ext"));
        }
        match issuer {
            Some(issuer) => ca.arg("-cert").arg(&issuer.certificate).arg("-keyfile").arg(&issuer.key),
            None => ca.arg("-selfsign").arg("-keyfile").arg(&made.key),
        };
        run(ca.arg("-in").arg(file("csr")).arg("-out").arg(&made.certificate));
        made
    }

    fn openssl(&self, arguments: &[&str]) -> Command {
        let mut openssl = command("openssl");
        openssl.args(arguments).current_dir(self.directory.path()).env("DATABASE", "unused");
        openssl
    }
}

/// What openssl reads in a certificate, in the words of the metrics.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) not_before: f64,
    pub(crate) not_after: f64,
    pub(crate) serial: String,
    pub(crate) sha256: String,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) key: String,
    pub(crate) signature: String,
}

impl Facts {
    fn of(certificate: &Path) -> Self {
        let fields = ["-startdate", "-enddate", "-serial", "-fingerprint", "-sha256", "-subject", "-issuer", "-text"];
        let names = ["-nameopt", "RFC2253,-esc_msb"];
        let text =
            run(command("openssl").args(["x509", "-noout"]).args(fields).args(names).arg("-in").arg(certificate));
        let field = |start: &str| {
            let value = text.lines().find_map(|line| line.trim_start().strip_prefix(start));
            value.unwrap_or_else(|| panic!("no {start} in {text}")).to_owned()
        };
        let plain = |text: &str| text.replace(':', "").to_lowercase();
        Self {
            not_before: timestamp(&field("notBefore=")),
            not_after: timestamp(&field("notAfter=")),
            serial: plain(&field("serial=")),
            sha256: plain(&field("sha256 Fingerprint=")),
            subject: field("subject="),
            issuer: field("issuer="),
            key: match field("Public Key Algorithm: ").as_str() {
                "ED25519" => "Ed25519".to_owned(),
                "id-ecPublicKey" => format!("EC {}", field("NIST CURVE: ")),
                "rsaEncryption" => {
                    let bits: String = field("Public-Key: (").chars().take_while(char::is_ascii_digit).collect();
                    format!("RSA {bits}")
                }
                other => panic!("a key of kind {other}"),
            },
            signature: field("Signature Algorithm: "),
        }
    }

    pub(crate) fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

fn genpkey(key: Key) -> Command {
    let mut genpkey = command("openssl");
    genpkey.arg("genpkey").arg("-quiet");
    match key {
        Key::Curve(curve) => genpkey.args(["-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")]),
        Key::Ed25519 => genpkey.args(["-algorithm", "ED25519"]),
        Key::Rsa(bits) => genpkey.args(["-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")]),
    };
    genpkey
}

/// So many days from now, as `openssl ca` takes it.
fn moment(days: f64) -> String {
    let distance = Duration::from_secs_f64(days.abs() * 86_400.0);
    let now = SystemTime::now();
    let moment = if days < 0.0 { now - distance } else { now + distance };
    let format = format_description!("[year][month][day][hour][minute][second]Z");
    OffsetDateTime::from(moment).format(format).unwrap()
}

/// Seconds since 1970 of a date as openssl prints it, converted by date(1).
fn timestamp(date: &str) -> f64 {
    run(command("date").args(["-u", "+%s", "-d", date])).trim().parse().unwrap()
}

const CONFIGURATION: &str = "
[req]
distinguished_name = name
[name]
[ca]
default_ca = default
[default]
new_certs_dir = .
database = $ENV::DATABASE
unique_subject = no
rand_serial = yes
preserve = yes
email_in_dn = yes
policy = any
[any]
commonName = optional
organizationName = optional
organizationalUnitName = optional
countryName = optional
";
