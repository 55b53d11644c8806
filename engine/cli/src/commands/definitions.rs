//! `redress definitions`

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::App;
use crate::args::{DefinitionsArgs, Output};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::render;

/// How long a coordinator may take to say what is open when nobody asked for it by name: the definitions are known
/// without it.
const ASIDE_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn run(app: App, args: DefinitionsArgs, output: Output) -> Result<Exit, Failure> {
    if let Some(name) = &args.diagram {
        return diagram(&app, name, output);
    }
    if args.live {
        let live = Client::new(&args.api)?.get("/v1/definitions").await?;
        let open = live["items"].as_array().ok_or_else(|| anyhow::anyhow!("the answer is no list"))?;
        if open.iter().any(|item| !item["open"].is_i64()) {
            let error = anyhow::anyhow!("the coordinator cannot say how many sagas are open")
                .context("which versions may go is not known");
            return Err(Failure::unavailable(error)
                .remedy("ask again when its database is back: GET /readyz says what is missing"));
        }
        render::print_list(output, &live, live_versions);
        return Ok(Exit::Ok);
    }
    let items = with_open(own(&app), counted(&args).await);
    render::print_list(output, &json!({ "items": items, "next": null }), |items| {
        items.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(Exit::Ok)
}

fn diagram(app: &App, name: &str, output: Output) -> Result<Exit, Failure> {
    let newest = app.definitions.iter().filter(|d| d.name == *name).max_by_key(|d| d.version);
    let definition = newest.ok_or_else(|| {
        Failure::new(5, anyhow::anyhow!("there is no saga named `{name}`")).remedy("redress definitions")
    })?;
    render::print(output, &json!({ "diagram": definition.to_mermaid() }), |_| definition.to_mermaid());
    Ok(Exit::Ok)
}

/// The definitions of this program.
fn own(app: &App) -> Vec<Value> {
    let described = |definition: &redress_core::SagaDefinition| {
        let mut graph = definition.graph();
        graph["digest"] = json!(definition.digest);
        graph
    };
    app.definitions.iter().map(described).collect()
}

/// What a coordinator says is open, if there is one that answers.
async fn counted(args: &DefinitionsArgs) -> Vec<Value> {
    let asked = async {
        let client = Client::new(&args.api)?;
        client.send(client.request(Method::GET, "/v1/definitions").timeout(ASIDE_TIMEOUT)).await
    };
    match asked.await {
        Ok(list) => list["items"].as_array().cloned().unwrap_or_default(),
        Err(failure) => {
            eprintln!("how many sagas are open is not known: {}", failure.error());
            Vec::new()
        }
    }
}

/// Own definitions with what is open of each (null if it is not known), then versions that only the coordinator knows,
/// or only its sagas.
fn with_open(mut own: Vec<Value>, counted: Vec<Value>) -> Vec<Value> {
    let same = |a: &Value, b: &Value| a["saga"] == b["saga"] && a["version"] == b["version"];
    for item in &mut own {
        let there = counted.iter().find(|counted| same(counted, item)).unwrap_or(&Value::Null);
        item["open"] = there["open"].clone();
        item["known_here"] = there["known_here"].clone();
    }
    let strange: Vec<Value> =
        counted.into_iter().filter(|counted| !own.iter().any(|item| same(item, counted))).collect();
    own.extend(strange);
    own
}

/// A definition with its steps, if they are known.
fn line(item: &Value) -> String {
    let head = version_line(item);
    let step = |step: &Value| format!("{} ({})", text(&step["name"]), text(&step["kind"]));
    let steps: Vec<String> = item["steps"].as_array().into_iter().flatten().map(step).collect();
    if steps.is_empty() { head } else { format!("{head}\n  {}", steps.join(" → ")) }
}

/// One line for each version: what is open, and what may go.
fn live_versions(items: &[Value]) -> String {
    items.iter().map(version_line).collect::<Vec<_>>().join("\n")
}

/// `place-order v1  5c03a1f2b7de  0 open  nothing open: safe to delete once a newer version is deployed`
fn version_line(item: &Value) -> String {
    let mut words = vec![format!("{} v{}", text(&item["saga"]), item["version"])];
    words.extend(item["digest"].as_str().and_then(|digest| digest.get(..12)).map(str::to_owned));
    // Of what is not known nothing is said: silence is no leave.
    if let Some(open) = item["open"].as_i64() {
        words.push(format!("{open} open"));
        match (item["known_here"].as_bool().unwrap_or_default(), open) {
            (true, 0) => {
                words.push("nothing open: safe to delete once a newer version is deployed".to_owned())
            }
            (true, _) => {}
            (false, _) => {
                words.push("not known there: these sagas wait for a coordinator that knows them".to_owned());
            }
        }
    }
    words.join("  ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: u32, open: Value, known_here: bool) -> Value {
        json!({ "saga": "sell", "version": version, "open": open, "known_here": known_here })
    }

    #[test]
    fn only_a_version_of_which_nothing_is_open_is_safe_to_delete() {
        let items = [
            version(1, json!(0), true),
            version(2, json!(3), true),
            version(3, json!(1), false),
            version(4, json!(null), true),
        ];
        insta::assert_snapshot!(live_versions(&items), @r"
        sell v1  0 open  nothing open: safe to delete once a newer version is deployed
        sell v2  3 open
        sell v3  1 open  not known there: these sagas wait for a coordinator that knows them
        sell v4
        ");
    }

    #[test]
    fn own_definitions_are_told_with_what_is_open_and_without_if_nobody_answers() {
        let own = || {
            vec![
                json!({ "saga": "sell", "version": 2, "digest": "0123456789abcdef", "steps": [{ "name": "charge", "kind": "pivot" }] }),
            ]
        };
        let told =
            |counted: Vec<Value>| with_open(own(), counted).iter().map(line).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(told(vec![version(2, json!(0), true), version(1, json!(7), false)]), @r"
        sell v2  0123456789ab  0 open  nothing open: safe to delete once a newer version is deployed
          charge (pivot)
        sell v1  7 open  not known there: these sagas wait for a coordinator that knows them
        ");
        insta::assert_snapshot!(told(Vec::new()), @r"
        sell v2  0123456789ab
          charge (pivot)
        ");
        assert_eq!(with_open(own(), Vec::new())[0]["open"], Value::Null);
    }
}
