//! The output of `probe --output=json`, as far as it can be compared. Fields that are not known are left aside, and one
//! that is missing counts as not observed, so that files of other versions can be read.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::Deserialize;

/// What one vantage point saw of one target.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Sighting {
    /// The name by which sightings are matched.
    pub target: String,
    // Without this it is no report, even where the value is null.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) verdict: Option<String>,
    pub(super) evidence: Option<String>,
    pub(super) started: Option<String>,
    pub(super) addresses: Option<Vec<String>>,
    #[serde(default)]
    pub(super) stages: Vec<StageTime>,
    pub(super) stop: Option<Stop>,
    pub(super) connections: Option<Vec<Connection>>,
    pub(super) layer: Option<String>,
    pub(super) tls: Option<Tls>,
    pub(super) network: Option<Network>,
    pub(super) survey: Option<Survey>,
    pub(super) server: Option<Server>,
    pub(super) certificate: Option<Certificate>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct StageTime {
    pub(super) stage: String,
    pub(super) seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Stop {
    pub(super) stage: String,
    pub(super) reason: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Connection {
    pub(super) address: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Tls {
    pub(super) version: String,
    pub(super) cipher: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Network {
    pub(super) round_trip_seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Survey {
    #[serde(default)]
    pub(super) layers: BTreeMap<String, bool>,
    #[serde(default)]
    pub(super) tls_versions: BTreeMap<String, bool>,
    #[serde(default)]
    pub(super) encryption_methods: BTreeMap<String, bool>,
    pub(super) nla_required: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Server {
    pub(super) computer: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) dns_computer: Option<String>,
    pub(super) version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Certificate {
    pub(super) sha256: String,
    pub(super) subject: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) not_before: Option<String>,
    pub(super) address: Option<String>,
}

/// Reads a whole file.
///
/// # Errors
/// What is wrong with it, in a few words that may quote a stranger.
pub fn read(bytes: &[u8]) -> Result<Vec<Sighting>, String> {
    let text = decode(bytes)?;
    let sightings: Vec<Sighting> = serde_json::from_str(&text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => format!("JSON, but not that of a probe: {error}"),
        _ => format!("not JSON: {error}"),
    })?;
    let mut names = BTreeSet::new();
    match sightings.iter().find(|sighting| !names.insert(&sighting.target)) {
        Some(twice) => Err(format!("has the target {:?} twice", twice.target)),
        None => Ok(sightings),
    }
}

/// UTF-8; or UTF-16 where a byte order mark says so, which is what `>` of Windows PowerShell writes.
fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks(2).map(|pair| match pair {
            [first, second] => unit([*first, *second]),
            // Half a unit at the end is no character.
            _ => 0xD800,
        });
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.map(Cow::Owned).map_err(|_| "not JSON: broken UTF-16".to_owned())
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] | rest => {
            std::str::from_utf8(rest).map(Cow::Borrowed).map_err(|_| "not JSON: not UTF-8".to_owned())
        }
    }
}

impl Sighting {
    /// Whether a client could get in.
    pub(super) fn is_healthy(&self) -> bool {
        self.verdict.as_deref() == Some(crate::diagnosis::Verdict::Healthy.label())
    }

    /// Where it stopped and how, without the time that it took. A refusal is a whole answer, and no stop.
    pub(super) fn stopped(&self) -> Option<String> {
        match &self.stop {
            Some(stop) => Some(format!("{}: {}", stop.stage, stop.reason)),
            None if self.is_healthy() => None,
            None => self.evidence.clone(),
        }
    }

    /// The first address that took a connection.
    pub(super) fn connected_to(&self) -> Option<&str> {
        self.connections.iter().flatten().find_map(|connection| connection.address.as_deref())
    }
}
