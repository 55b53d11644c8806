//! The command line: all commands, and the rules that clap cannot express by itself.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::args::{ApiArgs, LogFormat, Output};
use crate::bench::BenchArgs;
use crate::commands::chaos::ChaosArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::dead_letters::DeadLettersArgs;
use crate::commands::definitions::DefinitionsArgs;
use crate::commands::demo::DemoArgs;
use crate::commands::doctor::DoctorArgs;
use crate::commands::event::EventArgs;
use crate::commands::fault::FaultArgs;
use crate::commands::list::ListArgs;
use crate::commands::man::ManArgs;
use crate::commands::migrate::MigrateArgs;
use crate::commands::new::NewArgs;
use crate::commands::operator::{AnswerArgs, OperatorArgs, ResolveArgs, RetryArgs};
use crate::commands::service::ServiceArgs;
use crate::commands::show::ShowArgs;
use crate::commands::start::StartArgs;
use crate::commands::up::{ServeArgs, UpArgs};
use crate::commands::watch::WatchArgs;
use crate::lab::LabArgs;

const EXAMPLES: &str = "Examples:
  redress                                  play five orders, then serve the API
  redress new my-saga                      a project to begin with
  redress up --data .redress               private servers, services and API; data is kept
  redress start place-order --input @order.json --wait
  redress list --status parked
  redress show 0190163d-8694
  redress retry 0190163d-8694-739b-aea5-966c26f8ad91 --reason 'the printer is back'
  redress dead-letters replay --code unknown-command --reason 'the service is there'
  redress event 0190163d-8694 approval --data @approval.json
  redress fault add --step ship-order --kind reject --code address-undeliverable
  redress chaos kill postgres
  redress bench --sagas 20000 --concurrency 1,1000
  redress bench --rate 500 --preload 1000000
  redress lab --loss 0.1 --latency-ms 50 --chart lab.svg

Exit codes: 0 ok, 1 error, 2 usage, 3 saga compensated, 4 saga parked, 5 not found, 6 conflict,
7 saga closed, 69 dependency not available, 77 not allowed by the database, 78 database set up wrongly,
124 waited too long, 130 interrupted.";

/// Saga orchestration over Postgres and JetStream.
#[derive(Debug, Parser)]
#[command(name = "redress", version, before_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// How to print.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, env = "REDRESS_OUTPUT")]
    pub(crate) output: Output,
    /// Which messages go to standard error: a level, or a list such as warn,redress=debug (RUST_LOG is read, too).
    #[arg(long, global = true, value_name = "FILTER", env = "REDRESS_LOG")]
    pub(crate) log: Option<String>,
    /// How messages are written.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "REDRESS_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play the demo's sagas on private servers, then serve the API (the default).
    Demo(DemoArgs),
    /// Services, coordinator and API on private servers (or on yours).
    Up(UpArgs),
    /// Coordinator and API only, on your servers.
    Serve(ServeArgs),
    /// Write a project to begin with: contracts, a service, a saga and their tests.
    New(NewArgs),
    /// Start a saga.
    Start(StartArgs),
    /// List sagas, newest first.
    List(ListArgs),
    /// Show a saga and its steps.
    Show(ShowArgs),
    /// Watch a saga until it ends.
    Watch(WatchArgs),
    /// Make a saga turn back.
    Cancel(OperatorArgs),
    /// Try now what waits or is parked.
    Retry(RetryArgs),
    /// Give the answer that a step awaits.
    Answer(AnswerArgs),
    /// Send an event to a saga that awaits it, or to all with a label.
    Event(EventArgs),
    /// Resolve a step whose outcome is in doubt.
    Resolve(ResolveArgs),
    /// End a saga that is parked or paused by hand.
    Close(OperatorArgs),
    /// Send nothing more for a saga until it is resumed.
    Pause(OperatorArgs),
    /// Let a paused saga go on.
    Resume(OperatorArgs),
    /// Let a coordinator that was started paused move its sagas.
    Begin(ApiArgs),
    /// Show, replay and discard messages that could not be used.
    DeadLetters(DeadLettersArgs),
    /// Inject failures into commands.
    Fault(FaultArgs),
    /// Pause, kill or wipe the private servers of `up`.
    Chaos(ChaosArgs),
    /// Show the saga definitions of this program.
    Definitions(DefinitionsArgs),
    /// Measure throughput and latency on private servers.
    Bench(BenchArgs),
    /// Try the three delivery guarantees side by side, on private servers and a bad network.
    Lab(LabArgs),
    /// Create all tables, or bring them up to date.
    Migrate(MigrateArgs),
    /// Look at what this machine has.
    Doctor(DoctorArgs),
    /// Run one service (or all) as a process of its own.
    Service(ServiceArgs),
    /// Print the completions of a shell.
    Completions(CompletionsArgs),
    /// Write manual pages.
    Man(ManArgs),
}

impl Default for Command {
    fn default() -> Self {
        Self::Demo(DemoArgs::parse_from(["demo"]))
    }
}

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

/// The first argument about private servers that was typed although there will be none. A directory that the
/// environment names may stand there for other days.
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

    #[test]
    fn command_line_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn empty_command_line_is_demo() {
        let Command::Demo(demo) = Cli::parse_from(["redress"]).command.unwrap_or_default() else {
            panic!("another command")
        };
        assert!(!demo.exit);
    }

    #[test]
    fn invalid_arguments_are_usage_errors() {
        for arguments in [
            &["redress", "show", "seven"][..],
            &["redress", "start", "place-order"],
            &["redress", "--output", "xml", "list"],
            &["redress", "up", "--http", "everywhere"],
            &["redress", "bench", "--concurrency", "1,many"],
            &["redress", "bench", "--rate", "0"],
            &["redress", "lab", "--loss", "much"],
            &["redress", "fault", "add", "--step", "ship"],
            &["redress", "dead-letters", "list", "--code", "odd"],
            &["redress", "chaos", "kill", "service"],
            &["redress", "chaos", "pause", "nats", "--for", "0"],
            &["redress", "chaos", "--seed", "7"],
            &["redress", "event", "approval"],
            &["redress", "event", "0190163d", "approval", "--tag", "order:7"],
            &["redress", "explode"],
        ] {
            let error =
                Cli::try_parse_from(arguments).err().unwrap_or_else(|| panic!("taken: {arguments:?}"));
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
        }
    }

    #[test]
    fn help_begins_with_examples_and_lists_every_command() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.starts_with("Examples:"), "{help}");
        for command in Cli::command().get_subcommands() {
            assert!(help.contains(&format!("\n  {} ", command.get_name())), "{help}");
        }
    }

    /// A setting of the program can be given by the environment too; the subject of a command cannot.
    #[test]
    fn every_setting_has_environment_variable() {
        let settings = ["up", "serve", "service", "migrate", "doctor"];
        let verbs = ["until_stdin_ends", "echo", "check", "names", "fresh", "processes", "help", "version"];
        let root = Cli::command();
        let without: Vec<String> = settings
            .iter()
            .filter_map(|name| root.find_subcommand(name))
            .flat_map(|command| command.get_arguments().map(move |argument| (command.get_name(), argument)))
            .filter(|(_, argument)| {
                argument.get_env().is_none() && !verbs.contains(&argument.get_id().as_str())
            })
            .map(|(command, argument)| format!("{command} {}", argument.get_id()))
            .collect();
        assert_eq!(without, Vec::<String>::new());
    }

    fn refusal(arguments: &[&str]) -> Option<String> {
        let all = ["redress", "up"].iter().chain(arguments);
        Cli::read(all).err().map(|error| format!("{} {error}", error.exit_code()))
    }

    #[test]
    fn private_server_options_are_refused_without_private_servers() {
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
