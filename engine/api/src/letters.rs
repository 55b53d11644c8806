//! Dead letters over HTTP: list, groups, one, replay, discard.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use redress_coordinator::{LetterFilter, LetterRequest};
use redress_core::dead_letter::{LetterCode, LetterStatus, LetterVerb};
use redress_core::{SagaId, Timestamp};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::extract::{Asked, Body, Named};
use crate::operator::{OrderBody, said};
use crate::problem::Problem;
use crate::problem_type::ProblemType;
use crate::sagas::{PAGE_DEFAULT, PAGE_MAX, cursor, invalid_query, limit, time};
use crate::state::Api;

/// Which letters are meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LetterQuery {
    code: Option<String>,
    source: Option<String>,
    saga: Option<String>,
    status: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    limit: Option<i64>,
    cursor: Option<String>,
}

pub(crate) async fn list(
    State(api): State<Api>,
    Asked(query): Asked<LetterQuery>,
) -> Result<Response, Problem> {
    Ok(Json(api.engine.dead_letters(&filter(query)?).await?).into_response())
}

pub(crate) async fn groups(
    State(api): State<Api>,
    Asked(query): Asked<LetterQuery>,
) -> Result<Response, Problem> {
    let groups = api.engine.dead_letter_groups(&filter(query)?).await?;
    Ok(Json(json!({ "items": groups, "next": null })).into_response())
}

pub(crate) async fn one(State(api): State<Api>, LetterId(id): LetterId) -> Result<Response, Problem> {
    let letter = api.engine.dead_letter(id).await?;
    letter.map(|letter| Json(letter).into_response()).ok_or_else(|| unknown(&id.to_string()))
}

/// Replays or discards one letter.
pub(crate) fn change(verb: LetterVerb) -> MethodRouter<Api> {
    post(async move |State(api): State<Api>, LetterId(id): LetterId, Body(body): Body<OrderBody>| {
        let letter = api.engine.change_dead_letter(id, request(verb, &body)?).await?;
        Ok::<_, Problem>((StatusCode::ACCEPTED, Json(letter)).into_response())
    })
}

/// Replays or discards the letters that a query finds, a page of them: only kept ones unless it says otherwise.
pub(crate) fn change_all(verb: LetterVerb) -> MethodRouter<Api> {
    post(
        async move |State(api): State<Api>, Asked(query): Asked<LetterQuery>, Body(body): Body<OrderBody>| {
            let (filter, request) = (filter(query)?, request(verb, &body)?);
            Ok::<_, Problem>(Json(api.engine.change_dead_letters(filter, &request).await?).into_response())
        },
    )
}

fn request(verb: LetterVerb, body: &OrderBody) -> Result<LetterRequest, Problem> {
    let (actor, reason) = (said("actor", &body.actor)?, said("reason", &body.reason)?);
    Ok(LetterRequest { verb, actor, reason })
}

/// The letters that a query finds.
fn filter(query: LetterQuery) -> Result<LetterFilter, Problem> {
    let saga = |text: String| {
        text.parse::<SagaId>().map_err(|_| invalid_query("saga: give the whole id of a saga".to_owned()))
    };
    let code =
        |text: String| text.parse::<LetterCode>().map_err(|error| invalid_query(format!("code: {error}")));
    let status = |text: String| {
        text.parse::<LetterStatus>().map_err(|error| invalid_query(format!("status: {error}")))
    };
    Ok(LetterFilter {
        code: query.code.map(code).transpose()?,
        source: query.source,
        saga: query.saga.map(saga).transpose()?,
        status: query.status.map(status).transpose()?,
        since: query.since.map(time).transpose()?,
        until: query.until.map(time).transpose()?,
        after: query.cursor.as_deref().map(cursor::<Uuid>).transpose()?,
        limit: limit(query.limit, PAGE_DEFAULT, PAGE_MAX)?,
    })
}

/// The id of a letter in the path.
pub(crate) struct LetterId(Uuid);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for LetterId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Problem> {
        let Named(text) = Named::<String>::from_request_parts(parts, state).await?;
        Uuid::parse_str(&text).map(Self).map_err(|_| unknown(&text))
    }
}

/// 404: there is no such letter.
pub(crate) fn unknown(id: &str) -> Problem {
    let detail = format!("there is no dead letter `{}`", id.chars().take(80).collect::<String>());
    Problem::new(ProblemType::UnknownDeadLetter, detail)
}
