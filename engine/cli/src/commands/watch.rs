//! `redress watch`, and the waiting of `redress start --wait`
//!
//! A saga is looked at until it rests or the time is over. A coordinator that does not answer for a while ends nothing:
//! the saga goes on without the program that watches it.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use redress_client::{Client, ClientError, SagaId, WaitNews};
use serde_json::Value;
use tokio::time::Instant;

use crate::args::saga_ref::SagaRef;
use crate::args::{ApiArgs, Output};
use crate::client::{brief, connect, find, history};
use crate::failure::{Exit, Failure};
use crate::legible::say;
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The saga: its id, or the first digits of it.
    pub(crate) id: SagaRef,
    /// How long to wait, in seconds.
    #[arg(long, default_value_t = 300)]
    pub(crate) timeout_s: u64,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// How often the display on a terminal moves.
const TICK: Duration = Duration::from_millis(100);

pub(crate) async fn run(args: WatchArgs, output: Output) -> Result<Exit, Failure> {
    let client = connect(&args.api)?;
    let id = find(&client, &args.id).await?;
    let deadline = Instant::now() + Duration::from_secs(args.timeout_s);
    let watching = watch(&client, id, deadline, output);
    or_interrupted(watching, || format!("redress watch {id}: the saga goes on meanwhile")).await
}

/// Shows a saga when it has ended, or is parked, or the time is over.
pub(crate) async fn watch(
    client: &Client,
    id: SagaId,
    deadline: Instant,
    output: Output,
) -> Result<Exit, Failure> {
    let saga = until_it_rests(client, id, deadline).await?;
    let rows = history(client, id).await?;
    render::print(output, &saga, |saga| render::saga(saga, Some(&rows)));
    Ok(Exit::of_status(saga["status"].as_str().unwrap_or_default()))
}

/// Runs a long operation until its end or Ctrl-C; then says how to go on.
pub(crate) async fn or_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
    advice: impl FnOnce() -> String,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        signalled = tokio::signal::ctrl_c() => {
            signalled?;
            Err(Failure::new(130, anyhow::anyhow!("interrupted")).remedy(advice()))
        }
    }
}

/// Reports, once, that an answer has failed to come.
pub(crate) fn tell_silence(error: &ClientError) {
    say(&format!("{}; asking again until the time is over", brief(error)));
}

/// Waits until a saga has ended or is parked, at most until the deadline; shows its progress on a terminal.
async fn until_it_rests(client: &Client, id: SagaId, deadline: Instant) -> Result<Value, Failure> {
    let progress =
        if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    progress.enable_steady_tick(TICK);
    let shown = progress.clone();
    let rested = client.wait(id).as_json().until(deadline).news(move |news| match news {
        WaitNews::Silence(error) => shown.suspend(|| tell_silence(error)),
        WaitNews::Look(saga) => shown.set_message(place(saga)),
    });
    let rested = rested.await;
    progress.finish_and_clear();
    rested.map_err(|error| match error.may_pass() {
        true => {
            let advice = format!("redress watch {id}: the saga may go on meanwhile");
            Failure::of_client(error).remedy(advice)
        }
        false => Failure::of_client(error),
    })
}

/// `running charge-payment`
fn place(saga: &Value) -> String {
    let at = saga["steps"].as_array().into_iter().flatten().find(|step| {
        !matches!(
            step["status"].as_str(),
            Some("succeeded" | "skipped" | "timed-out" | "given-up" | "pending" | "compensated")
        )
    });
    let step = at.map_or_else(Default::default, |step| render::text(&step["name"]));
    format!("{} {step}", render::text(&saga["status"]))
}
