//! Reads requests, with problems of ours instead of axum's texts.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use redress_core::SagaId;
use redress_core::json::check_unambiguous;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::problem::Problem;
use crate::problem_type::ProblemType;
use crate::state::{Api, BODY_BYTES_MAX};

/// A JSON body, read strictly.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = kind.is_some_and(|kind| {
            let essence = kind.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
                || essence.to_ascii_lowercase().ends_with("+json")
        });
        if !is_json {
            return Err(Problem::new(ProblemType::NotJson, "send it with `Content-Type: application/json`"));
        }
        let bytes = read(request, api).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be left out.
pub(crate) struct OptionalBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<Api> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let bytes = read(request, api).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&bytes).map(Self) }
    }
}

async fn read(request: Request, api: &Api) -> Result<Bytes, Problem> {
    let limit = api.limits.body;
    let Ok(read) = tokio::time::timeout(limit, Bytes::from_request(request, api)).await else {
        let detail = format!("it was not complete after {limit:?}; send it in one go");
        let problem = Problem::new(ProblemType::SlowBody, detail);
        return Err(problem.header(header::CONNECTION, HeaderValue::from_static("close")));
    };
    read.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!(
                "a request takes at most {BODY_BYTES_MAX} bytes; keep large things elsewhere and refer to them"
            );
            Problem::new(ProblemType::BodyTooLarge, detail)
        }
        other => Problem::new(ProblemType::UnreadableBody, other.to_string()),
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde would read a struct from an array too, by position; here only names count.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(match serde_json::from_slice::<IgnoredAny>(bytes) {
            Ok(_) => {
                let detail = "an array stands where an object is expected";
                Problem::new(ProblemType::InvalidBody, detail)
            }
            Err(error) => unread(&error),
        });
    }
    check_unambiguous(bytes).map_err(|ambiguous| {
        Problem::new(ProblemType::AmbiguousJson, ambiguous.to_string()).with("at", ambiguous.at)
    })?;
    serde_json::from_slice(bytes).map_err(|error| unread(&error))
}

fn unread(error: &serde_json::Error) -> Problem {
    if error.is_data() {
        Problem::new(ProblemType::InvalidBody, error.to_string())
    } else {
        Problem::new(ProblemType::MalformedJson, error.to_string())
    }
}

/// Query parameters, read strictly.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unusable = |detail| Problem::new(ProblemType::InvalidQuery, detail);
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(unusable("it holds a NUL character, which is in no saga".to_owned()));
        }
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| unusable(error.body_text()))
    }
}

/// The parameters in the path.
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(named)| Self(named))
            .map_err(|error| Problem::new(ProblemType::InvalidPath, error.body_text()))
    }
}

/// The id of a saga in the path.
pub(crate) struct Id(pub(crate) SagaId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Named(text) = Named::<String>::from_request_parts(parts, state).await?;
        text.parse().map(Self).map_err(|_| Problem::unknown_saga(&text))
    }
}
