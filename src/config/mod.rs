//! YAML to what the exporter runs with. The only room that knows YAML.
//! Only [`Config::load`], [`WebConfig::load`], [`load_roots`] and [`Secret::read`] touch the disk, all by [`read_file`]; a mistake is an error that names its key, its line and what would be right.

mod discovered;
mod discovery;
mod document;
mod duration;
mod effective;
mod error;
mod file;
mod listing;
mod probe_endpoint;
mod reader;
mod roots;
mod secret;
mod section;
mod settings;
mod sharding;
mod targets;
mod web;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use discovered::{SourceListing, Taken};
pub use discovery::{BEARER, Credentials, Discovery, FileSource, HttpSource, KeepLabels, Scheme};
pub use document::MAX_BYTES;
pub use duration::{DurationError, format_duration, parse_duration};
pub use error::{ConfigError, Position};
pub use file::{open_at_once, read_file};
pub use listing::{LeftOut, ListFormat, Listing, Rejection};
pub use probe_endpoint::{NamePattern, ProbeEndpoint};
pub use reader::Reader;
pub use roots::{broken_pem, certificates, load_roots};
pub use secret::{Secret, check_secrets};
pub use sharding::{COUNT_VARIABLE, INDEX_VARIABLE, ShardVariables, Sharding};
pub use targets::adhoc_target;
pub use web::{ClientAuth, HiddenText, Pem, PemSource, RateLimit, TlsSettings, WebConfig};

use crate::target::{Address, Settings, Target};
use discovery::{DISCOVERY_KEYS, read_discovery};
use document::Node;
use error::{KeyPath, Mistake};
use probe_endpoint::{PROBE_ENDPOINT_KEYS, read_probe_endpoint};
use secret::read_path;
use section::{Keys, Section, Value};
use settings::{LAYER_KEYS, Layer, Modules, Overrides, read_modules};
use sharding::{SHARDING_KEYS, read_sharding};
use targets::read_targets;

/// A configuration, every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This process.
    pub exporter: Exporter,
    /// `probe` over the built-in defaults.
    pub defaults: Arc<Settings>,
    /// The modules over `probe`.
    modules: Modules,
    /// In the file's order, then those that were discovered; no two have the same name. Of all shards.
    pub targets: Vec<Arc<Target>>,
    /// How many of them stand in the file.
    configured: usize,
    /// Where lists of further targets come from.
    pub discovery: Discovery,
    /// Which of the targets this process probes.
    pub sharding: Sharding,
    /// Which authorities are known.
    pub trust: TrustSettings,
    /// What `/probe` may be pointed at.
    pub probe_endpoint: ProbeEndpoint,
}

/// Settings of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exporter {
    /// Probes under way at once.
    pub max_concurrent: MaxConcurrent,
    /// Whether each target has a histogram.
    pub histograms: bool,
    /// Where facts survive a restart; a relative path was taken from the folder of the configuration.
    pub state_file: Option<PathBuf>,
}

/// Probes under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxConcurrent {
    /// As many as the descriptor limit lets.
    Auto,
    /// This many; never 0.
    Limit(usize),
}

/// Which authorities are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSettings {
    /// Those of the system.
    pub system_roots: bool,
    /// PEM files; a relative one was taken from the folder of the configuration.
    pub ca_files: Vec<PathBuf>,
}

impl Config {
    /// What holds without a configuration file: no targets, and `/probe` open to any ordinary host on the RDP port.
    #[must_use]
    pub fn without_file() -> Self {
        let built_in = Layer::built_in();
        Self {
            exporter: Exporter { max_concurrent: MaxConcurrent::Auto, histograms: true, state_file: None },
            defaults: Arc::clone(&built_in.settings),
            modules: Modules::from([(settings::DEFAULT_MODULE.to_owned(), built_in)]),
            targets: Vec::new(),
            configured: 0,
            discovery: Discovery::default(),
            sharding: Sharding::NONE,
            trust: TrustSettings { system_roots: true, ca_files: Vec::new() },
            probe_endpoint: ProbeEndpoint::AnyOnDefaultPort,
        }
    }

    /// Reads and resolves a file.
    ///
    /// # Errors
    /// A file that cannot be read, that is too large or not UTF-8, and every mistake of [`Config::from_yaml`].
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::from_yaml(&read_text(file)?, file)
    }

    /// Reads and resolves a text. `file` is what errors call it, and relative files are taken from its folder.
    ///
    /// # Errors
    /// Broken YAML; keys that are unknown, not built or set twice; values of the wrong kind; contradictions.
    pub fn from_yaml(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let folder = file.parent().unwrap_or(Path::new(""));
        read_document(text, file, |root| read_config(root, folder))
    }

    /// The target of that name or, where there is none, at that address.
    #[must_use]
    pub fn target(&self, asked: &str) -> Option<&Arc<Target>> {
        let named = self.targets.iter().find(|target| target.name == asked);
        let at = |address: Address| self.targets.iter().find(|target| target.address == address);
        named.or_else(|| asked.parse().ok().and_then(at))
    }

    /// The settings of a module.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<&Arc<Settings>> {
        self.modules.get(name).map(|layer| &layer.settings)
    }

    /// The targets that this process probes on schedule.
    #[must_use]
    pub fn share(&self) -> Vec<Arc<Target>> {
        let is_ours = |target: &&Arc<Target>| self.sharding.includes(&target.address);
        self.targets.iter().filter(is_ours).cloned().collect()
    }

    /// One line for a person who has just checked a file.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let probe_endpoint = match &self.probe_endpoint {
            ProbeEndpoint::Allowed { networks, names, .. } => {
                format!("configured targets, {} and {}", count(networks.len(), "network"), count(names.len(), "name"))
            }
            ProbeEndpoint::AnyOnDefaultPort => "any host on port 3389".to_owned(),
            ProbeEndpoint::ConfiguredTargets => "configured targets only".to_owned(),
        };
        let sources = self.discovery.files.len() + self.discovery.http.len();
        let discovery = match sources {
            0 => String::new(),
            sources => format!(", {} of further targets", count(sources, "source")),
        };
        format!(
            "{}{discovery}, {}, a probe every {} by default, /probe for {probe_endpoint}",
            count(self.targets.len(), "target"),
            count(self.modules.len(), "module"),
            format_duration(self.defaults.interval),
        )
    }

    /// The longest `facts_max_age` of all that is configured.
    #[must_use]
    pub fn longest_memory(&self) -> Duration {
        let targets = self.targets.iter().map(|target| &target.settings);
        let settings = targets.chain(self.modules.values().map(|layer| &layer.settings));
        settings.map(|settings| settings.facts_max_age).fold(self.defaults.facts_max_age, Duration::max)
    }

    /// The effective configuration as YAML, which [`Config::from_yaml`] accepts again, unless a URL's secret is hidden in it.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        effective::write(self)
    }
}

/// The text of a file, where it is not too large.
fn read_text(file: &Path) -> Result<String, ConfigError> {
    let bytes = read_file(file).map_err(|reason| ConfigError::of_file(file, reason))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        ConfigError::of_file(file, format!("is not UTF-8 after byte {valid}"))
    })
}

/// What `read` makes of a text's values; mistakes get their place in it.
fn read_document<T>(text: &str, file: &Path, read: impl FnOnce(Node) -> Result<T, Mistake>) -> Result<T, ConfigError> {
    let refuse = |Mistake { path, reason, position }| ConfigError {
        file: file.to_owned(),
        position,
        key: path.to_string(),
        reason,
    };
    read(document::parse(text).map_err(refuse)?).map_err(|mistake| {
        // Only values that could be parsed are looked up: a hostile text is not read twice.
        let position = document::locate(text, &mistake.path);
        refuse(Mistake { position, ..mistake })
    })
}

impl ConfigError {
    /// What is wrong with the value of `key`, such as `trust.ca_files[1]`, was found when it was put to use. Reads the file
    /// again to say where the key stands.
    #[must_use]
    pub fn of_key(file: &Path, key: String, reason: String) -> Self {
        // A pipe was read to its end already.
        let text = file.is_file().then(|| read_text(file).ok()).flatten();
        let position = text.and_then(|text| document::locate(&text, &KeyPath::of_plain(&key)));
        Self { file: file.to_owned(), position, key, reason }
    }
}

fn read_config(root: Node, folder: &Path) -> Result<Config, Mistake> {
    let mut root = Value { path: KeyPath::default(), node: root }.section(ROOT_KEYS)?;
    let exporter = read_exporter(root.take_section("exporter", EXPORTER_KEYS)?, folder)?;
    let mut probe = root.take_section("probe", LAYER_KEYS)?;
    let probe = Overrides::take(&mut probe)?.on(&Layer::built_in(), &probe.path)?;
    let modules = read_modules(root.take("modules"), &probe)?;
    let targets = root.take_as("targets", |value| read_targets(value, &modules))?.unwrap_or_default();
    let discovery = read_discovery(root.take_section("discovery", DISCOVERY_KEYS)?, folder)?;
    let sharding = read_sharding(root.take_section("sharding", SHARDING_KEYS)?)?;
    let trust = read_trust(root.take_section("trust", TRUST_KEYS)?, folder)?;
    let probe_endpoint = read_probe_endpoint(root.take_section("probe_endpoint", PROBE_ENDPOINT_KEYS)?)?;
    Ok(Config {
        exporter,
        defaults: probe.settings,
        modules,
        configured: targets.len(),
        targets,
        discovery,
        sharding,
        trust,
        probe_endpoint,
    })
}

fn read_exporter(mut section: Section, folder: &Path) -> Result<Exporter, Mistake> {
    let state_file = section.take_as("state_file", Value::text)?.filter(|file| !file.is_empty());
    Ok(Exporter {
        max_concurrent: section.take_as("max_concurrent", read_max_concurrent)?.unwrap_or(MaxConcurrent::Auto),
        histograms: section.take_as("histograms", Value::boolean)?.unwrap_or(true),
        state_file: state_file.map(|file| folder.join(file)),
    })
}

fn read_max_concurrent(value: Value) -> Result<MaxConcurrent, Mistake> {
    if matches!(&value.node, Node::Text(text) if text == "auto") {
        return Ok(MaxConcurrent::Auto);
    }
    let path = value.path.clone();
    let limit = value.number(1..=1_000_000, "auto or ")?;
    usize::try_from(limit).map(MaxConcurrent::Limit).map_err(|_| path.mistake("too large for this machine"))
}

fn read_trust(mut section: Section, folder: &Path) -> Result<TrustSettings, Mistake> {
    Ok(TrustSettings {
        system_roots: section.take_as("system_roots", Value::boolean)?.unwrap_or(true),
        ca_files: section
            .take_as("ca_files", |value| value.list(|value| read_path(value, folder)))?
            .unwrap_or_default(),
    })
}

const ROOT_KEYS: Keys = Keys {
    own: &["exporter", "probe", "modules", "targets", "discovery", "sharding", "trust", "probe_endpoint"],
    shared: &[],
    planned: &[],
};
const EXPORTER_KEYS: Keys = Keys { own: &["max_concurrent", "state_file", "histograms"], shared: &[], planned: &[] };
const TRUST_KEYS: Keys = Keys { own: &["system_roots", "ca_files"], shared: &[], planned: &[] };

#[cfg(test)]
mod tests;
