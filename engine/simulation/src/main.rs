//! `redress-simulation simulate --seeds 3000`

#![expect(clippy::print_stdout, reason = "a program talks to its user")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::{Parser, Subcommand};
use redress_simulation::simulator::{Mutation, Violation, simulate, simulate_orders, simulate_unremembered};

/// Proofs from the command line.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play whole installations, one for each seed; the first violation ends it with exit code 1.
    Simulate {
        /// How many seeds.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// The first one: a violation names its seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// A planted bug, such as `skip-the-fence`, to see that it is found.
        #[arg(long, value_parser = mutation)]
        mutation: Option<Mutation>,
    },
}

fn mutation(name: &str) -> Result<Mutation, String> {
    let names: Vec<&str> = Mutation::ALL.iter().map(|mutation| mutation.as_str()).collect();
    let found = Mutation::ALL.iter().find(|mutation| mutation.as_str() == name);
    found.copied().ok_or_else(|| format!("there are {}", names.join(", ")))
}

fn main() -> ExitCode {
    let Command::Simulate { seeds, from, mutation } = Cli::parse().command;
    let began = Instant::now();
    match play(from, seeds, mutation) {
        None => {
            println!("{seeds} seeds from {from}, no violation, {:.1} s", began.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("{violation}\n{}", violation.history.join("\n"));
            println!("again: simulate --seeds 1 --from {}", violation.seed);
            ExitCode::FAILURE
        }
    }
}

/// Plays the seeds on all cores; gives the violation of the lowest seed that was found.
fn play(from: u64, seeds: u64, mutation: Option<Mutation>) -> Option<Violation> {
    let next = AtomicU64::new(from);
    let end = AtomicU64::new(from.saturating_add(seeds));
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let found = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= end.load(Ordering::Relaxed) {
                            return None;
                        }
                        // Every eighth seed is played with steps that nobody remembers as well, every other eighth with
                        // steps that are ordered by a key.
                        let apart = || match (seed % 8, mutation) {
                            (0, None) => simulate_unremembered(seed, None).map(drop),
                            (4, None) => simulate_orders(seed, None).map(drop),
                            (_, _) => Ok(()),
                        };
                        if let Err(violation) = simulate(seed, mutation).and_then(|_| apart()) {
                            end.fetch_min(seed, Ordering::Relaxed);
                            return Some(violation);
                        }
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().expect("a panic in a seed is a violation"))
            .collect::<Vec<_>>()
    });
    found.into_iter().min_by_key(|violation| violation.seed)
}
