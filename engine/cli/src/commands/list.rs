//! `redress list`

use clap::Args;
use redress_client::{Call, SagaQuery, SagaStatus, Timestamp};
use serde_json::Value;

use crate::args::{ApiArgs, Output};
use crate::client::{ask, connect};
use crate::failure::{Exit, Failure};
use crate::legible::say;
use crate::render;

/// Where the second part of a search begins: the sagas that have the text in their inputs.
const INPUTS: &str = "inputs";

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this status.
    #[arg(long)]
    pub(crate) status: Option<SagaStatus>,
    /// Only of this definition.
    #[arg(long)]
    pub(crate) saga: Option<String>,
    /// Only those whose id begins so, or whose key or the value of a label it is; then those with this text in the input.
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
    if let (Output::Text, Some(rest)) = (output, rest(&list)) {
        say(&rest);
    }
    Ok(Exit::Ok)
}

/// How to see what is not on this page, if there may be something.
fn rest(list: &Value) -> Option<String> {
    let cursor = list["next"].as_str()?;
    Some(match list["searched_back_to"].as_str() {
        Some(time) => {
            format!(
                "sagas that were started before {time} were not looked at: add --cursor {cursor} to go on"
            )
        }
        None if cursor == INPUTS => {
            format!(
                "these are the sagas that the text names: add --cursor {cursor} to search the inputs of the others"
            )
        }
        None => format!("there are more: add --cursor {cursor}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn list_says_how_far_it_looked_and_how_to_go_on() {
        let full = json!({ "items": [], "next": "7" });
        let searched = json!({ "next": "inputs.7", "searched_back_to": "2026-11-20T10:00:00Z" });
        let named = json!({ "next": "inputs" });
        let said: Vec<String> = [full, searched, named].iter().filter_map(rest).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        there are more: add --cursor 7
        sagas that were started before 2026-11-20T10:00:00Z were not looked at: add --cursor inputs.7 to go on
        these are the sagas that the text names: add --cursor inputs to search the inputs of the others
        ");
        assert_eq!(rest(&json!({ "next": null })), None);
    }
}
