//! What the pages say, held against what is there: links, examples of the configuration, flags, names and numbers.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use rdp_exporter::config::Config;

use crate::{
    exposition,
    markdown::{Page, blocks, pages, root},
};

#[test]
fn every_relative_link_leads_somewhere() {
    let mut checked = 0;
    for page in pages() {
        for link in page.links().into_iter().filter(|link| !link.starts_with("http")) {
            let place = format!("{}: {link}", page.path.display());
            let (file, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() { page.path.clone() } else { beside(&page, file) };
            assert!(root().join(&target).exists(), "{place}: there is no {}", target.display());
            let has_anchor = || Page::read(target.clone()).anchors().contains(anchor);
            assert!(anchor.is_empty() || has_anchor(), "{place}: there is no such heading");
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

/// The path of `file` as a link on `page` names it, from the root of the repository.
fn beside(page: &Page, file: &str) -> PathBuf {
    let mut path = page.path.parent().map(PathBuf::from).unwrap_or_default();
    for part in file.split('/') {
        match part {
            ".." => assert!(path.pop(), "{}: {file} leads out of the repository", page.path.display()),
            part => path.push(part),
        }
    }
    path
}

#[test]
fn the_readme_leads_to_every_page() {
    let links = Page::read("README.md".into()).links();
    for page in pages().into_iter().filter(|page| page.path != *"README.md") {
        let path = page.path.display().to_string();
        assert!(links.contains(&path), "README.md has no link to {path}");
    }
}

#[test]
fn examples_of_the_configuration_are_accepted() {
    let mut checked = 0;
    for block in blocks("yaml") {
        let document: serde_json::Value = serde_yaml::from_str(&block.text).unwrap_or_else(|error| {
            panic!("{}: {error}", block.place);
        });
        // Those of Prometheus and Alertmanager, and lists of targets, are read by their own programs in the suite of the
        // dashboards; the file of `--web.config.file` is another one.
        let is_of_others = |key| document.get(key).is_some();
        if document.is_array() || ["scrape_configs", "route", "tls_server_config"].into_iter().any(is_of_others) {
            continue;
        }
        Config::from_yaml(&block.text, block.place.as_ref()).unwrap_or_else(|error| panic!("{error}"));
        checked += 1;
    }
    assert!(checked >= 5, "{checked}");
}

#[test]
fn commands_have_the_flags_that_the_pages_give_them() {
    let commands = [&["--help"][..], &["probe", "--help"], &["check-config", "--help"], &["explain", "--help"]];
    let help: String = commands.into_iter().map(help).collect();
    let known: BTreeSet<&str> = help.split(|letter: char| !is_of_flag(letter)).collect();
    let mut checked = BTreeSet::new();
    for block in ["console", "sh", "text"].into_iter().flat_map(blocks) {
        for line in block.text.lines().filter(|line| line.contains("rdp_exporter ")) {
            let after = line.split("rdp_exporter ").last().unwrap_or_default();
            let words = after.split([' ', '=']).filter(|word| word.starts_with("--"));
            for flag in words {
                assert!(known.contains(flag), "{}: {flag}", block.place);
                checked.insert(flag.to_owned());
            }
        }
    }
    assert!(checked.len() >= 3, "{checked:?}");
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rdp_exporter")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn is_of_flag(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-.".contains(letter)
}

#[test]
fn every_metric_that_the_pages_name_is_exported() {
    // The program, and jobs of Prometheus.
    let others = ["rdp_exporter", "rdp_probe", "rdp_blackbox"];
    let exported: BTreeSet<&str> = exposition::family_names().collect();
    let mut named = BTreeSet::new();
    for page in pages() {
        let words = page.text().split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        // `rdp_exporter_*` and `rdp_certificate_{…}` stand for several.
        for word in words.filter(|word| word.starts_with("rdp_") && !word.ends_with('_') && !others.contains(word)) {
            let of_histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| word.strip_suffix(suffix));
            let is_exported = exported.contains(word) || of_histogram.is_some_and(|base| exported.contains(base));
            assert!(is_exported, "{}: {word}", page.path.display());
            named.insert(word.to_owned());
        }
    }
    assert!(named.len() > 30, "{named:?}");
}

/// The table of docs/scaling.md: each row against a healthy host of which all is known.
#[test]
fn the_page_on_scaling_counts_the_series_of_a_target() {
    let page = Page::read("docs/scaling.md".into());
    let counted = exposition::series_of_a_known_target();
    let (mut rows, mut total) = (BTreeSet::new(), 0);
    for row in page.text().lines().filter(|line| line.starts_with("| `rdp_")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let names = cells[0].split('`').skip(1).step_by(2);
        let told: usize = cells[1].parse().unwrap();
        let found: usize = names.clone().map(|name| counted.get(name).copied().unwrap_or_default()).sum();
        assert_eq!(found, told, "{row}");
        rows.extend(names);
        total += told;
    }
    let missing: Vec<_> = counted.keys().filter(|name| !rows.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
    let without = total - counted["rdp_handshake_duration_seconds"];
    assert!(page.text().contains(&format!("{total} together; {without} without the histogram")), "{total}, {without}");
}

/// Of each who is named there: what they may try, what holds, and the tests that show it.
#[test]
fn what_security_md_says_is_shown_by_tests_that_are_there() {
    let page = Page::read("SECURITY.md".into());
    let (_, model) = page.text().split_once("\n## Who can do what\n").unwrap();
    let mut checked = 0;
    for section in model.split("\n### ").skip(1) {
        let who = section.lines().next().unwrap_or_default();
        let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
        assert!(!rows.is_empty(), "{who}: nothing is said");
        for row in rows {
            let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
            let tests: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
            assert!(!tests.is_empty(), "{who}: no test shows this: {row}");
            tests.iter().for_each(|test| assert!(is_there(test), "{who}: there is no {test}"));
            checked += tests.len();
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn what_failed_without_its_defence_is_still_there() {
    let page = Page::read("CONTRIBUTING.md".into());
    let (_, defences) = page.text().split_once("\n## Defences\n").unwrap();
    let (defences, _) = defences.split_once("\n## ").unwrap();
    let tests: Vec<_> = defences.split('`').filter(|quoted| quoted.contains("::")).collect();
    assert!(tests.len() > 30, "{tests:?}");
    tests.iter().for_each(|test| assert!(is_there(test), "there is no {test}"));
}

/// Whether a test, as `file::function`, or a script of CI is there.
fn is_there(test: &str) -> bool {
    let Some((file, function)) = test.split_once("::") else { return root().join(test).exists() };
    let Ok(source) = fs::read_to_string(root().join(file)) else { return false };
    let begin = format!("fn {function}(");
    source.match_indices(&begin).any(|(place, _)| {
        let before = source[..place].trim_end_matches("async ").trim_end();
        before.ends_with("#[test]") || before.ends_with("#[tokio::test]")
    })
}

#[test]
fn what_is_no_test_is_not_taken_for_one() {
    let this = "tests/offline/documentation.rs";
    assert!(is_there(&format!("{this}::what_is_no_test_is_not_taken_for_one")));
    assert!(!is_there(&format!("{this}::is_there")), "no test");
    assert!(!is_there(&format!("{this}::what_is_no_test")), "the begin of a name");
    assert!(!is_there("tests/offline/none.rs::what_is_no_test_is_not_taken_for_one"));
}
