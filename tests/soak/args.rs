//! Reads the words after `--`: our own, and those that `cargo test` hands to every test binary.

use std::time::Duration;

/// The length of a run without `--minutes`, as a part of `cargo test --workspace`.
const SMOKE: Duration = Duration::from_secs(20);
/// The name of the one test, for the filters of `cargo test`.
const NAME: &str = "the_installation_survives_the_monkey";

/// The request of the command line.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked {
    /// To play.
    Play(Run),
    /// To name the tests.
    List,
    /// Nothing: a filter names other tests.
    Nothing,
}

/// How to play.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// How long disruptions come.
    pub(crate) length: Duration,
    /// The seed of the monkey's actions.
    pub(crate) seed: u64,
    /// Orders per second; measured if not given.
    pub(crate) rate: Option<f64>,
    /// The names of the only kinds of disruptions that come; all if there are none.
    pub(crate) only: Vec<String>,
    /// True if this is no soak but only a check that it would run.
    pub(crate) smoke: bool,
}

/// Reads the arguments.
///
/// # Errors
/// The fault of the arguments.
pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut run = Run { length: SMOKE, seed: fastrand::u64(..), rate: None, only: Vec::new(), smoke: true };
    let (mut filters, mut list) = (Vec::new(), false);
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let mut value = || inline.clone().or_else(|| arguments.next()).unwrap_or_default();
        match name.as_str() {
            "--minutes" => {
                run.length = Duration::from_secs_f64(60.0 * positive(&name, &value())?);
                run.smoke = false;
            }
            "--seconds" => run.length = Duration::from_secs_f64(positive(&name, &value())?),
            "--rate" => run.rate = Some(positive(&name, &value())?),
            "--seed" => {
                run.seed = value().parse().map_err(|_| "--seed takes a whole number".to_owned())?;
            }
            "--only" => run.only = value().split(',').map(str::to_owned).collect(),
            "--list" => list = true,
            // The options of the test harness that take a value.
            "--test-threads" | "--skip" | "--format" | "--color" | "--logfile" | "-Z" => {
                value();
            }
            other if other.starts_with('-') => {}
            filter => filters.push(filter.to_owned()),
        }
    }
    let is_meant = filters.is_empty() || filters.iter().any(|filter| NAME.contains(filter.as_str()));
    Ok(match (list, is_meant) {
        (true, _) => Asked::List,
        (false, true) => Asked::Play(run),
        (false, false) => Asked::Nothing,
    })
}

fn positive(name: &str, value: &str) -> Result<f64, String> {
    let number = value.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("{name} takes a number above zero, not `{value}`"))
}

/// The line of `--list`.
pub(crate) fn listed() -> String {
    format!("{NAME}: test\n\n1 test, 0 benchmarks")
}

/// The last line of a run, as the test harness prints it.
pub(crate) fn summary(passed: u32, failed: u32, filtered: u32) -> String {
    let word = if failed == 0 { "ok" } else { "FAILED" };
    format!(
        "test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {filtered} filtered out"
    )
}
