//! `docs/json.md` and the JSON itself: the same fields, of the same types.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use rdp_exporter::report;
use serde_json::Value;

use crate::{sample::noon, text};

/// Objects whose keys are data.
const MAPS: [&str; 6] = [
    "labels",
    "connections[].flags",
    "survey.layers",
    "survey.tls_versions",
    "survey.encryption_methods",
    "survey.certificates",
];

/// What the page says of a field.
#[derive(Debug)]
struct Documented {
    kind: String,
    null_where: String,
}

#[test]
fn the_page_tells_of_every_field_and_of_no_other() {
    let page = documented();
    let mut seen = BTreeMap::new();
    for (_, state) in text::shapes() {
        let all: Value = serde_json::from_str(&report::json(&[&state], noon())).unwrap();
        collect("", &all[0], &mut seen);
    }
    let names = |keys: BTreeSet<&String>| keys.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(seen.keys().collect()), names(page.keys().collect()), "left: seen, right: docs/json.md");
    for (path, kinds) in seen {
        let Documented { kind, null_where } = &page[&path];
        for found in &kinds {
            match *found {
                "null" => assert_ne!(null_where, "never", "{path} was null"),
                found => assert_eq!(found, kind, "{path}"),
            }
        }
        assert!(kinds.contains(kind.as_str()), "no sample has {path} as {kind}");
        assert!(null_where == "never" || !null_where.is_empty(), "{path}");
    }
}

/// Every field is always there, so that a program need not ask.
#[test]
fn a_field_that_was_not_observed_is_null_and_not_missing() {
    let keys = text::shapes().into_iter().map(|(_, state)| {
        let all: Value = serde_json::from_str(&report::json(&[&state], noon())).unwrap();
        all[0].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    });
    assert_eq!(keys.collect::<BTreeSet<_>>().len(), 1);
}

/// Every path in `value` and the types that it was seen with.
fn collect(path: &str, value: &Value, seen: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !path.is_empty() {
        seen.entry(path.to_owned()).or_default().insert(kind);
    }
    for element in value.as_array().into_iter().flatten() {
        let inner = format!("{path}[]");
        match element {
            // `[]` of objects is told by their fields.
            Value::Object(fields) => fields.iter().for_each(|(key, of)| collect(&format!("{inner}.{key}"), of, seen)),
            _ => collect(&inner, element, seen),
        }
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let key = if MAPS.contains(&path) { "*" } else { key };
        let dot = if path.is_empty() { "" } else { "." };
        collect(&format!("{path}{dot}{key}"), inner, seen);
    }
}

fn documented() -> BTreeMap<String, Documented> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md")).unwrap();
    let mut found = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let &[field, kind, null_where, _] = cells.as_slice() else { panic!("four cells: {row}") };
        let field = field.trim_matches('`').to_owned();
        let told = Documented { kind: kind.to_owned(), null_where: null_where.to_owned() };
        assert!(found.insert(field, told).is_none(), "twice: {row}");
    }
    assert!(found.len() > 60, "{}", found.len());
    found
}
