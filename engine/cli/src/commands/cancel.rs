//! `redress cancel`

use reqwest::Method;
use serde_json::json;

use crate::args::{CancelArgs, Output};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::render;

pub(crate) async fn run(args: CancelArgs, output: Output) -> Result<Exit, Failure> {
    let client = Client::new(&args.api)?;
    let mut body = json!({ "actor": "cli" });
    if let Some(reason) = args.reason {
        body["reason"] = json!(reason);
    }
    let request = client.request(Method::POST, &format!("/v1/sagas/{}/cancel", args.id)).json(&body);
    let saga = client.send(request).await?;
    render::print(output, &saga, |saga| render::saga(saga, None));
    Ok(Exit::Ok)
}
