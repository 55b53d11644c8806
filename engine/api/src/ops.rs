//! Definitions, faults, and the answer for paths that are not there.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use redress_core::SagaDefinition;
use serde_json::{Map, Value, json};

use crate::extract::{Body, Named};
use crate::problem::{PATH_CHARS_MAX, Problem};
use crate::problem_type::ProblemType;
use crate::state::Api;

pub(crate) async fn definitions(State(api): State<Api>) -> Result<Response, Problem> {
    let mut items: Vec<Value> =
        api.engine.definitions().iter().map(|definition| definition.described()).collect();
    // The definitions that can be started are known without the database. How many sagas there are is not: `open` is
    // null then and `sagas` is left out, as a zero would read as leave to delete the version.
    let counted = tokio::join!(api.engine.census(), api.engine.live());
    match counted.0.and_then(|census| Ok((census, counted.1?))) {
        Ok((census, live)) => count(&mut items, &census, live.iter().map(|live| json!(live)).collect()),
        Err(error) => {
            tracing::warn!(%error, "failed to count open sagas");
            for item in &mut items {
                item["open"] = Value::Null;
                item["known_here"] = json!(true);
            }
        }
    }
    Ok(Json(json!({ "items": items, "next": null })).into_response())
}

/// Adds how many sagas of each version there are, and the versions that are open and not known here: a version without
/// open sagas can be taken out of the program; one that is not known here waits for a program.
fn count(items: &mut Vec<Value>, census: &[(String, u32, String, i64)], live: Vec<Value>) {
    for item in items.iter_mut() {
        let (saga, version) = (&item["saga"], &item["version"]);
        let stand = census.iter().filter(|(name, number, _, _)| saga == name && version == number);
        let sagas: Map<String, Value> =
            stand.map(|(_, _, status, count)| (status.clone(), json!(count))).collect();
        let open = live.iter().find(|live| live["saga"] == *saga && live["version"] == *version);
        let open = open.map_or(json!(0), |live| live["open"].clone());
        item["sagas"] = Value::Object(sagas);
        item["open"] = open;
        item["known_here"] = json!(true);
    }
    items.extend(live.into_iter().filter(|live| live["known_here"] == false));
}

fn find<'a>(api: &'a Api, saga: &str, version: &str) -> Result<&'a SagaDefinition, Problem> {
    let wanted = version.parse::<u32>().ok();
    let known = api.engine.definitions().iter().find(|d| d.name == *saga && Some(d.version) == wanted);
    known.map(|definition| &**definition).ok_or_else(|| {
        let detail = "GET /v1/definitions lists those that are known here";
        Problem::new(ProblemType::UnknownDefinition, detail)
    })
}

pub(crate) async fn definition(
    State(api): State<Api>,
    Named((saga, version)): Named<(String, String)>,
) -> Result<Response, Problem> {
    Ok(Json(find(&api, &saga, &version)?.described()).into_response())
}

pub(crate) async fn diagram(
    State(api): State<Api>,
    Named((saga, version)): Named<(String, String)>,
) -> Result<Response, Problem> {
    Ok(find(&api, &saga, &version)?.to_mermaid().into_response())
}

pub(crate) async fn faults(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(Json(json!({ "items": api.engine.faults().await?, "next": null })).into_response())
}

pub(crate) async fn add_fault(State(api): State<Api>, Body(given): Body<Value>) -> Result<Response, Problem> {
    let fault = api.engine.read_fault(given)?;
    let id = api.engine.add_fault(&fault).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "fault": fault }))).into_response())
}

pub(crate) async fn remove_fault(
    State(api): State<Api>,
    Named(id): Named<String>,
) -> Result<Response, Problem> {
    // A number that no fault can have is one that none has.
    let is_removed = match id.parse() {
        Ok(number) => api.engine.remove_fault(number).await?,
        Err(_) => false,
    };
    if !is_removed {
        let shown: String = id.chars().take(PATH_CHARS_MAX).collect();
        let detail =
            format!("there is no standing fault `{shown}`; GET /v1/faults lists those that are there");
        return Err(Problem::new(ProblemType::UnknownFault, detail));
    }
    Ok(Json(json!({ "cleared": 1 })).into_response())
}

pub(crate) async fn clear_faults(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(Json(json!({ "cleared": api.engine.clear_faults().await? })).into_response())
}

/// Lets a coordinator that was started paused move its sagas.
pub(crate) async fn begin(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "was_paused": api.engine.begin() }))
}

pub(crate) async fn unknown_path(uri: Uri) -> Problem {
    let detail = format!("there is nothing at `{}`", short(&uri));
    Problem::new(ProblemType::UnknownPath, detail)
}

pub(crate) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("`{}` takes no {method}", short(&uri));
    Problem::new(ProblemType::WrongMethod, detail)
}

fn short(uri: &Uri) -> String {
    uri.path().chars().take(PATH_CHARS_MAX).collect()
}
