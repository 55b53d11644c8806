//! `redress start`
//!
//! The key makes a start repeatable: while the time lasts it is sent again with the same key, and a generated key is
//! printed before, so that no lost answer leaves a saga without a known key.

use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use redress_client::{Client, SagaId, Start, StartError};
use redress_core::json::check_unambiguous;
use serde_json::Value;
use tokio::time::Instant;

use crate::args::{ApiArgs, Output};
use crate::client::connect;
use crate::commands::watch::{or_interrupted, tell_silence, watch};
use crate::failure::{Exit, Failure};
use crate::legible::say;
use crate::render;

/// How long a start without `--wait`, or an event, is repeated: a restart is bridged, and a wrong address is reported soon.
pub(crate) const BRIEFLY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The definition's name.
    pub(crate) saga: String,
    /// The input: JSON, @file, or - for standard input.
    #[arg(long)]
    pub(crate) input: String,
    /// The same key is the same saga; made up if not given.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Version of the definition; the newest one if not given.
    #[arg(long)]
    pub(crate) version: Option<u32>,
    /// A failure of this saga, as JSON; may be given several times.
    #[arg(long)]
    pub(crate) fault: Vec<String>,
    /// A label, as name:value; may be given several times.
    #[arg(long)]
    pub(crate) tag: Vec<String>,
    /// Wait until it has ended, and say so with the exit code.
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long --wait waits, in seconds, for the start to be taken and for the saga to end.
    #[arg(long, default_value_t = 300, requires = "wait")]
    pub(crate) timeout_s: u64,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

pub(crate) async fn run(args: StartArgs, output: Output) -> Result<Exit, Failure> {
    let client = connect(&args.api)?;
    let patience = if args.wait { Duration::from_secs(args.timeout_s) } else { BRIEFLY };
    let start = start(&client, &args)?.within(patience).on_silence(tell_silence);
    let key = start.idempotency_key().to_owned();
    if args.key.is_none() {
        // Printed before anything is sent: the same start can then be repeated after any failure.
        say(&format!("key {key}"));
    }
    let deadline = Instant::now() + patience;
    let advice = || format!("the same command with --key {key}: it starts no second saga");
    let taken = or_interrupted(async { Ok(start.json().await) }, advice).await?;
    let saga = taken.map_err(|error| not_started(error, advice))?;
    if !args.wait {
        render::print(output, &saga, |saga| render::saga(saga, None));
        return Ok(Exit::Ok);
    }
    let Ok(id) = saga["id"].as_str().unwrap_or_default().parse::<SagaId>() else {
        render::print(output, &saga, |saga| render::saga(saga, None));
        return Err(anyhow::anyhow!("the answer names no saga that could be waited for").into());
    };
    let waiting = watch(&client, id, deadline, output);
    or_interrupted(waiting, || format!("redress watch {id}: the saga goes on meanwhile")).await
}

/// The start that the command line describes.
fn start(client: &Client, args: &StartArgs) -> Result<Start<Value>, Failure> {
    let mut start = client.start(args.saga.as_str(), &read_json(&args.input)?);
    if let Some(key) = &args.key {
        start = start.key(key);
    }
    if let Some(version) = args.version {
        start = start.version(version);
    }
    if !args.fault.is_empty() {
        let faults = args.fault.iter().map(|fault| read_json(fault)).collect::<Result<Value, Failure>>()?;
        start = start.faults(faults);
    }
    for tag in &args.tag {
        let (name, value) = tag.split_once(':').ok_or_else(|| Failure::usage("a tag is name:value"))?;
        start = start.tag(name, value);
    }
    Ok(start)
}

fn not_started(error: StartError, advice: impl Fn() -> String) -> Failure {
    match error {
        // It is unknown if the start was accepted.
        StartError::Request { source, .. } if source.may_pass() => {
            Failure::of_client(source).remedy(advice())
        }
        StartError::Request { source, .. } => Failure::of_client(source),
        StartError::WrongData(_) | StartError::Unwritable { .. } => error.into(),
    }
}

/// JSON, `@file` or `-`.
pub(crate) fn read_json(given: &str) -> Result<Value, Failure> {
    let text = match given.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("`{file}` could not be read"))?,
        None if given == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input could not be read")?;
            text
        }
        None => given.to_owned(),
    };
    // Once it is read as a value, one of two members with the same name is gone.
    check_unambiguous(text.as_bytes())
        .map_err(|error| Failure::usage(format!("the JSON is ambiguous: {error}")))?;
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("the JSON is malformed: {error}")))
}
