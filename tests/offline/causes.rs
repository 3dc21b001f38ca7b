//! The causes that docs/error-0x904.md lists, held against the tests that it says bring them about.

use std::{collections::BTreeSet, fs, path::Path};

use rdp_exporter::diagnosis::Verdict;

/// A row of the last table: what the cause looks like, and the tests that make it.
struct Cause {
    looks: Vec<String>,
    tests: Vec<String>,
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/error-0x904.md")).unwrap()
}

/// The text of the section under this heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, after) = page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    after.split("\n## ").next().unwrap()
}

/// What stands between backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn causes(page: &str) -> Vec<Cause> {
    let rows = section(page, "Each cause, made on purpose").lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = |row: &str| row.split('|').map(str::to_owned).collect::<Vec<_>>();
    rows.map(|row| match cells(row).as_slice() {
        [_, _, looks, tests, _] => Cause { looks: quoted(looks), tests: quoted(tests) },
        other => panic!("{other:?}"),
    })
    .collect()
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let page = page();
    let causes = causes(&page);
    assert!(causes.len() > 30, "{} rows", causes.len());
    for cause in causes {
        assert!(!cause.tests.is_empty(), "{:?} has no test", cause.looks);
        for test in cause.tests {
            let (file, function) = test.split_once("::").unwrap_or_else(|| panic!("{test}"));
            let source = fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{test}: {error}"));
            assert!(source.contains(&format!("#[test]\nfn {function}() {{")), "no test {test}");
        }
    }
}

/// Each signal of the two tables above, verdict, finding or metric, has a cause; each verdict one of a real network.
#[test]
fn every_signal_of_the_page_has_a_test() {
    let page = page();
    let causes = causes(&page);
    let shown: BTreeSet<_> = causes.iter().flat_map(|cause| cause.looks.iter().cloned()).collect();
    for heading in ["The verdict is not healthy", "The verdict is healthy"] {
        let rows = section(&page, heading).lines().filter(|line| line.starts_with("| ")).skip(1);
        let signals: Vec<_> = rows.flat_map(|row| quoted(row.split('|').nth(1).unwrap())).collect();
        assert!(signals.len() > 10, "{heading}: {signals:?}");
        for signal in signals {
            assert!(shown.contains(&signal), "no test for {signal}");
        }
    }
    for verdict in Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Healthy) {
        let mut tests = causes.iter().filter(|cause| cause.looks.iter().any(|label| label == verdict.label()));
        let is_real = |cause: &Cause| cause.tests.iter().any(|test| test.starts_with("network/"));
        assert!(tests.any(is_real), "no test of a real network for {verdict}");
    }
}
