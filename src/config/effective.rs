//! The effective configuration as YAML that can be read again, every key written out.
//! A target whose settings are its module's refers to the module: twenty thousand copies of them help nobody.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;

use super::{
    Config, Credentials, FileSource, HttpSource, MaxConcurrent, ProbeEndpoint, Scheme, Secret,
    duration::format_duration,
    secret::HIDDEN,
    settings::{DEFAULT_MODULE, word_of, word_of_certificate, word_of_nla, word_of_tls_min},
};
use crate::{
    diagnosis::Finding,
    target::{Address, Settings, Target},
};

/// Writes a configuration.
pub(super) fn write(config: &Config) -> String {
    let view = ConfigView {
        exporter: ExporterView {
            max_concurrent: match config.exporter.max_concurrent {
                MaxConcurrent::Auto => MaxConcurrentView::Auto("auto"),
                MaxConcurrent::Limit(limit) => MaxConcurrentView::Limit(limit),
            },
            state_file: match &config.exporter.state_file {
                Some(file) => file.to_string_lossy().into_owned(),
                None => String::new(),
            },
            histograms: config.exporter.histograms,
        },
        probe: SettingsView::of(&config.defaults),
        modules: config
            .modules
            .iter()
            .map(|(name, layer)| (name.as_str(), SettingsView::of(&layer.settings)))
            .collect(),
        targets: config.targets.iter().take(config.configured).map(|target| TargetView::of(target, config)).collect(),
        discovery: DiscoveryView {
            files: config.discovery.files.iter().map(FileSourceView::of).collect(),
            http: config.discovery.http.iter().map(HttpSourceView::of).collect(),
        },
        sharding: ShardingView { index: config.sharding.index, count: config.sharding.count },
        trust: TrustView {
            system_roots: config.trust.system_roots,
            ca_files: config.trust.ca_files.iter().map(|file| file.to_string_lossy().into_owned()).collect(),
        },
        probe_endpoint: ProbeEndpointView::of(&config.probe_endpoint),
    };
    // Texts, numbers and maps with text keys: there is nothing in it that YAML cannot say.
    serde_yaml::to_string(&view).unwrap_or_else(|error| format!("# The configuration cannot be shown: {error}\n"))
}

#[derive(Serialize)]
struct ConfigView<'a> {
    exporter: ExporterView,
    probe: SettingsView<'a>,
    modules: BTreeMap<&'a str, SettingsView<'a>>,
    targets: Vec<TargetView<'a>>,
    discovery: DiscoveryView<'a>,
    sharding: ShardingView,
    trust: TrustView,
    probe_endpoint: ProbeEndpointView,
}

#[derive(Serialize)]
struct ExporterView {
    max_concurrent: MaxConcurrentView,
    state_file: String,
    histograms: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum MaxConcurrentView {
    Auto(&'static str),
    Limit(usize),
}

#[derive(Serialize)]
struct SettingsView<'a> {
    interval: String,
    confirm_after: String,
    timeout: String,
    connect_timeout: String,
    survey_interval: String,
    challenge_interval: String,
    cookie: &'a str,
    companion_ports: &'a [u16],
    ip_protocol: &'static str,
    source_address: String,
    facts_max_age: String,
    expect: ExpectView<'a>,
}

#[derive(Serialize)]
struct ExpectView<'a> {
    certificate: &'static str,
    certificate_days: u32,
    self_signed_renews: bool,
    nla: &'static str,
    clock_skew: String,
    tls_min: &'static str,
    computer: &'a str,
    accept: Vec<&'static str>,
}

impl<'a> SettingsView<'a> {
    fn of(settings: &'a Settings) -> Self {
        let expect = &settings.expect;
        Self {
            interval: format_duration(settings.interval),
            confirm_after: format_duration(settings.confirm_after),
            timeout: format_duration(settings.timeout),
            connect_timeout: format_duration(settings.connect_timeout),
            survey_interval: format_duration(settings.survey_interval),
            challenge_interval: format_duration(settings.challenge_interval),
            cookie: &settings.cookie,
            companion_ports: &settings.companion_ports,
            ip_protocol: word_of(settings.ip_protocol),
            source_address: settings.source_address.map(|ip| ip.to_string()).unwrap_or_default(),
            facts_max_age: format_duration(settings.facts_max_age),
            expect: ExpectView {
                certificate: word_of_certificate(expect.certificate),
                certificate_days: expect.certificate_days,
                self_signed_renews: expect.self_signed_renews,
                nla: word_of_nla(expect.nla),
                clock_skew: format_duration(expect.clock_skew),
                tls_min: word_of_tls_min(expect.tls_min),
                computer: &expect.computer,
                accept: expect.accept.iter().copied().map(Finding::label).collect(),
            },
        }
    }
}

#[derive(Serialize)]
struct TargetView<'a> {
    /// As it was written: it decides whose the target is.
    address: Cow<'a, str>,
    name: &'a str,
    module: &'a str,
    labels: &'a BTreeMap<String, String>,
    server_name: &'a str,
    /// Only where they are no module's.
    #[serde(flatten)]
    settings: Option<SettingsView<'a>>,
}

impl<'a> TargetView<'a> {
    fn of(target: &'a Target, config: &'a Config) -> Self {
        let has_settings = |settings: &Settings| *settings == *target.settings;
        // `default` first, as most targets name no module.
        let module = match config.modules.get(DEFAULT_MODULE) {
            Some(layer) if has_settings(&layer.settings) => Some(DEFAULT_MODULE),
            _ => config.modules.iter().find(|(_, layer)| has_settings(&layer.settings)).map(|(name, _)| name.as_str()),
        };
        Self {
            address: target.address.as_written(),
            name: &target.name,
            module: module.unwrap_or(DEFAULT_MODULE),
            labels: &target.labels,
            server_name: target.server_name.as_deref().unwrap_or_default(),
            settings: module.is_none().then(|| SettingsView::of(&target.settings)),
        }
    }
}

#[derive(Serialize)]
struct DiscoveryView<'a> {
    files: Vec<FileSourceView<'a>>,
    http: Vec<HttpSourceView<'a>>,
}

#[derive(Serialize)]
struct FileSourceView<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_labels: Option<Vec<&'a str>>,
}

impl<'a> FileSourceView<'a> {
    fn of(source: &'a FileSource) -> Self {
        Self { path: &source.name, keep_labels: source.keep_labels.names() }
    }
}

#[derive(Serialize)]
struct HttpSourceView<'a> {
    url: &'a str,
    refresh_interval: String,
    timeout: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    basic_auth: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    authorization: BTreeMap<&'static str, String>,
    #[serde(flatten)]
    bearer: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tls_config: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_labels: Option<Vec<&'a str>>,
}

impl<'a> HttpSourceView<'a> {
    fn of(source: &'a HttpSource) -> Self {
        let mut view = Self {
            url: &source.name,
            refresh_interval: format_duration(source.refresh_interval),
            timeout: format_duration(source.timeout),
            basic_auth: BTreeMap::new(),
            authorization: BTreeMap::new(),
            bearer: BTreeMap::new(),
            tls_config: BTreeMap::new(),
            keep_labels: source.keep_labels.names(),
        };
        if let Some(file) = &source.ca_file {
            view.tls_config.insert("ca_file", file.to_string_lossy().into_owned());
        }
        let Some(Credentials { scheme, secret }) = &source.credentials else { return view };
        match scheme {
            Scheme::Basic(user) => {
                view.basic_auth =
                    BTreeMap::from([("username", user.clone()), shown(secret, "password", "password_file")]);
            }
            Scheme::Bearer => view.bearer = BTreeMap::from([shown(secret, "bearer_token", "bearer_token_file")]),
            Scheme::Other(word) => {
                let credentials = shown(secret, "credentials", "credentials_file");
                view.authorization = BTreeMap::from([("type", word.clone()), credentials]);
            }
        }
        view
    }
}

/// Where a secret stands, or that there is one.
fn shown(secret: &Secret, key: &'static str, file_key: &'static str) -> (&'static str, String) {
    match secret {
        Secret::File(file) => (file_key, file.to_string_lossy().into_owned()),
        Secret::Inline(_) => (key, HIDDEN.to_owned()),
    }
}

#[derive(Serialize)]
struct ShardingView {
    index: u32,
    count: u32,
}

#[derive(Serialize)]
struct TrustView {
    system_roots: bool,
    ca_files: Vec<String>,
}

#[derive(Serialize)]
struct ProbeEndpointView {
    allow: Vec<String>,
    ports: Vec<u16>,
}

impl ProbeEndpointView {
    fn of(probe_endpoint: &ProbeEndpoint) -> Self {
        match probe_endpoint {
            ProbeEndpoint::Allowed { networks, names, ports } => Self {
                allow: networks.iter().map(ToString::to_string).chain(names.iter().map(ToString::to_string)).collect(),
                ports: ports.clone(),
            },
            // What holds without a file is no file's to say: its nearest relative is the stricter rule.
            ProbeEndpoint::AnyOnDefaultPort | ProbeEndpoint::ConfiguredTargets => {
                Self { allow: Vec::new(), ports: vec![Address::DEFAULT_PORT] }
            }
        }
    }
}
