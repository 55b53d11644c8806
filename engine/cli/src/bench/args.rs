//! The arguments of the bench.

use clap::{Parser, ValueEnum};

/// The participants that answer the commands of a bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Participants {
    /// Trivial handlers behind a real inbox; four steps.
    Echo,
    /// The services of this program.
    Real,
}

#[derive(Debug, Parser)]
pub(crate) struct BenchArgs {
    /// The participants that answer the commands.
    #[arg(long, value_enum, default_value_t = Participants::Echo)]
    pub(crate) participants: Participants,
    /// How many sagas for each concurrency.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) sagas: u64,
    /// How many are in flight at once; several, separated by commas, are run one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    pub(crate) concurrency: Vec<usize>,
    /// Part of the sagas that is rejected at shipping.
    #[arg(long, default_value_t = 0.1)]
    pub(crate) fail_rate: f64,
}
