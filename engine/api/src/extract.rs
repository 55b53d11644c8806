//! Reading requests, with problems of ours instead of axum's texts.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use redress_core::SagaId;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::BODY_BYTES_MAX;
use crate::problem::Problem;

/// A JSON body, read strictly.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = kind.is_some_and(|kind| {
            let essence = kind.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
                || essence.to_ascii_lowercase().ends_with("+json")
        });
        if !is_json {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-json",
                "The body must be JSON",
                "send it with `Content-Type: application/json`",
            ));
        }
        let bytes = read(request, state).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be left out.
pub(crate) struct OptionalBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = read(request, state).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&bytes).map(Self) }
    }
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "The body is too large",
                format!("a request takes at most {BODY_BYTES_MAX} bytes; keep large things elsewhere and refer to them"),
            )
        }
        other => Problem::bad_request("unreadable-body", "The body could not be read", other.to_string()),
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde would read a struct from an array too, by position; here only names count.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(match serde_json::from_slice::<IgnoredAny>(bytes) {
            Ok(_) => {
                let detail = "an array stands where an object is expected";
                Problem::unprocessable("invalid-body", "The body does not fit", detail)
            }
            Err(error) => unread(&error),
        });
    }
    serde_json::from_slice(bytes).map_err(|error| unread(&error))
}

fn unread(error: &serde_json::Error) -> Problem {
    if error.is_data() {
        Problem::unprocessable("invalid-body", "The body does not fit", error.to_string())
    } else {
        Problem::bad_request("malformed-json", "The body is not JSON", error.to_string())
    }
}

/// Query parameters, read strictly.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unusable = |detail| Problem::bad_request("invalid-query", "The query is unusable", detail);
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(unusable("it holds a NUL character, which is in no saga".to_owned()));
        }
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| unusable(error.body_text()))
    }
}

/// What the path holds.
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(named)| Self(named))
            .map_err(|error| Problem::bad_request("invalid-path", "The path is unusable", error.body_text()))
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
