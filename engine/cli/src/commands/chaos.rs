//! `redress chaos`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use redress_devstack::PAUSE_MAX;
use serde_json::{Value, json};

use crate::args::Output;
use crate::chaos::{Answer, Deed, Disruption, Planned, Request, Target, ask, plan};
use crate::failure::{Exit, Failure};
use crate::render;

/// The longest time of disruptions by chance, in seconds: a day.
const SECONDS_MAX: u64 = 86_400;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct ChaosArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<ChaosVerb>,
    /// Disruptions by chance for so many seconds.
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(crate) lasts_s: Option<u64>,
    /// Makes the chance repeatable [default: a random one, which is printed].
    #[arg(long, requires = "lasts_s")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChaosVerb {
    /// Stop a process for a while, and let it go on.
    Pause(PauseArgs),
    /// Kill a process (SIGKILL); `up` starts it again.
    Kill(KillArgs),
    /// Kill the broker and empty its store; `up` starts it again.
    Wipe(KillArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// For so many seconds.
    #[arg(
        long = "for", value_name = "SECONDS", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=PAUSE_MAX.as_secs())
    )]
    pub(crate) lasts_s: u64,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// The process.
    #[arg(value_enum)]
    pub(crate) target: TargetWord,
    /// The name of the service.
    #[arg(required_if_eq("target", "service"))]
    pub(crate) name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetWord {
    Nats,
    Postgres,
    /// A service of `up --processes`.
    Service,
    /// It is `up` itself, and is refused.
    Coordinator,
}

#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// Where the private servers of `redress up` keep their data.
    #[arg(long, env = "REDRESS_DATA", default_value = ".redress")]
    pub(crate) data: PathBuf,
    /// Only show what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(args: ChaosArgs, output: Output) -> Result<Exit, Failure> {
    let (deed, target, common) = match args.verb {
        None => return by_chance(args, output).await,
        Some(ChaosVerb::Pause(args)) => {
            (Deed::Pause { for_ms: args.lasts_s.saturating_mul(1000) }, args.target, args.common)
        }
        Some(ChaosVerb::Kill(args)) => (Deed::Kill, args.target, args.common),
        Some(ChaosVerb::Wipe(args)) => (Deed::Wipe, args.target, args.common),
    };
    let disruption = Disruption { deed, target: target.read()? };
    let report = carry_out(&common, disruption).await?;
    render::print(output, &report, line);
    Ok(Exit::Ok)
}

impl TargetArgs {
    fn read(self) -> Result<Target, Failure> {
        match (self.target, self.name) {
            (TargetWord::Nats, None) => Ok(Target::Nats),
            (TargetWord::Postgres, None) => Ok(Target::Postgres),
            (TargetWord::Service, Some(name)) => Ok(Target::Service(name)),
            (TargetWord::Service, None) => Err(Failure::usage("a service is called by its name")),
            (TargetWord::Nats | TargetWord::Postgres, Some(name)) => {
                Err(Failure::usage(format!("`{name}` means nothing here: there is one server of each kind")))
            }
            (TargetWord::Coordinator, _) => Err(Failure::usage(
                "the coordinator runs in the process of `redress up` itself, which no command of its own can pause or kill",
            )
            .remedy("kill -9 that process, and start it again: its sagas go on")),
        }
    }
}

async fn carry_out(common: &CommonArgs, disruption: Disruption) -> Result<Value, Failure> {
    let request = Request::Do { disruption, dry: common.dry_run };
    match ask(&common.data, &request).await? {
        Answer::Done(report) => Ok(json!(report)),
        Answer::Refused(refusal) => Err(refusal.into()),
        Answer::Targets(_) => {
            Err(Failure::unavailable(anyhow::anyhow!("`redress up` answered something else")))
        }
    }
}

/// `kill nats: process 12 is gone, and process 34 runs after 210ms`
fn line(report: &Value) -> String {
    let Ok(disruption) = serde_json::from_value::<Disruption>(report.clone()) else {
        return render::inline(report);
    };
    let disruption = render::text(&json!(disruption.to_string())).into_owned();
    let (before, after) = (report["process"].as_u64().unwrap_or_default(), report["process_after"].as_u64());
    let took = Duration::from_millis(report["took_ms"].as_u64().unwrap_or_default());
    match after {
        None => format!("would {disruption} (process {before})"),
        Some(after) if after == before => format!("{disruption}: process {before} goes on after {took:?}"),
        Some(after) => {
            format!("{disruption}: process {before} is gone, and process {after} runs after {took:?}")
        }
    }
}

async fn by_chance(args: ChaosArgs, output: Output) -> Result<Exit, Failure> {
    let lasts_s = args.lasts_s.ok_or_else(|| {
        Failure::usage("say for how long: `--for SECONDS`, or one of pause, kill and wipe")
            .remedy("redress chaos --for 60 --seed 7")
    })?;
    let seed = args.seed.unwrap_or_else(rand::random);
    let targets = match ask(&args.common.data, &Request::Look).await? {
        Answer::Targets(targets) => targets,
        Answer::Refused(refusal) => return Err(refusal.into()),
        Answer::Done(_) => {
            return Err(Failure::unavailable(anyhow::anyhow!("`redress up` answered something else")));
        }
    };
    crate::legible::say(&format!("seed {seed}"));
    let begun = Instant::now();
    let mut reports = Vec::new();
    for Planned { after, disruption } in plan(seed, Duration::from_secs(lasts_s), &targets) {
        if !args.common.dry_run {
            tokio::time::sleep(after.saturating_sub(begun.elapsed())).await;
        }
        let mut report = carry_out(&args.common, disruption).await?;
        report["after_ms"] = json!(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        match output {
            Output::Text => render::emit(&format!("{after:>8.1?}  {}", line(&report))),
            Output::Jsonl => render::print(output, &report, line),
            Output::Json => reports.push(report),
        }
    }
    if output == Output::Json {
        render::print(output, &json!({ "seed": seed, "items": reports }), render::inline);
    }
    Ok(Exit::Ok)
}
