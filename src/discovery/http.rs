//! One question to one HTTP source, on whatever thread asks it. Every answer is bounded in time and size.

use std::{
    io,
    net::ToSocketAddrs,
    sync::{Arc, mpsc},
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ureq::{
    Agent,
    config::{Config, RedirectAuthHeaders},
    http::{HeaderMap, StatusCode, Uri, header},
    tls::{Certificate, RootCerts, TlsConfig},
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

use crate::{
    config::{BEARER, HttpSource, ListFormat, Listing, MAX_BYTES, Scheme, certificates},
    text::printable,
};

/// A question to be asked.
#[derive(Debug)]
pub struct Fetch {
    pub(super) source: HttpSource,
    /// What the server called the list that is known already.
    pub(super) etag: Option<String>,
    /// As long as this lives, the source is not asked again.
    pub(super) _under_way: Arc<()>,
}

/// What came of it.
#[derive(Debug)]
pub struct Fetched {
    pub(super) source: HttpSource,
    /// `None` where the list is the one that is known already.
    pub(super) outcome: Result<Option<(Listing, Option<String>)>, String>,
}

impl Fetch {
    /// Asks, and waits for the answer.
    #[must_use]
    pub fn run(&self) -> Fetched {
        Fetched { source: self.source.clone(), outcome: self.ask() }
    }

    /// What comes of it where it cannot be asked.
    #[must_use]
    pub fn unasked(&self, reason: String) -> Fetched {
        Fetched { source: self.source.clone(), outcome: Err(reason) }
    }

    fn ask(&self) -> Result<Option<(Listing, Option<String>)>, String> {
        let source = &self.source;
        let mut request = agent(source)?.get(source.url()).header(header::ACCEPT, JSON);
        request = request.header(REFRESH_HEADER, source.refresh_interval.as_secs().to_string());
        if let Some(authorization) = authorization(source)? {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(etag) = &self.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let mut response = request.call().map_err(|error| reason(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if self.etag.is_some() => return Ok(None),
            other => return Err(format!("the answer has the status {}, not 200", other.as_u16())),
        }
        check_type(response.headers())?;
        let etag = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let body = response.body_mut().with_config().limit(MAX_BYTES as u64).read_to_vec();
        let body = body.map_err(|error| reason(&error))?;
        let text = String::from_utf8(body).map_err(|_| "the answer is not UTF-8".to_owned())?;
        let listing =
            Listing::parse(&text, ListFormat::Json).map_err(|why| format!("the answer: {}", printable(&why)))?;
        Ok(Some((listing, etag)))
    }
}

/// A client for one question: credentials never leave for another host, nor an encrypted connection for a plain one.
fn agent(source: &HttpSource) -> Result<Agent, String> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(source.is_encrypted())
        .max_redirects(MAX_REDIRECTS)
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .proxy(None)
        .user_agent(concat!("rdp_exporter/", env!("CARGO_PKG_VERSION")))
        .max_response_header_size(MAX_HEADER_BYTES)
        .timeout_global(Some(source.timeout));
    let config = match source.is_encrypted() {
        true => config.tls_config(tls(source)?),
        false => config,
    };
    Ok(Agent::with_parts(config.build(), DefaultConnector::default(), LookUp))
}

/// Looks names up as the library does, which would panic where there is no thread to do so on.
#[derive(Debug)]
struct LookUp;

impl Resolver for LookUp {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (scheme, authority) = uri.scheme().zip(uri.authority()).ok_or(ureq::Error::HostNotFound)?;
        let place = DefaultResolver::host_and_port(scheme, authority).ok_or(ureq::Error::HostNotFound)?;
        let (answer, answered) = mpsc::channel();
        thread::Builder::new()
            .name("discovery-name".into())
            // Nobody waits any more where the time was up.
            .spawn(move || drop(answer.send(place.to_socket_addrs())))
            .map_err(|error| io::Error::new(error.kind(), format!("no thread to look up its name on: {error}")))?;
        let found = answered.recv_timeout(*timeout.after).map_err(|_| ureq::Error::Timeout(timeout.reason))??;
        let mut addresses = self.empty();
        found.take(MAX_ADDRESSES).for_each(|address| addresses.push(address));
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

fn tls(source: &HttpSource) -> Result<TlsConfig, String> {
    let roots = match &source.ca_file {
        Some(file) => certificates(file).map_err(|reason| format!("{} {reason}", file.display()))?,
        None => rustls_native_certs::load_native_certs().certs.into_iter().map(|der| der.to_vec()).collect(),
    };
    let roots = roots.iter().map(|der| Certificate::from_der(der).to_owned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder().root_certs(RootCerts::from(roots)).unversioned_rustls_crypto_provider(provider).build())
}

/// Files of secrets are read each time: they may have been replaced.
fn authorization(source: &HttpSource) -> Result<Option<String>, String> {
    let Some(credentials) = &source.credentials else { return Ok(None) };
    let secret = credentials.secret.read()?;
    Ok(Some(match &credentials.scheme {
        Scheme::Basic(user) => format!("Basic {}", STANDARD.encode(format!("{user}:{secret}"))),
        Scheme::Bearer => format!("{BEARER} {secret}"),
        Scheme::Other(word) => format!("{word} {secret}"),
    }))
}

/// As Prometheus asks of such a server.
fn check_type(headers: &HeaderMap) -> Result<(), String> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = said.split(';').map(|part| part.trim().to_ascii_lowercase());
    let is_json = parts.next().as_deref() == Some(JSON);
    match is_json && parts.all(|parameter| matches!(parameter.as_str(), "charset=utf-8" | "charset=\"utf-8\"")) {
        true => Ok(()),
        false => Err(format!("the answer has the content type \"{}\", not {JSON}", printable(said))),
    }
}

/// Why there was no answer. The library's text where it cannot quote the URL or a header.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "the URL, or a redirect to another one, cannot be asked".to_owned(),
        ureq::Error::Http(_) => "the credentials cannot be sent: they are no text of one line".to_owned(),
        ureq::Error::RequireHttpsOnly(_) => "the answer leads away to an unencrypted address".to_owned(),
        ureq::Error::BodyExceedsLimit(_) => format!("the answer is larger than {} MiB", MAX_BYTES >> 20),
        other => printable(&other.to_string()),
    }
}

const JSON: &str = "application/json";
const REFRESH_HEADER: &str = "x-prometheus-refresh-interval-seconds";
const MAX_REDIRECTS: u32 = 3;
/// There is room for so many.
const MAX_ADDRESSES: usize = 16;
const MAX_HEADER_BYTES: usize = 64 << 10;
