//! `redress cancel`, `retry`, `resolve`, `close`, `pause` and `resume`

use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{OrderArgs, Output, ResolveArgs, RetryArgs};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::render;

/// Cancel needs no revision: that of a busy saga never stands still.
pub(crate) async fn cancel(args: OrderArgs, output: Output) -> Result<Exit, Failure> {
    let client = Client::new(&args.api)?;
    let revision = args.revision;
    give(&client, "cancel", &args, revision, json!({}), output).await
}

pub(crate) async fn retry(args: RetryArgs, output: Output) -> Result<Exit, Failure> {
    let more = args.step.map_or_else(|| json!({}), |step| json!({ "step": step }));
    on_what_is_seen("retry", &args.order, more, output).await
}

pub(crate) async fn resolve(args: ResolveArgs, output: Output) -> Result<Exit, Failure> {
    let mut more = json!({ "step": args.step, "finding": args.finding.as_str() });
    if args.finding.happened {
        let reply: Value = serde_json::from_str(&args.reply)
            .map_err(|error| Failure::usage(format!("--reply is not JSON: {error}")))?;
        more["reply"] = reply;
    }
    on_what_is_seen("resolve", &args.order, more, output).await
}

/// `close`, `pause` or `resume`.
pub(crate) async fn plain(verb: &str, args: OrderArgs, output: Output) -> Result<Exit, Failure> {
    on_what_is_seen(verb, &args, json!({}), output).await
}

/// Gives an order on the saga as it was seen, or is now.
async fn on_what_is_seen(verb: &str, args: &OrderArgs, more: Value, output: Output) -> Result<Exit, Failure> {
    let client = Client::new(&args.api)?;
    let revision = match args.revision {
        Some(revision) => Some(revision),
        None => client.get(&format!("/v1/sagas/{}", args.id)).await?["revision"].as_i64(),
    };
    give(&client, verb, args, revision, more, output).await
}

async fn give(
    client: &Client,
    verb: &str,
    args: &OrderArgs,
    revision: Option<i64>,
    mut body: Value,
    output: Output,
) -> Result<Exit, Failure> {
    body["actor"] = json!(args.actor());
    body["reason"] = json!(args.reason);
    let mut request = client.request(Method::POST, &format!("/v1/sagas/{}/{verb}", args.id)).json(&body);
    if let Some(revision) = revision {
        request = request.header("If-Match", format!("\"{revision}\""));
    }
    let saga = client.send(request).await?;
    render::print(output, &saga, |saga| render::saga(saga, None));
    Ok(Exit::Ok)
}
