//! The arguments of the lab, and the experiment that they describe.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use redress_devstack::NatsFaults;

use crate::failure::Failure;

/// The most charges of each guarantee: all of them are kept in memory, message by message.
const CHARGES_MAX: u32 = 10_000;
/// The most charges under way: as many sagas as the coordinator moves without any waiting.
const CONCURRENCY_MAX: usize = 1_000;
/// The highest rate of loss and of duplication. At one half, one charge in four gets through at each attempt.
const RATE_MAX: f64 = 0.5;
/// The longest latency, in milliseconds: a charge takes some round trips, and each attempt a multiple of them.
const LATENCY_MS_MAX: u64 = 1_000;

#[derive(Clone, Debug, Parser)]
pub(crate) struct LabArgs {
    /// How many charges of 1.00, for each guarantee.
    #[arg(long, default_value_t = 100)]
    pub(crate) charges: u32,
    /// Part of the messages between services and broker that is lost, from 0 to 0.5.
    #[arg(long, default_value_t = 0.1)]
    pub(crate) loss: f64,
    /// Part of the messages that comes twice, of those that may be sent again, from 0 to 0.5.
    #[arg(long, default_value_t = 0.05)]
    pub(crate) duplication: f64,
    /// How long a message between services and broker is under way, in milliseconds.
    #[arg(long, default_value_t = 50)]
    pub(crate) latency_ms: u64,
    /// How many charges are under way at once.
    #[arg(long, default_value_t = 20)]
    pub(crate) concurrency: usize,
    /// The same seed loses and doubles the same messages.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Also draw the results into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    pub(crate) chart: Option<PathBuf>,
}

/// One experiment: the same charges and the same network for each guarantee.
#[derive(Clone, Copy, Debug)]
pub(super) struct Experiment {
    pub(super) charges: u32,
    pub(super) concurrency: usize,
    pub(super) faults: NatsFaults,
}

impl LabArgs {
    /// The experiment.
    ///
    /// # Errors
    /// [`Failure`], as a usage error, if it would not end or could not be written down.
    pub(super) fn experiment(&self) -> Result<Experiment, Failure> {
        let Self { charges, loss, duplication, latency_ms, concurrency, seed, chart } = self;
        if !(1..=CHARGES_MAX).contains(charges) {
            let cause = format!("the lab makes 1 to {CHARGES_MAX} charges for each guarantee");
            return Err(refused(format!("--charges is {charges}"), cause, "--charges 100"));
        }
        if !(1..=CONCURRENCY_MAX).contains(concurrency) {
            let cause = format!("1 to {CONCURRENCY_MAX} charges are under way at once");
            return Err(refused(format!("--concurrency is {concurrency}"), cause, "--concurrency 20"));
        }
        for (flag, rate) in [("--loss", loss), ("--duplication", duplication)] {
            if !(0.0..=RATE_MAX).contains(rate) {
                let cause = format!("it is a part of the messages, from 0 to {RATE_MAX}: 0.1 is one in ten");
                return Err(refused(format!("{flag} is {rate}"), cause, format!("{flag} 0.1")));
            }
        }
        if *latency_ms > LATENCY_MS_MAX {
            let cause = format!("a charge takes some round trips: {LATENCY_MS_MAX} ms are the most");
            return Err(refused(format!("--latency-ms is {latency_ms}"), cause, "--latency-ms 50"));
        }
        if let Some(chart) = chart {
            check_chart(chart)?;
        }
        let latency = Duration::from_millis(*latency_ms);
        let faults = NatsFaults { seed: *seed, loss: *loss, duplication: *duplication, latency };
        Ok(Experiment { charges: *charges, concurrency: *concurrency, faults })
    }
}

/// A chart that cannot be written is refused before the experiment, which takes a while.
fn check_chart(chart: &Path) -> Result<(), Failure> {
    let folder = match chart.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => chart,
    };
    let cause = if chart.is_dir() {
        "it is a folder".to_owned()
    } else if folder.is_dir() {
        return Ok(());
    } else {
        format!("there is no folder {}", folder.display())
    };
    let message = format!("the chart cannot be written to {}", chart.display());
    Err(refused(message, cause, "a file in a folder that exists, as in --chart lab.svg"))
}

fn refused(message: String, cause: String, remedy: impl Into<String>) -> Failure {
    Failure::new(2, anyhow::Error::msg(cause).context(message)).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> Option<String> {
        let args = LabArgs::parse_from(["lab"].into_iter().chain(line.split_whitespace()));
        args.experiment().err().map(|failure| format!("{:#}", failure.error()))
    }

    #[test]
    fn experiment_that_would_not_end_is_refused_with_its_cause() {
        for line in ["", "--loss 0 --duplication 0", "--loss 0.5 --latency-ms 0 --charges 1 --concurrency 1"]
        {
            assert_eq!(refusal(line), None, "{line}");
        }
        let refusals = [
            "--charges 0",
            "--charges 10001",
            "--concurrency 0",
            "--loss 0.6",
            "--loss NaN",
            "--duplication 1.5",
            "--latency-ms 1001",
            "--chart /nowhere/lab.svg",
            "--chart /",
        ];
        let told = refusals.map(|line| refusal(line).unwrap_or_else(|| panic!("taken: {line}")));
        insta::assert_snapshot!(told.join("\n"), @"
        --charges is 0: the lab makes 1 to 10000 charges for each guarantee
        --charges is 10001: the lab makes 1 to 10000 charges for each guarantee
        --concurrency is 0: 1 to 1000 charges are under way at once
        --loss is 0.6: it is a part of the messages, from 0 to 0.5: 0.1 is one in ten
        --loss is NaN: it is a part of the messages, from 0 to 0.5: 0.1 is one in ten
        --duplication is 1.5: it is a part of the messages, from 0 to 0.5: 0.1 is one in ten
        --latency-ms is 1001: a charge takes some round trips: 1000 ms are the most
        the chart cannot be written to /nowhere/lab.svg: there is no folder /nowhere
        the chart cannot be written to /: it is a folder
        ");
    }
}
