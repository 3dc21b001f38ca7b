//! Lists of targets in Prometheus's formats `file_sd` and `http_sd`: text to groups. What they mean for probing is decided
//! elsewhere.

use std::collections::BTreeMap;

use super::{
    document::{self, Node},
    error::{KeyPath, Mistake, Position, quoted},
    section::{Keys, Value},
};

/// What one text lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub(super) groups: Vec<Group>,
    /// What was left out already because it has not the right shape.
    pub(super) left_out: Vec<LeftOut>,
}

/// Addresses with the labels that they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) addresses: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
}

/// An entry that is no target, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeftOut {
    /// The value of the label `reason`.
    pub reason: Rejection,
    /// Which one, and what is wrong, safe to print.
    pub entry: String,
}

/// Why an entry of a list is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rejection {
    /// Its address.
    BadAddress,
    /// The name or value of a label.
    BadLabel,
    /// What a `__rdp_` label says, or the settings that come of it.
    BadSetting,
    /// A target of that name or address is there already.
    Duplicate,
    /// It is no group with `targets` and `labels`.
    Malformed,
    /// No module has the name that `__rdp_module` says.
    UnknownModule,
}

impl Rejection {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::BadAddress, Self::BadLabel, Self::BadSetting, Self::Duplicate, Self::Malformed, Self::UnknownModule];

    /// The value of the label `reason`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadAddress => "bad_address",
            Self::BadLabel => "bad_label",
            Self::BadSetting => "bad_setting",
            Self::Duplicate => "duplicate",
            Self::Malformed => "malformed",
            Self::UnknownModule => "unknown_module",
        }
    }
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Listing {
    /// Reads a whole text. Groups and addresses of a wrong shape are left out by themselves.
    ///
    /// # Errors
    /// One sentence on why the text as a whole is no list.
    pub fn parse(text: &str, format: ListFormat) -> Result<Self, String> {
        let root = match format {
            ListFormat::Json => document::parse_json(text),
            ListFormat::Yaml => document::parse(text),
        };
        let root = root.map_err(|Mistake { path, reason, position }| {
            let place = position.map_or_else(String::new, |Position { line, column }| format!("{line}:{column}: "));
            let key = path.to_string();
            format!("{place}{key}{}{reason}", if key.is_empty() { "" } else { ": " })
        })?;
        let groups = match root {
            Node::List(groups) => groups,
            Node::Null => Vec::new(),
            other => return Err(format!("must be a list of groups, not {}", other.kind())),
        };
        let mut listing = Self::default();
        let mut bytes = 0_usize;
        for (index, node) in groups.into_iter().enumerate() {
            match listing.read_group(Value { path: KeyPath::default().index(index), node }) {
                Ok(group) => {
                    bytes = bytes.saturating_add(group.bytes());
                    listing.groups.push(group);
                }
                Err((reason, Mistake { path, reason: why, .. })) => {
                    listing.left_out.push(LeftOut { reason, entry: format!("{path}: {why}") });
                }
            }
            if listing.left_out.len() > MAX_LEFT_OUT {
                return Err(format!("has more than {MAX_LEFT_OUT} entries that are none: it is another kind of list"));
            }
            if bytes > MAX_BYTES {
                return Err(format!("lists more than fits into {} MiB", MAX_BYTES >> 20));
            }
        }
        Ok(listing)
    }

    fn read_group(&mut self, value: Value) -> Result<Group, (Rejection, Mistake)> {
        let malformed = |mistake| (Rejection::Malformed, mistake);
        if !matches!(value.node, Node::Map(_)) {
            return Err(malformed(value.mistake("must be a map with targets and labels")));
        }
        let mut section = value.section(GROUP_KEYS).map_err(malformed)?;
        let targets = section.take_as("targets", |value| value.list(Ok)).map_err(malformed)?.unwrap_or_default();
        let labels = section.take_as("labels", Value::named).map_err(malformed)?.unwrap_or_default();
        let mut group = Group { addresses: Vec::with_capacity(targets.len()), labels: BTreeMap::new() };
        for (name, value) in labels {
            let text = label_value(value).map_err(|mistake| (Rejection::BadLabel, mistake))?;
            group.labels.insert(name, text);
        }
        for target in targets {
            let path = target.path.clone();
            match target.node {
                Node::Text(address) => group.addresses.push(address),
                // One more than may be says enough.
                _ if self.left_out.len() > MAX_LEFT_OUT => break,
                other => {
                    let entry =
                        format!("{path}: must be host, host:port or [IPv6]:port in quotes, not {}", other.kind());
                    self.left_out.push(LeftOut { reason: Rejection::BadAddress, entry });
                }
            }
        }
        Ok(group)
    }
}

impl Group {
    /// What the targets made of it will take, about.
    fn bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(|(name, value)| name.len() + value.len() + LABEL_BYTES).sum();
        self.addresses.len().saturating_mul(labels + TARGET_BYTES)
    }
}

/// YAML takes some texts without quotes for other things; those that can be told back are.
fn label_value(value: Value) -> Result<String, Mistake> {
    match value.node {
        Node::Text(text) => Ok(text),
        Node::Integer(number) => Ok(number.to_string()),
        Node::Bool(value) => Ok(value.to_string()),
        // A label without a value is none.
        Node::Null => Ok(String::new()),
        Node::OtherNumber | Node::List(_) | Node::Map(_) => {
            Err(value.mistake(format!("must be a text in quotes, not {}", value.node.kind())))
        }
    }
}

impl LeftOut {
    pub(super) fn of(reason: Rejection, address: &str, why: &str) -> Self {
        Self { reason, entry: format!("{}: {why}", quoted(address)) }
    }
}

/// Entries that are left out of a list; with more it is taken for something else than a list of targets.
const MAX_LEFT_OUT: usize = 1000;
const GROUP_KEYS: Keys = Keys { own: &["targets", "labels"], shared: &[], planned: &[] };
/// A few hundred thousand targets with ordinary labels. Labels are shared in the text but not by the targets, so a small
/// text may ask for much more than its size.
const MAX_BYTES: usize = 256 << 20;
const LABEL_BYTES: usize = 64;
const TARGET_BYTES: usize = 256;
