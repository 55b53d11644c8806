//! The body of an answer, and the answers for which there is no room.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use axum::response::IntoResponse as _;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::connections::UnderWay;
use crate::problem::{Problem, RETRY_AFTER_SECONDS};
use crate::problem_type::ProblemType;

/// The body of an answer: the request is under way until it has left.
pub(crate) struct Leaving {
    pub(crate) body: Body,
    pub(crate) _under_way: UnderWay,
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn crowded() -> Problem {
    let detail = "every connection is busy; ask again in a moment";
    Problem::new(ProblemType::TooManyConnections, detail)
        .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS))
        .header(header::CONNECTION, HeaderValue::from_static("close"))
}

/// For a request that comes in at the moment in which its connection is cut.
pub(crate) fn no_room() -> Response<Body> {
    crowded().into_response()
}

/// The same for a connection on which no request is read.
pub(crate) fn no_room_bytes() -> String {
    let body = serde_json::to_string(&crowded()).unwrap_or_default();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: {RETRY_AFTER_SECONDS}\r\n\
         content-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
