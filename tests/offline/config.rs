//! Configuration files that are right, and files with one mistake each beside the line that names it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use rdp_exporter::config::Config;

#[test]
fn valid_files_are_accepted_and_survive_being_shown() {
    for file in files("valid", "yaml") {
        let config = Config::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let shown = config.to_yaml();
        let again = Config::from_yaml(&shown, &file).unwrap_or_else(|error| panic!("{error}\n{shown}"));
        assert_eq!(again, config, "{}", file.display());
    }
}

/// With `UPDATE_EXPECTED` set, what is said is written down, to be read over before it is committed.
#[test]
fn invalid_files_are_refused_in_the_expected_words() {
    for file in files("invalid", "yaml") {
        let text = fs::read_to_string(&file).unwrap();
        let name = Path::new(file.file_name().unwrap());
        let said = match Config::from_yaml(&text, name) {
            Ok(_) => panic!("{} is accepted", file.display()),
            Err(error) => format!("{error}\n"),
        };
        let expected = file.with_extension("error");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
        assert_eq!(said, expected);
    }
    for file in files("invalid", "error") {
        assert!(file.with_extension("yaml").exists(), "{} stands alone", file.display());
    }
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs").join(folder);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension() == Some(OsStr::new(extension))).collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds nothing", folder.display());
    files
}
