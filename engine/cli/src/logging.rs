//! Writes the messages of the engine to standard error.
//!
//! `--log` (`REDRESS_LOG`, and `RUST_LOG` as in other programs) selects them, `--log-format` sets their form. By
//! default, warnings are written, and the actions of the engine as well if the command runs servers only. In both
//! formats the values from outside are legible: characters that a terminal would obey are written by their number.

use std::io::{self, IsTerminal as _, Write};

use tracing::Dispatch;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args::LogFormat;
use crate::command_line::{Cli, Command};
use crate::failure::Failure;
use crate::legible;

/// The default filter. The engine reports in its own words what sqlx would warn of.
const DEFAULT: &str = "warn,sqlx=error";
/// The default for servers: the operator looks for their actions in the log.
const DEFAULT_OF_SERVERS: &str = "warn,sqlx=error,redress=info";

/// Begins to write messages as the command line says.
pub(crate) fn begin(cli: &Cli) -> Result<(), Failure> {
    let filter = filter(cli, std::env::var("RUST_LOG").ok())?;
    let written = match cli.log_format {
        LogFormat::Text => text(filter, io::stderr, is_coloured()),
        LogFormat::Json => json(filter, io::stderr),
    };
    // A second call, as in a test, changes nothing.
    let _ = written.try_init();
    Ok(())
}

fn text<W>(filter: EnvFilter, writer: W, is_coloured: bool) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The fields are all that comes from others.
    let fields = debug_fn(|out: &mut Writer<'_>, field: &Field, value| {
        let value = format!("{value:?}");
        match field.name() {
            "message" => write!(out, "{}", legible::legible(&value)),
            // The origin of a message of another kind of logger is told already.
            name if name.starts_with("log.") => Ok(()),
            name => write!(out, " {name}={}", legible::legible(&value)),
        }
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_coloured);
    builder.fmt_fields(fields).with_writer(writer).finish().into()
}

fn json<W>(filter: EnvFilter, writer: W) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().json().with_env_filter(filter).with_ansi(false);
    builder.with_writer(Legible(writer)).finish().into()
}

/// The filter of the command line, or else that of `RUST_LOG`, or else the one that fits the command.
fn filter(cli: &Cli, rust_log: Option<String>) -> Result<EnvFilter, Failure> {
    let is_said = |text: &String| !text.trim().is_empty();
    let (name, text) = match (cli.log.clone().filter(is_said), rust_log.filter(is_said)) {
        (Some(text), _) => ("--log / REDRESS_LOG", text),
        (None, Some(text)) => ("RUST_LOG", text),
        (None, None) => return Ok(EnvFilter::new(default_for(cli))),
    };
    EnvFilter::builder().parse(&text).map_err(|error| {
        Failure::usage(format!("{name}: `{}` is no filter of messages ({error})", legible::legible(&text)))
            .remedy("a level (off, error, warn, info, debug or trace), or a list such as warn,redress=debug")
    })
}

fn default_for(cli: &Cli) -> &'static str {
    match &cli.command {
        Some(Command::Up(_) | Command::Serve(_)) => DEFAULT_OF_SERVERS,
        Some(Command::Service(args)) if !args.check => DEFAULT_OF_SERVERS,
        _ => DEFAULT,
    }
}

/// Colour is for terminals, and for users who want it (<https://no-color.org>).
fn is_coloured() -> bool {
    io::stderr().is_terminal() && crate::render::wants_colour()
}

/// A writer of JSON lines in which nothing is left that a terminal would obey.
struct Legible<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Legible<W> {
    type Writer = Legible<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Legible(self.0.make_writer())
    }
}

impl<W: Write> Write for Legible<W> {
    /// An event comes whole, as one line.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(legible::json(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::legible::{all_hidden, is_hidden};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The output of one warning that is full of text from outside.
    fn written(begin: impl FnOnce(EnvFilter, Box<dyn Fn() -> Paper + Send + Sync>) -> Dispatch) -> String {
        let paper = Paper::default();
        let of_test = paper.clone();
        let dispatch = begin(EnvFilter::new("warn"), Box::new(move || of_test.clone()));
        let hostile = all_hidden();
        tracing::dispatcher::with_default(&dispatch, || {
            let _within = tracing::warn_span!("handling", key = %hostile).entered();
            tracing::warn!(error = %hostile, step = hostile, cause = ?hostile, "said {hostile}");
        });
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_message_is_one_line_without_control_characters() {
        let line = written(|filter, paper| text(filter, paper, false));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let hidden: Vec<char> = line.trim_end_matches('\n').chars().filter(|c| is_hidden(*c)).collect();
        assert!(hidden.is_empty(), "{hidden:?}: {line}");
        for said in ["WARN", "handling", "error=", "step=", "cause=", "said ", r"\u{202e}", r"\u{9b}"] {
            assert!(line.contains(said), "{said}: {line}");
        }
        // In colour, the only escapes are those of the colours.
        let coloured = written(|filter, paper| text(filter, paper, true));
        assert!(coloured.contains("\x1b[33m"), "{coloured}");
        assert_eq!(coloured, legible::lines(&coloured));
    }

    #[test]
    fn json_message_is_one_object_with_escapes() {
        let line = written(json);
        assert!(!line.trim_end_matches('\n').chars().any(is_hidden), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["level"], &value["fields"]["error"]), (&"WARN".into(), &all_hidden().into()));
    }

    fn read(words: &[&str]) -> Cli {
        Cli::read(["redress"].iter().chain(words)).unwrap()
    }

    #[test]
    fn log_filter_shows_warnings_unless_flag_or_variable_says_otherwise() {
        let told = |words: &[&str], rust_log: Option<&str>| {
            filter(&read(words), rust_log.map(str::to_owned)).unwrap().to_string()
        };
        assert!(told(&["list"], None).contains("warn"));
        assert!(told(&["serve"], None).contains("redress=info"));
        assert!(told(&["serve"], Some(" ")).contains("redress=info"));
        assert!(told(&["service", "order"], None).contains("redress=info"));
        assert!(!told(&["service", "order", "--check"], None).contains("redress=info"));
        assert_eq!(told(&["list"], Some("trace")), "trace");
        assert_eq!(told(&["--log", "off", "list"], Some("trace")), "off");
        assert_eq!(told(&["list", "--log", "error"], None), "error");
    }

    #[test]
    fn invalid_log_filter_is_usage_error_that_names_its_source() {
        for (words, rust_log, name) in [
            (&["--log", "redress=loud", "list"][..], None, "--log"),
            (&["list"][..], Some("redress=loud"), "RUST_LOG"),
        ] {
            let failure = filter(&read(words), rust_log.map(str::to_owned)).unwrap_err();
            let told = failure.error().to_string();
            assert!(told.contains(name) && told.contains("`redress=loud` is no filter"), "{told}");
        }
    }
}
