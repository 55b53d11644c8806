//! The operator's verbs: cancel, retry, answer, resolve, close, pause, resume.
//!
//! Each is given on the saga as it was seen (`If-Match`), with an actor and a reason; only cancel and answer may do
//! without: the revision of a busy saga never stands still, and the first answer counts whenever it comes.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use redress_coordinator::OperatorRequest;
use redress_core::decide::{OperatorCommand, Resolution, Verb};
use redress_core::inbox::GivenAnswer;
use redress_core::{JsonText, Name};
use serde::Deserialize;
use serde_json::Value;

use crate::conditions::{Condition, if_match, required};
use crate::extract::{Asked, Body, Id, Named, OptionalBody};
use crate::problem::Problem;
use crate::problem_type::ProblemType;
use crate::sagas::{ListQuery, filter, with_etag};
use crate::state::Api;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `reason` and `actor`")]
pub(crate) struct CancelBody {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    actor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `reason` and `actor`")]
pub(crate) struct OrderBody {
    pub(crate) reason: String,
    pub(crate) actor: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `reason`, `actor` and perhaps `step`")]
pub(crate) struct RetryBody {
    reason: String,
    actor: String,
    #[serde(default)]
    step: Option<Name>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ResolutionKind {
    Happened,
    NeverHappened,
    Compensated,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `reason`, `actor`, `step`, `resolution` and perhaps `reply`"
)]
pub(crate) struct ResolveBody {
    reason: String,
    actor: String,
    step: Name,
    resolution: ResolutionKind,
    #[serde(default)]
    reply: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `reason`, `actor` and `answer`")]
pub(crate) struct AnswerBody {
    reason: String,
    actor: String,
    answer: GivenAnswer,
}

pub(crate) async fn answer(
    State(api): State<Api>,
    Named((id, step)): Named<(String, String)>,
    headers: HeaderMap,
    Body(body): Body<AnswerBody>,
) -> Result<Response, Problem> {
    let if_match = if_match(&headers)?.and_then(Condition::revisions);
    let id = id.parse().map_err(|_| Problem::unknown_saga(&id))?;
    let step = Name::new(&step).map_err(|error| Problem::new(ProblemType::InvalidPath, error.to_string()))?;
    give(&api, id, Verb::Answer { step, answer: body.answer }, body.actor, body.reason, if_match).await
}

pub(crate) async fn cancel(
    State(api): State<Api>,
    Id(id): Id,
    headers: HeaderMap,
    OptionalBody(body): OptionalBody<CancelBody>,
) -> Result<Response, Problem> {
    let if_match = if_match(&headers)?.and_then(Condition::revisions);
    let or = |given: Option<String>, default: &str| given.unwrap_or_else(|| default.to_owned());
    give(&api, id, Verb::Cancel, or(body.actor, "http"), or(body.reason, "no reason given"), if_match).await
}

pub(crate) async fn retry(
    State(api): State<Api>,
    Id(id): Id,
    headers: HeaderMap,
    Body(body): Body<RetryBody>,
) -> Result<Response, Problem> {
    let if_match = required(&headers)?.revisions();
    give(&api, id, Verb::Retry { step: body.step }, body.actor, body.reason, if_match).await
}

/// Tries again the sagas that a query finds, a page of them: only parked ones unless it says otherwise.
pub(crate) async fn retry_all(
    State(api): State<Api>,
    Asked(query): Asked<ListQuery>,
    Body(body): Body<OrderBody>,
) -> Result<Response, Problem> {
    let filter = filter(query)?;
    let (actor, reason) = (said("actor", &body.actor)?, said("reason", &body.reason)?);
    Ok(Json(api.engine.retry_all(filter, &actor, &reason).await?).into_response())
}

pub(crate) async fn resolve(
    State(api): State<Api>,
    Id(id): Id,
    headers: HeaderMap,
    Body(body): Body<ResolveBody>,
) -> Result<Response, Problem> {
    let if_match = required(&headers)?.revisions();
    let resolution = match (body.resolution, body.reply) {
        (ResolutionKind::Happened, reply) => {
            let reply = reply.map_or_else(|| Ok(JsonText::null()), |reply| JsonText::of(&reply));
            Resolution::Happened { reply: reply.map_err(|error| unfit(error.to_string()))? }
        }
        (ResolutionKind::NeverHappened, None) => Resolution::NeverHappened,
        (ResolutionKind::Compensated, None) => Resolution::Compensated,
        (ResolutionKind::NeverHappened | ResolutionKind::Compensated, Some(_)) => {
            return Err(unfit("only what happened has a `reply`".to_owned()));
        }
    };
    let verb = Verb::Resolve { step: body.step, resolution };
    give(&api, id, verb, body.actor, body.reason, if_match).await
}

/// Close, pause and resume carry nothing but an actor and a reason.
pub(crate) fn plain(verb: Verb) -> MethodRouter<Api> {
    post(async move |State(api): State<Api>, Id(id): Id, headers: HeaderMap, Body(body): Body<OrderBody>| {
        let if_match = required(&headers)?.revisions();
        give(&api, id, verb, body.actor, body.reason, if_match).await
    })
}

async fn give(
    api: &Api,
    id: redress_core::SagaId,
    verb: Verb,
    actor: String,
    reason: String,
    if_match: Option<Vec<i64>>,
) -> Result<Response, Problem> {
    let command = OperatorCommand { verb, actor: said("actor", &actor)?, reason: said("reason", &reason)? };
    let view = api.engine.operate(id, OperatorRequest { command, if_match }).await?;
    Ok((StatusCode::ACCEPTED, with_etag(view)).into_response())
}

/// A text that the audit log keeps for good must say something, and be storable.
pub(crate) fn said(field: &str, text: &str) -> Result<String, Problem> {
    let storable = text.replace('\0', "");
    if storable.trim().is_empty() {
        let what = if field == "actor" { "who gives the order" } else { "why the order is given" };
        return Err(unfit(format!("`{field}` is empty: say {what}; the history and the audit log keep it")));
    }
    Ok(storable)
}

fn unfit(detail: String) -> Problem {
    Problem::new(ProblemType::InvalidBody, detail)
}
