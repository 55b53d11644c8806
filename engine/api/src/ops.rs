//! Definitions, faults, probes, metrics, and what is not there.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use redress_core::SagaDefinition;
use redress_core::fault::Fault;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Api;
use crate::extract::{Asked, Body, Named};
use crate::problem::{PATH_CHARS_MAX, Problem};

fn described(definition: &SagaDefinition) -> Value {
    let mut graph = definition.graph();
    graph["digest"] = json!(definition.digest);
    graph
}

pub(crate) async fn definitions(State(api): State<Api>) -> Result<Response, Problem> {
    let mut items: Vec<Value> = api.engine.definitions().iter().map(described).collect();
    // What can be started is known without the database; how many there are is left out when it does not say.
    for (saga, version, status, count) in api.engine.census().await.unwrap_or_default() {
        let same = |item: &&mut Value| item["saga"] == json!(saga) && item["version"] == json!(version);
        if let Some(item) = items.iter_mut().find(same) {
            item["sagas"][status] = json!(count);
        }
    }
    // A version without open sagas can be taken out of the program; one that is not known here waits for a program.
    let live = api.engine.live().await.unwrap_or_default();
    for item in &mut items {
        let open = live.iter().find(|live| item["saga"] == live.saga && item["version"] == live.version);
        item["open"] = json!(open.map_or(0, |live| live.open));
        item["known_here"] = json!(true);
    }
    for unknown in live.iter().filter(|live| !live.known_here) {
        items.push(json!(unknown));
    }
    Ok(Json(json!({ "items": items, "next": null })).into_response())
}

fn find<'a>(api: &'a Api, saga: &str, version: &str) -> Result<&'a SagaDefinition, Problem> {
    let wanted = version.parse::<u32>().ok();
    api.engine.definitions().iter().find(|d| d.name == *saga && Some(d.version) == wanted).ok_or_else(|| {
        let detail = "GET /v1/definitions lists those that are known here";
        Problem::new(StatusCode::NOT_FOUND, "unknown-definition", "No such saga definition", detail)
    })
}

pub(crate) async fn definition(
    State(api): State<Api>,
    Named((saga, version)): Named<(String, String)>,
) -> Result<Response, Problem> {
    Ok(Json(described(find(&api, &saga, &version)?)).into_response())
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

pub(crate) async fn add_fault(State(api): State<Api>, Body(fault): Body<Fault>) -> Result<Response, Problem> {
    let id = api.engine.add_fault(&fault).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "fault": fault }))).into_response())
}

pub(crate) async fn clear_faults(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(Json(json!({ "cleared": api.engine.clear_faults().await? })).into_response())
}

pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

#[derive(Deserialize)]
pub(crate) struct ReadyQuery {
    verbose: Option<String>,
}

pub(crate) async fn readyz(
    State(api): State<Api>,
    Asked(query): Asked<ReadyQuery>,
) -> Result<Response, Problem> {
    let readiness = api.engine.readiness().await;
    if !readiness.ready {
        let detail = "it goes on by itself when everything is back";
        let problem =
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Something is missing", detail);
        let problem = problem.with("database", readiness.database).with("broker", readiness.broker);
        return Err(problem.with("mode", readiness.mode));
    }
    Ok(if query.verbose.is_some() { Json(readiness).into_response() } else { "ok\n".into_response() })
}

/// Lets a coordinator that was started paused move its sagas.
pub(crate) async fn begin(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "was_paused": api.engine.begin() }))
}

pub(crate) async fn metrics(State(api): State<Api>) -> Response {
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], api.engine.metrics().encode()).into_response()
}

pub(crate) async fn unknown_path(uri: Uri) -> Problem {
    let detail = format!("there is nothing at `{}`", short(&uri));
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", "No such path", detail)
}

pub(crate) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("`{}` takes no {method}", short(&uri));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "The path takes another method", detail)
}

fn short(uri: &Uri) -> String {
    uri.path().chars().take(PATH_CHARS_MAX).collect()
}
