//! `redress definitions`

use serde_json::{Value, json};

use crate::app::App;
use crate::args::{DefinitionsArgs, Output};
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
