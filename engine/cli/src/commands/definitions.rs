//! `redress definitions`

use std::borrow::Cow;
use std::time::Duration;

use clap::Args;
use redress_client::{Call, Client};
use redress_core::behaviour::Behaviour;
use serde_json::{Value, json};

use crate::args::{ApiArgs, Output};
use crate::client::{ask, config, connect};
use crate::failure::{Exit, Failure};
use crate::legible::say;
use crate::program::App;
use crate::render::{self, text};

#[derive(Debug, Args)]
pub(crate) struct DefinitionsArgs {
    /// Print the diagram of this one (mermaid).
    #[arg(long)]
    pub(crate) diagram: Option<String>,
    /// Ask a coordinator how many sagas of each version are open, and which versions are no longer needed.
    #[arg(long)]
    pub(crate) live: bool,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// How long a coordinator may take to report the open sagas if the user did not ask for them with `--live`: the
/// definitions are known without it.
const ASIDE_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn run(app: App, args: DefinitionsArgs, output: Output) -> Result<Exit, Failure> {
    if let Some(name) = &args.diagram {
        return diagram(&app, name, output);
    }
    if args.live {
        let live = ask(&connect(&args.api)?, Call::definitions()).await?;
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
        let mut graph = definition.described();
        let behaviour = Behaviour::of(definition);
        graph["behaviour"] = json!({
            "digest": behaviour.digest(),
            "examples": behaviour.examples.len(),
            "made_anew": behaviour.made_anew,
            "unreadable": behaviour.unreadable,
        });
        graph
    };
    app.definitions.iter().map(described).collect()
}

/// The versions and open sagas that a coordinator reports, if one answers.
async fn counted(args: &DefinitionsArgs) -> Vec<Value> {
    let asked = async {
        let mut config = config(&args.api);
        config.answer_timeout = ASIDE_TIMEOUT;
        ask(&Client::new(config).map_err(Failure::of_client)?, Call::definitions().once()).await
    };
    match asked.await {
        Ok(list) => list["items"].as_array().cloned().unwrap_or_default(),
        Err(failure) => {
            say(&format!("how many sagas are open is not known: {}", failure.error()));
            Vec::new()
        }
    }
}

/// Own definitions with their open sagas (null if not known), then versions that only the coordinator knows, or only
/// its sagas.
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
    let step = |step: &Value| {
        // By default a step is delivered exactly once, and a notification at most once.
        let delivery = step["delivery"].as_str().filter(|delivery| *delivery == "at-least-once");
        let delivery = delivery.map(|delivery| format!(", {delivery}")).unwrap_or_default();
        format!("{} ({}{delivery})", text(&step["name"]), text(&step["kind"]))
    };
    let steps: Vec<String> = item["steps"].as_array().into_iter().flatten().map(step).collect();
    let mut lines = vec![head];
    if !steps.is_empty() {
        lines.push(format!("  {}", steps.join(" → ")));
    }
    lines.extend(policies(item));
    lines.extend(covered(&item["behaviour"]));
    lines.join("\n")
}

/// One line for each policy, with the steps that have it: those of the actions, then those of the compensations.
fn policies(item: &Value) -> Vec<String> {
    let steps = || item["steps"].as_array().into_iter().flatten();
    let of_actions = steps().map(|step| (&step["policy"], text(&step["name"]).into_owned()));
    let of_undo = |step: &Value| format!("undo of {}", text(&step["name"]));
    let of_compensations = steps().map(|step| (&step["compensation"]["policy"], of_undo(step)));
    let mut grouped: Vec<(Cow<'_, str>, Vec<String>)> = Vec::new();
    for (policy, name) in of_actions.chain(of_compensations).filter(|(policy, _)| policy.is_string()) {
        let policy = text(policy);
        match grouped.iter_mut().find(|(other, _)| *other == policy) {
            Some((_, names)) => names.push(name),
            None => grouped.push((policy, vec![name])),
        }
    }
    grouped.iter().map(|(policy, names)| format!("  {policy}: {}", names.join(", "))).collect()
}

/// The behaviour that is bound to the version besides the shape, if it was tried here.
fn covered(behaviour: &Value) -> Option<String> {
    let list = |field: &str| -> Vec<&str> {
        behaviour[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let mut line = match (behaviour["examples"].as_u64()?, list("unreadable").first()) {
        (0, None) => "  closures may change unnoticed: no example was given".to_owned(),
        (0, Some(problem)) => format!("  closures may change unnoticed: no example can be read ({problem})"),
        (1, _) => "  what the closures make of 1 example is bound to this version".to_owned(),
        (count, _) => format!("  what the closures make of {count} examples is bound to this version"),
    };
    let made_anew = list("made_anew");
    if !made_anew.is_empty() {
        line.push_str(&format!(", but for what is made anew each time: {}", made_anew.join(", ")));
    }
    Some(line)
}

/// One line for each version: its open sagas, and if it may be deleted.
fn live_versions(items: &[Value]) -> String {
    items.iter().map(version_line).collect::<Vec<_>>().join("\n")
}

/// `place-order v1  5c03a1f2b7de  0 open  nothing open: safe to delete once a newer version is deployed`
fn version_line(item: &Value) -> String {
    let mut words = vec![format!("{} v{}", text(&item["saga"]), render::inline(&item["version"]))];
    words.extend(text(&item["digest"]).get(..12).map(str::to_owned));
    // Nothing is said of an unknown count: silence is no permission to delete.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: u32, open: Value, known_here: bool) -> Value {
        json!({ "saga": "sell", "version": version, "open": open, "known_here": known_here })
    }

    #[test]
    fn version_is_safe_to_delete_only_without_open_sagas() {
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
    fn definitions_are_listed_with_open_count_or_without_coordinator() {
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

    #[test]
    fn definition_says_how_long_its_steps_are_tried() {
        let step = |name: &str, policy: &str, undo: Option<&str>| {
            let mut step = json!({ "name": name, "kind": "compensatable", "policy": policy });
            step["compensation"] = undo.map_or(Value::Null, |policy| json!({ "policy": policy }));
            step
        };
        let undo = Some("tried at most 20 times, then parked; in silence for ever");
        let item = json!({ "saga": "sell", "version": 1, "steps": [
            step("charge", "tried for at most 2 min, then settled", undo),
            step("reserve", "tried for at most 15 min, then settled", undo),
            step("ship", "tried for at most 2 min, then settled", None),
        ]});
        let mut item = item;
        item["steps"][2]["delivery"] = json!("at-least-once");
        insta::assert_snapshot!(line(&item), @r"
        sell v1
          charge (compensatable) → reserve (compensatable) → ship (compensatable, at-least-once)
          tried for at most 2 min, then settled: charge, ship
          tried for at most 15 min, then settled: reserve
          tried at most 20 times, then parked; in silence for ever: undo of charge, undo of reserve
        ");
    }

    #[test]
    fn definition_behaviour_bound_to_version_is_described() {
        let said = |examples: u64, made_anew: Value, unreadable: Value| {
            let behaviour = json!({ "examples": examples, "made_anew": made_anew, "unreadable": unreadable });
            covered(&behaviour).unwrap()
        };
        let all = [
            said(4, json!([]), json!([])),
            said(1, json!(["charge/command/id"]), json!(["at `/to`, no IBAN"])),
            said(0, json!([]), json!(["at `/to`, no IBAN"])),
            said(0, json!([]), json!([])),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
          what the closures make of 4 examples is bound to this version
          what the closures make of 1 example is bound to this version, but for what is made anew each time: charge/command/id
          closures may change unnoticed: no example can be read (at `/to`, no IBAN)
          closures may change unnoticed: no example was given
        ");
        assert_eq!(covered(&Value::Null), None, "of a strange version nothing is said");
    }
}
