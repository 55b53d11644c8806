//! `redress show`

use crate::args::{Output, ShowArgs};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::render;

pub(crate) async fn run(args: ShowArgs, output: Output) -> Result<Exit, Failure> {
    let client = Client::new(&args.api)?;
    let mut saga = client.get(&format!("/v1/sagas/{}", args.id)).await?;
    let history = client.get(&format!("/v1/sagas/{}/history", args.id)).await?;
    let rows = history["items"].as_array().cloned().unwrap_or_default();
    let plan = match args.plan {
        true => Some(client.get(&format!("/v1/sagas/{}/plan", args.id)).await?),
        false => None,
    };
    if output != Output::Text {
        if args.history {
            saga["history"] = history["items"].clone();
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
