//! Events from outside over HTTP: to one saga, and to all open ones that bear a label.
//!
//! An event has an idempotency key, as a start has: a client that has no answer sends it again, and no saga takes it twice.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use redress_core::decide::GivenEvent;
use redress_core::{JsonText, Name, SagaId};
use serde::Deserialize;
use serde_json::Value;

use crate::extract::{Asked, Body, Named};
use crate::problem::Problem;
use crate::problem_type::ProblemType;
use crate::sagas::{cursor, etag, idempotency_key, invalid_query, tag};
use crate::state::Api;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `data`")]
pub(crate) struct EventBody {
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TagQuery {
    tag: Option<String>,
    cursor: Option<String>,
}

pub(crate) async fn send(
    State(api): State<Api>,
    Named((id, name)): Named<(String, String)>,
    headers: HeaderMap,
    Body(body): Body<EventBody>,
) -> Result<Response, Problem> {
    let id: SagaId = id.parse().map_err(|_| Problem::unknown_saga(&id))?;
    let sent = api.engine.send_event(id, event(&name, &headers, &body)?).await?;
    let etag = etag(&sent.saga);
    Ok((StatusCode::ACCEPTED, etag, Json(sent)).into_response())
}

/// To a page of the open sagas with a label: what each makes of it stands in the answer, and a refusal stops nothing.
pub(crate) async fn send_by_tag(
    State(api): State<Api>,
    Named(name): Named<String>,
    Asked(query): Asked<TagQuery>,
    headers: HeaderMap,
    Body(body): Body<EventBody>,
) -> Result<Response, Problem> {
    let missing = || invalid_query("tag: say for which sagas the event is, as `tag=name:value`".to_owned());
    let tag = tag(query.tag.as_deref().ok_or_else(missing)?)?;
    let after = query.cursor.as_deref().map(cursor::<SagaId>).transpose()?;
    let page = api.engine.send_event_by_tag(&tag, &event(&name, &headers, &body)?, after).await?;
    Ok((StatusCode::ACCEPTED, Json(page)).into_response())
}

fn event(name: &str, headers: &HeaderMap, body: &EventBody) -> Result<GivenEvent, Problem> {
    let advice = "send `Idempotency-Key: \"<something unique>\"`: no saga takes an event with the same key twice, so that it \
                  can be sent again";
    let key = idempotency_key(headers, advice)?;
    let name = Name::new(name).map_err(|error| Problem::new(ProblemType::InvalidPath, error.to_string()))?;
    let payload = JsonText::of(&body.data)
        .map_err(|error| Problem::new(ProblemType::InvalidBody, error.to_string()))?;
    Ok(GivenEvent { name, key, payload })
}
