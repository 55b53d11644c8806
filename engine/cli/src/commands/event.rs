//! `redress event`
//!
//! The key makes an event repeatable: while nobody answers it is sent again with the same key, and a generated key is
//! printed before, so that the same event can be sent again after any failure.

use clap::Args;
use redress_client::{Call, Client, SagaId};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::args::saga_ref::SagaRef;
use crate::args::{ApiArgs, Output};
use crate::client::{connect, find};
use crate::commands::start::{BRIEFLY, read_json};
use crate::commands::watch::{or_interrupted, tell_silence};
use crate::failure::{Exit, Failure};
use crate::legible::say;
use crate::{render, render_events};

const EXAMPLES: &str = "Examples:
  redress event 0190163d-8694-739b-aea5-966c26f8ad91 approval --data '{\"by\":\"ann\"}'
  redress event approval --tag order:17 --data @approval.json --key form-17";

#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, allow_missing_positional = true)]
pub(crate) struct EventArgs {
    /// The saga: its id, or the first digits of it; without it, all open ones with the label of --tag.
    #[arg(required_unless_present = "tag", conflicts_with = "tag")]
    pub(crate) id: Option<SagaRef>,
    /// The event's name.
    #[arg(required = true)]
    pub(crate) name: String,
    /// What it says: JSON, @file, or - for standard input.
    #[arg(long, default_value = "null")]
    pub(crate) data: String,
    /// A saga takes an event with the same key once; made up if not given.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// All open sagas with this label, as name:value, that await the event or will.
    #[arg(long)]
    pub(crate) tag: Option<String>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// An event in the making.
struct Event {
    name: String,
    data: Value,
    key: String,
}

pub(crate) async fn run(args: EventArgs, output: Output) -> Result<Exit, Failure> {
    let client = connect(&args.api)?;
    let data = read_json(&args.data)?;
    let was_given = args.key.is_some();
    let event = Event { name: args.name, data, key: args.key.unwrap_or_else(|| Uuid::now_v7().to_string()) };
    if !was_given {
        say(&format!("key {}", event.key));
    }
    match (args.id, args.tag) {
        (_, Some(tag)) => to_all(&client, &tag, &event, output).await,
        (Some(id), None) => {
            let id = find(&client, &id).await?;
            to_one(&client, id, &event, output).await
        }
        (None, None) => Err(Failure::usage("name a saga, or a label with --tag")),
    }
}

async fn to_one(client: &Client, id: SagaId, event: &Event, output: Output) -> Result<Exit, Failure> {
    let sent = ask(client, event, Call::event(id, &event.name, &event.key, event.data.clone())).await?;
    render::print(output, &sent, |sent| render_events::sent(&event.name, sent));
    Ok(Exit::Ok)
}

/// Page by page; a saga to which it came in vain hides no other.
async fn to_all(client: &Client, tag: &str, event: &Event, output: Output) -> Result<Exit, Failure> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let (name, key, data) = (&event.name, &event.key, event.data.clone());
        let mut page =
            ask(client, event, Call::event_by_tag(tag, name, key, data, cursor.as_deref())).await?;
        if let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) {
            items.extend(found);
        }
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
        say(&format!("{} sagas so far", items.len()));
    }
    let all = json!({ "items": items });
    render::print_list(output, &all, render_events::delivered);
    let refused = items.iter().filter(|item| item["verdict"] == "refused").count();
    match (items.len(), refused) {
        (0, _) => Err(Failure::new(5, anyhow::anyhow!("no open saga with this label awaits such an event"))
            .remedy(format!("redress list --tag {tag}"))),
        (_, 0) => Ok(Exit::Ok),
        (all, refused) => Err(Failure::new(6, anyhow::anyhow!("{refused} of {all} sagas refused it"))),
    }
}

/// Sends it, and again for a moment if no answer comes.
async fn ask<T>(client: &Client, event: &Event, call: Call<T>) -> Result<Value, Failure> {
    let advice = || format!("the same command with --key {}: no saga takes it twice", event.key);
    let sending = async {
        let sent = client.send_until(call.as_json(), Instant::now() + BRIEFLY, tell_silence).await;
        sent.map_err(|error| match error.may_pass() {
            true => Failure::of_client(error).remedy(advice()),
            false => Failure::of_client(error),
        })
    };
    or_interrupted(sending, advice).await
}
