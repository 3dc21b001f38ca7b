//! `sharding`: which of the targets this process probes.
//! The split is the one of Prometheus's `hashmod`, so that both can be split alike.

use md5::{Digest, Md5};

use super::{
    ConfigError,
    error::Mistake,
    section::{Keys, Section, Value},
};
use crate::target::Address;

/// Which share of the targets this process probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharding {
    /// Which one; below `count`.
    pub index: u32,
    /// How many processes share the targets; never 0.
    pub count: u32,
}

/// What the environment says of it, where it does; it wins over the file, which all shards have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardVariables {
    index: Option<u32>,
    count: Option<u32>,
}

impl Sharding {
    /// One process probes them all.
    pub const NONE: Self = Self { index: 0, count: 1 };

    /// Whether a target at `address` is probed by this process.
    #[must_use]
    pub fn includes(self, address: &Address) -> bool {
        self.count <= 1 || hash(&address.as_written()) % u64::from(self.count) == u64::from(self.index)
    }

    /// The same with what the environment says in place of what the file says.
    pub(super) fn under(self, variables: ShardVariables) -> Result<Self, String> {
        let Self { index, count } = self;
        let sharding = Self { index: variables.index.unwrap_or(index), count: variables.count.unwrap_or(count) };
        match sharding.index < sharding.count {
            true => Ok(sharding),
            false => Err(format!(
                "the index ({}) must be below the count ({}), with what {INDEX_VARIABLE} and {COUNT_VARIABLE} say",
                sharding.index, sharding.count
            )),
        }
    }
}

impl ShardVariables {
    /// Reads the values of `RDP_EXPORTER_SHARD_INDEX` and `RDP_EXPORTER_SHARD_COUNT`; empty ones say nothing. The index
    /// may be the name of a StatefulSet's pod, which ends in its number.
    ///
    /// # Errors
    /// A value that is no number; it says which.
    pub fn parse(index: Option<&str>, count: Option<&str>) -> Result<Self, String> {
        let set = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let number = |text: &str| text.parse().ok().filter(|number| *number <= MAX_COUNT);
        let (index, count) = (set(index), set(count));
        let ordinal = |text: &str| match text.rsplit_once('-') {
            Some((pod, ordinal)) if pod.ends_with(char::is_alphanumeric) => number(ordinal),
            _ => number(text),
        };
        Ok(Self {
            index: index
                .map(|text| {
                    let wrong =
                        || format!("{INDEX_VARIABLE} must be a number, or a name that ends in -NUMBER, not {text:?}");
                    ordinal(&text).ok_or_else(wrong)
                })
                .transpose()?,
            count: count
                .map(|text| {
                    let wrong = || format!("{COUNT_VARIABLE} must be a number from 1 to {MAX_COUNT}, not {text:?}");
                    number(&text).filter(|count| *count > 0).ok_or_else(wrong)
                })
                .transpose()?,
        })
    }
}

impl super::Config {
    /// The same configuration where the environment says something of `sharding`.
    ///
    /// # Errors
    /// An index that is not below the count.
    pub fn under(self, variables: ShardVariables, file: &std::path::Path) -> Result<Self, ConfigError> {
        let refuse = |reason| ConfigError { key: "sharding".to_owned(), ..ConfigError::of_file(file, reason) };
        let sharding = self.sharding.under(variables).map_err(refuse)?;
        Ok(Self { sharding, ..self })
    }
}

/// Reads `sharding`.
pub(super) fn read_sharding(mut section: Section) -> Result<Sharding, Mistake> {
    let number = |range| move |value: Value| Ok((value.path.clone(), value.number(range, "")?));
    let count = section.take_as("count", number(1..=MAX_COUNT))?.map_or(1, |(_, count)| count);
    let index = section.take_as("index", number(0..=MAX_COUNT))?;
    match index {
        Some((path, index)) if index >= count => {
            Err(path.mistake(format!("must be below count ({count}); the first index is 0, not {index}")))
        }
        Some((_, index)) => Ok(Sharding { index, count }),
        None => Ok(Sharding { index: 0, count }),
    }
}

/// What `hashmod` takes the remainder of: the last eight bytes of the MD5 sum, the most significant first.
fn hash(text: &str) -> u64 {
    let mut last = [0; 8];
    last.copy_from_slice(&Md5::digest(text)[8..]);
    u64::from_be_bytes(last)
}

/// The keys of `sharding`.
pub(super) const SHARDING_KEYS: Keys = Keys { own: &["index", "count"], shared: &[], planned: &[] };

/// The variable that gives this process its index.
pub const INDEX_VARIABLE: &str = "RDP_EXPORTER_SHARD_INDEX";
/// The variable that says how many processes there are.
pub const COUNT_VARIABLE: &str = "RDP_EXPORTER_SHARD_COUNT";

const MAX_COUNT: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// What md5sum makes of the same addresses, and Prometheus 2.42 of the first four.
    #[test]
    fn the_split_is_that_of_prometheus() {
        for (text, expected) in [
            ("ts01.corp.example", 1),
            ("ts01.corp.example:3389", 1),
            ("ts02.corp.example", 2),
            ("[2001:db8::1]", 3),
            ("TS01.corp.example", 2),
            ("ts01.corp.example.:3389", 3),
            ("ts01.corp.example:03389", 4),
            ("[2001:DB8:0::1]:3389", 1),
            ("[2001:DB8:0::1]", 1),
            ("[2001:0db8:0:0:0:0:0:1]:3389", 5),
            ("[::FFFF:7F01:0001]", 6),
        ] {
            let address: Address = text.parse().unwrap();
            let shards: Vec<_> =
                (0..7).filter(|index| Sharding { index: *index, count: 7 }.includes(&address)).collect();
            assert_eq!(shards, [expected], "{text}");
        }
    }

    #[test]
    fn the_environment_wins_and_may_be_the_name_of_a_pod() {
        let file = Sharding { index: 1, count: 2 };
        for (index, count, expected) in [
            (None, None, Ok(file)),
            (Some(""), Some(" "), Ok(file)),
            (Some("0"), None, Ok(Sharding { index: 0, count: 2 })),
            (Some("rdp-exporter-3"), Some("4"), Ok(Sharding { index: 3, count: 4 })),
            (None, Some("5"), Ok(Sharding { index: 1, count: 5 })),
            (Some("2"), None, Err("the index (2) must be below the count (2)")),
            (Some("exporter"), None, Err("RDP_EXPORTER_SHARD_INDEX must be a number")),
            (Some("-1x"), None, Err("RDP_EXPORTER_SHARD_INDEX must be a number")),
            (Some("-1"), Some("4"), Err("RDP_EXPORTER_SHARD_INDEX must be a number")),
            (Some("--3"), Some("4"), Err("RDP_EXPORTER_SHARD_INDEX must be a number")),
            (None, Some("0"), Err("RDP_EXPORTER_SHARD_COUNT must be a number from 1")),
            (None, Some("many"), Err("RDP_EXPORTER_SHARD_COUNT must be a number from 1")),
        ] {
            let result = ShardVariables::parse(index, count).and_then(|variables| file.under(variables));
            match (result, expected) {
                (Ok(sharding), Ok(expected)) => assert_eq!(sharding, expected),
                (Err(said), Err(expected)) => assert!(said.starts_with(expected), "{said}"),
                (result, expected) => panic!("{index:?} {count:?}: {result:?}, not {expected:?}"),
            }
        }
    }
}
