//! `redress man`: manual pages, one for the program and one for each command.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::args::Output;
use crate::failure::{Exit, Failure};
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Directory for the pages; made if it is missing.
    pub(crate) dir: PathBuf,
}

pub(crate) fn run(args: &ManArgs, command_line: clap::Command, output: Output) -> Result<Exit, Failure> {
    let dir = args.dir.display();
    let written = write(&args.dir, command_line, program());
    written.with_context(|| format!("the manual pages could not be written into `{dir}`"))?;
    render::print(output, &json!({ "dir": args.dir }), |_| format!("the manual pages are in {dir}"));
    Ok(Exit::Ok)
}

/// The name by which this program was called: pages and completions are for that.
pub(crate) fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from);
    let name = called.and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| "redress".to_owned())
}

/// Writes the pages of a program of this name.
fn write(dir: &Path, command_line: clap::Command, program: String) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    // clap takes names for the rest of the process; there is one.
    clap_mangen::generate_to(command_line.name(&*program.leak()), dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_has_a_page_for_every_command() {
        let dir = tempfile::tempdir().unwrap();
        let fault = clap::Command::new("fault").subcommand(clap::Command::new("add"));
        write(dir.path(), clap::Command::new("redress").subcommand(fault), "my-saga".to_owned()).unwrap();
        for page in ["my-saga.1", "my-saga-fault.1", "my-saga-fault-add.1"] {
            assert!(dir.path().join(page).is_file(), "{page}");
        }
    }
}
