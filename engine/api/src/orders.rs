//! The operator's verbs: cancel, retry, resolve, close, pause, resume.
//!
//! Each is given on the saga as it was seen (`If-Match`), with who and why; only cancel may do without, because the
//! revision of a busy saga never stands still.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use redress_coordinator::OrderRequest;
use redress_core::decide::{Order, Resolution, Verb};
use redress_core::{JsonText, Name};
use serde::Deserialize;
use serde_json::Value;

use crate::Api;
use crate::extract::{Body, Id, OptionalBody};
use crate::problem::Problem;
use crate::sagas::with_etag;

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
    reason: String,
    actor: String,
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
enum Finding {
    Happened,
    NeverHappened,
    Compensated,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `reason`, `actor`, `step`, `finding` and perhaps `reply`"
)]
pub(crate) struct ResolveBody {
    reason: String,
    actor: String,
    step: Name,
    finding: Finding,
    #[serde(default)]
    reply: Option<Value>,
}

pub(crate) async fn cancel(
    State(api): State<Api>,
    Id(id): Id,
    headers: HeaderMap,
    OptionalBody(body): OptionalBody<CancelBody>,
) -> Result<Response, Problem> {
    let if_match = if_match(&headers)?.and_then(Condition::revision);
    let or = |given: Option<String>, default: &str| given.unwrap_or_else(|| default.to_owned());
    give(&api, id, Verb::Cancel, or(body.actor, "http"), or(body.reason, "no reason given"), if_match).await
}

pub(crate) async fn retry(
    State(api): State<Api>,
    Id(id): Id,
    headers: HeaderMap,
    Body(body): Body<RetryBody>,
) -> Result<Response, Problem> {
    let if_match = required(&headers)?;
    give(&api, id, Verb::Retry { step: body.step }, body.actor, body.reason, if_match).await
}

pub(crate) async fn resolve(
    State(api): State<Api>,
    Id(id): Id,
    headers: HeaderMap,
    Body(body): Body<ResolveBody>,
) -> Result<Response, Problem> {
    let if_match = required(&headers)?;
    let resolution = match (body.finding, body.reply) {
        (Finding::Happened, reply) => {
            let reply = reply.map_or_else(|| Ok(JsonText::null()), |reply| JsonText::of(&reply));
            Resolution::Happened { reply: reply.map_err(|error| unfit(error.to_string()))? }
        }
        (Finding::NeverHappened, None) => Resolution::NeverHappened,
        (Finding::Compensated, None) => Resolution::Compensated,
        (Finding::NeverHappened | Finding::Compensated, Some(_)) => {
            return Err(unfit("only what happened has a `reply`".to_owned()));
        }
    };
    let verb = Verb::Resolve { step: body.step, resolution };
    give(&api, id, verb, body.actor, body.reason, if_match).await
}

/// Close, pause and resume say nothing but who and why.
pub(crate) fn plain(verb: Verb) -> MethodRouter<Api> {
    post(async move |State(api): State<Api>, Id(id): Id, headers: HeaderMap, Body(body): Body<OrderBody>| {
        let if_match = required(&headers)?;
        give(&api, id, verb, body.actor, body.reason, if_match).await
    })
}

async fn give(
    api: &Api,
    id: redress_core::SagaId,
    verb: Verb,
    actor: String,
    reason: String,
    if_match: Option<i64>,
) -> Result<Response, Problem> {
    let order = Order { verb, actor: said("actor", &actor)?, reason: said("reason", &reason)? };
    let view = api.engine.order(id, OrderRequest { order, if_match }).await?;
    Ok((StatusCode::ACCEPTED, with_etag(view)).into_response())
}

/// What the audit log keeps for good must say something, and be storable.
fn said(field: &str, text: &str) -> Result<String, Problem> {
    let storable = text.replace('\0', "");
    if storable.trim().is_empty() {
        let what = if field == "actor" { "who gives the order" } else { "why the order is given" };
        return Err(unfit(format!("`{field}` is empty: say {what}; the history and the audit log keep it")));
    }
    Ok(storable)
}

fn unfit(detail: String) -> Problem {
    Problem::unprocessable("invalid-body", "The body does not fit", detail)
}

/// On what an order is given.
#[derive(Clone, Copy)]
enum Condition {
    Any,
    Revision(i64),
}

impl Condition {
    const fn revision(self) -> Option<i64> {
        match self {
            Self::Any => None,
            Self::Revision(revision) => Some(revision),
        }
    }
}

/// `If-Match` of an order that must have one; `*` says that any revision will do.
fn required(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let condition = if_match(headers)?.ok_or_else(|| {
        Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if-match-required",
            "The order says not on what it is given",
            "look at the saga first and send its ETag, as in `If-Match: \"9\"`; `*` if any revision will do",
        )
    })?;
    Ok(condition.revision())
}

fn if_match(headers: &HeaderMap) -> Result<Option<Condition>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(Some(Condition::Any));
    }
    text.trim_matches('"').parse().map(|revision| Some(Condition::Revision(revision))).map_err(|_| {
        let detail = "use the ETag of the saga, as in `If-Match: \"9\"`";
        Problem::bad_request("invalid-if-match", "The If-Match is unusable", detail)
    })
}
