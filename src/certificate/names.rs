//! The names in a certificate: distinguished names as text ([RFC 4514]), alternative names, and the match against the
//! name that a client would ask for. Text is a stranger's bytes: nothing is refused for its spelling, and a NUL or a
//! broken character never makes two names equal that are not.
//!
//! [RFC 4514]: https://www.rfc-editor.org/rfc/rfc4514

use std::{
    borrow::Cow,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use x509_parser::asn1_rs::Tag;

use super::der::{Element, Elements, Fields, dotted, hex};

/// Whether the certificate `leaf` is made out to `server_name`. `None` where it cannot be read far enough to tell.
///
/// Alternative names decide where there is any DNS name or address among them, otherwise the common names do, as in
/// Windows' own client. Case and a trailing dot do not count; `*` stands for exactly one whole leftmost label; an
/// address needs an address, or a common name that is one.
#[must_use]
pub fn name_matches(leaf: &[u8], server_name: &str) -> Option<bool> {
    let fields = Fields::split(leaf);
    let wanted = Wanted::new(server_name);
    let names = alternative_names(&fields)?;
    let mut hosts = names.iter().filter(|name| matches!(name, AlternativeName::Dns(_) | AlternativeName::Ip(_)));
    if hosts.clone().next().is_some() {
        return Some(hosts.any(|name| wanted.is_alternative(*name)));
    }
    let subject = relative_names(fields.subject?)?;
    let mut common = subject.iter().flatten().filter(|attribute| attribute.kind == "2.5.4.3");
    Some(common.any(|attribute| attribute.text().is_some_and(|text| wanted.is_common(&text))))
}

/// A Name's content as RFC 4514 writes it: last part first; types without a name of their own dotted, with a hex value.
pub(super) fn distinguished_name(name: &[u8]) -> Option<String> {
    let parts = relative_names(name)?;
    let parts = parts.iter().rev().map(|attributes| {
        let attributes: Vec<String> = attributes.iter().map(Attribute::to_text).collect();
        attributes.join("+")
    });
    Some(parts.collect::<Vec<_>>().join(","))
}

/// The alternative names as one text; empty where there are none. `None` where the extensions cannot be read.
pub(super) fn alternative_names_text(fields: &Fields<'_>) -> Option<String> {
    let names: Vec<String> = alternative_names(fields)?.iter().map(|name| name.to_text()).collect();
    Some(names.join(", "))
}

/// What the client asked for.
enum Wanted<'a> {
    Address(IpAddr),
    Host(&'a str),
}

impl<'a> Wanted<'a> {
    fn new(server_name: &'a str) -> Self {
        server_name.parse().map_or_else(|_| Self::Host(without_trailing_dot(server_name)), Self::Address)
    }

    fn is_alternative(&self, name: AlternativeName<'_>) -> bool {
        match (self, name) {
            (Self::Address(wanted), AlternativeName::Ip(octets)) => ip_address(octets) == Some(*wanted),
            (Self::Host(wanted), AlternativeName::Dns(pattern)) => {
                std::str::from_utf8(pattern).is_ok_and(|pattern| host_matches(pattern, wanted))
            }
            (Self::Address(_) | Self::Host(_), _) => false,
        }
    }

    fn is_common(&self, name: &str) -> bool {
        match self {
            Self::Address(wanted) => name.parse() == Ok(*wanted),
            Self::Host(wanted) => host_matches(name, wanted),
        }
    }
}

fn host_matches(pattern: &str, host: &str) -> bool {
    let pattern = without_trailing_dot(pattern);
    if host.is_empty() {
        return false;
    }
    if let (Some(pattern_rest), Some((label, host_rest))) = (pattern.strip_prefix("*."), host.split_once('.')) {
        return !label.is_empty() && !host_rest.is_empty() && pattern_rest.eq_ignore_ascii_case(host_rest);
    }
    pattern.eq_ignore_ascii_case(host)
}

fn without_trailing_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// A GeneralName (RFC 5280 4.2.1.6).
#[derive(Debug, Clone, Copy)]
enum AlternativeName<'a> {
    Dns(&'a [u8]),
    Directory(&'a [u8]),
    Email(&'a [u8]),
    Ip(&'a [u8]),
    /// otherName, x400Address, ediPartyName, or what is not a GeneralName at all.
    Other(Element<'a>),
    RegisteredId(&'a [u8]),
    Uri(&'a [u8]),
}

impl<'a> AlternativeName<'a> {
    fn read(element: Element<'a>) -> Self {
        let content = element.any_content();
        match element.context_number() {
            Some(1) => Self::Email(content),
            Some(2) => Self::Dns(content),
            Some(4) => Self::Directory(content),
            Some(6) => Self::Uri(content),
            Some(7) => Self::Ip(content),
            Some(8) => Self::RegisteredId(content),
            _ => Self::Other(element),
        }
    }

    fn to_text(self) -> String {
        match self {
            Self::Dns(text) => format!("DNS:{}", escape_list_item(text)),
            Self::Directory(name) => {
                let name = Elements(name).take(Tag::Sequence).and_then(distinguished_name);
                format!("DirName:{}", name.unwrap_or_default())
            }
            Self::Email(text) => format!("email:{}", escape_list_item(text)),
            Self::Ip(octets) => match ip_address(octets) {
                Some(address) => format!("IP:{address}"),
                None => format!("IP:#{}", hex(octets)),
            },
            Self::Other(element) => {
                let oid = element.context(0).and_then(|content| Elements(content).take(Tag::Oid)).and_then(dotted);
                format!("othername:{}", oid.unwrap_or_default())
            }
            Self::RegisteredId(oid) => format!("Registered ID:{}", dotted(oid).unwrap_or_default()),
            Self::Uri(text) => format!("URI:{}", escape_list_item(text)),
        }
    }
}

/// All alternative names; `None` where they cannot be read to the end.
fn alternative_names<'a>(fields: &Fields<'a>) -> Option<Vec<AlternativeName<'a>>> {
    let Some(value) = fields.extension(SUBJECT_ALTERNATIVE_NAME)? else { return Some(Vec::new()) };
    let mut elements = Elements(Elements(value).take(Tag::Sequence)?);
    let mut names = Vec::new();
    while !elements.is_empty() {
        names.push(AlternativeName::read(elements.next()?));
    }
    Some(names)
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into())
}

/// Keeps one name from looking like two.
fn escape_list_item(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace('\\', "\\\\").replace(',', "\\,").replace('\0', "\\00")
}

/// AttributeTypeAndValue.
struct Attribute<'a> {
    /// Dotted.
    kind: String,
    value: Element<'a>,
}

impl Attribute<'_> {
    fn to_text(&self) -> String {
        let short = SHORT_NAMES.iter().find(|(oid, _)| *oid == self.kind).map(|(_, name)| *name);
        match (short, self.text()) {
            (Some(short), Some(text)) => format!("{short}={}", escape_value(&text)),
            (Some(short), None) => format!("{short}=#{}", hex(self.value.whole)),
            (None, _) => format!("{}=#{}", self.kind, hex(self.value.whole)),
        }
    }

    /// The value, where it is one of the string types. Teletex is read as Latin-1, as everybody writes it.
    fn text(&self) -> Option<Cow<'_, str>> {
        let (tag, bytes) = self.value.universal()?;
        Some(match tag {
            Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
                String::from_utf8_lossy(bytes)
            }
            Tag::TeletexString => bytes.iter().copied().map(char::from).collect(),
            Tag::BmpString => {
                let units = bytes.chunks(2).map(|unit| match unit {
                    [high, low] => u16::from_be_bytes([*high, *low]),
                    _ => REPLACEMENT_UNIT,
                });
                char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            Tag::UniversalString => {
                let characters = bytes.chunks(4).map(|unit| {
                    let number = <[u8; 4]>::try_from(unit).ok().map(u32::from_be_bytes);
                    number.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
                });
                characters.collect()
            }
            _ => return None,
        })
    }
}

/// The attributes of a Name's content, by part.
fn relative_names(name: &[u8]) -> Option<Vec<Vec<Attribute<'_>>>> {
    let mut parts = Vec::new();
    let mut sets = Elements(name);
    while !sets.is_empty() {
        let mut attributes = Vec::new();
        let mut set = Elements(sets.take(Tag::Set)?);
        while !set.is_empty() {
            let mut pair = Elements(set.take(Tag::Sequence)?);
            attributes.push(Attribute { kind: dotted(pair.take(Tag::Oid)?)?, value: pair.next()? });
        }
        parts.push(attributes);
    }
    Some(parts)
}

/// RFC 4514 2.4.
fn escape_value(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, character) in text.char_indices() {
        match character {
            '\0' => escaped.push_str("\\00"),
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => _ = write!(escaped, "\\{character}"),
            '#' if at == 0 => escaped.push_str("\\#"),
            ' ' if at == 0 || at == last => escaped.push_str("\\ "),
            _ => escaped.push(character),
        }
    }
    escaped
}

const SUBJECT_ALTERNATIVE_NAME: &str = "2.5.29.17";
const REPLACEMENT_UNIT: u16 = 0xFFFD;

/// The names of RFC 4514 section 3; every other type is dotted.
const SHORT_NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];
