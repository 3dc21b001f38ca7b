//! `check-config FILE`: one line, and an exit code.

use std::{path::Path, process::ExitCode};

use super::{complain, print};
use crate::{
    access::Access,
    config::{Config, check_secrets, load_roots},
    service::check_state_file,
};

pub(super) fn run(file: &Path, web: bool) -> anyhow::Result<ExitCode> {
    let (summary, warnings) = match web {
        true => {
            let policy = Access::load(Some(file.to_owned()))?.now();
            (policy.settings.summary(), policy.settings.warnings(file))
        }
        false => {
            let config = Config::load(file)?;
            load_roots(&config.trust, file)?;
            check_state_file(&config, file)?;
            (config.summary(), check_secrets(&config, file)?)
        }
    };
    for warning in warnings {
        complain(&format!("{}: warning: {warning}", file.display()));
    }
    print(&format!("{}: {summary}\n", file.display()))?;
    Ok(ExitCode::SUCCESS)
}
