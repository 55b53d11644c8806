//! `redress fault`

use clap::{Args, Subcommand};
use redress_client::Call;
use serde_json::{Map, Value, json};

use crate::args::{ApiArgs, Output};
use crate::client::{ask, connect};
use crate::failure::{Exit, Failure};
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct FaultArgs {
    #[command(subcommand)]
    pub(crate) verb: FaultVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FaultVerb {
    /// Add one.
    Add(FaultAddArgs),
    /// List them, and what each has struck.
    List(ApiArgs),
    /// Take one away.
    Remove(FaultRemoveArgs),
    /// Take all away.
    Clear(ApiArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FaultAddArgs {
    /// Strike every command: must be said where no condition is.
    #[arg(long)]
    pub(crate) everything: bool,
    /// Only this saga definition.
    #[arg(long)]
    pub(crate) saga: Option<String>,
    /// Only the saga of this id.
    #[arg(long)]
    pub(crate) saga_id: Option<String>,
    /// Only sagas that bear this tag.
    #[arg(long, value_name = "NAME:VALUE")]
    pub(crate) tag: Option<String>,
    /// Only this service.
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Only this step.
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Only this command.
    #[arg(long)]
    pub(crate) command: Option<String>,
    /// action, compensation, settlement or any [default: action; with --everything any].
    #[arg(long)]
    pub(crate) phase: Option<String>,
    /// reject, fail, delay, drop-command, drop-reply, delay-reply, duplicate, crash-before-commit, crash-after-commit or
    /// crash-after-reply; of a third party's call: call-lost, call-late, call-twice or call-failed.
    #[arg(long)]
    pub(crate) kind: String,
    /// Code of a rejection.
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Length of a delay, in milliseconds.
    #[arg(long)]
    pub(crate) ms: Option<u64>,
    /// How often; once if not given.
    #[arg(long)]
    pub(crate) times: Option<u32>,
    /// How likely each time, from 0 to 1.
    #[arg(long)]
    pub(crate) probability: Option<f64>,
    /// Makes the chance repeatable.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FaultRemoveArgs {
    /// Its number, as `redress fault list` shows it.
    pub(crate) id: i64,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// Of each fault so many strikes are listed as text; JSON has all that the API gives.
const STRIKES_SHOWN: usize = 3;

pub(crate) async fn run(args: FaultArgs, output: Output) -> Result<Exit, Failure> {
    match args.verb {
        FaultVerb::Add(args) => add(args, output).await,
        FaultVerb::List(api) => list(&api, output).await,
        FaultVerb::Remove(args) => remove(&args, output).await,
        FaultVerb::Clear(api) => clear(&api, output).await,
    }
}

async fn add(args: FaultAddArgs, output: Output) -> Result<Exit, Failure> {
    let mut fault = Map::new();
    for (name, text) in [
        ("saga", args.saga),
        ("saga_id", args.saga_id),
        ("tag", args.tag),
        ("service", args.service),
        ("step", args.step),
        ("command", args.command),
        ("phase", args.phase),
        ("kind", Some(args.kind)),
        ("code", args.code),
    ] {
        fault.extend(text.map(|text| (name.to_owned(), json!(text))));
    }
    fault.extend(args.everything.then(|| ("everything".to_owned(), json!(true))));
    fault.extend(args.ms.map(|ms| ("ms".to_owned(), json!(ms))));
    fault.extend(args.times.map(|times| ("times".to_owned(), json!(times))));
    fault.extend(args.seed.map(|seed| ("seed".to_owned(), json!(seed))));
    fault.extend(args.probability.map(|probability| ("probability".to_owned(), json!(probability))));
    let added = ask(&connect(&args.api)?, Call::add_fault(Value::Object(fault))).await?;
    render::print(output, &added, |added| {
        format!("fault {} added: {}", render::inline(&added["id"]), render::inline(&added["fault"]))
    });
    Ok(Exit::Ok)
}

async fn list(api: &ApiArgs, output: Output) -> Result<Exit, Failure> {
    let list = ask(&connect(api)?, Call::faults()).await?;
    render::print_list(output, &list, |items| {
        if items.is_empty() {
            return "no faults".to_owned();
        }
        items.iter().map(shown).collect::<Vec<_>>().join("\n")
    });
    Ok(Exit::Ok)
}

/// A fault, and beneath it the last commands that it struck.
fn shown(item: &Value) -> String {
    let left = item["remaining"].as_u64().map_or("always".to_owned(), |times| format!("{times} left"));
    let struck = &item["struck"];
    let count = struck["count"].as_u64().unwrap_or_default();
    let (id, fault) = (render::inline(&item["id"]), render::inline(&item["fault"]));
    let strike = |strike: &Value| {
        let text = |name: &str| render::text(&strike[name]);
        let attempt = render::inline(&strike["attempt"]);
        let (at, saga, step, phase) = (text("at"), text("saga_id"), text("step"), text("phase"));
        format!("\n   {at}  {saga}  {step} {phase}, attempt {attempt}")
    };
    let last = struck["last"].as_array().into_iter().flatten().rev().take(STRIKES_SHOWN).map(strike);
    format!("{id}  {left}, struck {count}  {fault}{}", last.collect::<String>())
}

async fn remove(args: &FaultRemoveArgs, output: Output) -> Result<Exit, Failure> {
    let removed = ask(&connect(&args.api)?, Call::remove_fault(args.id)).await?;
    render::print(output, &removed, |_| format!("fault {} removed", args.id));
    Ok(Exit::Ok)
}

async fn clear(api: &ApiArgs, output: Output) -> Result<Exit, Failure> {
    let cleared = ask(&connect(api)?, Call::clear_faults()).await?;
    render::print(output, &cleared, |cleared| format!("faults cleared: {}", cleared["cleared"]));
    Ok(Exit::Ok)
}
