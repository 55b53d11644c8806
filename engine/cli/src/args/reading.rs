//! Reading the command line, and what clap cannot say by itself.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::Cli;

impl Cli {
    /// Reads a command line, the program's name first.
    pub(crate) fn read<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let matches = Self::command().try_get_matches_from(arguments)?;
        if let Some(("up", up)) = matches.subcommand()
            && let Some(flag) = without_effect(up)
        {
            let message = format!(
                "{flag} is for private servers, and DATABASE_URL and NATS_URL name the servers to use\n\n  \
                 try: leave {flag} out, or unset one of the two to have a private server"
            );
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut Self::command()))
    }
}

/// What was typed about private servers although there will be none. A directory that the environment names may
/// stand there for other days.
fn without_effect(up: &ArgMatches) -> Option<&'static str> {
    let is_given = |server| up.get_one::<String>(server).is_some();
    if !(is_given("database_url") && is_given("nats_url")) {
        return None;
    }
    if up.get_flag("fresh") {
        return Some("--fresh");
    }
    (up.value_source("data") == Some(ValueSource::CommandLine)).then_some("--data")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &[&str]) -> Option<String> {
        let all = ["redress", "up"].iter().chain(arguments);
        Cli::read(all).err().map(|error| format!("{} {error}", error.exit_code()))
    }

    #[test]
    fn what_is_said_of_private_servers_is_refused_when_there_are_none() {
        let given = ["--database-url", "postgres://here/x", "--nats-url", "nats://here"];
        for more in [&["--fresh"][..], &["--data", "there"], &["--data", ".redress"]] {
            let told = refusal(&[&given[..], more].concat()).expect("it has no effect");
            assert!(
                told.starts_with("2 error: ") && told.contains(more[0]) && told.contains("try: "),
                "{told}"
            );
            // One private server is enough for it to mean something.
            assert_eq!(refusal(&[&given[..2], more].concat()), None);
            assert_eq!(refusal(more), None);
        }
        assert_eq!(refusal(&given), None);
    }
}
