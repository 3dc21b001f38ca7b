//! The binary: arguments to a command to an exit code. No logic.

use std::process::ExitCode;

fn main() -> ExitCode {
    rdp_exporter::cli::run()
}
