//! `redress cancel`, `retry`, `answer`, `resolve`, `close`, `pause` and `resume`

use std::collections::BTreeMap;

use clap::Args;
use redress_client::{
    Call, Client, IfMatch, JsonText, Name, OperatorCommand, Resolution, SagaId, SagaQuery, SagaStatus,
    Timestamp, Verb,
};
use redress_core::Rejection;
use redress_core::inbox::GivenAnswer;
use redress_core::json::check_unambiguous;
use serde_json::{Value, json};

use crate::args::saga_ref::SagaRef;
use crate::args::{ApiArgs, Output};
use crate::client::{ask, connect, find};
use crate::failure::{Exit, Failure};
use crate::render;

/// The arguments of every operator command.
#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    /// The saga: its id, or the first digits of it.
    pub(crate) id: SagaRef,
    /// Reason; goes into the history and the audit log.
    #[arg(long, default_value = "no reason given")]
    pub(crate) reason: String,
    /// Actor; goes there too. The name of the login if not given.
    #[arg(long, env = "REDRESS_ACTOR")]
    pub(crate) actor: Option<String>,
    /// Only if the saga still has this revision; the one that it has now if not given.
    #[arg(long)]
    pub(crate) revision: Option<i64>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

impl OperatorArgs {
    /// The actor of the operator command: the given one, or the name of the login, or `cli` without a login, as in a
    /// job.
    pub(crate) fn actor(&self) -> String {
        actor_or_login(self.actor.clone())
    }
}

/// The given actor, or the name of the login, or `cli`.
pub(crate) fn actor_or_login(actor: Option<String>) -> String {
    let login = || {
        ["USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok()).find(|name| !name.is_empty())
    };
    actor.or_else(login).unwrap_or_else(|| "cli".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The saga: its id, or the first digits of it; without it, all that --status and the like find.
    #[arg(required_unless_present = "status", conflicts_with = "status")]
    pub(crate) id: Option<SagaRef>,
    /// Reason; goes into the history and the audit log.
    #[arg(long, default_value = "no reason given")]
    pub(crate) reason: String,
    /// Actor; goes there too. The name of the login if not given.
    #[arg(long, env = "REDRESS_ACTOR")]
    pub(crate) actor: Option<String>,
    /// Only if the saga still has this revision; the one that it has now if not given.
    #[arg(long, requires = "id")]
    pub(crate) revision: Option<i64>,
    /// Only this step; all that wait or are parked if not given.
    #[arg(long, requires = "id")]
    pub(crate) step: Option<Name>,
    /// All sagas of this status, such as `parked`.
    #[arg(long)]
    pub(crate) status: Option<SagaStatus>,
    /// Of these, only those parked for this reason, such as `compensation-failed`.
    #[arg(long, requires = "status")]
    pub(crate) code: Option<String>,
    /// Only of this definition.
    #[arg(long, requires = "status")]
    pub(crate) saga: Option<String>,
    /// Only with this label, as name:value.
    #[arg(long, requires = "status")]
    pub(crate) tag: Option<String>,
    /// Only started at or after this time, as 2026-11-23T10:00:00Z.
    #[arg(long, requires = "status")]
    pub(crate) since: Option<Timestamp>,
    /// Only started before this time.
    #[arg(long, requires = "status")]
    pub(crate) until: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResolveArgs {
    #[command(flatten)]
    pub(crate) order: OperatorArgs,
    /// The step whose outcome is known.
    #[arg(long)]
    pub(crate) step: Name,
    #[command(flatten)]
    pub(crate) resolution: ResolutionArgs,
    /// Reply of the action, as JSON; only with --happened.
    #[arg(long, requires = "happened", default_value = "null")]
    pub(crate) reply: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ResolutionArgs {
    /// Its action took effect.
    #[arg(long)]
    pub(crate) happened: bool,
    /// Its action took no effect.
    #[arg(long)]
    pub(crate) never_happened: bool,
    /// Its effect was undone outside of the saga.
    #[arg(long)]
    pub(crate) compensated: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    #[command(flatten)]
    pub(crate) order: OperatorArgs,
    /// The step that awaits an answer.
    #[arg(long)]
    pub(crate) step: Name,
    /// Reply of the action, as JSON: it happened.
    #[arg(long, required_unless_present = "reject", conflicts_with = "reject")]
    pub(crate) done: Option<String>,
    /// Code of a rejection: it will not happen; `--message` says why, for people.
    #[arg(long)]
    pub(crate) reject: Option<String>,
    /// The reason of a rejection, for people.
    #[arg(long, requires = "reject", default_value = "")]
    pub(crate) message: String,
}

/// An answer needs no revision: the first one counts.
pub(crate) async fn answer(args: AnswerArgs, output: Output) -> Result<Exit, Failure> {
    let answer = match (&args.done, args.reject) {
        (Some(text), _) => GivenAnswer::Done { reply: reply("--done", text)? },
        (None, code) => GivenAnswer::Rejected(Rejection::new(code.unwrap_or_default(), args.message)),
    };
    let client = connect(&args.order.api)?;
    let id = find(&client, &args.order.id).await?;
    let if_match = args.order.revision.map_or(IfMatch::Any, IfMatch::Revision);
    give(&client, id, Verb::Answer { step: args.step, answer }, &args.order, if_match, output).await
}

/// Cancel needs no revision: that of a busy saga never stands still.
pub(crate) async fn cancel(args: OperatorArgs, output: Output) -> Result<Exit, Failure> {
    let client = connect(&args.api)?;
    let id = find(&client, &args.id).await?;
    let if_match = args.revision.map_or(IfMatch::Any, IfMatch::Revision);
    give(&client, id, Verb::Cancel, &args, if_match, output).await
}

pub(crate) async fn retry(args: RetryArgs, output: Output) -> Result<Exit, Failure> {
    let RetryArgs { id, reason, actor, revision, step, api, status, code, saga, tag, since, until } = args;
    match id {
        Some(id) => {
            let args = OperatorArgs { id, reason, actor, revision, api };
            on_what_is_seen(Verb::Retry { step }, &args, output).await
        }
        None => {
            let query = SagaQuery { status, code, saga, tag, since, until, ..SagaQuery::default() };
            retry_all(&connect(&api)?, query, &actor_or_login(actor), &reason, output).await
        }
    }
}

/// Page by page until there is no more; says on the way how far it is.
async fn retry_all(
    client: &Client,
    mut query: SagaQuery,
    actor: &str,
    reason: &str,
    output: Output,
) -> Result<Exit, Failure> {
    let (mut matched, mut retried) = (0, 0);
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let page = client.retry_all(&query, actor, reason).await.map_err(Failure::of_client)?;
        matched += page.matched;
        retried += page.retried;
        for (code, count) in page.refused {
            *refused.entry(code).or_default() += count;
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
        eprintln!("{matched} found, {retried} tried again");
    }
    let all = json!({ "matched": matched, "retried": retried, "refused": refused });
    render::print(output, &all, |_| {
        let codes = refused.iter().map(|(code, count)| format!("{count} refused ({code})\n"));
        format!("{matched} found, {retried} tried again\n{}", codes.collect::<String>())
    });
    Ok(Exit::Ok)
}

pub(crate) async fn resolve(args: ResolveArgs, output: Output) -> Result<Exit, Failure> {
    let given = &args.resolution;
    let resolution = match (given.happened, given.never_happened) {
        (true, _) => Resolution::Happened { reply: reply("--reply", &args.reply)? },
        (false, true) => Resolution::NeverHappened,
        (false, false) => Resolution::Compensated,
    };
    on_what_is_seen(Verb::Resolve { step: args.step, resolution }, &args.order, output).await
}

/// The reply that a flag brings.
fn reply(flag: &str, text: &str) -> Result<JsonText, Failure> {
    check_unambiguous(text.as_bytes())
        .map_err(|error| Failure::usage(format!("{flag} is ambiguous: {error}")))?;
    let reply: Value =
        serde_json::from_str(text).map_err(|error| Failure::usage(format!("{flag} is not JSON: {error}")))?;
    Ok(JsonText::of(&reply)?)
}

/// Gives an operator command on the saga at the given revision, or at its present one.
pub(crate) async fn on_what_is_seen(
    verb: Verb,
    args: &OperatorArgs,
    output: Output,
) -> Result<Exit, Failure> {
    let client = connect(&args.api)?;
    let id = find(&client, &args.id).await?;
    let revision = match args.revision {
        Some(revision) => Some(revision),
        None => ask(&client, Call::saga(id)).await?["revision"].as_i64(),
    };
    let revision = revision.ok_or_else(|| anyhow::anyhow!("the answer names no revision of saga {id}"))?;
    give(&client, id, verb, args, IfMatch::Revision(revision), output).await
}

async fn give(
    client: &Client,
    id: SagaId,
    verb: Verb,
    args: &OperatorArgs,
    if_match: IfMatch,
    output: Output,
) -> Result<Exit, Failure> {
    let command = OperatorCommand { verb, actor: args.actor(), reason: args.reason.clone() };
    let saga = ask(client, Call::operate(id, &command, if_match)).await?;
    render::print(output, &saga, |saga| render::saga(saga, None));
    Ok(Exit::Ok)
}
