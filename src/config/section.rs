//! Typed reading of a document's values, each with the path that a mistake in it is reported under.
//! No key is named here.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    document::Node,
    duration::parse_duration,
    error::{KeyPath, Mistake, Step, nearest, quoted},
};

/// The keys of one kind of section.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    /// The keys that stand nowhere else.
    pub(super) own: &'static [&'static str],
    /// The keys that it shares with other kinds.
    pub(super) shared: &'static [&'static str],
    /// Keys that are announced but not built: refused, not ignored, and not called unknown.
    pub(super) planned: &'static [&'static str],
}

impl Keys {
    pub(super) fn known(self) -> impl Iterator<Item = &'static str> {
        self.own.iter().chain(self.shared).copied()
    }

    fn refusal(self, key: &str) -> Option<String> {
        if self.known().any(|known| known == key) {
            return None;
        }
        if self.planned.contains(&key) {
            return Some(NOT_BUILT.to_owned());
        }
        if key == "<<" {
            return Some(
                "unknown key; merge keys are not supported, set each key or use an alias as a value".to_owned(),
            );
        }
        Some(match nearest(key, self.known()) {
            Some(near) => format!("unknown key, did you mean {near}?"),
            None => format!("unknown key, the keys here are {}", self.known().collect::<Vec<_>>().join(", ")),
        })
    }
}

/// A map whose keys are known. Keys that nobody takes cannot be unknown ones.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) path: KeyPath,
    entries: Vec<(String, Node)>,
}

impl Section {
    /// The value of a key, where it is set.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        let at = self.entries.iter().position(|(known, _)| known == key)?;
        Some(Value { path: self.path.key(key), node: self.entries.swap_remove(at).1 })
    }

    /// The value of a key, read.
    pub(super) fn take_as<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(Value) -> Result<T, Mistake>,
    ) -> Result<Option<T>, Mistake> {
        self.take(key).map(read).transpose()
    }

    /// A section below this one; empty where it is not set.
    pub(super) fn take_section(&mut self, key: &str, keys: Keys) -> Result<Self, Mistake> {
        let value = self.take(key);
        value.unwrap_or_else(|| Value { path: self.path.key(key), node: Node::Null }).section(keys)
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) path: KeyPath,
    pub(super) node: Node,
}

impl Value {
    pub(super) fn mistake(&self, reason: impl Into<String>) -> Mistake {
        self.path.mistake(reason)
    }

    /// Where a map or a list belongs, a text may be a secret, or a URL with one: it is not quoted.
    fn must_hold(&self, what: &str) -> Mistake {
        self.mistake(format!("must be {what}, not {}", self.node.kind()))
    }

    fn must_be(&self, what: &str) -> Mistake {
        match &self.node {
            Node::Text(text) => self.mistake(format!("must be {what}, not {}", quoted(text))),
            Node::Integer(number) => self.mistake(format!("must be {what}, not {number}")),
            Node::Bool(value) => self.mistake(format!("must be {what}, not {value}")),
            node @ (Node::List(_) | Node::Map(_) | Node::Null | Node::OtherNumber) => {
                self.mistake(format!("must be {what}, not {}", node.kind()))
            }
        }
    }

    /// A map with these keys and no others. Nothing at all is an empty one, so that every key in it may be commented out.
    pub(super) fn section(self, keys: Keys) -> Result<Section, Mistake> {
        let (path, entries) = self.entries("a map of keys")?;
        match entries.iter().find_map(|(key, _)| Some((key, keys.refusal(key)?))) {
            Some((key, reason)) => Err(path.key(key).mistake(reason)),
            None => Ok(Section { path, entries }),
        }
    }

    /// The same for a map that holds secrets: for want of a space after a colon, an unknown key may hold one. It is named
    /// only where it looks like a key, such as Prometheus's `oauth2`.
    pub(super) fn secret_section(self, keys: Keys) -> Result<Section, Mistake> {
        let path = self.path.clone();
        self.section(keys).map_err(|mistake| match mistake.path.steps().last() {
            Some(Step::Key(key)) if key.len() <= LONGEST_KEY && key.bytes().all(is_of_a_key) => mistake,
            _ => Mistake { path, ..mistake },
        })
    }

    /// A map whose keys are the user's own.
    pub(super) fn named(self) -> Result<Vec<(String, Self)>, Mistake> {
        let (path, entries) = self.entries("a map of names")?;
        let value = |(key, node): (String, Node)| {
            let path = path.key(&key);
            (key, Self { path, node })
        };
        Ok(entries.into_iter().map(value).collect())
    }

    fn entries(self, what: &str) -> Result<(KeyPath, Vec<(String, Node)>), Mistake> {
        match self.node {
            Node::Map(entries) => Ok((self.path, entries)),
            Node::Null => Ok((self.path, Vec::new())),
            Node::Bool(_) | Node::Integer(_) | Node::List(_) | Node::OtherNumber | Node::Text(_) => {
                Err(self.must_hold(what))
            }
        }
    }

    /// A list, whose items are all read the same way. Nothing at all is an empty one.
    pub(super) fn list<T>(self, read: impl FnMut(Self) -> Result<T, Mistake>) -> Result<Vec<T>, Mistake> {
        match self.node {
            Node::List(items) => {
                let value = |(index, node)| Self { path: self.path.index(index), node };
                items.into_iter().enumerate().map(value).map(read).collect()
            }
            Node::Null => Ok(Vec::new()),
            Node::Bool(_) | Node::Integer(_) | Node::Map(_) | Node::OtherNumber | Node::Text(_) => {
                Err(self.must_hold("a list"))
            }
        }
    }

    pub(super) fn text(self) -> Result<String, Mistake> {
        match self.node {
            Node::Text(text) => Ok(text),
            Node::Bool(_) | Node::Integer(_) | Node::OtherNumber => {
                Err(self.mistake(format!("must be a text, not {}; put it in quotes", self.node.kind())))
            }
            Node::List(_) | Node::Map(_) | Node::Null => Err(self.must_be("a text")),
        }
    }

    pub(super) fn boolean(self) -> Result<bool, Mistake> {
        match self.node {
            Node::Bool(value) => Ok(value),
            Node::Integer(_) | Node::List(_) | Node::Map(_) | Node::Null | Node::OtherNumber | Node::Text(_) => {
                Err(self.must_be("true or false"))
            }
        }
    }

    /// A number in a range. `or` names what else the key takes, for the message.
    pub(super) fn number(self, range: RangeInclusive<u32>, or: &str) -> Result<u32, Mistake> {
        if let Node::Integer(number) = self.node
            && let Ok(number) = u32::try_from(number)
            && range.contains(&number)
        {
            return Ok(number);
        }
        Err(self.must_be(&format!("{or}a number from {} to {}", range.start(), range.end())))
    }

    /// A TCP port.
    pub(super) fn port(self) -> Result<u16, Mistake> {
        let path = self.path.clone();
        let number = self.number(1..=u32::from(u16::MAX), "")?;
        u16::try_from(number).map_err(|_| path.mistake("must be a port"))
    }

    pub(super) fn duration(self) -> Result<Duration, Mistake> {
        let text = match &self.node {
            Node::Text(text) => text.clone(),
            Node::Integer(number) => number.to_string(),
            Node::Bool(_) | Node::List(_) | Node::Map(_) | Node::Null | Node::OtherNumber => {
                return Err(self.must_be("a duration such as 30s"));
            }
        };
        parse_duration(&text).map_err(|error| self.mistake(error.to_string()))
    }

    pub(super) fn positive_duration(self) -> Result<Duration, Mistake> {
        let path = self.path.clone();
        match self.duration()? {
            Duration::ZERO => Err(path.mistake("must be longer than 0s")),
            duration => Ok(duration),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(self, words: &[(&str, T)]) -> Result<T, Mistake> {
        if let Node::Text(text) = &self.node
            && let Some((_, value)) = words.iter().find(|(word, _)| word == text)
        {
            return Ok(*value);
        }
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        Err(self.must_be(&format!("one of {}", words.join(", "))))
    }
}

fn is_of_a_key(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')
}

/// Tokens are longer.
const LONGEST_KEY: usize = 24;
/// Why a key or a word of the announced configuration is refused.
pub(super) const NOT_BUILT: &str = "not built in this version, leave it out";
