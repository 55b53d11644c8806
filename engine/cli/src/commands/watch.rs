//! `redress watch`

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::Value;

use crate::args::{Output, WatchArgs};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::render;

/// How often the saga is looked at.
const EVERY: Duration = Duration::from_millis(300);

pub(crate) async fn run(args: WatchArgs, output: Output) -> Result<Exit, Failure> {
    let client = Client::new(&args.api)?;
    let saga = until_it_rests(&client, &args.id.to_string(), Duration::from_secs(args.timeout_s)).await?;
    let history = client.get(&format!("/v1/sagas/{}/history", args.id)).await?;
    let rows = history["items"].as_array().cloned().unwrap_or_default();
    render::print(output, &saga, |saga| render::saga(saga, Some(&rows)));
    Ok(Exit::of_status(saga["status"].as_str().unwrap_or_default()))
}

/// Looks at a saga until it has ended or is parked, at most so long; shows on a terminal where it is.
pub(crate) async fn until_it_rests(client: &Client, id: &str, timeout: Duration) -> Result<Value, Failure> {
    let progress =
        if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    progress.enable_steady_tick(Duration::from_millis(100));
    let deadline = tokio::time::Instant::now() + timeout;
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let saga = client.get(&format!("/v1/sagas/{id}")).await?;
        let rests = !saga["ended_at"].is_null() || !saga["parked"].is_null();
        if rests || tokio::time::Instant::now() >= deadline {
            progress.finish_and_clear();
            return Ok(saga);
        }
        let at = saga["steps"].as_array().into_iter().flatten().find(|step| {
            !matches!(step["status"].as_str(), Some("succeeded" | "skipped" | "pending" | "compensated"))
        });
        let step = at.map_or("", |step| step["name"].as_str().unwrap_or_default());
        progress.set_message(format!("{} {step}", saga["status"].as_str().unwrap_or_default()));
    }
}
