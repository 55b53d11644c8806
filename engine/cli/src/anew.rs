//! Starts the program anew without `PGOPTIONS`, which the shell means for other servers than a private one.
//!
//! sqlx adds `PGOPTIONS` to whatever an address says, and nothing that a program does takes it away again: a process
//! cannot safely change its own environment. So a program that will talk to a private Postgres begins anew, as the same
//! process, without that variable. The other variables of Postgres are harmless: the address of a private server says
//! all that they could. A server that the user gives is used with `PGOPTIONS`.

use std::os::unix::process::CommandExt as _;

use anyhow::Context as _;

use crate::command_line::{Cli, Command};
use crate::failure::Failure;

const OPTIONS: &str = "PGOPTIONS";

/// Begins this program anew without `PGOPTIONS`, if it is set and a private Postgres will be used.
pub(crate) fn without_options(cli: &Cli) -> Result<(), Failure> {
    if std::env::var_os(OPTIONS).is_none() || !has_private_postgres(cli) {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let program = std::env::current_exe().context("where is this program?")?;
    let mut command = std::process::Command::new(&program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // It returns only if it fails.
    let error = anyhow::Error::from(command.args(arguments).env_remove(OPTIONS).exec());
    let error = error.context(format!("{} could not begin anew without {OPTIONS}", program.display()));
    Err(Failure::new(1, error).remedy(format!("unset {OPTIONS}")))
}

fn has_private_postgres(cli: &Cli) -> bool {
    match &cli.command {
        Some(Command::Bench(_)) => true,
        Some(Command::Demo(args)) => args.servers.database_url.is_none(),
        Some(Command::Up(args)) => args.servers.database_url.is_none(),
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgoptions_are_kept_for_given_postgres() {
        let private =
            |words: &[&str]| has_private_postgres(&Cli::read(["redress"].iter().chain(words)).unwrap());
        assert!(private(&["up"]) && private(&["demo", "--exit"]) && private(&["bench"]));
        let given = ["--database-url", "postgres://here/x"];
        assert!(!private(&[&["up"], &given[..]].concat()) && !private(&[&["serve"], &given[..]].concat()));
    }
}
