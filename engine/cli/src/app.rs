//! Runs the user's program: reads the command line and calls the command.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use redress_core::SagaDefinition;
use redress_core::decide::Verb;

use crate::anew;
use crate::command_line::{Cli, Command};
use crate::commands;
use crate::failure::{Exit, Failure};
use crate::logging;
use crate::program::{App, app};
use crate::{legible, render};

/// The short form of [`app`], without services.
pub fn main(definitions: impl IntoIterator<Item = SagaDefinition>) -> ExitCode {
    app(definitions).main()
}

impl App {
    /// Reads the command line and does what it says.
    pub fn main(self) -> ExitCode {
        let mut cli = match Cli::read(std::env::args_os()) {
            Ok(cli) => cli,
            Err(error) => return refused(&error),
        };
        // Without a command the program runs the demo, as the environment sets it up.
        cli.command.get_or_insert_default();
        if let Err(failure) = logging::begin(&cli) {
            return failure.report();
        }
        if let Err(failure) = anew::without_options(&cli) {
            return failure.report();
        }
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return Failure::from(anyhow::Error::from(error)).report(),
        };
        let result = runtime.block_on(self.run(cli));
        // A thread that still lingers (a reader of standard input) must not keep the program.
        runtime.shutdown_background();
        match result {
            Ok(exit) => exit.code(),
            Err(failure) => failure.report(),
        }
    }

    pub(crate) async fn run(self, cli: Cli) -> Result<Exit, Failure> {
        let (output, command) = (cli.output, cli.command.unwrap_or_default());
        if moves_sagas(&command) {
            self.check_wiring().map_err(|error| Failure::new(78, error))?;
        }
        match command {
            Command::Demo(args) => commands::demo::run(self, args, output).await,
            Command::Up(args) => commands::up::up(self, args).await,
            Command::Serve(args) => commands::up::serve(self, args).await,
            Command::Service(args) => commands::service::run(self, args, output).await,
            Command::New(args) => commands::new::run(&args, output),
            Command::Start(args) => commands::start::run(args, output).await,
            Command::List(args) => commands::list::run(args, output).await,
            Command::Show(args) => commands::show::run(args, output).await,
            Command::Watch(args) => commands::watch::run(args, output).await,
            Command::Cancel(args) => commands::operator::cancel(args, output).await,
            Command::Retry(args) => commands::operator::retry(args, output).await,
            Command::Answer(args) => commands::operator::answer(args, output).await,
            Command::Event(args) => commands::event::run(args, output).await,
            Command::Resolve(args) => commands::operator::resolve(args, output).await,
            Command::Close(args) => commands::operator::on_what_is_seen(Verb::Close, &args, output).await,
            Command::Pause(args) => commands::operator::on_what_is_seen(Verb::Pause, &args, output).await,
            Command::Resume(args) => commands::operator::on_what_is_seen(Verb::Resume, &args, output).await,
            Command::Begin(args) => commands::begin::run(args, output).await,
            Command::DeadLetters(args) => commands::dead_letters::run(args, output).await,
            Command::Fault(args) => commands::fault::run(args, output).await,
            Command::Chaos(args) => commands::chaos::run(args, output).await,
            Command::Definitions(args) => commands::definitions::run(self, args, output).await,
            Command::Bench(args) => crate::bench::run(self, args, output).await,
            Command::Lab(args) => crate::lab::run(args, output).await,
            Command::Migrate(args) => commands::migrate::run(self, args, output).await,
            Command::Doctor(args) => commands::doctor::run(args, output).await,
            Command::Completions(args) => commands::completions::run(&args, Cli::command()),
            Command::Man(args) => commands::man::run(&args, Cli::command(), output),
        }
    }
}

/// Returns true if sagas, or their commands, are carried out by this program: then all must be wired.
const fn moves_sagas(command: &Command) -> bool {
    matches!(command, Command::Demo(_) | Command::Up(_) | Command::Serve(_) | Command::Service(_))
}

/// The message of clap about a command line, or its answer to `--help`. It repeats the typed text, which may have been
/// pasted.
fn refused(error: &clap::Error) -> ExitCode {
    let said = error.render();
    let text = |is_terminal: bool| match is_terminal && render::wants_colour() {
        true => said.ansi().to_string(),
        false => said.to_string(),
    };
    match error.use_stderr() {
        true => eprintln!("{}", legible::lines(text(std::io::stderr().is_terminal()).trim_end())),
        false => render::emit(&text(std::io::stdout().is_terminal())),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
