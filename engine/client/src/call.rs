//! The requests that the API takes, as values: what is asked, and whether it may be asked twice.
//!
//! Each has the type of its answer. The methods of [`Client`](crate::Client) make and send them; a program that passes
//! answers on, as the `redress` commands do, sends [`Call::as_json`] and gets what the API said, to the last member.

use std::marker::PhantomData;

use redress_core::SagaId;
use redress_core::decide::{OperatorCommand, Resolution, Verb};
use redress_core::history::HistoryEntry;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::event_view::{Delivered, SentEvent};
use crate::query::SagaQuery;
use crate::view::{
    AddedFault, Begun, Cleared, DefinitionVersion, Page, Plan, RetriedPage, Saga, StandingFault,
};

/// A request with an answer of type `T`.
#[derive(Debug)]
#[must_use = "nothing is asked before it is sent"]
pub struct Call<T> {
    pub(crate) method: Method,
    /// The path, percent-encoded.
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
    pub(crate) repetition: Repetition,
    _answer: PhantomData<fn() -> T>,
}

/// Whether a request may be made twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// It changes nothing, or the second one finds what the first has done.
    Safe,
    /// The second one would do something else than the first, or hide what the first has done.
    Unsafe,
}

/// The revision of a saga on which an operator command is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IfMatch {
    /// Whatever it is.
    Any,
    /// This one, as it was seen: if the saga has moved since, the command is refused (`stale-revision`).
    Revision(i64),
}

impl<T> Call<T> {
    fn new(method: Method, path: impl Into<String>, repetition: Repetition) -> Self {
        let (query, headers) = (Vec::new(), Vec::new());
        Self { method, path: path.into(), query, headers, body: None, repetition, _answer: PhantomData }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Repetition::Safe)
    }

    pub(crate) fn post(path: impl Into<String>, body: Option<Value>) -> Self {
        Self { body, ..Self::new(Method::POST, path, Repetition::Unsafe) }
    }

    /// One that may be made twice: the second one with the same key finds what the first has done.
    fn keyed(path: impl Into<String>, key: &str, body: Value) -> Self {
        let headers = vec![("idempotency-key", format!("\"{key}\""))];
        Self { headers, repetition: Repetition::Safe, ..Self::post(path, Some(body)) }
    }

    /// The same, with these parameters.
    pub(crate) fn with_query(self, query: Vec<(&'static str, String)>) -> Self {
        Self { query, ..self }
    }

    /// The same, made once only, whatever comes of it.
    pub fn once(self) -> Self {
        Self { repetition: Repetition::Unsafe, ..self }
    }

    /// The same request, with the answer as it is.
    pub fn as_json(self) -> Call<Value> {
        let Self { method, path, query, headers, body, repetition, _answer } = self;
        Call { method, path, query, headers, body, repetition, _answer: PhantomData }
    }
}

impl Call<Saga> {
    /// A start; repeated with the same key, it is the same start.
    pub(crate) fn start(key: &str, traceparent: Option<&str>, body: Value) -> Self {
        let mut call = Self::keyed("/v1/sagas", key, body);
        call.headers.extend(traceparent.map(|context| ("traceparent", context.to_owned())));
        call
    }

    /// A saga as it is now.
    pub fn saga(id: SagaId) -> Self {
        Self::get(format!("/v1/sagas/{id}"))
    }

    /// An operator command; its answer is the saga as it is then.
    pub fn operate(id: SagaId, command: &OperatorCommand, if_match: IfMatch) -> Self {
        let mut body = json!({ "actor": command.actor, "reason": command.reason });
        match &command.verb {
            Verb::Cancel | Verb::Close | Verb::Pause | Verb::Resume | Verb::Retry { step: None } => {}
            Verb::Retry { step: Some(step) } => body["step"] = json!(step),
            Verb::Answer { answer, .. } => body["answer"] = json!(answer),
            Verb::Resolve { step, resolution } => {
                body["step"] = json!(step);
                body["resolution"] = json!(match resolution {
                    Resolution::Happened { .. } => "happened",
                    Resolution::NeverHappened => "never-happened",
                    Resolution::Compensated => "compensated",
                });
                if let Resolution::Happened { reply } = resolution {
                    body["reply"] = json!(reply);
                }
            }
        }
        let revision = match if_match {
            IfMatch::Any => "*".to_owned(),
            IfMatch::Revision(revision) => format!("\"{revision}\""),
        };
        let path = match &command.verb {
            Verb::Answer { step, .. } => format!("/v1/sagas/{id}/steps/{step}/answer"),
            verb @ (Verb::Cancel
            | Verb::Retry { .. }
            | Verb::Resolve { .. }
            | Verb::Close
            | Verb::Pause
            | Verb::Resume) => format!("/v1/sagas/{id}/{}", verb.as_str()),
        };
        Self { headers: vec![("if-match", revision)], ..Self::post(path, Some(body)) }
    }
}

impl Call<Page<Saga>> {
    /// A page of the sagas that a query finds, the newest first.
    pub fn sagas(query: &SagaQuery) -> Self {
        Self { query: query.parameters(), ..Self::get("/v1/sagas") }
    }
}

impl Call<SentEvent> {
    /// An event for a saga; repeated with the same key, it is the same event.
    pub fn event(id: SagaId, name: &str, key: &str, data: Value) -> Self {
        let path = format!("/v1/sagas/{id}/events/{}", segment(name));
        Self::keyed(path, key, json!({ "data": data }))
    }
}

impl Call<Page<Delivered>> {
    /// An event for a page of the open sagas that bear this label, as `name:value`, from where the page before ended; the
    /// page says what each made of it.
    pub fn event_by_tag(tag: &str, name: &str, key: &str, data: Value, cursor: Option<&str>) -> Self {
        let mut query = vec![("tag", tag.to_owned())];
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        let path = format!("/v1/sagas/events/{}", segment(name));
        Self { query, ..Self::keyed(path, key, json!({ "data": data })) }
    }
}

impl Call<Page<HistoryEntry>> {
    /// A page of a saga's history, the oldest row first, from where the page before ended.
    pub fn history(id: SagaId, cursor: Option<&str>) -> Self {
        let query = cursor.map(|cursor| ("cursor", cursor.to_owned())).into_iter().collect();
        Self { query, ..Self::get(format!("/v1/sagas/{id}/history")) }
    }
}

impl Call<Plan> {
    /// What a saga would still do, and what it would undo now.
    pub fn plan(id: SagaId) -> Self {
        Self::get(format!("/v1/sagas/{id}/plan"))
    }
}

impl Call<RetriedPage> {
    /// Another try for a page of the sagas that a query finds; for parked ones, unless it says otherwise.
    pub fn retry_all(query: &SagaQuery, actor: &str, reason: &str) -> Self {
        let body = json!({ "actor": actor, "reason": reason });
        Self { query: query.parameters(), ..Self::post("/v1/sagas/retry", Some(body)) }
    }
}

impl Call<Page<DefinitionVersion>> {
    /// The definitions that can be started, and those that have open sagas and are not known there.
    pub fn definitions() -> Self {
        Self::get("/v1/definitions")
    }
}

impl Call<DefinitionVersion> {
    /// A definition with its graph.
    pub fn definition(saga: &str, version: u32) -> Self {
        Self::get(format!("/v1/definitions/{}/{version}", segment(saga)))
    }
}

impl Call<String> {
    /// The diagram of a definition, as text for mermaid.
    pub fn diagram(saga: &str, version: u32) -> Self {
        Self::get(format!("/v1/definitions/{}/{version}/diagram", segment(saga)))
    }

    /// The metrics, as OpenMetrics text.
    pub fn metrics() -> Self {
        Self::get("/metrics")
    }

    /// Whether the process can go on by itself; asked once, as it is about now.
    pub fn livez() -> Self {
        Self::get("/livez").once()
    }

    /// Whether everything is there; asked once, as it is about now.
    pub fn readyz() -> Self {
        Self::get("/readyz").once()
    }
}

impl Call<Page<StandingFault>> {
    /// The failures that are injected.
    pub fn faults() -> Self {
        Self::get("/v1/faults")
    }
}

impl Call<AddedFault> {
    /// One more failure, as the API reads it: such as `{"step": "ship-order", "kind": "fail", "times": 2}`.
    pub fn add_fault(fault: Value) -> Self {
        Self::post("/v1/faults", Some(fault))
    }
}

impl Call<Cleared> {
    /// An end of one failure, by its number; made twice it would not find it.
    pub fn remove_fault(id: i64) -> Self {
        Self::new(Method::DELETE, format!("/v1/faults/{id}"), Repetition::Unsafe)
    }

    /// An end of all failures that are injected; the number of them would be lost if it were made twice.
    pub fn clear_faults() -> Self {
        Self::new(Method::DELETE, "/v1/faults", Repetition::Unsafe)
    }
}

impl Call<Begun> {
    /// Lets a coordinator that was started paused move its sagas; made twice it would say that they moved already.
    pub fn begin() -> Self {
        Self::post("/v1/begin", None)
    }
}

/// A segment of a path, with all that could end it percent-encoded.
fn segment(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut path, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
        path
    })
}
