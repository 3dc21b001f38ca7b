//! What the fuzzing targets found, replayed without a fuzzer.

use std::{collections::BTreeSet, fs, path::Path};

use crate::fuzz::{TARGETS, run};

#[test]
fn what_fuzzing_found_stays_harmless() {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/fuzz");
    let folders: BTreeSet<_> =
        fs::read_dir(&all).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(folders, TARGETS.map(|(target, _)| target.to_owned()).into(), "a folder for each target");
    for (target, _) in TARGETS {
        let files: Vec<_> = fs::read_dir(all.join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty(), "{target}");
        for file in files {
            run(target, &fs::read(file).unwrap());
        }
    }
}

/// Each is a binary of its own, and `.ci/run` runs what `cargo fuzz list` says.
#[test]
fn every_target_can_be_fuzzed() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/Cargo.toml")).unwrap();
    let bins: BTreeSet<_> =
        manifest.split("[[bin]]\nname = \"").skip(1).map(|row| row.split('"').next().unwrap()).collect();
    assert_eq!(bins, TARGETS.map(|(target, _)| target).into());
}
