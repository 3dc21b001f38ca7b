//! Which room may import from which: data flows one way.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each room and the rooms that it may import from. What is not listed is not allowed; a new room needs a row.
const ALLOWED: &[(&str, &str)] = &[
    // Bytes and texts. No sockets, no clock, no configuration.
    ("wire", "certificate"),
    ("certificate", "wire"),
    ("text", ""),
    ("descriptors", ""),
    ("logging", ""),
    // Values.
    ("observation", "wire"),
    ("target", "wire certificate diagnosis"),
    // Seeing: knows no judgement, no memory, no metrics and no configuration.
    ("probe", "wire certificate text observation target"),
    // Remembering and judging: no sockets, no clock.
    ("survey", "wire certificate observation probe"),
    ("memory", "wire certificate text observation target probe survey"),
    ("diagnosis", "wire certificate text observation target memory survey"),
    ("examine", "wire certificate text observation target probe memory diagnosis"),
    // What is known.
    ("history", "wire observation memory diagnosis examine"),
    ("state", "wire text observation target memory diagnosis examine history"),
    ("state_file", "observation target memory diagnosis state"),
    ("laboratory", "certificate text observation target probe memory diagnosis examine state"),
    ("schedule", "text observation target memory diagnosis examine state laboratory"),
    // Showing: no HTTP.
    ("metrics", "wire certificate text logging observation target memory survey diagnosis examine state"),
    ("report", "wire certificate text observation target memory survey diagnosis examine history state"),
    // YAML; knows nothing of probing and serving.
    ("config", "wire certificate text target diagnosis"),
    ("access", "wire config"),
    // Lists of targets: knows no probing.
    ("discovery", "config state text"),
    ("service", "config descriptors discovery laboratory schedule state state_file target"),
    ("page", "wire certificate text observation target memory survey diagnosis examine history state report"),
    (
        "http",
        "access config probe text observation target diagnosis examine state laboratory metrics page report service",
    ),
    (
        "cli",
        "access certificate config descriptors diagnosis discovery examine http laboratory logging memory metrics observation \
         probe report \
         schedule service state target text",
    ),
    // The map and the binary: no code, no imports.
    ("lib", ""),
    ("main", ""),
];

/// Arrows for which a few names are enough.
const ONLY: &[(&str, &str, &str)] = &[
    // `expect.accept` is a list of findings.
    ("target", "diagnosis", "Finding"),
    // What is remembered decides how the next probe goes about it.
    ("memory", "probe", "Approach Companions Question self"),
    // A survey is made of questions.
    ("survey", "probe", "Question"),
];

/// Arrows that close a circle, each with its reason in `ONLY`.
const EXCUSED: &[(&str, &str)] = &[("target", "diagnosis")];

#[test]
fn nobody_imports_against_the_order() {
    let allowed: BTreeMap<_, BTreeSet<_>> =
        ALLOWED.iter().map(|(room, others)| (*room, others.split_whitespace().collect())).collect();
    let mut wrong = Vec::new();
    for (room, path) in imports() {
        let other = path.split("::").next().unwrap_or_default();
        let is_allowed = allowed.get(room.as_str()).is_some_and(|others| others.contains(other));
        if other != room && !is_allowed {
            wrong.push(format!("{room} imports {path}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn exceptions_are_no_wider_than_their_reason() {
    for (room, path) in imports() {
        for (from, to, names) in ONLY {
            let is_it = room == *from && path.starts_with(&format!("{to}::"));
            let mut allowed = names.split(' ').map(|name| format!("{to}::{name}"));
            assert!(!is_it || allowed.any(|allowed| allowed == path), "{room} imports {path}");
        }
    }
}

#[test]
fn there_is_no_circle() {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (room, path) in imports() {
        let other = path.split("::").next().unwrap_or_default().to_owned();
        if other != room && !EXCUSED.contains(&(room.as_str(), other.as_str())) {
            arrows.entry(room).or_default().insert(other);
        }
    }
    // Takes rooms away that import nothing any more; what cannot be taken away stands in a circle.
    let mut left: BTreeSet<String> = arrows.keys().cloned().collect();
    loop {
        let free = left.iter().find(|room| arrows[*room].is_disjoint(&left)).cloned();
        let Some(free) = free else { break };
        left.remove(&free);
    }
    assert!(left.is_empty(), "a circle among {left:?}");
}

#[test]
fn the_reader_of_imports_reads() {
    let text = "//! crate::doc\nuse crate::{\n    a::{self, B, c::D},\n    e::F as G,\n};\nuse crate::g::*;\nfn f() { crate::h::i() }\n";
    let paths: Vec<_> = paths_in(text).into_iter().collect();
    assert_eq!(paths, ["a::B", "a::c::D", "a::self", "e::F", "g::*", "h::i"]);
}

/// Room and path of every import of the crate's own, tests inside the rooms left aside.
fn imports() -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for file in files(&source) {
        let below = file.strip_prefix(&source).unwrap();
        let room = below.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        assert!(!text.contains("super::super::"), "{}: the way out of a room is `crate::`", below.display());
        assert!(below.components().count() > 1 || !text.contains("super::"), "{}: `crate::` instead", below.display());
        found.extend(paths_in(text).into_iter().map(|path| (room.clone(), path)));
    }
    assert!(found.len() > 50, "the reader found only {}", found.len());
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| self::files(folder));
    files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).chain(below).collect()
}

/// Every path after `crate::`, groups written out.
fn paths_in(text: &str) -> BTreeSet<String> {
    let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    code.split("crate::").skip(1).flat_map(|after| written_out("", after).0).collect()
}

/// The paths that begin here, each after `prefix`, and where they end.
fn written_out(prefix: &str, text: &str) -> (Vec<String>, usize) {
    let is_of_a_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '*');
    let end = text.find(|c| !is_of_a_path(c)).unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    if !text[end..].starts_with('{') {
        return (vec![path], end);
    }
    let (mut paths, mut place) = (Vec::new(), end + 1);
    loop {
        place += text[place..].find(|c: char| !c.is_whitespace() && c != ',').unwrap();
        if text[place..].starts_with('}') {
            return (paths, place + 1);
        }
        let (inner, length) = written_out(&path, &text[place..]);
        paths.extend(inner);
        place += length;
        if text[place..].starts_with(" as ") {
            place += text[place..].find([',', '}']).unwrap();
        }
    }
}
