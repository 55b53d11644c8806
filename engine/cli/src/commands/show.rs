//! `redress show`

use serde_json::json;

use crate::args::{Output, ShowArgs};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::render;

pub(crate) async fn run(args: ShowArgs, output: Output) -> Result<Exit, Failure> {
    let client = Client::new(&args.api)?;
    let mut saga = client.get(&format!("/v1/sagas/{}", args.id)).await?;
    let rows = client.history(&args.id.to_string()).await?;
    let plan = match args.plan {
        true => Some(client.get(&format!("/v1/sagas/{}/plan", args.id)).await?),
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
