//! `redress show`

use clap::Args;
use redress_client::Call;
use serde_json::json;

use crate::args::saga_ref::SagaRef;
use crate::args::{ApiArgs, Output};
use crate::client::{ask, connect, find, history};
use crate::failure::{Exit, Failure};
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The saga: its id, or the first digits of it.
    pub(crate) id: SagaRef,
    /// Show what happened, attempt by attempt, too.
    #[arg(long)]
    pub(crate) history: bool,
    /// Show what is still to be done, and what would be undone now, too.
    #[arg(long)]
    pub(crate) plan: bool,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

pub(crate) async fn run(args: ShowArgs, output: Output) -> Result<Exit, Failure> {
    let client = connect(&args.api)?;
    let id = find(&client, &args.id).await?;
    let mut saga = ask(&client, Call::saga(id)).await?;
    let rows = history(&client, id).await?;
    let plan = match args.plan {
        true => Some(ask(&client, Call::plan(id)).await?),
        false => None,
    };
    if output != Output::Text {
        if args.history {
            saga["history"] = json!(rows);
        }
        if let Some(plan) = &plan {
            saga["plan"] = plan.clone();
        }
    }
    render::print(output, &saga, |saga| {
        let mut text = render::saga(saga, Some(&rows));
        if let Some(plan) = &plan {
            text = format!("{text}\n{}", render::plan(plan));
        }
        if args.history {
            text = format!("{text}\n\n{}", render::history(&rows));
        }
        text
    });
    Ok(Exit::Ok)
}
