//! `check-config FILE`: one line, and an exit code.

use std::{path::Path, process::ExitCode};

use super::complain;
use crate::{
    access::Access,
    config::{Config, check_secrets, load_roots},
};

pub(super) fn run(file: &Path, web: bool) -> anyhow::Result<ExitCode> {
    let summary = match web {
        true => Access::load(Some(file.to_owned()))?.now().settings.summary(),
        false => {
            let config = Config::load(file)?;
            load_roots(&config.trust, file)?;
            for warning in check_secrets(&config, file)? {
                complain(&format!("{}: warning: {warning}", file.display()));
            }
            config.summary()
        }
    };
    println!("{}: {summary}", file.display());
    Ok(ExitCode::SUCCESS)
}
