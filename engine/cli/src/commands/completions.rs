//! `redress completions`: the completions of a shell, on standard output.

use clap::Args;
use clap_complete::Shell;

use crate::commands::man::program;
use crate::failure::{Exit, Failure};
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, command_line: clap::Command) -> Result<Exit, Failure> {
    render::emit(script(args.shell, command_line, program()).trim_end());
    Ok(Exit::Ok)
}

/// The completions of a program of this name.
fn script(shell: Shell, mut command_line: clap::Command, program: String) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line, program, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn completions_of_every_shell_know_commands_and_program() {
        for shell in Shell::value_variants() {
            let command_line = clap::Command::new("redress").subcommand(clap::Command::new("definitions"));
            let script = script(*shell, command_line, "my-saga".to_owned());
            assert!(script.contains("definitions") && script.contains("my-saga"), "{shell}: {script}");
        }
    }
}
