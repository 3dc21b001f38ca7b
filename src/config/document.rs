//! YAML text to a tree of values, and from a key path back to the line it stands on.
//! No meaning: which keys exist is not known here.
//!
//! Why a tree and not derived structs: settings stand on `probe`, on modules and on targets alike, and serde's `flatten`,
//! which would share them, loses lines, paths and the refusal of unknown keys. A tree also sees duplicate keys everywhere.

use std::{collections::BTreeMap, fmt};

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::{KeyPath, Mistake, Position, Step};
use crate::text::printable;

/// A value as YAML has it.
#[derive(Debug)]
pub(super) enum Node {
    Bool(bool),
    Integer(i64),
    List(Vec<Self>),
    /// In the order of the keys, none of which is there twice.
    Map(Vec<(String, Self)>),
    Null,
    /// A number with a fraction, or one that fits no `i64`: no key takes either.
    OtherNumber,
    Text(String),
}

impl Node {
    /// What it is, for "must be .., not KIND".
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "true or false",
            Self::Integer(_) | Self::OtherNumber => "a number",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Null => "nothing",
            Self::Text(_) => "a text",
        }
    }
}

/// Reads one document. An empty one is [`Node::Null`].
pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    if text.len() > MAX_BYTES {
        return Err(KeyPath::default().mistake(too_large()));
    }
    if has_too_many_open_brackets(text) {
        return Err(KeyPath::default().mistake(format!("leaves more than {MAX_OPEN_BRACKETS} brackets open")));
    }
    let mut progress = Progress::default();
    let parsed = NodeSeed(&mut progress).deserialize(serde_yaml::Deserializer::from_str(text));
    parsed.map_err(|error| {
        let position = position_of(&error);
        let reason =
            progress.reason.unwrap_or_else(|| format!("cannot be read as YAML: {}", text_of(&error, position)));
        Mistake { path: progress.path, reason, position }
    })
}

/// Reads one JSON document, which YAML's parser would misread in places: it lacks `\/` and pairs of surrogates.
pub(super) fn parse_json(text: &str) -> Result<Node, Mistake> {
    if text.len() > MAX_BYTES {
        return Err(KeyPath::default().mistake(too_large()));
    }
    let mut progress = Progress::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = NodeSeed(&mut progress).deserialize(&mut deserializer);
    parsed.and_then(|node| deserializer.end().map(|()| node)).map_err(|error| {
        let position = Some(Position { line: error.line(), column: error.column() });
        let reason = progress.reason.unwrap_or_else(|| "cannot be read as JSON".to_owned());
        Mistake { path: progress.path, reason, position }
    })
}

/// Where `path` stands in `text`: its last key, or its item of a list.
pub(super) fn locate(text: &str, path: &KeyPath) -> Option<Position> {
    // The parser gives positions to errors only, so this walk ends in one, at the place that was asked for.
    let found = LocateSeed(path.steps()).deserialize(serde_yaml::Deserializer::from_str(text));
    found.err().as_ref().and_then(position_of)
}

/// Why a text is refused for its size.
pub(super) fn too_large() -> String {
    format!("is larger than {} MiB", MAX_BYTES >> 20)
}

/// The parser's own words, without the place that stands before them anyway. They may hold keys as they stand in the text.
fn text_of(error: &serde_yaml::Error, position: Option<Position>) -> String {
    let text = error.to_string();
    printable(&match position {
        Some(Position { line, column }) => text.replacen(&format!(" at line {line} column {column}"), "", 1),
        None => text,
    })
}

/// The parser refuses deep nesting only after it has read it all, in a time that grows with the square of its depth.
fn has_too_many_open_brackets(text: &str) -> bool {
    let mut open = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MAX_OPEN_BRACKETS
    })
}

fn position_of(error: &serde_yaml::Error) -> Option<Position> {
    error.location().map(|location| Position { line: location.line(), column: location.column() })
}

/// How far a reading has come; after an error, what it was.
#[derive(Default)]
struct Progress {
    path: KeyPath,
    reason: Option<String>,
    spent_bytes: usize,
}

impl Progress {
    fn refuse<E: Error>(&mut self, reason: impl Into<String>) -> E {
        let reason = reason.into();
        let error = E::custom(&reason);
        self.reason = Some(reason);
        error
    }

    /// Keeps aliases of aliases from filling the memory: the parser's own limit counts aliases, not what they stand for.
    fn spend<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.spent_bytes = self.spent_bytes.saturating_add(NODE_BYTES).saturating_add(bytes);
        if self.spent_bytes > MAX_TREE_BYTES {
            return Err(self.refuse("the file holds too many values, with its aliases followed"));
        }
        Ok(())
    }
}

struct NodeSeed<'a>(&'a mut Progress);

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.0.spend(0)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::OtherNumber, Node::Integer))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Node, E> {
        Ok(Node::OtherNumber)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Node, E> {
        Ok(Node::OtherNumber)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
        Ok(Node::OtherNumber)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        self.0.spend(value.len())?;
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(self.0.refuse("must not carry a YAML tag; put a text that begins with ! in quotes"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        loop {
            self.0.path.push(Step::Index(items.len()));
            let item = list.next_element_seed(NodeSeed(self.0))?;
            self.0.path.pop();
            match item {
                Some(item) => items.push(item),
                None => return Ok(Node::List(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = map.next_key_seed(KeySeed { progress: self.0, entries: &entries })? {
            self.0.path.push(Step::Key(key.clone()));
            let value = map.next_value_seed(NodeSeed(self.0))?;
            self.0.path.pop();
            entries.insert(key, value);
        }
        // A target's few keys take a tenth of the room of what they were collected in.
        Ok(Node::Map(entries.into_iter().collect()))
    }
}

/// Reads a key, and refuses it right there if the map has it already, so that the error gets the second key's line.
struct KeySeed<'a> {
    progress: &'a mut Progress,
    entries: &'a BTreeMap<String, Node>,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text as key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        self.progress.spend(key.len())?;
        if self.entries.contains_key(key) {
            self.progress.path.push(Step::Key(key.to_owned()));
            return Err(self.progress.refuse("is set twice; keep one of the two"));
        }
        Ok(key.to_owned())
    }
}

/// Walks down a path and fails at its end. What is beside the path is skipped, aliases included.
struct LocateSeed<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for LocateSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for LocateSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the way further down")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Step::Index(wanted), rest)) = self.0.split_first() else {
            return Err(A::Error::custom("here"));
        };
        for _ in 0..*wanted {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element_seed(LocateSeed(rest))?;
        Err(A::Error::custom("here"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.0.split_first() else {
            return Err(A::Error::custom("here"));
        };
        while let Some(found) = map.next_key_seed(LocateKey { wanted, is_last: rest.is_empty() })? {
            if found {
                map.next_value_seed(LocateSeed(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Err(A::Error::custom("here"))
    }
}

/// Whether the next key is the one that is looked for; an error where it is the path's last.
struct LocateKey<'a> {
    wanted: &'a str,
    is_last: bool,
}

impl<'de> DeserializeSeed<'de> for LocateKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for LocateKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text as key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.is_last => Err(E::custom("here")),
            found => Ok(found),
        }
    }
}

/// A hundred thousand targets by address, or forty thousand with labels and settings of their own. The parser takes up to
/// a hundred times this in memory, and a second for every few MiB.
pub const MAX_BYTES: usize = 16 << 20;
/// What all values of a file may take together.
const MAX_TREE_BYTES: usize = 128 << 20;
/// What a value takes, beside its text.
const NODE_BYTES: usize = 64;
/// Far more than comments and texts would leave open by chance.
const MAX_OPEN_BRACKETS: usize = 10_000;
