//! What the programs say that will read the files: promtool, amtool, and TypeScript with Grafana's types.
//! Where a program is missing the check is left out, loudly; where `CI` is `true` it fails instead.

use std::{
    env, fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use crate::files::{dashboards, path, text};

#[test]
fn promtool_accepts_the_rules() {
    check("promtool", &["check", "rules", "--lint=all", "--lint-fatal", "rules.yml"], &path("prometheus"));
}

#[test]
fn promtool_passes_the_unit_tests_of_the_rules() {
    check("promtool", &["test", "rules", "rules_test.yml"], &path("prometheus"));
}

#[test]
fn promtool_accepts_the_example_of_prometheus() {
    check("promtool", &["check", "config", "prometheus.yml"], &path("prometheus"));
}

#[test]
fn amtool_accepts_the_example_of_alertmanager() {
    check("amtool", &["check-config", "alertmanager.yml"], &path("alertmanager"));
}

#[test]
fn amtool_routes_each_alert_to_its_receiver() {
    for (labels, receiver) in [
        (["alertname=RdpTargetDown", "severity=warning", "tier=desktop"], "team"),
        (["alertname=RdpCertificateExpired", "severity=critical", "tier=desktop"], "pager"),
        (["alertname=RdpCertificateExpiring", "severity=info", "tier=prod"], "tickets"),
        (["alertname=RdpProbesNotRunning", "severity=warning", "tier=prod"], "team"),
    ] {
        let test = ["config", "routes", "test", "--config.file=alertmanager.yml", "--verify.receivers", receiver];
        check("amtool", &[&test[..], &labels[..]].concat(), &path("alertmanager"));
    }
}

/// Wrong types, unknown keys and values of enumerations that there are not, panel by panel.
#[test]
fn dashboards_have_the_types_that_grafana_publishes() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dashboards/schema");
    // Outside the tree, and kept between runs: the packages are fetched once.
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("dashboards-schema");
    fs::create_dir_all(&folder).unwrap();
    let wanted = fs::read(source.join("package-lock.json")).unwrap();
    let is_fetched = fs::read(folder.join("fetched-lock.json")).is_ok_and(|lock| lock == wanted);
    for file in ["package.json", "package-lock.json", "tsconfig.json", "check.ts"] {
        fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    for dashboard in dashboards() {
        let literal = text(&format!("grafana/{}.json", dashboard.file));
        let typed =
            format!("import type {{ Dashboard }} from './check.js';\nexport const dashboard: Dashboard = {literal};\n");
        fs::write(folder.join(format!("{}.ts", dashboard.file)), typed).unwrap();
    }
    if !is_fetched {
        let fetch = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
        match run("npm", &fetch, &folder) {
            Some(Ok(_)) => fs::write(folder.join("fetched-lock.json"), wanted).unwrap(),
            Some(Err(output)) => return left_out(&format!("npm ci failed, so the types were not checked:\n{output}")),
            None => return left_out("npm is not installed"),
        }
    }
    check("npm", &["run", "--silent", "check"], &folder);
}

/// Runs a program that has to succeed, if it is installed.
pub(crate) fn check(program: &str, arguments: &[&str], folder: &Path) {
    match run(program, arguments, folder) {
        Some(Ok(_)) => {}
        Some(Err(output)) => panic!("{program} {}\n{output}", arguments.join(" ")),
        None => left_out(&format!("{program} is not installed")),
    }
}

/// What it printed, on success or on failure; nothing where there is no such program.
fn run(program: &str, arguments: &[&str], folder: &Path) -> Option<Result<String, String>> {
    let output = match Command::new(program).args(arguments).current_dir(folder).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    Some(if output.status.success() { Ok(printed) } else { Err(printed) })
}

fn left_out(why: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "{why}");
    // Past the capture of the test harness, which would hide it.
    std::io::stderr().write_all(format!("\n*** LEFT OUT: {why} ***\n").as_bytes()).unwrap();
}
