//! `redress definitions`

use serde_json::{Value, json};

use crate::app::App;
use crate::args::{DefinitionsArgs, Output};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::render;

pub(crate) async fn run(app: App, args: DefinitionsArgs, output: Output) -> Result<Exit, Failure> {
    if let Some(name) = args.diagram {
        let newest = app.definitions.iter().filter(|d| d.name == *name.as_str()).max_by_key(|d| d.version);
        let definition = newest.ok_or_else(|| {
            Failure::new(5, anyhow::anyhow!("there is no saga named `{name}`")).remedy("redress definitions")
        })?;
        render::emit(&definition.to_mermaid());
        return Ok(Exit::Ok);
    }
    if args.live {
        let client = Client::new(&args.api)?;
        let live = client.get("/v1/definitions").await?;
        render::print_list(output, &live, live_versions);
        return Ok(Exit::Ok);
    }
    let items: Vec<Value> = app
        .definitions
        .iter()
        .map(|definition| {
            let mut graph = definition.graph();
            graph["digest"] = json!(definition.digest);
            graph
        })
        .collect();
    render::print_list(output, &json!({ "items": items, "next": null }), |_| {
        let line = |definition: &redress_core::SagaDefinition| {
            let steps: Vec<String> = definition
                .steps
                .iter()
                .map(|step| format!("{} ({})", step.name, step.kind.as_str()))
                .collect();
            format!(
                "{} v{}  {}\n  {}",
                definition.name,
                definition.version,
                &definition.digest[..12],
                steps.join(" → ")
            )
        };
        app.definitions.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(Exit::Ok)
}

/// One line for each version: what is open, and what may go.
fn live_versions(items: &[Value]) -> String {
    let line = |item: &Value| {
        let (saga, version) = (item["saga"].as_str().unwrap_or_default(), &item["version"]);
        let open = item["open"].as_i64().unwrap_or_default();
        let note = match (item["known_here"].as_bool().unwrap_or_default(), open) {
            (true, 0) => "nothing open: safe to delete once a newer version is deployed",
            (true, _) => "",
            (false, _) => "not known there: these sagas wait for a coordinator that knows them",
        };
        format!("{saga} v{version}  {open} open  {note}").trim_end().to_owned()
    };
    items.iter().map(line).collect::<Vec<_>>().join("\n")
}
