//! The list of what the binary is made of, against what cargo says of it.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

use crate::{
    process::{self, directory, leave_out},
    root,
};

#[test]
fn the_sbom_lists_what_is_linked_with_versions_and_licences() {
    let Some(text) = sbom() else { return };
    let sbom: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let about = &sbom["metadata"]["component"];
    assert_eq!((&about["name"], &about["version"]), (&"rdp_exporter".into(), &env!("CARGO_PKG_VERSION").into()));

    let components = sbom["components"].as_array().unwrap();
    let listed: BTreeSet<_> =
        components.iter().map(|it| (word(&it["name"]), word(&it["version"]), licence(it))).collect();
    assert_eq!(listed.len(), components.len(), "nothing twice");
    let linked = linked();
    assert!(linked.len() > 100, "{linked:#?}");
    let missing: Vec<_> = linked.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let too_many: Vec<_> = listed.difference(&linked).map(|(name, ..)| name.as_str()).collect();
    assert_eq!(too_many, NOT_LINKED);

    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for component in components {
        let sum = word(&component["hashes"][0]["content"]);
        let (name, version) = (word(&component["name"]), word(&component["version"]));
        let [name, version, sum] = [("name", name), ("version", version), ("checksum", sum)]
            .map(|(key, value)| format!("{key} = \"{value}\"\n"));
        let entry = lock.split("[[package]]\n").find(|entry| entry.contains(&name) && entry.contains(&version));
        assert!(entry.is_some_and(|entry| entry.contains(&sum)), "{component:#}");
    }
}

#[test]
fn the_same_sources_have_the_same_sbom() {
    let Some(text) = sbom() else { return };
    assert_eq!(Some(&text), sbom().as_ref());
    assert!(!text.contains(std::env::temp_dir().to_str().unwrap()), "a folder of this machine: {text}");
}

/// `cargo metadata`, which is asked, takes a feature of what runs during the build for one of what is linked (`regex` of
/// `uapi`'s macros), and one that is only wanted where it is there for one that is wanted (`zlib-rs?/std` of `flate2`).
const NOT_LINKED: [&str; 2] = ["aho-corasick", "zlib-rs"];

fn sbom() -> Option<String> {
    let program = Command::new("cargo-cyclonedx").args(["cyclonedx", "--version"]).output();
    if !program.is_ok_and(|output| output.status.success()) {
        leave_out("missing cargo-cyclonedx", "cargo install cargo-cyclonedx --version 0.5.9 --locked");
        return None;
    }
    let folder = directory();
    let file = folder.path().join("sbom.json");
    process::run(Command::new(root().join("packaging/sbom")).arg(&file));
    Some(fs::read_to_string(&file).unwrap())
}

/// Name, version and licence of each crate that is linked or runs as a macro, as cargo has them.
fn linked() -> BTreeSet<(String, String, String)> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}|"]);
    let tree = process::run(cargo.current_dir(root()));
    let linked = tree.lines().filter(|line| !line.starts_with("rdp_exporter v")).map(|line| {
        let (package, licence) = line.split_once('|').unwrap();
        let (name, version) = package.split_once(" v").unwrap();
        let version = version.split(' ').next().unwrap();
        (name.to_owned(), version.to_owned(), one_spelling(licence.split('|').next().unwrap()))
    });
    linked.collect()
}

fn licence(component: &Value) -> String {
    one_spelling(&word(&component["licenses"][0]["expression"]))
}

/// Before SPDX's expressions, cargo had a stroke for "or".
fn one_spelling(licence: &str) -> String {
    licence.replace('/', " OR ").split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
