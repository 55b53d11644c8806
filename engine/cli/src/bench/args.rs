//! The arguments of the bench.

use clap::{Parser, ValueEnum};

use super::pace::Pace;

/// The most sagas of one run: more than any machine of today ends in a week.
const SAGAS_MAX: u64 = 1_000_000_000;
/// The lowest rate of an open loop, in sagas per second: one in 100 s is less often than the bench waits for an end.
const RATE_MIN: f64 = 0.01;
/// The highest one: ten times what the engine's skeleton does, and as often as a thread can be woken.
const RATE_MAX: f64 = 100_000.0;
/// The most sagas that are made before the measurement: they take some 6 KB each, 600 GB together.
const PRELOAD_MAX: u64 = 100_000_000;

/// The participants that answer the commands of a bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Participants {
    /// Trivial handlers behind a real inbox; four steps.
    Echo,
    /// The services of this program.
    Real,
}

/// The way by which the sagas of a bench are started and their ends are learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// `POST /v1/sagas?wait=` on kept connections, as users start them.
    Http,
    /// Calls within the coordinator's process, without the API.
    Engine,
}

#[derive(Debug, Parser)]
pub(crate) struct BenchArgs {
    /// The participants that answer the commands.
    #[arg(long, value_enum, default_value_t = Participants::Echo)]
    pub(crate) participants: Participants,
    /// The way by which sagas are started and waited for.
    #[arg(long, value_enum, default_value_t = Via::Http, env = "REDRESS_BENCH_VIA")]
    pub(crate) via: Via,
    /// How many sagas for each concurrency.
    #[arg(long, default_value_t = 20_000, value_parser = sagas)]
    pub(crate) sagas: u64,
    /// How many are in flight at once, with --rate at the most; several, separated by commas, are run one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1000", value_parser = concurrency)]
    pub(crate) concurrency: Vec<usize>,
    /// Start so many sagas per second, whatever becomes of them (an open loop); without it, one for each that ends.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Part of the sagas that is rejected at shipping.
    #[arg(long, default_value_t = 0.1, value_parser = fail_rate)]
    pub(crate) fail_rate: f64,
    /// Put so many ended sagas with their history into the journal first.
    #[arg(long, value_name = "SAGAS", default_value_t = 0, value_parser = preload)]
    pub(crate) preload: u64,
}

impl BenchArgs {
    /// The pace that the arguments ask for.
    pub(super) fn pace(&self) -> Pace {
        self.rate.map_or(Pace::Closed, |rate| Pace::Open { rate })
    }
}

impl Via {
    /// The word of the report.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Engine => "engine",
        }
    }
}

fn sagas(text: &str) -> Result<u64, String> {
    let remedy = format!("a run has 1 to {SAGAS_MAX} sagas; try --sagas 20000");
    text.parse().ok().filter(|sagas| (1..=SAGAS_MAX).contains(sagas)).ok_or(remedy)
}

fn concurrency(text: &str) -> Result<usize, String> {
    let remedy = "at least 1 saga is in flight; try --concurrency 1,1000";
    text.parse().ok().filter(|&concurrency| concurrency > 0).ok_or_else(|| remedy.to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let remedy = format!("{RATE_MIN} to {RATE_MAX} sagas are started per second; try --rate 500");
    text.parse().ok().filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate)).ok_or(remedy)
}

fn fail_rate(text: &str) -> Result<f64, String> {
    let remedy = "it is a part of the sagas, from 0 to 1; try --fail-rate 0.1, which is one in ten";
    text.parse().ok().filter(|part| (0.0..=1.0).contains(part)).ok_or_else(|| remedy.to_owned())
}

fn preload(text: &str) -> Result<u64, String> {
    let remedy = format!("0 to {PRELOAD_MAX} sagas are made, of some 6 KB each; try --preload 1000000");
    text.parse().ok().filter(|sagas| *sagas <= PRELOAD_MAX).ok_or(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<BenchArgs, clap::Error> {
        BenchArgs::try_parse_from(["bench"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn bench_measures_over_http_in_a_closed_loop_by_default() {
        let args = read("").unwrap();
        assert_eq!((args.via, args.pace(), args.preload), (Via::Http, Pace::Closed, 0));
        let args = read("--via engine --rate 500 --concurrency 1,1000 --preload 1000").unwrap();
        assert_eq!((args.via, args.pace(), args.preload), (Via::Engine, Pace::Open { rate: 500.0 }, 1_000));
        assert_eq!(args.concurrency, [1, 1_000]);
    }

    #[test]
    fn arguments_out_of_range_are_refused_with_a_remedy() {
        let lines = [
            "--sagas 0",
            "--concurrency 10,0",
            "--rate 0",
            "--rate NaN",
            "--rate 1e9",
            "--rate fast",
            "--fail-rate 1.5",
            "--preload -1",
            "--preload 100000001",
            "--via tcp",
        ];
        let told = lines.map(|line| {
            let (flag, value) = line.split_once(' ').unwrap();
            let error = read(&format!("{flag}={value}")).err().unwrap_or_else(|| panic!("taken: {line}"));
            assert_eq!(error.exit_code(), 2, "{line}");
            error.to_string().lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
        });
        insta::assert_snapshot!(told.join("\n"), @"
        error: invalid value '0' for '--sagas <SAGAS>': a run has 1 to 1000000000 sagas; try --sagas 20000
        error: invalid value '0' for '--concurrency <CONCURRENCY>': at least 1 saga is in flight; try --concurrency 1,1000
        error: invalid value '0' for '--rate <PER_SECOND>': 0.01 to 100000 sagas are started per second; try --rate 500
        error: invalid value 'NaN' for '--rate <PER_SECOND>': 0.01 to 100000 sagas are started per second; try --rate 500
        error: invalid value '1e9' for '--rate <PER_SECOND>': 0.01 to 100000 sagas are started per second; try --rate 500
        error: invalid value 'fast' for '--rate <PER_SECOND>': 0.01 to 100000 sagas are started per second; try --rate 500
        error: invalid value '1.5' for '--fail-rate <FAIL_RATE>': it is a part of the sagas, from 0 to 1; try --fail-rate 0.1, which is one in ten
        error: invalid value '-1' for '--preload <SAGAS>': 0 to 100000000 sagas are made, of some 6 KB each; try --preload 1000000
        error: invalid value '100000001' for '--preload <SAGAS>': 0 to 100000000 sagas are made, of some 6 KB each; try --preload 1000000
        error: invalid value 'tcp' for '--via <VIA>'
          [possible values: http, engine]
        ");
    }
}
