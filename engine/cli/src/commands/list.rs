//! `redress list`

use clap::Args;
use redress_client::{Call, SagaQuery, SagaStatus, Timestamp};

use crate::args::{ApiArgs, Output};
use crate::client::{ask, connect};
use crate::failure::{Exit, Failure};
use crate::legible::say;
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this status.
    #[arg(long)]
    pub(crate) status: Option<SagaStatus>,
    /// Only of this definition.
    #[arg(long)]
    pub(crate) saga: Option<String>,
    /// Only with this text in the id or the input.
    #[arg(long, short)]
    pub(crate) query: Option<String>,
    /// Only with this label, as name:value.
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Only started at or after this time, as 2026-11-23T10:00:00Z.
    #[arg(long)]
    pub(crate) since: Option<Timestamp>,
    /// Only started before this time.
    #[arg(long)]
    pub(crate) until: Option<Timestamp>,
    /// Only those that go on by themselves, but for longer than they should.
    #[arg(long)]
    pub(crate) stalled: bool,
    /// Where the page before ended.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

pub(crate) async fn run(args: ListArgs, output: Output) -> Result<Exit, Failure> {
    let query = SagaQuery {
        status: args.status,
        saga: args.saga,
        text: args.query,
        tag: args.tag,
        since: args.since,
        until: args.until,
        stalled: args.stalled,
        limit: Some(args.limit),
        cursor: args.cursor,
        ..SagaQuery::default()
    };
    let list = ask(&connect(&args.api)?, Call::sagas(&query)).await?;
    render::print_list(output, &list, render::sagas);
    if let (Output::Text, Some(cursor)) = (output, list["next"].as_str()) {
        say(&format!("there are more: add --cursor {cursor}"));
    }
    Ok(Exit::Ok)
}
