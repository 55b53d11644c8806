//! `redress fault`

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::args::{ApiArgs, FaultAddArgs, FaultArgs, FaultVerb, Output};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::render;

pub(crate) async fn run(args: FaultArgs, output: Output) -> Result<Exit, Failure> {
    match args.verb {
        FaultVerb::Add(args) => add(args, output).await,
        FaultVerb::List(api) => list(&api, output).await,
        FaultVerb::Clear(api) => clear(&api, output).await,
    }
}

async fn add(args: FaultAddArgs, output: Output) -> Result<Exit, Failure> {
    let mut fault = Map::new();
    for (name, text) in [
        ("saga", args.saga),
        ("service", args.service),
        ("step", args.step),
        ("command", args.command),
        ("phase", Some(args.phase)),
        ("kind", Some(args.kind)),
        ("code", args.code),
    ] {
        fault.extend(text.map(|text| (name.to_owned(), json!(text))));
    }
    fault.extend(args.ms.map(|ms| ("ms".to_owned(), json!(ms))));
    fault.extend(args.times.map(|times| ("times".to_owned(), json!(times))));
    fault.extend(args.seed.map(|seed| ("seed".to_owned(), json!(seed))));
    fault.extend(args.probability.map(|probability| ("probability".to_owned(), json!(probability))));
    let client = Client::new(&args.api)?;
    let added = client.send(client.request(Method::POST, "/v1/faults").json(&Value::Object(fault))).await?;
    render::print(output, &added, |added| format!("fault {} added: {}", added["id"], added["fault"]));
    Ok(Exit::Ok)
}

async fn list(api: &ApiArgs, output: Output) -> Result<Exit, Failure> {
    let list = Client::new(api)?.get("/v1/faults").await?;
    render::print_list(output, &list, |items| {
        if items.is_empty() {
            return "no faults".to_owned();
        }
        let line = |item: &Value| {
            let left =
                item["remaining"].as_u64().map_or("always".to_owned(), |times| format!("{times} left"));
            format!("{}  {left}  {}", item["id"], item["fault"])
        };
        items.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(Exit::Ok)
}

async fn clear(api: &ApiArgs, output: Output) -> Result<Exit, Failure> {
    let client = Client::new(api)?;
    let cleared = client.send(client.request(Method::DELETE, "/v1/faults")).await?;
    render::print(output, &cleared, |cleared| format!("faults cleared: {}", cleared["cleared"]));
    Ok(Exit::Ok)
}
