//! `check-config FILE`: one line, and an exit code.

use std::{path::Path, process::ExitCode};

use crate::config::{Config, check_secrets, load_roots};

pub(super) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(file)?;
    load_roots(&config.trust, file)?;
    for warning in check_secrets(&config, file)? {
        eprintln!("{}: warning: {warning}", file.display());
    }
    println!("{}: {}", file.display(), config.summary());
    Ok(ExitCode::SUCCESS)
}
