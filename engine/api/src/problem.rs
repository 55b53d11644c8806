//! Errors over HTTP: RFC 9457, with a stable `type` each.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use redress_coordinator::{FaultError, JournalError, OrderError, StartError};
use redress_core::decide::Refusal;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// How long a client should wait before it asks again while the database is not there, in seconds: it may be back at
/// any moment, and a look costs little.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";
/// The longest path that is repeated to the client, in characters: a few times that of any route.
pub(crate) const PATH_CHARS_MAX: usize = 200;

/// An error as the client sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// A stable reference, such as `/problems/unknown-saga`.
    #[serde(rename = "type")]
    kind: String,
    /// What kind of problem it is, for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened this time, and what to do.
    detail: String,
    /// More particulars, the path that was asked for (`instance`) among them.
    #[serde(flatten, skip_serializing_if = "Map::is_empty")]
    more: Map<String, Value>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of this status and kind.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind: format!("/problems/{kind}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            more: Map::new(),
            headers: Vec::new(),
        }
    }

    /// The same with one more particular.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.more.insert(name.to_owned(), json!(value));
        self
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// 400: the request cannot be read.
    pub fn bad_request(kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, title, detail)
    }

    /// 404: there is no such saga.
    pub fn unknown_saga(id: &str) -> Self {
        let detail = format!("there is no saga `{}`", id.chars().take(80).collect::<String>());
        Self::new(StatusCode::NOT_FOUND, "unknown-saga", "No such saga", detail)
    }

    /// 422: the request can be read, and makes no sense.
    pub fn unprocessable(kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, title, detail)
    }

    fn conflict(kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, title, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        for (name, value) in &self.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes into a problem which path it answers: whoever raised it did not know.
pub(crate) async fn name_instance(request: Request, next: Next) -> Response {
    let path: String = request.uri().path().chars().take(PATH_CHARS_MAX).collect();
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let problem = problem.with("instance", path);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Json(problem).into_response().into_body();
    }
    response
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "journal");
        if error.is_unavailable() {
            return Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "database-unavailable",
                "The database is not available",
                "nothing is lost; make the same request again in a moment",
            )
            .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        internal()
    }
}

fn internal() -> Problem {
    let detail = "the coordinator's log says what happened";
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "Something is wrong in the coordinator",
        detail,
    )
}

pub(crate) fn of_panic(_: Box<dyn std::any::Any + Send>) -> Response {
    internal().into_response()
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let detail = error.to_string();
        match error {
            StartError::Draining => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "No new sagas here", detail)
                    .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS))
            }
            StartError::UnknownSaga(_) | StartError::UnknownVersion(..) => {
                Self::unprocessable("unknown-definition", "No such saga definition", detail)
            }
            StartError::InvalidKey => {
                Self::bad_request("invalid-idempotency-key", "The Idempotency-Key is unusable", detail)
            }
            StartError::InvalidInput(invalid) => {
                Self::unprocessable("invalid-input", "The input does not fit the definition", detail)
                    .with("at", invalid.at)
            }
            StartError::InvalidFaults(_) => {
                Self::unprocessable("invalid-fault", "The faults are unusable", detail)
            }
            StartError::FaultsNotAllowed => faults_not_allowed(detail),
            StartError::InvalidTag => Self::unprocessable("invalid-tag", "A tag is unusable", detail),
            StartError::KeyReused(id) => {
                Self::unprocessable("idempotency-key-reused", "The key belongs to another start", detail)
                    .with("saga_id", id)
            }
            StartError::Journal(error) => error.into(),
        }
    }
}

fn faults_not_allowed(detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "faults-not-allowed", "Failures are not injected here", detail)
}

impl From<FaultError> for Problem {
    fn from(error: FaultError) -> Self {
        let detail = error.to_string();
        match error {
            FaultError::NotAllowed => faults_not_allowed(detail),
            FaultError::StrikesNothing(_) => {
                Self::unprocessable("invalid-fault", "The fault is unusable", detail)
            }
            FaultError::Journal(error) => error.into(),
        }
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let detail = error.to_string();
        match error {
            OrderError::NotFound(id) => Self::unknown_saga(&id.to_string()),
            OrderError::Refused { verb, refusal, saga } => {
                let problem = match (refusal, verb) {
                    (Refusal::UnknownStep, _) => Self::unprocessable("unknown-step", "No such step", detail),
                    (Refusal::ReplyDoesNotFit, _) => {
                        Self::unprocessable("invalid-reply", "The reply does not fit", detail)
                    }
                    (_, "cancel") => Self::conflict("cancel-too-late", "It is too late to cancel", detail),
                    (_, _) => Self::conflict("order-refused", "The saga does not stand like that", detail),
                };
                problem.with("code", refusal.as_str()).with("saga", saga)
            }
            OrderError::StaleRevision(saga) => {
                Self::new(StatusCode::PRECONDITION_FAILED, "stale-revision", "The saga has moved on", detail)
                    .with("saga", saga)
            }
            OrderError::VersionNotHere(..) => {
                Self::conflict("version-not-here", "The saga's definition is not known here", detail)
            }
            OrderError::Journal(error) => error.into(),
        }
    }
}
