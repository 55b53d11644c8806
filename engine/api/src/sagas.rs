//! Sagas over HTTP: start, list, one, history, plan, cancel.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Datelike as _;
use redress_coordinator::ports::ListCursor;
use redress_coordinator::{Include, ListFilter, PlanError, SagaView, StartRequest};
use redress_core::Timestamp;
use redress_core::state::{ParkCode, Status};
use serde::Deserialize;
use serde_json::Value;

use crate::extract::{Asked, Body, Id};
use crate::problem::Problem;
use crate::problem_type::ProblemType;
use crate::state::Api;

/// The longest that a request waits for the end of a saga.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Items on a page, if nothing else is asked for, and at the most.
pub(crate) const PAGE_DEFAULT: i64 = 50;
pub(crate) const PAGE_MAX: i64 = 200;
/// The longest text that is searched for, in characters: a line of an address and more.
const SEARCH_CHARS_MAX: usize = 200;
/// Rows of history on a page, if nothing else is asked for, and at the most.
const HISTORY_PAGE_MAX: i64 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `saga` and `input`")]
pub(crate) struct StartBody {
    saga: String,
    input: Value,
    #[serde(default)]
    version: Option<u32>,
    #[serde(default)]
    faults: Option<Value>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartQuery {
    #[serde(default)]
    wait: Option<String>,
}

pub(crate) async fn start(
    State(api): State<Api>,
    Asked(query): Asked<StartQuery>,
    headers: HeaderMap,
    Body(body): Body<StartBody>,
) -> Result<Response, Problem> {
    let advice = "send `Idempotency-Key: \"<something unique>\"`: the same key is the same saga, so a start can be repeated";
    let key = idempotency_key(&headers, advice)?;
    let wait = query.wait.as_deref().map(duration).transpose()?;
    let request = StartRequest {
        saga: body.saga,
        version: body.version,
        input: body.input,
        key,
        faults: body.faults,
        tags: body.tags,
        traceparent: traceparent(&headers),
    };
    let (id, view) = match wait {
        Some(wait) => {
            let awaited = api.engine.start_awaited(request).await?;
            let id = awaited.started.id;
            let view = tokio::select! {
                view = awaited.ended(wait) => view?,
                () = api.shutdown.cancelled() => api.engine.saga(id).await?,
            };
            (id, view)
        }
        None => {
            let id = api.engine.start_request(request).await?.id;
            (id, api.engine.saga(id).await?)
        }
    };
    let view = view.ok_or_else(|| Problem::unknown_saga(&id.to_string()))?;
    let mut response = (StatusCode::ACCEPTED, with_etag(view)).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/sagas/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The key as a structured-field string (`"abc"`) or bare.
pub(crate) fn idempotency_key(headers: &HeaderMap, advice: &str) -> Result<String, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Err(Problem::new(ProblemType::MissingIdempotencyKey, advice));
    };
    let text = value.to_str().unwrap_or_default().trim();
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Ok(bare.to_owned())
}

/// The W3C trace context, if it looks like one.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let fine = text.len() == 55 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    fine.then(|| text.to_owned())
}

/// `10s`, `500ms` or `2m`, at most a minute.
fn duration(text: &str) -> Result<Duration, Problem> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_ms = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        _ => 0,
    };
    match number.parse::<u64>() {
        Ok(number) if unit_ms > 0 => Ok(Duration::from_millis(number.saturating_mul(unit_ms)).min(WAIT_MAX)),
        Ok(_) | Err(_) => Err(Problem::new(
            ProblemType::InvalidQuery,
            format!(
                "wait: `{}` is no duration; use 500ms, 10s or 1m",
                text.chars().take(40).collect::<String>()
            ),
        )),
    }
}

pub(crate) fn with_etag(view: SagaView) -> Response {
    (etag(&view), Json(view)).into_response()
}

/// The header that names the revision of a saga.
pub(crate) fn etag(view: &SagaView) -> HeaderMap {
    let etag = HeaderValue::from_str(&format!("\"{}\"", view.revision));
    etag.map(|etag| (header::ETAG, etag)).into_iter().collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    status: Option<String>,
    code: Option<String>,
    saga: Option<String>,
    q: Option<String>,
    tag: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    stalled: Option<bool>,
    limit: Option<i64>,
    cursor: Option<String>,
    include: Option<String>,
}

pub(crate) async fn list(
    State(api): State<Api>,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, Problem> {
    Ok(Json(api.engine.sagas(filter(query)?).await?).into_response())
}

/// The sagas that a query finds.
pub(crate) fn filter(query: ListQuery) -> Result<ListFilter, Problem> {
    Ok(ListFilter {
        limit: limit(query.limit, PAGE_DEFAULT, PAGE_MAX)?,
        after: query.cursor.as_deref().map(cursor::<ListCursor>).transpose()?,
        tag: query.tag.as_deref().map(tag).transpose()?,
        status: query.status.map(status).transpose()?,
        code: query.code.map(code).transpose()?,
        saga: query.saga,
        text: query.q.map(searched).transpose()?,
        include: query.include.as_deref().map(include).transpose()?.unwrap_or_default(),
        since: query.since.map(time).transpose()?,
        until: query.until.map(time).transpose()?,
        stalled: query.stalled.unwrap_or(false),
        stalled_before: None,
    })
}

fn code(text: String) -> Result<String, Problem> {
    let known = ParkCode::ALL.map(ParkCode::as_str);
    if known.contains(&text.as_str()) {
        return Ok(text);
    }
    Err(invalid_query(format!("code: use one of {}", known.join(", "))))
}

/// The parts that are shown of each saga, a comma between.
fn include(text: &str) -> Result<Include, Problem> {
    text.split(',').try_fold(Include::default(), |include, part| match part {
        "input" => Ok(Include { input: true, ..include }),
        "data" => Ok(Include { data: true, ..include }),
        "replies" => Ok(Include { replies: true, ..include }),
        _ => Err(invalid_query("include: use some of input, data, replies, with a comma between".to_owned())),
    })
}

fn searched(text: String) -> Result<String, Problem> {
    match text.chars().count() {
        0..=SEARCH_CHARS_MAX => Ok(text),
        chars => {
            Err(invalid_query(format!("q: {chars} characters are too many; use {SEARCH_CHARS_MAX} or less")))
        }
    }
}

pub(crate) fn invalid_query(detail: String) -> Problem {
    Problem::new(ProblemType::InvalidQuery, detail)
}

pub(crate) fn limit(given: Option<i64>, default: i64, max: i64) -> Result<i64, Problem> {
    match given.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        limit => Err(invalid_query(format!("limit: {limit} is out of range; use 1 to {max}"))),
    }
}

pub(crate) fn cursor<T: std::str::FromStr>(text: &str) -> Result<T, Problem> {
    let detail = "the cursor is not one that a list gave as `next`; begin again without it";
    text.parse().map_err(|_| Problem::new(ProblemType::InvalidCursor, detail))
}

fn status(text: String) -> Result<String, Problem> {
    if Status::WORDS.contains(&text.as_str()) {
        return Ok(text);
    }
    Err(invalid_query(format!("status: use one of {}", Status::WORDS.join(", "))))
}

/// A time that the database can hold.
pub(crate) fn time(time: Timestamp) -> Result<Timestamp, Problem> {
    let years = 0..=9_999;
    if years.contains(&time.year()) {
        Ok(time)
    } else {
        Err(invalid_query("since, until: use years 0 to 9999".to_owned()))
    }
}

pub(crate) fn tag(text: &str) -> Result<(String, String), Problem> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| invalid_query("tag: use `name:value`".to_owned()))?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) async fn one(State(api): State<Api>, Id(id): Id) -> Result<Response, Problem> {
    let view = api.engine.saga(id).await?;
    view.map(with_etag).ok_or_else(|| Problem::unknown_saga(&id.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    limit: Option<i64>,
    cursor: Option<String>,
}

pub(crate) async fn history(
    State(api): State<Api>,
    Id(id): Id,
    Asked(query): Asked<HistoryQuery>,
) -> Result<Response, Problem> {
    let limit = limit(query.limit, HISTORY_PAGE_MAX, HISTORY_PAGE_MAX)?;
    let after = query.cursor.as_deref().map(cursor::<u32>).transpose()?.unwrap_or(0);
    let page = api.engine.history(id, after, limit).await?;
    page.map(|page| Json(page).into_response()).ok_or_else(|| Problem::unknown_saga(&id.to_string()))
}

pub(crate) async fn plan(State(api): State<Api>, Id(id): Id) -> Result<Response, Problem> {
    let plan = api.engine.plan(id).await?.ok_or_else(|| Problem::unknown_saga(&id.to_string()))?;
    plan.map(|plan| Json(plan).into_response()).map_err(|error| {
        let kind = match error {
            PlanError::VersionNotHere(..) => ProblemType::VersionNotHere,
            PlanError::Closure(_) => ProblemType::DefinitionFailed,
        };
        Problem::new(kind, error.to_string())
    })
}
