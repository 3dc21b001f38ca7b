//! `discovery`: where lists of further targets come from. What they list is read elsewhere.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::Uri;

use super::{
    document::Node,
    error::{KeyPath, Mistake, quoted},
    secret::{HIDDEN, Secret, read_path, take_secret},
    section::{Keys, Section, Value},
};

/// Where lists of further targets come from. Between two that list the same target the first one wins, files first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Files in the format of Prometheus's `file_sd`.
    pub files: Vec<FileSource>,
    /// Servers that speak Prometheus's `http_sd`.
    pub http: Vec<HttpSource>,
}

/// Files whose names fit a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// The pattern as it was written; the value of the label `source`.
    pub name: String,
    /// Where they are: the part before the last `/`.
    pub folder: PathBuf,
    /// The part after it, with `*`, `?` and `[…]`.
    pub pattern: glob::Pattern,
    /// Which of their labels are kept.
    pub keep_labels: KeepLabels,
}

/// One URL that answers with a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSource {
    /// The URL as it may be shown; the value of the label `source`.
    pub name: String,
    url: Hidden,
    /// How often it is asked.
    pub refresh_interval: Duration,
    /// How long one answer may take, redirects included.
    pub timeout: Duration,
    /// What is sent as `Authorization`.
    pub credentials: Option<Credentials>,
    /// PEM authorities in the place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Which of its labels are kept.
    pub keep_labels: KeepLabels,
}

/// What is sent as `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who, or how.
    pub scheme: Scheme,
    /// The rest of it.
    pub secret: Secret,
}

/// What stands before the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// `Basic`, with this user and the secret as password.
    Basic(String),
    /// `Bearer`, set by the short form `bearer_token`.
    Bearer,
    /// This word.
    Other(String),
}

/// Which labels of a list are kept; those that begin with `__` never are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeepLabels(Option<BTreeSet<String>>);

/// A URL whose query may hold a secret.
#[derive(Clone, PartialEq, Eq)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl HttpSource {
    /// The URL that is asked. Its query may hold a secret: show [`Self::name`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url.0
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.url.0.get(..6).is_some_and(|begin| begin.eq_ignore_ascii_case("https:"))
    }
}

impl KeepLabels {
    /// Whether a label of that name is kept.
    #[must_use]
    pub fn keeps(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(name))
    }

    /// The names that are kept, where not all are.
    pub(super) fn names(&self) -> Option<Vec<&str>> {
        self.0.as_ref().map(|names| names.iter().map(String::as_str).collect())
    }
}

/// Reads `discovery`.
pub(super) fn read_discovery(mut section: Section, folder: &Path) -> Result<Discovery, Mistake> {
    let named = |value: Value| Ok((value.path.clone(), value));
    let files = section.take_as("files", |value| value.list(named))?.unwrap_or_default();
    let http = section.take_as("http", |value| value.list(named))?.unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut discovery = Discovery::default();
    for (path, value) in files {
        let source = read_file_source(value, folder)?;
        refuse_again(&mut names, &source.name, &path)?;
        discovery.files.push(source);
    }
    for (path, value) in http {
        let source = read_http_source(value.secret_section(HTTP_KEYS)?, folder)?;
        refuse_again(&mut names, &source.name, &path)?;
        discovery.http.push(source);
    }
    match names.len() {
        0..=MAX_SOURCES => Ok(discovery),
        _ => Err(section.path.mistake(format!("must have at most {MAX_SOURCES} sources, files and http together"))),
    }
}

/// Two sources of one name would share their metrics.
fn refuse_again(names: &mut BTreeSet<String>, name: &str, path: &KeyPath) -> Result<(), Mistake> {
    match names.insert(name.to_owned()) {
        true => Ok(()),
        false => Err(path.mistake(format!("another source is {} as well, as far as it may be shown", quoted(name)))),
    }
}

fn read_file_source(value: Value, folder: &Path) -> Result<FileSource, Mistake> {
    let (path, name, keep_labels) = match &value.node {
        Node::Map(_) => {
            let mut section = value.section(FILE_KEYS)?;
            let path = section.path.key("path");
            let name = section.take_as("path", Value::text)?.ok_or_else(|| path.mistake("must be set"))?;
            (path, name, take_keep_labels(&mut section)?)
        }
        _ => (value.path.clone(), value.text()?, KeepLabels::default()),
    };
    let whole = folder.join(&name);
    let last = whole.file_name().and_then(|last| last.to_str()).filter(|_| !name.ends_with('/')).unwrap_or_default();
    if ![".json", ".yaml", ".yml"].iter().any(|end| last.ends_with(end)) {
        return Err(path.mistake(format!("must end in .json, .yaml or .yml, not be {}", quoted(&name))));
    }
    if Path::new(&name).parent().is_some_and(|parent| parent.to_string_lossy().contains(['*', '?', '['])) {
        return Err(path.mistake("may have *, ? and [] after its last / only"));
    }
    let pattern = glob::Pattern::new(last).map_err(|error| path.mistake(format!("is no pattern: {}", error.msg)))?;
    let folder = whole.parent().map(Path::to_owned).unwrap_or_default();
    Ok(FileSource { pattern, folder, name, keep_labels })
}

fn read_http_source(mut section: Section, folder: &Path) -> Result<HttpSource, Mistake> {
    let path = section.path.key("url");
    let url = section.take_as("url", Value::text)?.ok_or_else(|| path.mistake("must be set"))?;
    let name = shown(&url).map_err(|reason| path.mistake(reason))?;
    let refresh_interval = section.take_as("refresh_interval", at_least_a_second)?.unwrap_or(REFRESH_INTERVAL);
    let timeout = section.take_as("timeout", Value::positive_duration)?.unwrap_or(TIMEOUT);
    if timeout > LONGEST_TIMEOUT {
        return Err(section.path.key("timeout").mistake("must be 5m or shorter"));
    }
    let credentials = take_credentials(&mut section, folder)?;
    let mut tls = section.take_section("tls_config", TLS_KEYS)?;
    let ca_file = tls.take_as("ca_file", |value| read_path(value, folder))?;
    let keep_labels = take_keep_labels(&mut section)?;
    let url = Hidden(url);
    Ok(HttpSource { name, url, refresh_interval, timeout, credentials, ca_file, keep_labels })
}

fn at_least_a_second(value: Value) -> Result<Duration, Mistake> {
    let path = value.path.clone();
    match value.duration()? {
        short if short < Duration::from_secs(1) => Err(path.mistake("must be 1s or longer")),
        duration => Ok(duration),
    }
}

fn take_keep_labels(section: &mut Section) -> Result<KeepLabels, Mistake> {
    let names = section.take_as("keep_labels", |value| value.list(Value::text))?;
    Ok(KeepLabels(names.map(|names| names.into_iter().collect())))
}

/// One of `basic_auth`, `authorization` and `bearer_token`, as Prometheus names them.
fn take_credentials(section: &mut Section, folder: &Path) -> Result<Option<Credentials>, Mistake> {
    let mut found = Vec::new();
    if let Some(value) = section.take("basic_auth") {
        let path = value.path.clone();
        let mut basic = value.secret_section(BASIC_KEYS)?;
        let user = basic.take_as("username", Value::text)?.unwrap_or_default();
        if user.is_empty() || user.contains(|c: char| c == ':' || c.is_control()) {
            return Err(path.key("username").mistake("must be set, without a colon"));
        }
        let secret = take_secret(&mut basic, "password", folder)?;
        let secret = secret.ok_or_else(|| path.mistake("must have a password_file, or a password"))?;
        found.push((path, Credentials { scheme: Scheme::Basic(user), secret }));
    }
    if let Some(value) = section.take("authorization") {
        let path = value.path.clone();
        let mut authorization = value.secret_section(AUTHORIZATION_KEYS)?;
        let word = authorization.take_as("type", read_scheme)?.unwrap_or_else(|| BEARER.to_owned());
        let secret = take_secret(&mut authorization, "credentials", folder)?;
        let secret = secret.ok_or_else(|| path.mistake("must have a credentials_file, or credentials"))?;
        found.push((path, Credentials { scheme: Scheme::Other(word), secret }));
    }
    if let Some(secret) = take_secret(section, "bearer_token", folder)? {
        let path = section.path.key("bearer_token");
        found.push((path, Credentials { scheme: Scheme::Bearer, secret }));
    }
    let several = found.len() > 1;
    match found.into_iter().next() {
        Some((path, _)) if several => {
            Err(path.mistake("must not stand beside other credentials: basic_auth, authorization or bearer_token"))
        }
        found => Ok(found.map(|(_, credentials)| credentials)),
    }
}

fn read_scheme(value: Value) -> Result<String, Mistake> {
    let path = value.path.clone();
    let word = value.text()?;
    if word.eq_ignore_ascii_case("basic") {
        return Err(path.mistake("must not be Basic, which is what basic_auth is for"));
    }
    match !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        true => Ok(word),
        false => Err(path.mistake("must be one word, such as Bearer")),
    }
}

/// The URL as it may be shown, or why it is none. No reason quotes it: it may hold a password.
fn shown(url: &str) -> Result<String, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "must be a URL such as https://cmdb.example/rdp")?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("must begin with http:// or https:// and a host");
    };
    if authority.as_str().contains('@') {
        return Err("must not hold a user or password; basic_auth is for them");
    }
    let mut shown = format!("{scheme}://{authority}{}", uri.path());
    for (number, parameter) in uri.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if number == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, value)) if is_secret(name, value) => shown.push_str(&format!("{name}={HIDDEN}")),
            None if is_secret("", parameter) => shown.push_str(HIDDEN),
            Some(_) | None => shown.push_str(parameter),
        }
    }
    Ok(shown)
}

/// A guess, on the careful side: whoever has a secret should not put it into a URL.
fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    value.len() > LONGEST_PLAIN_VALUE || SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// The keys of `discovery`.
pub(super) const DISCOVERY_KEYS: Keys = Keys { own: &["files", "http"], shared: &[], planned: &[] };
/// The keys of an entry of `discovery.files`.
pub(super) const FILE_KEYS: Keys = Keys { own: &["path", "keep_labels"], shared: &[], planned: &[] };
/// The keys of an entry of `discovery.http`.
pub(super) const HTTP_KEYS: Keys = Keys {
    own: &[
        "url",
        "refresh_interval",
        "timeout",
        "basic_auth",
        "authorization",
        "bearer_token",
        "bearer_token_file",
        "tls_config",
        "keep_labels",
    ],
    shared: &[],
    planned: &[],
};
/// The keys of `basic_auth`.
pub(super) const BASIC_KEYS: Keys = Keys { own: &["username", "password", "password_file"], shared: &[], planned: &[] };
/// The keys of `authorization`.
pub(super) const AUTHORIZATION_KEYS: Keys =
    Keys { own: &["type", "credentials", "credentials_file"], shared: &[], planned: &[] };
/// The keys of `tls_config`.
pub(super) const TLS_KEYS: Keys = Keys { own: &["ca_file"], shared: &[], planned: &[] };

/// Where `type` says nothing, as in the short form.
pub const BEARER: &str = "Bearer";
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Whoever waits longer waits for nothing.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(300);
const MAX_SOURCES: usize = 64;
const SECRET_NAMES: [&str; 11] =
    ["auth", "code", "cred", "jwt", "key", "pass", "pwd", "secret", "session", "sig", "token"];
/// Tokens are longer than what one would write by hand.
const LONGEST_PLAIN_VALUE: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        for (url, expected) in [
            ("https://cmdb.example/rdp", "https://cmdb.example/rdp"),
            ("http://cmdb.example:8080", "http://cmdb.example:8080/"),
            (
                "https://cmdb.example/rdp?site=berlin&token=hunter2",
                "https://cmdb.example/rdp?site=berlin&token=<secret>",
            ),
            ("https://cmdb.example/?API_KEY=x&a", "https://cmdb.example/?API_KEY=<secret>&a"),
            ("https://h/?q=0123456789012345678901234", "https://h/?q=<secret>"),
            ("https://h/?0123456789012345678901234", "https://h/?<secret>"),
        ] {
            assert_eq!(shown(url).as_deref(), Ok(expected));
        }
        for url in
            ["", "cmdb.example/rdp", "/rdp", "ftp://cmdb.example/", "https://", "https://me:hunter2@h/", "https://a b/"]
        {
            assert!(!shown(url).unwrap_err().contains("hunter2"), "{url}");
        }
    }
}
