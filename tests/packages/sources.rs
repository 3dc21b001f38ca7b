//! What the crate and the container are made of.

use std::{fs, path::Path, process::Command};

use crate::{process, root};

#[test]
fn the_crate_has_what_it_is_built_of_and_no_tests() {
    let mut cargo = Command::new(env!("CARGO"));
    let files = process::run(cargo.current_dir(root()).args(["package", "--list", "--allow-dirty", "--offline"]));
    let files: Vec<&str> = files.lines().collect();
    for wanted in ["Cargo.lock", "Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/main.rs"] {
        assert!(files.contains(&wanted), "{wanted} is missing among {files:#?}");
    }
    let known = |file: &&&str| {
        file.starts_with("src/") || !file.contains('/') && !file.starts_with('.') || **file == ".cargo_vcs_info.json"
    };
    let strangers: Vec<_> = files.iter().filter(|file| !known(file)).collect();
    assert!(strangers.is_empty(), "{strangers:#?}");
}

/// What SECURITY.md says of the exporter's own code: the compiler holds it to that as long as the manifest asks for it.
#[test]
fn its_own_code_has_no_unsafe_no_build_script_and_no_silent_overflow() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let lines_of = |section: &str| {
        let (_, rest) = manifest.split_once(&format!("\n[{section}]\n")).unwrap_or_else(|| panic!("no [{section}]"));
        rest.lines().take_while(|line| !line.starts_with('[')).collect::<Vec<_>>()
    };
    // `deny` and `warn` can be taken back where the code stands, `forbid` cannot.
    assert!(lines_of("lints.rust").contains(&"unsafe_code = \"forbid\""), "unsafe code is not forbidden");
    assert!(lines_of("profile.release").contains(&"overflow-checks = true"), "overflows pass in silence");
    // `abort` would make of a panic in one probe the end of all of them.
    assert!(!manifest.contains("\npanic = "), "another strategy for panics");
    assert!(!root().join("build.rs").exists() && !manifest.contains("\nbuild = "), "a build script");
}

#[test]
fn the_container_copies_what_is_there() {
    let recipe = fs::read_to_string(root().join("packaging/container/Containerfile")).unwrap();
    let copies = recipe.lines().filter_map(|line| line.strip_prefix("COPY "));
    let sources: Vec<&str> = copies
        .filter(|copy| !copy.starts_with("--from"))
        .flat_map(|copy| copy.rsplit_once(' ').unwrap().0.split(' '))
        .collect();
    assert!(sources.len() >= 3, "{sources:?}");
    for source in sources {
        assert!(Path::new(root()).join(source).exists(), "there is no {source}");
    }
}
