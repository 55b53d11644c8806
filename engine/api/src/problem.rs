//! Errors over HTTP: RFC 9457, with a stable `type` each.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use redress_coordinator::{EventError, FaultError, JournalError, LetterError, OperatorError, StartError};
use redress_core::decide::{EventRefusal, Refusal};
use redress_core::json::is_mark;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::problem_type::ProblemType;

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
    /// The kind of problem, for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The particulars of this occurrence, and the remedy.
    detail: String,
    /// More particulars, the path that was asked for (`instance`) among them.
    #[serde(flatten, skip_serializing_if = "Map::is_empty")]
    more: Map<String, Value>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of this type.
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{}", kind.as_str()),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail: visible(&detail.into()),
            more: Map::new(),
            headers: Vec::new(),
        }
    }

    /// The same with another status than its type's own.
    #[must_use]
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
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

    /// Returns true if it says that the client may not ask.
    pub(crate) const fn is_of_access(&self) -> bool {
        matches!(self.status, 401 | 403 | 421)
    }

    /// 404: there is no such saga.
    pub fn unknown_saga(id: &str) -> Self {
        let detail = format!("there is no saga `{}`", id.chars().take(80).collect::<String>());
        Self::new(ProblemType::UnknownSaga, detail)
    }
}

/// A text in which nothing is invisible: a detail may repeat what a stranger wrote, and is shown in terminals and logs.
fn visible(text: &str) -> String {
    let is_hidden = |c: char| c.is_control() || is_mark(c);
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if is_hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
        shown
    })
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

/// Writes into a problem the path that it answers: the code that raised it did not know.
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
        tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "journal request failed");
        if error.is_unavailable() {
            return Self::new(
                ProblemType::DatabaseUnavailable,
                "nothing is lost; make the same request again in a moment",
            )
            .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        match error {
            JournalError::Newer { .. } => Self::new(ProblemType::VersionNotHere, error.to_string()),
            _ => internal(),
        }
    }
}

fn internal() -> Problem {
    let detail = "the coordinator's log says what happened";
    Problem::new(ProblemType::Internal, detail)
}

pub(crate) fn of_panic(_: Box<dyn std::any::Any + Send>) -> Response {
    internal().into_response()
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let detail = error.to_string();
        match error {
            StartError::Draining => Self::new(ProblemType::Draining, detail)
                .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS)),
            StartError::UnknownSaga(_) | StartError::UnknownVersion(..) => {
                Self::new(ProblemType::UnknownDefinition, detail)
                    .with_status(StatusCode::UNPROCESSABLE_ENTITY)
            }
            StartError::InvalidKey => Self::new(ProblemType::InvalidIdempotencyKey, detail),
            StartError::InvalidInput(invalid) => {
                Self::new(ProblemType::InvalidInput, detail).with("at", invalid.at)
            }
            StartError::InvalidFaults(_) => Self::new(ProblemType::InvalidFault, detail),
            StartError::FaultsNotAllowed => faults_not_allowed(detail),
            StartError::InvalidTag(_) => Self::new(ProblemType::InvalidTag, detail),
            StartError::KeyReused(id) => {
                Self::new(ProblemType::IdempotencyKeyReused, detail).with("saga_id", id)
            }
            StartError::Journal(error) => error.into(),
        }
    }
}

fn faults_not_allowed(detail: String) -> Problem {
    Problem::new(ProblemType::FaultsNotAllowed, detail)
}

impl From<FaultError> for Problem {
    fn from(error: FaultError) -> Self {
        let detail = error.to_string();
        match error {
            FaultError::NotAllowed => faults_not_allowed(detail),
            FaultError::UnmatchedFault(_) => Self::new(ProblemType::InvalidFault, detail),
            FaultError::Unreadable(_) => Self::new(ProblemType::InvalidBody, detail),
            FaultError::Journal(error) => error.into(),
        }
    }
}

impl From<LetterError> for Problem {
    fn from(error: LetterError) -> Self {
        let detail = error.to_string();
        match error {
            LetterError::NotFound(_) => Self::new(ProblemType::UnknownDeadLetter, detail),
            LetterError::Refused { refusal, letter, .. } => Self::new(ProblemType::DeadLetterRefused, detail)
                .with("code", refusal.as_str())
                .with("dead_letter", letter),
            LetterError::NotPublished { letter, .. } => Self::new(ProblemType::NotPublished, detail)
                .with("dead_letter", letter)
                .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS)),
            LetterError::Journal(error) => error.into(),
        }
    }
}

impl From<OperatorError> for Problem {
    fn from(error: OperatorError) -> Self {
        let detail = error.to_string();
        match error {
            OperatorError::NotFound(id) => Self::unknown_saga(&id.to_string()),
            OperatorError::Refused { verb, refusal, saga } => {
                let problem = match (refusal, verb) {
                    (Refusal::UnknownStep, _) => Self::new(ProblemType::UnknownStep, detail),
                    (Refusal::ReplyDoesNotFit, _) => Self::new(ProblemType::InvalidReply, detail),
                    (_, "cancel") => Self::new(ProblemType::CancelTooLate, detail),
                    (_, _) => Self::new(ProblemType::CommandRefused, detail),
                };
                problem.with("code", refusal.as_str()).with("saga", saga)
            }
            OperatorError::StaleRevision(saga) => {
                Self::new(ProblemType::StaleRevision, detail).with("saga", saga)
            }
            OperatorError::VersionNotHere(..) => Self::new(ProblemType::VersionNotHere, detail),
            OperatorError::Journal(error) => error.into(),
        }
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        let detail = error.to_string();
        match error {
            EventError::InvalidKey => Self::new(ProblemType::InvalidIdempotencyKey, detail),
            EventError::NotFound(id) => Self::unknown_saga(&id.to_string()),
            EventError::Refused { refusal, saga, .. } => {
                let problem = match &refusal {
                    EventRefusal::NotAwaited => Self::new(ProblemType::UnknownEvent, detail),
                    EventRefusal::DoesNotFit(invalid) => {
                        Self::new(ProblemType::InvalidEvent, detail).with("at", &invalid.at)
                    }
                    EventRefusal::AlreadyGiven
                    | EventRefusal::TimedOut
                    | EventRefusal::Skipped
                    | EventRefusal::TurnedBack
                    | EventRefusal::Ended => Self::new(ProblemType::EventRefused, detail),
                };
                problem.with("code", refusal.as_str()).with("saga", saga)
            }
            EventError::VersionNotHere(..) => Self::new(ProblemType::VersionNotHere, detail),
            EventError::Journal(error) => error.into(),
        }
    }
}
