//! The user's program.

use std::process::ExitCode;

use redress_core::SagaDefinition;
use redress_participant::Service;
use serde_json::Value;

use crate::args::{Cli, Command};
use crate::commands;
use crate::failure::{Exit, Failure};

/// A program with all commands, for these definitions.
pub fn app(definitions: impl IntoIterator<Item = SagaDefinition>) -> App {
    App { definitions: definitions.into_iter().collect(), services: Vec::new(), demo: Vec::new() }
}

/// The short form of [`app`], without services.
pub fn main(definitions: impl IntoIterator<Item = SagaDefinition>) -> ExitCode {
    app(definitions).main()
}

/// The user's program: definitions, and perhaps services and a demo.
#[derive(Clone)]
pub struct App {
    pub(crate) definitions: Vec<SagaDefinition>,
    pub(crate) services: Vec<Service>,
    pub(crate) demo: Vec<DemoStart>,
}

/// A saga that `redress demo` plays.
#[derive(Clone, Debug)]
pub struct DemoStart {
    /// What is shown, in a few words.
    pub title: &'static str,
    /// The definition.
    pub saga: &'static str,
    /// The input.
    pub input: Value,
    /// How it must end: the status, and the code of the cause if it turns back.
    pub expect: (&'static str, Option<&'static str>),
    /// The steps that must be undone, in this order, the last one that was done first.
    pub undone: &'static [&'static str],
}

impl App {
    /// Services that `demo`, `up` and `bench` run.
    #[must_use]
    pub fn services(mut self, services: impl IntoIterator<Item = Service>) -> Self {
        self.services.extend(services);
        self
    }

    /// Sagas that `demo` plays, and that `bench --participants real` runs: the first one, and the last one as the
    /// one that fails.
    #[must_use]
    pub fn demo(mut self, demo: impl IntoIterator<Item = DemoStart>) -> Self {
        self.demo.extend(demo);
        self
    }

    /// Reads the command line and does what it says.
    pub fn main(self) -> ExitCode {
        let cli = match Cli::read(std::env::args_os()) {
            Ok(cli) => cli,
            Err(error) => error.exit(),
        };
        log();
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return Failure::from(anyhow::Error::from(error)).report(),
        };
        let result = runtime.block_on(self.run(cli));
        // Whatever still lingers (a reader of standard input) must not keep the program.
        runtime.shutdown_background();
        match result {
            Ok(exit) => exit.code(),
            Err(failure) => failure.report(),
        }
    }

    async fn run(self, cli: Cli) -> Result<Exit, Failure> {
        let output = cli.output;
        match cli.command.unwrap_or_default() {
            Command::Demo(args) => commands::demo::run(self, args, output).await,
            Command::Up(args) => commands::up::up(self, args).await,
            Command::Serve(args) => commands::up::serve(self, args).await,
            Command::Service(args) => commands::service::run(self, args, output).await,
            Command::Start(args) => commands::start::run(args, output).await,
            Command::List(args) => commands::list::run(args, output).await,
            Command::Show(args) => commands::show::run(args, output).await,
            Command::Watch(args) => commands::watch::run(args, output).await,
            Command::Cancel(args) => commands::order::cancel(args, output).await,
            Command::Retry(args) => commands::order::retry(args, output).await,
            Command::Resolve(args) => commands::order::resolve(args, output).await,
            Command::Close(args) => commands::order::plain("close", args, output).await,
            Command::Pause(args) => commands::order::plain("pause", args, output).await,
            Command::Resume(args) => commands::order::plain("resume", args, output).await,
            Command::Begin(args) => commands::begin::run(args, output).await,
            Command::Fault(args) => commands::fault::run(args, output).await,
            Command::Definitions(args) => commands::definitions::run(self, args, output).await,
            Command::Bench(args) => crate::bench::run(self, args, output).await,
            Command::Migrate(args) => commands::migrate::run(self, args, output).await,
            Command::Doctor(args) => commands::doctor::run(args, output).await,
        }
    }
}

/// Messages go to standard error; `REDRESS_LOG` says how many.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("REDRESS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error,sqlx=off,sqlx_core=off"));
    // A second call, as in a test, changes nothing.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
