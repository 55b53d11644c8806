//! `redress dead-letters`

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use redress_client::{Call, Client, LetterCode, LetterQuery, LetterStatus, LetterVerb, SagaId, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::args::{ApiArgs, Output};
use crate::client::{ask, connect};
use crate::commands::operator::actor_or_login;
use crate::failure::{Exit, Failure};
use crate::legible::say;
use crate::{render, render_letters};

const EXAMPLES: &str = "Examples:
  redress dead-letters                                           those that wait for an operator
  redress dead-letters groups                                    how many, by source and kind of reason
  redress dead-letters list --status replayed --source payment
  redress dead-letters show 0190163d-8694-739b-aea5-966c26f8ad91
  redress dead-letters replay 0190163d-8694-739b-aea5-966c26f8ad91 --reason 'the service is fixed'
  redress dead-letters replay --code unknown-command --source payment --reason 'payment 2.1 is there'
  redress dead-letters discard --code misaddressed --reason 'a stranger on the broker'";

#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct DeadLettersArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<DeadLettersVerb>,
    #[command(flatten)]
    pub(crate) list: LetterListArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersVerb {
    /// List them, newest first (the default).
    List(LetterListArgs),
    /// Count them, by source and kind of reason.
    Groups(LetterGroupsArgs),
    /// Show one, with the headers and the body of its message.
    Show(LetterShowArgs),
    /// Have messages published again, as they came.
    Replay(LetterChangeArgs),
    /// Set letters aside for good.
    Discard(LetterChangeArgs),
}

/// Which letters are meant.
#[derive(Debug, Args)]
pub(crate) struct LetterFilterArgs {
    /// Only with this kind of reason, such as unknown-command.
    #[arg(long)]
    pub(crate) code: Option<LetterCode>,
    /// Only of this service, or of `coordinator`.
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// Only about this saga; the whole id.
    #[arg(long)]
    pub(crate) saga: Option<SagaId>,
    /// Only of this status: kept, replaying, replayed or discarded. Kept ones if not given.
    #[arg(long)]
    pub(crate) status: Option<LetterStatus>,
    /// Only arrived at or after this time, as 2026-11-23T10:00:00Z.
    #[arg(long)]
    pub(crate) since: Option<Timestamp>,
    /// Only arrived before this time.
    #[arg(long)]
    pub(crate) until: Option<Timestamp>,
}

impl LetterFilterArgs {
    fn is_empty(&self) -> bool {
        let Self { code, source, saga, status, since, until } = self;
        code.is_none()
            && source.is_none()
            && saga.is_none()
            && status.is_none()
            && since.is_none()
            && until.is_none()
    }

    fn query(self) -> LetterQuery {
        let Self { code, source, saga, status, since, until } = self;
        let status = Some(status.unwrap_or(LetterStatus::Kept));
        LetterQuery { code, source, saga, status, since, until, ..LetterQuery::default() }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LetterListArgs {
    #[command(flatten)]
    pub(crate) filter: LetterFilterArgs,
    /// Where the page before ended.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LetterGroupsArgs {
    #[command(flatten)]
    pub(crate) filter: LetterFilterArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LetterShowArgs {
    /// The letter.
    pub(crate) id: Uuid,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LetterChangeArgs {
    /// The letters; without any, all that --code and the like find.
    pub(crate) ids: Vec<Uuid>,
    #[command(flatten)]
    pub(crate) filter: LetterFilterArgs,
    /// Reason; goes into the audit log.
    #[arg(long, default_value = "no reason given")]
    pub(crate) reason: String,
    /// Actor; goes there too. The name of the login if not given.
    #[arg(long, env = "REDRESS_ACTOR")]
    pub(crate) actor: Option<String>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

pub(crate) async fn run(args: DeadLettersArgs, output: Output) -> Result<Exit, Failure> {
    match args.verb.unwrap_or(DeadLettersVerb::List(args.list)) {
        DeadLettersVerb::List(args) => list(args, output).await,
        DeadLettersVerb::Groups(args) => groups(args, output).await,
        DeadLettersVerb::Show(args) => show(args, output).await,
        DeadLettersVerb::Replay(args) => change(LetterVerb::Replay, args, output).await,
        DeadLettersVerb::Discard(args) => change(LetterVerb::Discard, args, output).await,
    }
}

async fn list(args: LetterListArgs, output: Output) -> Result<Exit, Failure> {
    let LetterListArgs { filter, cursor, limit, api } = args;
    let query = LetterQuery { cursor, limit: Some(limit), ..filter.query() };
    let list = ask(&connect(&api)?, Call::dead_letters(&query)).await?;
    render::print_list(output, &list, render_letters::dead_letters);
    if let (Output::Text, Some(cursor)) = (output, list["next"].as_str()) {
        say(&format!("there are more: add --cursor {cursor}"));
    }
    Ok(Exit::Ok)
}

async fn groups(args: LetterGroupsArgs, output: Output) -> Result<Exit, Failure> {
    let groups = ask(&connect(&args.api)?, Call::dead_letter_groups(&args.filter.query())).await?;
    render::print_list(output, &groups, render_letters::dead_letter_groups);
    Ok(Exit::Ok)
}

async fn show(args: LetterShowArgs, output: Output) -> Result<Exit, Failure> {
    let letter = ask(&connect(&args.api)?, Call::dead_letter(args.id)).await?;
    render::print(output, &letter, render_letters::dead_letter);
    Ok(Exit::Ok)
}

async fn change(verb: LetterVerb, args: LetterChangeArgs, output: Output) -> Result<Exit, Failure> {
    let LetterChangeArgs { ids, filter, reason, actor, api } = args;
    let (actor, client) = (actor_or_login(actor), connect(&api)?);
    match (ids.is_empty(), filter.is_empty()) {
        (false, true) => {
            for id in ids {
                let call = Call::change_dead_letter(id, verb, &actor, &reason);
                let letter = ask(&client, call).await?;
                render::print(output, &letter, render_letters::dead_letter);
            }
            Ok(Exit::Ok)
        }
        (true, false) => change_all(&client, verb, filter.query(), (&actor, &reason), output).await,
        (false, false) => {
            Err(Failure::usage("ids and conditions are given, and only one of them can be meant"))
        }
        (true, true) => Err(Failure::usage("no letter is named").remedy(
            "give ids, or a condition such as --code unknown-command; --status kept means all that wait",
        )),
    }
}

/// Page by page until there is no more; says on the way how far it is.
async fn change_all(
    client: &Client,
    verb: LetterVerb,
    mut query: LetterQuery,
    (actor, reason): (&str, &str),
    output: Output,
) -> Result<Exit, Failure> {
    let (mut matched, mut changed) = (0, 0);
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    let done = match verb {
        LetterVerb::Replay => "replayed",
        LetterVerb::Discard => "discarded",
    };
    loop {
        let page =
            client.change_dead_letters(&query, verb, actor, reason).await.map_err(Failure::of_client)?;
        matched += page.matched;
        changed += page.replayed + page.discarded;
        for (code, count) in page.refused {
            *refused.entry(code).or_default() += count;
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
        eprintln!("{matched} found, {changed} {done}");
    }
    let all = json!({ "matched": matched, done: changed, "refused": refused });
    render::print(output, &all, |all: &Value| {
        let refused = all["refused"].as_object().into_iter().flatten();
        let refused: Vec<String> = refused
            .map(|(code, count)| format!("\n  refused {}: {count}", render::text(&json!(code))))
            .collect();
        format!("{matched} found, {changed} {done}{}", refused.join(""))
    });
    Ok(Exit::Ok)
}
