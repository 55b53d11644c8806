//! The command line.

mod crash;
mod orders;
mod reading;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use redress_core::SagaId;

pub(crate) use crash::CrashAt;
pub(crate) use orders::{OrderArgs, ResolveArgs, RetryArgs};

const EXAMPLES: &str = "Examples:
  redress                                  play three orders, then serve the API
  redress up --data .redress               private servers, services and API; data is kept
  redress start place-order --input @order.json --wait
  redress list --status parked
  redress show 0190163d-8694-739b-aea5-966c26f8ad91
  redress retry 0190163d-8694-739b-aea5-966c26f8ad91 --reason 'the printer is back'
  redress fault add --step ship-order --kind reject --code address-undeliverable
  redress bench --participants echo --sagas 20000 --concurrency 1,1000

Exit codes: 0 ok, 1 error, 2 usage, 3 saga compensated, 4 saga parked, 5 not found, 6 conflict,
7 saga closed, 69 dependency not available, 124 waited too long, 130 interrupted.";

/// Saga orchestration over Postgres and JetStream.
#[derive(Debug, Parser)]
#[command(name = "redress", version, before_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// How to print.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, env = "REDRESS_OUTPUT")]
    pub(crate) output: Output,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON value.
    Json,
    /// One JSON value per line.
    Jsonl,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play the demo's sagas on private servers, then serve the API (the default).
    Demo(DemoArgs),
    /// Services, coordinator and API on private servers (or on yours).
    Up(UpArgs),
    /// Coordinator and API only, on your servers.
    Serve(ServeArgs),
    /// Start a saga.
    Start(StartArgs),
    /// List sagas, newest first.
    List(ListArgs),
    /// Show a saga and its steps.
    Show(ShowArgs),
    /// Watch a saga until it ends.
    Watch(WatchArgs),
    /// Make a saga turn back.
    Cancel(OrderArgs),
    /// Try now what waits or is parked.
    Retry(RetryArgs),
    /// Tell what became of a step whose outcome is in doubt.
    Resolve(ResolveArgs),
    /// End a saga that is parked or paused by hand.
    Close(OrderArgs),
    /// Send nothing more for a saga until it is resumed.
    Pause(OrderArgs),
    /// Let a paused saga go on.
    Resume(OrderArgs),
    /// Let a coordinator that was started paused move its sagas.
    Begin(ApiArgs),
    /// Inject failures.
    Fault(FaultArgs),
    /// Show the saga definitions of this program.
    Definitions(DefinitionsArgs),
    /// Measure throughput and latency on private servers.
    Bench(BenchArgs),
    /// Create all tables, or bring them up to date.
    Migrate(ServersArgs),
    /// Look at what this machine has.
    Doctor(DoctorArgs),
    /// Run one service (or all) as a process of its own.
    #[command(hide = true)]
    Service(ServiceArgs),
}

impl Default for Command {
    fn default() -> Self {
        Self::Demo(DemoArgs::parse_from(["demo"]))
    }
}

#[derive(Debug, Parser)]
pub(crate) struct DemoArgs {
    /// Leave after the sagas have ended.
    #[arg(long)]
    pub(crate) exit: bool,
    /// Where the API listens; another port is taken if this one is not free.
    #[arg(long, env = "REDRESS_HTTP", default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// Which servers to use.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServersArgs {
    /// Postgres to use instead of a private one; the services' databases are made beside it.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
    /// NATS to use instead of a private one.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    pub(crate) nats_url: Option<String>,
    /// What the names of subjects and streams begin with.
    #[arg(long, env = "REDRESS_PREFIX", default_value = "redress")]
    pub(crate) prefix: String,
    /// How long the broker waits for an acknowledgement before it delivers again, in milliseconds.
    #[arg(long, env = "REDRESS_ACK_WAIT_MS", default_value_t = 30_000)]
    pub(crate) ack_wait_ms: u64,
    /// The most that a stream may hold, in bytes; the server sets it aside.
    #[arg(long, env = "REDRESS_STREAM_BYTES_MAX", default_value_t = 512 << 20)]
    pub(crate) stream_bytes_max: i64,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Where the API listens.
    #[arg(long, env = "REDRESS_HTTP", default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    /// Where private servers keep their data.
    #[arg(long, env = "REDRESS_DATA", default_value = ".redress")]
    pub(crate) data: PathBuf,
    /// Begin with empty private servers.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Run each service as a process of its own.
    #[arg(long)]
    pub(crate) processes: bool,
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// Who may ask.
#[derive(Clone, Debug, Args)]
pub(crate) struct AccessArgs {
    /// Secret that every request must bear; needed to listen anywhere but on loopback.
    #[arg(long, env = "REDRESS_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where the API listens.
    #[arg(long, env = "REDRESS_HTTP", default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    /// Let failures be injected.
    #[arg(long, env = "REDRESS_ALLOW_FAULTS", value_parser = BoolishValueParser::new())]
    pub(crate) allow_faults: bool,
    /// How often to look for what is due, in milliseconds.
    #[arg(long, env = "REDRESS_TIMER_POLL_MS", default_value_t = 250)]
    pub(crate) timer_poll_ms: u64,
    /// Take no new sagas, finish what is under way, and leave.
    #[arg(long, env = "REDRESS_DRAIN", value_parser = BoolishValueParser::new())]
    pub(crate) drain: bool,
    /// Move no saga until `redress begin` says so.
    #[arg(long, env = "REDRESS_START_PAUSED", value_parser = BoolishValueParser::new())]
    pub(crate) start_paused: bool,
    /// Mark sagas that go on for longer than this as stalled, in seconds.
    #[arg(long, env = "REDRESS_STALLED_AFTER_S", default_value_t = 900)]
    pub(crate) stalled_after_s: u64,
    /// Die at this point where this question is answered (`after-commit:ship-order:action`) or sent (`before-sending:…`).
    #[arg(long, hide = true, env = "REDRESS_CRASH_AT", requires = "allow_faults")]
    pub(crate) crash_at: Option<CrashAt>,
    /// How long sagas are kept after their end, in days.
    #[arg(long, env = "REDRESS_KEEP_DAYS", default_value_t = 30)]
    pub(crate) keep_days: u64,
    /// Stop when standard input ends.
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// Which services.
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Answer everything with null instead.
    #[arg(long)]
    pub(crate) echo: bool,
    /// Run nothing: say whether these services are running somewhere, by their databases and who listens on NATS.
    #[arg(long, conflicts_with_all = ["echo", "until_stdin_ends"])]
    pub(crate) check: bool,
    /// Obey injected failures; a crash ends the process.
    #[arg(long, env = "REDRESS_ALLOW_FAULTS", value_parser = BoolishValueParser::new())]
    pub(crate) allow_faults: bool,
    /// Stop when standard input ends.
    #[arg(long)]
    pub(crate) until_stdin_ends: bool,
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
}

/// Where the API is.
#[derive(Clone, Debug, Args)]
pub(crate) struct ApiArgs {
    /// Where the API is.
    #[arg(long, env = "REDRESS_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// Secret that the API asks for.
    #[arg(long, env = "REDRESS_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The definition's name.
    pub(crate) saga: String,
    /// The input: JSON, @file, or - for standard input.
    #[arg(long)]
    pub(crate) input: String,
    /// The same key is the same saga; made up if not given.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Version of the definition; the newest one if not given.
    #[arg(long)]
    pub(crate) version: Option<u32>,
    /// A failure of this saga, as JSON; may be given several times.
    #[arg(long)]
    pub(crate) fault: Vec<String>,
    /// A label, as name:value; may be given several times.
    #[arg(long)]
    pub(crate) tag: Vec<String>,
    /// Wait until it has ended, and say so with the exit code.
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this status.
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only of this definition.
    #[arg(long)]
    pub(crate) saga: Option<String>,
    /// Only with this text in the id or the input.
    #[arg(long, short)]
    pub(crate) query: Option<String>,
    /// Only with this label, as name:value.
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Only started at or after this time, as 2026-11-23T10:00:00Z.
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Only started before this time.
    #[arg(long)]
    pub(crate) until: Option<String>,
    /// Only those that go on by themselves, but for longer than they should.
    #[arg(long)]
    pub(crate) stalled: bool,
    /// Where the page before ended.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The saga.
    pub(crate) id: SagaId,
    /// Show what happened, attempt by attempt, too.
    #[arg(long)]
    pub(crate) history: bool,
    /// Show what is still to be done, and what would be undone now, too.
    #[arg(long)]
    pub(crate) plan: bool,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The saga.
    pub(crate) id: SagaId,
    /// How long to wait, in seconds.
    #[arg(long, default_value_t = 300)]
    pub(crate) timeout_s: u64,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FaultArgs {
    #[command(subcommand)]
    pub(crate) verb: FaultVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FaultVerb {
    /// Add one.
    Add(FaultAddArgs),
    /// List them.
    List(ApiArgs),
    /// Take all away.
    Clear(ApiArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FaultAddArgs {
    /// Only this saga definition.
    #[arg(long)]
    pub(crate) saga: Option<String>,
    /// Only this service.
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Only this step.
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Only this command.
    #[arg(long)]
    pub(crate) command: Option<String>,
    /// action, compensation or settlement.
    #[arg(long, default_value = "action")]
    pub(crate) phase: String,
    /// reject, fail, delay, drop-command, drop-reply, delay-reply, duplicate, crash-before-commit, crash-after-commit or
    /// crash-after-reply.
    #[arg(long)]
    pub(crate) kind: String,
    /// Code of a rejection.
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Length of a delay, in milliseconds.
    #[arg(long)]
    pub(crate) ms: Option<u64>,
    /// How often; once if not given.
    #[arg(long)]
    pub(crate) times: Option<u32>,
    /// How likely each time, from 0 to 1.
    #[arg(long)]
    pub(crate) probability: Option<f64>,
    /// Makes the chance repeatable.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DefinitionsArgs {
    /// Print the diagram of this one (mermaid).
    #[arg(long)]
    pub(crate) diagram: Option<String>,
    /// Ask a coordinator how many sagas of each version are open, and which versions nobody needs any more.
    #[arg(long)]
    pub(crate) live: bool,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// Who answers the commands of a bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Participants {
    /// Trivial handlers behind a real inbox; four steps.
    Echo,
    /// The services of this program.
    Real,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Who answers the commands.
    #[arg(long, value_enum, default_value_t = Participants::Echo)]
    pub(crate) participants: Participants,
    /// How many sagas for each concurrency.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) sagas: u64,
    /// How many are in flight at once; several, separated by commas, are run one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    pub(crate) concurrency: Vec<usize>,
    /// What part of them is rejected at shipping.
    #[arg(long, default_value_t = 0.1)]
    pub(crate) fail_rate: f64,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_is_the_demo() {
        let Command::Demo(demo) = Cli::parse_from(["redress"]).command.unwrap_or_default() else {
            panic!("another command")
        };
        assert!(!demo.exit);
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for arguments in [
            &["redress", "show", "seven"][..],
            &["redress", "start", "place-order"],
            &["redress", "--output", "xml", "list"],
            &["redress", "up", "--http", "everywhere"],
            &["redress", "bench", "--concurrency", "1,many"],
            &["redress", "fault", "add", "--step", "ship"],
            &["redress", "explode"],
        ] {
            let error =
                Cli::try_parse_from(arguments).err().unwrap_or_else(|| panic!("taken: {arguments:?}"));
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
        }
    }

    #[test]
    fn the_help_begins_with_examples() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.starts_with("Examples:"), "{help}");
        assert!(!help.contains("  service"), "the role for processes of our own is hidden");
    }

    /// Whatever says how a program is set up can be said by the environment too; what a command is about cannot.
    #[test]
    fn each_setting_has_a_variable() {
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
}
