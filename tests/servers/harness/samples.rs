//! A reader of Prometheus text 0.0.4, written from the format's description alone.
//! INVARIANT: a line that does not parse fails the test.

use std::collections::BTreeMap;

/// One line of the answer.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// All lines of one answer.
#[derive(Debug)]
pub(crate) struct Samples(pub(crate) Vec<Sample>);

impl Samples {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        Self(lines.map(|line| parse_line(line).unwrap_or_else(|| panic!("not a sample: {line:?}"))).collect())
    }

    /// The samples of `name` whose labels include `labels`.
    pub(crate) fn all<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            let has = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|found| found == value);
            sample.name == name && labels.iter().all(has)
        })
    }

    /// The one such sample's value; none if there is no such sample.
    #[track_caller]
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values: Vec<f64> = self.all(name, labels).map(|sample| sample.value).collect();
        assert!(values.len() < 2, "{} series of {name} with {labels:?}", values.len());
        values.first().copied()
    }

    /// The one such sample's value.
    #[track_caller]
    pub(crate) fn value(&self, name: &str) -> f64 {
        let Some(value) = self.get(name, &[]) else { panic!("no {name} in {:#?}", self.0) };
        value
    }

    /// A label of the only series of `name`, whose value must be 1.
    #[track_caller]
    pub(crate) fn label(&self, name: &str, label: &str) -> String {
        assert_eq!(self.value(name), 1.0, "{name}");
        let sample = self.all(name, &[]).next().unwrap();
        sample.labels.get(label).unwrap_or_else(|| panic!("no label {label} in {sample:?}")).clone()
    }

    /// Each current finding with its severity.
    #[track_caller]
    pub(crate) fn findings(&self) -> BTreeMap<String, String> {
        let pair = |sample: &Sample| {
            assert_eq!(sample.value, 1.0, "{sample:?}");
            (sample.labels["finding"].clone(), sample.labels["severity"].clone())
        };
        self.all("rdp_finding", &[]).map(pair).collect()
    }

    /// The severity of a finding, where it is there.
    #[track_caller]
    pub(crate) fn finding(&self, name: &str) -> Option<String> {
        self.findings().remove(name)
    }

    pub(crate) fn has_family(&self, prefix: &str) -> bool {
        self.0.iter().any(|sample| sample.name.starts_with(prefix))
    }
}

/// `name{label="value",...} value [timestamp]`.
fn parse_line(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, quoted) = rest.split_once("=\"")?;
            let (value, after) = unquote(quoted)?;
            assert!(labels.insert(key.to_owned(), value).is_none(), "label {key} twice in {line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, and what follows the quote.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                _ => return None,
            },
            plain => value.push(plain),
        }
    }
    None
}

#[test]
fn reads_the_format() {
    let text = "# HELP a b\na 1\nb{x=\"q\\\"\\\\\\n}\",y=\"\"} -2.5e3 1700000000\nc{} +Inf\n";
    let samples = Samples::parse(text);
    assert_eq!(samples.value("a"), 1.0);
    assert_eq!(samples.get("b", &[("x", "q\"\\\n}"), ("y", "")]), Some(-2500.0));
    assert_eq!(samples.value("c"), f64::INFINITY);
    assert_eq!(samples.get("d", &[]), None);
}
