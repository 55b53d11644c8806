//! Why a request has no answer to go on with.

use std::error::Error as StdError;
use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

/// A refusal of the API, as RFC 9457 has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Problem {
    /// A stable reference, such as `/problems/unknown-saga`; empty if the answer names none.
    #[serde(rename = "type", default)]
    pub problem_type: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// The kind of problem, for people.
    #[serde(default)]
    pub title: String,
    /// The particulars of this occurrence, and the remedy.
    #[serde(default)]
    pub detail: String,
    /// More particulars, such as `code`, `saga`, `saga_id` or `at`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Problem {
    /// The word of its type, such as `unknown-saga`.
    pub fn word(&self) -> &str {
        self.problem_type.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.title.as_str(), self.detail.as_str()) {
            ("", "") => write!(f, "the answer is {}", self.status),
            (text, "") | ("", text) => f.write_str(text),
            (title, detail) => write!(f, "{title}: {detail}"),
        }
    }
}

/// A request was not carried out, or it is not known whether it was.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The address, the token or a header cannot be used; nothing was sent.
    #[error(
        "the request cannot be made ({0}): use an address such as http://127.0.0.1:8080, and visible ASCII in keys and tokens"
    )]
    Unsendable(String),
    /// No connection came about: the request was not carried out.
    #[error("no API at {base_url}: start a coordinator there, or give the address of one")]
    NoConnection {
        /// The address.
        base_url: String,
        /// The cause.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// No answer came: the request may have been carried out.
    #[error("no answer from {base_url}: the request may have been carried out")]
    NoAnswer {
        /// The address.
        base_url: String,
        /// The cause.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The API refused it, or could not carry it out.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The answer is not one of this API.
    #[error(
        "the answer ({status}) is not understood ({problem}): is {base_url} a coordinator of this version?"
    )]
    Unreadable {
        /// The address.
        base_url: String,
        /// The HTTP status.
        status: u16,
        /// The reason.
        problem: String,
    },
}

impl ClientError {
    /// The refusal, if it is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            Self::Unsendable(_)
            | Self::NoConnection { .. }
            | Self::NoAnswer { .. }
            | Self::Unreadable { .. } => None,
        }
    }

    /// Returns true if the same request may be answered in a moment: the coordinator is away, busy, or at its end.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoConnection { .. } | Self::NoAnswer { .. } => true,
            Self::Problem(problem) => status_may_pass(problem.status),
            // A proxy before a coordinator that is away speaks HTML.
            Self::Unreadable { status, .. } => status_may_pass(*status),
            Self::Unsendable(_) => false,
        }
    }

    /// Returns true if the request was certainly not carried out, so that no effect of it has to be looked for.
    pub fn is_without_effect(&self) -> bool {
        match self {
            Self::Unsendable(_) | Self::NoConnection { .. } => true,
            Self::Problem(problem) => !status_may_pass(problem.status),
            Self::NoAnswer { .. } | Self::Unreadable { .. } => false,
        }
    }
}

/// Returns true if a request that was answered so may be answered otherwise in a moment.
fn status_may_pass(status: u16) -> bool {
    const TOO_MANY_REQUESTS: u16 = 429;
    const NOT_IMPLEMENTED: u16 = 501;
    status == TOO_MANY_REQUESTS || (500..600).contains(&status) && status != NOT_IMPLEMENTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_may_pass_are_told_from_refusals() {
        let problem = |status| {
            let (problem_type, title, detail) = (String::new(), String::new(), String::new());
            ClientError::Problem(Box::new(Problem { problem_type, status, title, detail, more: Map::new() }))
        };
        for status in [429, 500, 502, 503, 504] {
            assert!(problem(status).may_pass() && !problem(status).is_without_effect(), "{status}");
        }
        for status in [400, 401, 404, 409, 412, 422, 501] {
            assert!(!problem(status).may_pass() && problem(status).is_without_effect(), "{status}");
        }
    }

    #[test]
    fn problem_reads_its_type_and_keeps_its_particulars() {
        let problem: Problem = serde_json::from_str(
            r#"{"type":"/problems/cancel-too-late","title":"It is too late","status":409,"detail":"the pivot was sent","code":"pivot-sent"}"#,
        )
        .unwrap();
        assert_eq!((problem.word(), &problem.more["code"]), ("cancel-too-late", &Value::from("pivot-sent")));
        assert_eq!(problem.to_string(), "It is too late: the pivot was sent");
        let bare: Problem = serde_json::from_str("{}").unwrap();
        assert_eq!((bare.word(), bare.to_string()), ("", "the answer is 0".to_owned()));
    }
}
