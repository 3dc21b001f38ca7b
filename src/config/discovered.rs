//! Lists to targets, beside those that the configuration names itself. Pure.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Config, KeepLabels,
    duration::parse_duration,
    error::{KeyPath, quoted},
    listing::{Group, LeftOut, Listing, Rejection},
    settings::{DEFAULT_MODULE, Overrides},
    targets::{MAX_LABEL_BYTES, RESERVED_LABELS, adhoc_target, is_label_name, server_name},
};
use crate::target::{Address, AddressError, Settings, Target};

/// What one source lists.
#[derive(Debug)]
pub struct SourceListing<'a> {
    /// Its lists, in order.
    pub listings: Vec<&'a Listing>,
    /// Which labels of them are kept.
    pub keep_labels: &'a KeepLabels,
}

/// What became of one source.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many targets it gave.
    pub targets: usize,
    /// What gave none.
    pub left_out: Vec<LeftOut>,
}

impl Config {
    /// The same configuration with the targets of these sources beside its own, and what became of each source. Its own
    /// targets win over all others, and what was listed first over what follows.
    #[must_use]
    pub fn with_discovered(&self, sources: &[SourceListing<'_>]) -> (Self, Vec<Taken>) {
        let own = self.targets.iter().take(self.configured);
        let mut union = Union {
            config: self,
            names: own.clone().map(|target| target.name.clone()).collect(),
            addresses: own.clone().map(|target| target.address.clone()).collect(),
            targets: own.cloned().collect(),
            settings: HashMap::new(),
        };
        let taken = sources.iter().map(|source| union.take_source(source)).collect();
        (Self { targets: union.targets, ..self.clone() }, taken)
    }
}

/// The targets so far.
struct Union<'a> {
    config: &'a Config,
    names: HashSet<String>,
    addresses: HashSet<Address>,
    targets: Vec<Arc<Target>>,
    /// Targets that say the same share their settings.
    settings: HashMap<(String, Option<Duration>, Option<Duration>), Arc<Settings>>,
}

/// What all targets of a group have in common.
struct Common {
    name: Option<String>,
    server_name: Option<String>,
    settings: Arc<Settings>,
    labels: BTreeMap<String, String>,
}

impl Union<'_> {
    fn take_source(&mut self, source: &SourceListing<'_>) -> Taken {
        let mut taken = Taken::default();
        for listing in &source.listings {
            taken.left_out.extend(listing.left_out.iter().cloned());
            for group in &listing.groups {
                let common = self.common(group, source.keep_labels);
                for address in &group.addresses {
                    match common.as_ref().map_err(Clone::clone).and_then(|common| self.target(address, common)) {
                        Ok(target) => {
                            taken.targets += 1;
                            self.take_in(target);
                        }
                        Err((reason, why)) => taken.left_out.push(LeftOut::of(reason, address, &why)),
                    }
                }
            }
        }
        taken
    }

    fn take_in(&mut self, target: Target) {
        self.names.insert(target.name.clone());
        self.addresses.insert(target.address.clone());
        self.targets.push(Arc::new(target));
    }

    fn target(&self, text: &str, common: &Common) -> Result<Target, (Rejection, String)> {
        let address = text.parse().map_err(|error: AddressError| (Rejection::BadAddress, error.to_string()))?;
        let plain = adhoc_target(address, Arc::clone(&common.settings));
        let target = Target {
            name: common.name.clone().unwrap_or(plain.name),
            server_name: common.server_name.clone().or(plain.server_name),
            labels: common.labels.clone(),
            ..plain
        };
        // A name of its own makes it a target of its own, as where one gateway stands before several hosts.
        let is_known = common.name.is_none() && self.addresses.contains(&target.address);
        match is_known || self.names.contains(&target.name) {
            true => Err((Rejection::Duplicate, format!("a target {} is there already", quoted(&target.name)))),
            false => Ok(target),
        }
    }

    fn common(&mut self, group: &Group, keep: &KeepLabels) -> Result<Common, (Rejection, String)> {
        // An empty label is none, as Prometheus has it.
        let own = |key: &str| group.labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let name = own("__rdp_name").map(str::to_owned);
        if name.as_ref().is_some_and(|name| name.len() > MAX_LABEL_BYTES) {
            return Err(bad_setting("__rdp_name", &format!("must have at most {MAX_LABEL_BYTES} bytes")));
        }
        let server_name = own("__rdp_server_name").map(|text| {
            server_name(text).ok_or_else(|| bad_setting("__rdp_server_name", "must be a host name without a port"))
        });
        let time = |key: &str| match own(key).map(parse_duration) {
            Some(Ok(Duration::ZERO)) => Err(bad_setting(key, "must be longer than 0s")),
            Some(Err(error)) => Err(bad_setting(key, &error.to_string())),
            Some(Ok(time)) => Ok(Some(time)),
            None => Ok(None),
        };
        let module = own("__rdp_module").unwrap_or(DEFAULT_MODULE);
        let settings = self.settings(module, time("__rdp_interval")?, time("__rdp_timeout")?)?;
        Ok(Common { name, server_name: server_name.transpose()?, settings, labels: kept(&group.labels, keep)? })
    }

    fn settings(
        &mut self,
        module: &str,
        interval: Option<Duration>,
        timeout: Option<Duration>,
    ) -> Result<Arc<Settings>, (Rejection, String)> {
        let key = (module.to_owned(), interval, timeout);
        if let Some(known) = self.settings.get(&key) {
            return Ok(Arc::clone(known));
        }
        let unknown = || (Rejection::UnknownModule, format!("no module is called {}", quoted(module)));
        let base = self.config.modules.get(module).ok_or_else(unknown)?;
        let layer = Overrides::of_times(interval, timeout).on(base, &KeyPath::default());
        let settings =
            layer.map_err(|mistake| bad_setting(&format!("__rdp_{}", mistake.path), &mistake.reason))?.settings;
        self.settings.insert(key, Arc::clone(&settings));
        Ok(settings)
    }
}

/// The labels that the target's series carry.
fn kept(labels: &BTreeMap<String, String>, keep: &KeepLabels) -> Result<BTreeMap<String, String>, (Rejection, String)> {
    let mut kept = BTreeMap::new();
    let wanted = |name: &str, value: &str| !name.starts_with("__") && !value.is_empty() && keep.keeps(name);
    for (name, value) in labels.iter().filter(|(name, value)| wanted(name, value)) {
        if !is_label_name(name) {
            let why = format!("the name of the label {} must be letters, digits and _", quoted(name));
            return Err((Rejection::BadLabel, why));
        }
        if value.len() > MAX_LABEL_BYTES {
            let why = format!("the label {} must have at most {MAX_LABEL_BYTES} bytes", quoted(name));
            return Err((Rejection::BadLabel, why));
        }
        let mut name = name.clone();
        if RESERVED_LABELS.contains(&name.as_str()) {
            // As Prometheus itself does, until the name is nobody else's.
            name.insert_str(0, EXPORTED);
            while labels.contains_key(&name) {
                name.insert_str(0, EXPORTED);
            }
        }
        kept.insert(name, value.clone());
    }
    match kept.len() {
        0..=MAX_LABELS => Ok(kept),
        _ => Err((Rejection::BadLabel, format!("has more than {MAX_LABELS} labels"))),
    }
}

fn bad_setting(label: &str, why: &str) -> (Rejection, String) {
    (Rejection::BadSetting, format!("{label} {why}"))
}

const EXPORTED: &str = "exported_";
const MAX_LABELS: usize = 64;
