//! `completions SHELL` and `man FOLDER`: what packages put beside the binary, from the definitions that it reads its
//! arguments by.

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

use super::print;

pub(super) fn completions(shell: Shell, mut command: Command) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "rdp_exporter", &mut text);
    print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}

/// One page for the exporter, and one for each command.
pub(super) fn man(folder: &Path, command: Command) -> anyhow::Result<ExitCode> {
    clap_mangen::generate_to(command, folder).with_context(|| format!("write to {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
