//! The soak: a whole installation on real servers, with orders at half of its top rate, while a seeded monkey plays
//! every disruption that ever hurt it. In the end every order has ended as it must, the books agree, and memory,
//! descriptors, dead letters and streams are back at their level.
//!
//! ```text
//! cargo test -p redress-sagas --release --test soak -- --minutes 30 --seed 7
//! ```
//!
//! Without `--minutes` it plays some twenty seconds; `cargo test --workspace` leaves it out. `--rate` sets the orders per
//! second instead of measuring them, `--only RestartBroker,KillService` leaves out all other disruptions. The same seed
//! plays the same disruptions at the same moments; their effect differs from run to run.
//!
//! | file | task |
//! |---|---|
//! | `plan` | decides which disruption comes when, from the seed alone |
//! | `yard`, `supervisor` | servers and processes, kept running as an orchestrator would |
//! | `clients` | order, again and again with the same key until they are answered |
//! | `disruptions/` | the monkey, a function for each kind |
//! | `watch`, `level` | memory, descriptors, streams, sessions while it runs, and whether they are back |
//! | `book`, `answers` | the facts that must be true in the end, noted while it runs |
//! | `verdict`, `histories`, `letters` | check that they are |

#![expect(clippy::print_stdout, reason = "this program is its own test harness")]

mod answers;
mod args;
mod book;
mod clients;
mod disruptions;
mod histories;
mod leftovers;
mod letters;
mod level;
mod plan;
mod report;
mod supervisor;
#[path = "../support/mod.rs"]
mod support;
mod verdict;
mod watch;
mod yard;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use args::{Asked, Run};
use book::Book;
use clients::Clients;
use futures_util::FutureExt;
use futures_util::future::join_all;
use plan::{Disruption, Kind};
use tokio::time::Instant;
use watch::Watch;
use yard::Yard;

/// How long the top rate is measured, after as long a warm-up.
const CALIBRATION: Duration = Duration::from_secs(8);
/// The same for a smoke.
const CALIBRATION_OF_SMOKE: Duration = Duration::from_secs(2);
/// The part of the top rate at which orders come.
const LOAD: f64 = 0.5;

/// Lets time pass: the length of a disruption, or the pause between two looks.
pub(crate) async fn rest(length: Duration) {
    let _ = tokio::time::timeout(length, std::future::pending::<()>()).await;
}

fn main() -> ExitCode {
    let run = match args::read(std::env::args().skip(1)) {
        Ok(Asked::Play(run)) => run,
        Ok(Asked::List) => {
            println!("{}", args::listed());
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Nothing) => {
            println!("\nrunning 0 tests\n\n{}", args::summary(0, 0, 1));
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("error: {wrong}");
            return ExitCode::from(2);
        }
    };
    println!("\nrunning 1 test\nsoak: seed {}, {} s of disruptions", run.seed, run.length.as_secs());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let book = Arc::new(Book::default());
    // A panic is a violation, too: its message is on the screen already.
    let played = runtime.block_on(AssertUnwindSafe(play(run.clone(), book.clone())).catch_unwind());
    let mut violations = book.notes().violations.clone();
    if played.is_err() {
        violations.push("the soak itself panicked; see above".to_owned());
    }
    // Drops all that still runs: the servers stop with it.
    drop(runtime);
    if violations.is_empty() {
        println!("\n{}", args::summary(1, 0, 0));
        return ExitCode::SUCCESS;
    }
    println!(
        "\nfailed with --seed {} ({} s):\n  {}",
        run.seed,
        run.length.as_secs(),
        violations.join("\n  ")
    );
    println!("\n{}", args::summary(0, 1, 0));
    ExitCode::FAILURE
}

async fn play(run: Run, book: Arc<Book>) {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("a client");
    let yard = Arc::new(Yard::open(&http, &book).await);
    println!("logs of the processes: {}", yard.logs.display());
    let heard = answers::Answers::listen(&yard, book.clone()).await;
    let clients = Arc::new(Clients::new(http, yard, book.clone()));
    let rate = match run.rate {
        Some(rate) => rate,
        None => {
            let length = if run.smoke { CALIBRATION_OF_SMOKE } else { CALIBRATION };
            let top = clients.top_rate(length).await;
            println!("top rate: {top:.0} sagas/s, of which orders are to come at {:.0}/s", top * LOAD);
            (top * LOAD).max(1.0)
        }
    };
    verdict::until_all_ended(&clients).await;
    verdict::until_quiet(&clients).await;
    let begun = Instant::now();
    let watch = Arc::new(Watch::new(clients.clone(), begun));
    let before = watch.looks();
    let watching = tokio::spawn(watch.clone().run());
    let is_left_out = |kind: &Kind| !run.only.is_empty() && !run.only.contains(&format!("{kind:?}"));
    let without: Vec<Kind> = Kind::ALL.into_iter().filter(is_left_out).collect();
    let plan = plan::schedule(run.seed, run.length, &without);
    println!("disruptions by their second: {}", report::plan(&plan));
    storm(&clients, &plan, begun, rate, run.length).await;
    let ends = settle(&clients, &watch, &before).await;
    watching.abort();
    let after = watch.looks();
    println!("the processes are asked to leave");
    verdict::leave(&clients).await;
    let tallies = book.notes().tallies.clone();
    for unproven in report::unproven(&plan, &tallies) {
        book.violation(unproven);
    }
    let evidence = support::check::evidence(&clients.yard.journal).await;
    let levels = report::Levels { before: &before, peaks: &watch.peaks(), after: &after };
    println!("{}", report::tables(&book.notes(), &ends, &evidence, &heard, &levels));
}

/// Orders and disruptions side by side, until both are through.
async fn storm(clients: &Arc<Clients>, plan: &[Disruption], begun: Instant, rate: f64, length: Duration) {
    let ordering = {
        let clients = clients.clone();
        tokio::spawn(async move { clients.order(rate, length).await })
    };
    let playing = plan.iter().map(async |disruption| {
        rest((begun + disruption.at).saturating_duration_since(Instant::now())).await;
        let played = AssertUnwindSafe(disruptions::play(clients.clone(), *disruption)).catch_unwind();
        if played.await.is_err() {
            clients.book.violation(format!("{:?} panicked; see above", disruption.kind));
        }
    });
    join_all(playing).await;
    if let Err(panic) = ordering.await {
        clients.book.violation(format!("the orders panicked: {panic}"));
    }
}

/// Calm, and the audit; gives how many sagas ended how.
async fn settle(
    clients: &Arc<Clients>,
    watch: &Watch,
    before: &level::Looks,
) -> std::collections::BTreeMap<String, u64> {
    println!("calm: all faults end, and what is left is put right");
    verdict::calm(clients).await;
    verdict::throw_once_more(clients).await;
    verdict::until_all_ended(clients).await;
    verdict::until_quiet(clients).await;
    println!("quiet: waiting for memory and descriptors to be back");
    verdict::until_back(clients, watch, before).await;
    println!("audit");
    verdict::audit(clients).await
}
