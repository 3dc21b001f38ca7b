//! The web configuration: who may ask over HTTP, and over what. The format is exporter-toolkit's, so that one file and one
//! habit serve all exporters: a key that is empty is as good as absent, and relative files are taken from the file's folder.
//!
//! What the TLS library cannot do, and what would protect nothing, is refused; docs/web.md lists it.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use bcrypt::HashParts;
use rustls::{
    SupportedCipherSuite,
    crypto::{
        SupportedKxGroup,
        ring::{cipher_suite as suite, kx_group as group},
    },
};

use super::{
    ConfigError,
    document::Node,
    error::{KeyPath, Mistake},
    read_document, read_text,
    secret::exposed,
    section::{Keys, Section, Value},
};
use crate::wire::tls_version::TlsVersion;

/// A web configuration, every default filled in.
#[derive(Debug)]
pub struct WebConfig {
    /// `None`: plain HTTP.
    pub tls: Option<TlsSettings>,
    /// Whether HTTP/2 is offered over TLS.
    pub http2: bool,
    /// Headers that every answer gets; an empty value takes a header away.
    pub headers: Vec<(String, String)>,
    /// bcrypt hashes by user; none: no password is asked for.
    pub users: BTreeMap<String, HiddenText>,
    /// How many requests are answered.
    pub rate_limit: Option<RateLimit>,
}

/// `tls_server_config`.
#[derive(Debug)]
pub struct TlsSettings {
    /// The server's chain, leaf first.
    pub certificate: Pem,
    /// The leaf's private key.
    pub key: Pem,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// Who issues client certificates; there where they are verified.
    pub client_ca: Option<Pem>,
    /// Names of which a client certificate must have one.
    pub client_allowed_sans: Option<Vec<String>>,
    /// Oldest and newest version.
    pub versions: (TlsVersion, TlsVersion),
    /// Those of TLS 1.2, best first; `None`: all.
    pub cipher_suites: Option<Vec<SupportedCipherSuite>>,
    /// Whether our order of suites counts, not the client's.
    pub prefers_own_order: bool,
    /// Best first; `None`: all.
    pub groups: Option<Vec<&'static dyn SupportedKxGroup>>,
}

/// What is asked of clients, in exporter-toolkit's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    NoClientCert,
    /// A certificate, which is not looked at.
    RequestClientCert,
    /// A certificate, by whomever it is issued.
    RequireAnyClientCert,
    /// A certificate, which must be issued by a known authority, or none.
    VerifyClientCertIfGiven,
    /// A certificate that is issued by a known authority.
    RequireAndVerifyClientCert,
}

/// PEM text, or the file that has it.
#[derive(Debug)]
pub struct Pem {
    /// The key that it was set by.
    pub key: String,
    /// Where it is.
    pub source: PemSource,
}

/// Where PEM text is.
#[derive(Debug)]
pub enum PemSource {
    /// In a file.
    File(PathBuf),
    /// Here.
    Inline(HiddenText),
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenText(String);

/// `rate_limit`: a bucket of `burst` requests, into which one comes every `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Longer than nothing.
    pub interval: Duration,
    /// At least one.
    pub burst: u32,
}

impl WebConfig {
    /// What holds without a file: plain HTTP for everyone.
    #[must_use]
    pub fn without_file() -> Self {
        Self { tls: None, http2: true, headers: Vec::new(), users: BTreeMap::new(), rate_limit: None }
    }

    /// Reads a file, but none of those that it names.
    ///
    /// # Errors
    /// A file that cannot be read, and every mistake of [`WebConfig::from_yaml`].
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::from_yaml(&read_text(file)?, file)
    }

    /// Reads a text. `file` is what errors call it, and relative files are taken from its folder.
    ///
    /// # Errors
    /// Broken YAML, keys that are unknown or set twice, and values that are wrong, cannot be honoured or protect nothing.
    pub fn from_yaml(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let folder = file.parent().unwrap_or(Path::new(""));
        read_document(text, file, |root| read_web_config(root, folder))
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let tls = self.tls.iter();
        let pems = tls.flat_map(|tls| [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()]).flatten();
        pems.filter_map(|pem| match &pem.source {
            PemSource::File(file) => Some(file.as_path()),
            PemSource::Inline(_) => None,
        })
    }

    /// What to say of secrets that lie open: the key, and `file`, which this was read from, where it holds any itself.
    #[must_use]
    pub fn warnings(&self, file: &Path) -> Vec<String> {
        let key = self.tls.as_ref().map(|tls| &tls.key.source);
        let key_file = match key {
            Some(PemSource::File(file)) => Some(file.as_path()),
            Some(PemSource::Inline(_)) | None => None,
        };
        let has_secrets = !self.users.is_empty() || matches!(key, Some(PemSource::Inline(_)));
        [has_secrets.then_some(file), key_file].into_iter().flatten().filter_map(exposed).collect()
    }

    /// Whether nobody is answered who has neither a verified certificate nor a password.
    #[must_use]
    pub fn authenticates(&self) -> bool {
        !self.users.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.client_auth.is_verified())
    }

    /// One line for a person who has just checked a file.
    #[must_use]
    pub fn summary(&self) -> String {
        let tls = self.tls.as_ref().map_or_else(|| "no TLS".to_owned(), TlsSettings::summary);
        let users = match self.users.len() {
            0 => "no password asked for".to_owned(),
            1 => "1 user".to_owned(),
            count => format!("{count} users"),
        };
        format!("{tls}, {users}")
    }
}

impl TlsSettings {
    fn summary(&self) -> String {
        let (oldest, newest) = self.versions;
        let versions = match oldest == newest {
            true => oldest.label().to_owned(),
            false => format!("{} to {}", oldest.label(), newest.label()),
        };
        let clients = match self.client_auth {
            ClientAuth::NoClientCert => "no client certificates",
            ClientAuth::RequestClientCert => "client certificates asked for and not looked at",
            ClientAuth::RequireAnyClientCert => "any client certificate",
            ClientAuth::VerifyClientCertIfGiven => "client certificates verified where there is one",
            ClientAuth::RequireAndVerifyClientCert => "verified client certificates",
        };
        format!("{versions}, {clients}")
    }
}

impl ClientAuth {
    /// Whether a client without a certificate of a known authority is turned away.
    #[must_use]
    pub const fn is_verified(self) -> bool {
        matches!(self, Self::RequireAndVerifyClientCert)
    }
}

impl HiddenText {
    /// The text, for whoever needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

fn read_web_config(root: Node, folder: &Path) -> Result<WebConfig, Mistake> {
    let mut root = Value { path: KeyPath::default(), node: root }.section(WEB_KEYS)?;
    let tls = read_tls(root.take_section("tls_server_config", TLS_KEYS)?, folder)?;
    let mut http = root.take_section("http_server_config", HTTP_KEYS)?;
    let users = root.take("basic_auth_users").map(Value::named).transpose()?.unwrap_or_default();
    Ok(WebConfig {
        tls,
        http2: filled(&mut http, "http2").map(Value::boolean).transpose()?.unwrap_or(true),
        headers: http.take_as("headers", read_headers)?.unwrap_or_default(),
        users: users.into_iter().map(|(name, hash)| Ok((name, read_hash(hash)?))).collect::<Result<_, _>>()?,
        rate_limit: read_rate_limit(root.take_section("rate_limit", RATE_KEYS)?)?,
    })
}

fn read_tls(mut section: Section, folder: &Path) -> Result<Option<TlsSettings>, Mistake> {
    let certificate = read_pem(&mut section, ("cert_file", "cert"), folder)?;
    let key = read_pem(&mut section, ("key_file", "key"), folder)?;
    let client_ca = read_pem(&mut section, ("client_ca_file", "client_ca"), folder)?;
    let client_auth = filled(&mut section, "client_auth_type").map(read_client_auth).transpose()?;
    let sans = filled(&mut section, "client_allowed_sans").map(|value| value.list(Value::text)).transpose()?;
    let versions = read_versions(&mut section)?;
    let suites = filled(&mut section, "cipher_suites").map(|value| value.list(read_suite)).transpose()?;
    let prefers_own_order = filled(&mut section, "prefer_server_cipher_suites").map(Value::boolean).transpose()?;
    let groups = filled(&mut section, "curve_preferences").map(|value| value.list(read_group)).transpose()?;

    let is_off = certificate.is_none() && key.is_none() && client_ca.is_none() && client_auth.is_none();
    let client_auth = client_auth.unwrap_or(ClientAuth::NoClientCert);
    refuse_without_effect(&section.path, client_auth, client_ca.is_some(), sans.is_some())?;
    if is_off {
        return Ok(None);
    }
    let missing = |what: &str| section.path.mistake(format!("must have {what}_file or {what}"));
    Ok(Some(TlsSettings {
        certificate: certificate.ok_or_else(|| missing("cert"))?,
        key: key.ok_or_else(|| missing("key"))?,
        client_auth,
        client_ca,
        client_allowed_sans: sans,
        versions,
        cipher_suites: suites.filter(|suites| !suites.is_empty()),
        prefers_own_order: prefers_own_order.unwrap_or(true),
        groups: groups.filter(|groups| !groups.is_empty()),
    }))
}

/// Keys about clients that would not do what their reader expects.
fn refuse_without_effect(path: &KeyPath, auth: ClientAuth, has_ca: bool, has_sans: bool) -> Result<(), Mistake> {
    let verifies = matches!(auth, ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert);
    let requires = matches!(auth, ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert);
    if has_ca && auth == ClientAuth::NoClientCert {
        return Err(path
            .key("client_auth_type")
            .mistake("must be set beside client_ca_file or client_ca, to RequireAndVerifyClientCert most likely"));
    }
    if verifies && !has_ca {
        // Go would ask the system's roots, and let anyone in who has bought a certificate.
        return Err(path.mistake("must have client_ca_file or client_ca, to say who issues client certificates"));
    }
    if has_sans && !requires {
        return Err(path.key("client_allowed_sans").mistake(
            "must not be set where client_auth_type is neither RequireAndVerifyClientCert nor RequireAnyClientCert: \
             a client without a certificate would get in",
        ));
    }
    Ok(())
}

fn read_pem(section: &mut Section, (file, inline): (&str, &str), folder: &Path) -> Result<Option<Pem>, Mistake> {
    let (from_file, from_text) = (filled(section, file), filled(section, inline));
    let pem = |key: &str, source| Some(Pem { key: format!("tls_server_config.{key}"), source });
    Ok(match (from_file, from_text) {
        (Some(_), Some(text)) => return Err(text.mistake(format!("must not stand beside {file}; keep one of the two"))),
        (Some(path), None) => pem(file, PemSource::File(folder.join(path.text()?))),
        (None, Some(text)) => pem(inline, PemSource::Inline(HiddenText(text.text()?))),
        (None, None) => None,
    })
}

fn read_client_auth(value: Value) -> Result<ClientAuth, Mistake> {
    value.choice(&CLIENT_AUTHS)
}

fn read_versions(section: &mut Section) -> Result<(TlsVersion, TlsVersion), Mistake> {
    let mut read = |key: &str| {
        let version = filled(section, key).map(|value| refused_by_library(value, &VERSIONS, "no TLS below 1.2"));
        version.transpose()
    };
    let oldest = read("min_version")?.unwrap_or(TlsVersion::Tls12);
    let newest = read("max_version")?.unwrap_or(TlsVersion::Tls13);
    match oldest <= newest {
        true => Ok((oldest, newest)),
        false => Err(section.path.key("min_version").mistake("must not be above max_version: no client could connect")),
    }
}

fn read_suite(value: Value) -> Result<SupportedCipherSuite, Mistake> {
    refused_by_library(value, &SUITES, "no CBC, no RSA key exchange and no RC4")
}

fn read_group(value: Value) -> Result<&'static dyn SupportedKxGroup, Mistake> {
    refused_by_library(value, &GROUPS, "no other groups")
}

/// One of a few words; what else other exporters take is refused with the reason why it cannot be honoured here.
fn refused_by_library<T: Copy>(value: Value, words: &[(&str, T)], lacks: &str) -> Result<T, Mistake> {
    let refuse = |mistake: Mistake| Mistake { reason: format!("{}; rustls has {lacks}", mistake.reason), ..mistake };
    value.choice(words).map_err(refuse)
}

fn read_headers(value: Value) -> Result<Vec<(String, String)>, Mistake> {
    let headers = value.named()?.into_iter().map(|(name, value)| {
        let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = HEADERS.iter().map(|(known, _)| *known).collect();
            return Err(value.mistake(format!("this header cannot be set, only {}", known.join(", "))));
        };
        let path = value.path.clone();
        let text = match value.node {
            // `X-XSS-Protection: 0`
            Node::Integer(number) => number.to_string(),
            Node::Null => String::new(),
            _ => value.text()?,
        };
        if !allowed.is_empty() && !allowed.contains(&text.as_str()) {
            return Err(path.mistake(format!("must be {}", allowed.join(" or "))));
        }
        match text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            true => Ok((name, text)),
            false => Err(path.mistake("must be one line of printable ASCII")),
        }
    });
    headers.collect()
}

/// A bcrypt hash, as `htpasswd -nB` writes it. The value is not repeated in the error.
fn read_hash(value: Value) -> Result<HiddenText, Mistake> {
    let path = value.path.clone();
    let not_one = || path.mistake("must be a bcrypt hash, such as $2y$10$… of htpasswd -nB");
    let hash = match value.node {
        Node::Text(hash) => hash,
        // A name that has nothing may hold the hash, for want of a space between.
        Node::Null => {
            return Err(path.parent().mistake("each name must be followed by a colon, a space and a bcrypt hash"));
        }
        _ => return Err(not_one()),
    };
    // Not $2x$: those were made by an implementation with a bug, and would never match.
    let is_known = ["$2a$", "$2b$", "$2y$"].iter().any(|version| hash.starts_with(version));
    let parts: HashParts = hash.parse().ok().filter(|_| is_known).ok_or_else(not_one)?;
    match parts.get_cost() {
        4..=MAX_COST => Ok(HiddenText(hash)),
        _ => {
            Err(path.mistake(format!("must have a cost from 4 to {MAX_COST}: above, one check takes tens of seconds")))
        }
    }
}

fn read_rate_limit(mut section: Section) -> Result<Option<RateLimit>, Mistake> {
    let interval = match filled(&mut section, "interval") {
        Some(Value { node: Node::Integer(0), .. }) | None => Duration::ZERO,
        Some(interval) => interval.duration()?,
    };
    let burst = filled(&mut section, "burst").map(|value| value.number(0..=u32::MAX, "")).transpose()?.unwrap_or(0);
    match (interval, burst) {
        (Duration::ZERO, _) => Ok(None),
        (_, 0) => Err(section.path.key("burst").mistake("must be at least 1: no request would be answered")),
        (interval, burst) => Ok(Some(RateLimit { interval, burst })),
    }
}

/// The value of a key that is there and not empty.
fn filled(section: &mut Section, key: &str) -> Option<Value> {
    section.take(key).filter(|value| match &value.node {
        Node::Null => false,
        Node::Text(text) => !text.is_empty(),
        Node::Bool(_) | Node::Integer(_) | Node::List(_) | Node::Map(_) | Node::OtherNumber => true,
    })
}

const WEB_KEYS: Keys = Keys {
    own: &["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"],
    shared: &[],
    planned: &[],
};
const TLS_KEYS: Keys = Keys {
    own: &[
        "cert_file",
        "cert",
        "key_file",
        "key",
        "client_auth_type",
        "client_ca_file",
        "client_ca",
        "client_allowed_sans",
        "min_version",
        "max_version",
        "cipher_suites",
        "prefer_server_cipher_suites",
        "curve_preferences",
    ],
    shared: &[],
    planned: &[],
};
const HTTP_KEYS: Keys = Keys { own: &["http2", "headers"], shared: &[], planned: &[] };
const RATE_KEYS: Keys = Keys { own: &["interval", "burst"], shared: &[], planned: &[] };

const CLIENT_AUTHS: [(&str, ClientAuth); 6] = [
    ("NoClientCert", ClientAuth::NoClientCert),
    ("RequestClientCert", ClientAuth::RequestClientCert),
    ("RequireAnyClientCert", ClientAuth::RequireAnyClientCert),
    // The older word.
    ("RequireClientCert", ClientAuth::RequireAnyClientCert),
    ("VerifyClientCertIfGiven", ClientAuth::VerifyClientCertIfGiven),
    ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerifyClientCert),
];
const VERSIONS: [(&str, TlsVersion); 2] = [("TLS12", TlsVersion::Tls12), ("TLS13", TlsVersion::Tls13)];

/// Go's names. Those of TLS 1.3 may be listed, and are always on, as there.
const SUITES: [(&str, SupportedCipherSuite); 9] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
];
const GROUPS: [(&str, &dyn SupportedKxGroup); 3] =
    [("CurveP256", group::SECP256R1), ("CurveP384", group::SECP384R1), ("X25519", group::X25519)];

/// Headers that may be set, and their values where only some make sense.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// Eight seconds of one core for a check.
const MAX_COST: u32 = 17;
