//! `redress start`

use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::args::{Output, StartArgs};
use crate::client::Client;
use crate::commands::watch::until_it_rests;
use crate::failure::{Exit, Failure};
use crate::render;

/// How long `--wait` waits.
const WAIT_MAX: Duration = Duration::from_secs(300);

pub(crate) async fn run(args: StartArgs, output: Output) -> Result<Exit, Failure> {
    let client = Client::new(&args.api)?;
    let mut body = json!({ "saga": args.saga, "input": read_json(&args.input)? });
    if let Some(version) = args.version {
        body["version"] = json!(version);
    }
    if !args.fault.is_empty() {
        body["faults"] =
            args.fault.iter().map(|fault| read_json(fault)).collect::<Result<Value, Failure>>()?;
    }
    if !args.tag.is_empty() {
        body["tags"] =
            Value::Object(args.tag.iter().map(|tag| label(tag)).collect::<Result<Map<_, _>, _>>()?);
    }
    let key = args.key.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let request = client.request(Method::POST, "/v1/sagas").header("Idempotency-Key", format!("\"{key}\""));
    let mut saga = client.send(request.json(&body)).await?;
    if !args.wait {
        render::print(output, &saga, |saga| render::saga(saga, None));
        return Ok(Exit::Ok);
    }
    let id = saga["id"].as_str().unwrap_or_default().to_owned();
    saga = until_it_rests(&client, &id, WAIT_MAX).await?;
    let rows = client.history(&id).await?;
    render::print(output, &saga, |saga| render::saga(saga, Some(&rows)));
    Ok(Exit::of_status(saga["status"].as_str().unwrap_or_default()))
}

/// JSON, `@file` or `-`.
fn read_json(given: &str) -> Result<Value, Failure> {
    let text = match given.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("`{file}` could not be read"))?,
        None if given == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input could not be read")?;
            text
        }
        None => given.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("the JSON is malformed: {error}")))
}

fn label(tag: &str) -> Result<(String, Value), Failure> {
    let (name, value) = tag.split_once(':').ok_or_else(|| Failure::usage("a tag is name:value"))?;
    Ok((name.to_owned(), json!(value)))
}
