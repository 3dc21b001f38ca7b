//! `targets`: each entry is one target, or several that share everything but the address.
//! Names are checked here, addresses by [`Address`] itself.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{
    document::Node,
    error::{KeyPath, Mistake, nearest, quoted},
    section::{Keys, Section, Value},
    settings::{DEFAULT_MODULE, Layer, Modules, Overrides, SETTINGS},
};
use crate::target::{Address, AddressError, Host, Settings, Target};

/// Reads `targets`, in order.
pub(super) fn read_targets(value: Value, modules: &Modules) -> Result<Vec<Arc<Target>>, Mistake> {
    let mut targets = Vec::new();
    let mut names: HashMap<String, KeyPath> = HashMap::new();
    value.list(|entry| {
        for (path, target) in read_entry(entry.section(TARGET_KEYS)?, modules)? {
            if let Some(first) = names.get(&target.name) {
                let taken = quoted(&target.name);
                return Err(
                    path.mistake(format!("another target ({first}) is named {taken}; name one of them otherwise"))
                );
            }
            names.insert(target.name.clone(), path);
            targets.push(Arc::new(target));
        }
        Ok(())
    })?;
    Ok(targets)
}

/// The target that `/probe` and the command make of an address that is not configured.
#[must_use]
pub fn adhoc_target(address: Address, settings: Arc<Settings>) -> Target {
    Target {
        name: address.to_string(),
        server_name: address.default_server_name(),
        address,
        labels: BTreeMap::new(),
        settings,
    }
}

/// The targets of one entry, each with the key that its name comes from.
fn read_entry(mut entry: Section, modules: &Modules) -> Result<Vec<(KeyPath, Target)>, Mistake> {
    let addresses = read_addresses(&mut entry)?;
    let module = entry.take_as("module", |value| read_module(value, modules))?;
    let Some(base) = module.or_else(|| modules.get(DEFAULT_MODULE)) else {
        return Err(entry.path.mistake("must name a module"));
    };
    let settings = Overrides::take(&mut entry)?.on(base, &entry.path)?.settings;
    let labels = entry.take_as("labels", read_labels)?.unwrap_or_default();
    let server_name = entry.take_as("server_name", read_server_name)?;
    let name = entry.take_as("name", |value| Ok((value.path.clone(), read_label_value(value)?)))?;
    if let Some((path, name)) = &name
        && name.is_empty()
    {
        return Err(path.mistake("must not be empty"));
    }
    let target = |(path, address): (KeyPath, Address)| {
        let target = Target { labels: labels.clone(), ..adhoc_target(address, Arc::clone(&settings)) };
        let server_name = server_name.clone().unwrap_or(target.server_name);
        match name.clone() {
            Some((path, name)) => (path, Target { name, server_name, ..target }),
            None => (path, Target { server_name, ..target }),
        }
    };
    Ok(addresses.into_iter().map(target).collect())
}

fn read_addresses(entry: &mut Section) -> Result<Vec<(KeyPath, Address)>, Mistake> {
    let read = |value: Value| Ok((value.path.clone(), read_address(value)?));
    match (entry.take("address"), entry.take("addresses")) {
        (Some(address), None) => Ok(vec![read(address)?]),
        (None, Some(addresses)) => {
            let path = addresses.path.clone();
            if let Some(name) = entry.take("name") {
                return Err(name.mistake("must not stand beside addresses; each is named after itself"));
            }
            let addresses = addresses.list(read)?;
            if addresses.is_empty() {
                return Err(path.mistake("must not be empty"));
            }
            Ok(addresses)
        }
        (Some(_), Some(addresses)) => Err(addresses.mistake("must not stand beside address; keep one of the two")),
        (None, None) => Err(entry.path.mistake("must have an address, or a list of addresses")),
    }
}

fn read_address(value: Value) -> Result<Address, Mistake> {
    let path = value.path.clone();
    if matches!(value.node, Node::List(_)) {
        // YAML reads `[2001:db8::1]` as a list.
        return Err(path.mistake("must be one address, not a list; put an IPv6 address and its brackets in quotes"));
    }
    value.text()?.parse().map_err(|error: AddressError| path.mistake(error.to_string()))
}

fn read_module(value: Value, modules: &Modules) -> Result<&Layer, Mistake> {
    let path = value.path.clone();
    let name = value.text()?;
    modules.get(&name).ok_or_else(|| {
        let unknown = format!("no module is called {}", quoted(&name));
        path.mistake(match nearest(&name, modules.keys().map(String::as_str)) {
            Some(near) => format!("{unknown}, did you mean {}?", quoted(near)),
            None => format!("{unknown}; modules has to define it"),
        })
    })
}

fn read_labels(value: Value) -> Result<BTreeMap<String, String>, Mistake> {
    let mut labels = BTreeMap::new();
    for (name, value) in value.named()? {
        if !is_label_name(&name) {
            return Err(value.mistake("a label's name must be letters, digits and _, and not begin with a digit"));
        }
        if name.starts_with("__") {
            return Err(value.mistake("a label's name must not begin with __, which Prometheus keeps for itself"));
        }
        if RESERVED_LABELS.contains(&name.as_str()) {
            return Err(value.mistake("this label's name is taken by the exporter or by Prometheus; choose another"));
        }
        labels.insert(name, read_label_value(value)?);
    }
    Ok(labels)
}

pub(super) fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    starts_well && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A target's name is the value of a label, too.
fn read_label_value(value: Value) -> Result<String, Mistake> {
    let path = value.path.clone();
    let text = value.text()?;
    if text.len() > MAX_LABEL_BYTES {
        return Err(path.mistake(format!("must have at most {MAX_LABEL_BYTES} bytes, not {}", text.len())));
    }
    Ok(text)
}

/// `None` is an empty text: no SNI and no name check.
fn read_server_name(value: Value) -> Result<Option<String>, Mistake> {
    let path = value.path.clone();
    let text = value.text()?;
    if text.is_empty() {
        return Ok(None);
    }
    match server_name(&text) {
        Some(name) => Ok(Some(name)),
        None => {
            Err(path.mistake(format!("must be a host name without a port, or \"\" for none, not {}", quoted(&text))))
        }
    }
}

/// A text that can be a server's name.
pub(super) fn server_name(text: &str) -> Option<String> {
    let is_name = text.parse::<IpAddr>().is_ok() || text.parse::<Host>().is_ok();
    is_name.then(|| text.trim_end_matches('.').to_owned())
}

/// The keys of an entry of `targets`.
pub(super) const TARGET_KEYS: Keys =
    Keys { own: &["address", "addresses", "name", "module", "labels", "server_name"], shared: SETTINGS, planned: &[] };

/// Labels that this exporter's series carry themselves, or that Prometheus adds.
pub(super) const RESERVED_LABELS: [&str; 27] = [
    "address",
    "cipher",
    "computer",
    "dns_computer",
    "dns_domain",
    "domain",
    "finding",
    "flag",
    "instance",
    "issuer",
    "job",
    "key",
    "layer",
    "le",
    "level",
    "method",
    "quantile",
    "san",
    "serial",
    "severity",
    "sha256",
    "signature",
    "stage",
    "subject",
    "target",
    "verdict",
    "version",
];

pub(super) const MAX_LABEL_BYTES: usize = 1024;
