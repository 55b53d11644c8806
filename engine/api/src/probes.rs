//! The answers to probes and scrapes.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::access::Trust;
use crate::door::Door;
use crate::extract::Asked;
use crate::problem::{Problem, RETRY_AFTER_SECONDS};
use crate::problem_type::ProblemType;
use crate::text_format::{OPEN_METRICS, PLAIN_TEXT, takes_open_metrics, to_plain_text};

/// The line that ends a text of metrics.
const END: &str = "# EOF\n";

pub(crate) async fn livez(State(door): State<Door>) -> Result<&'static str, Problem> {
    if door.probed.is_alive() {
        return Ok("ok\n");
    }
    let detail = "its NATS client has ended and has no successor; start the process anew if that stays so";
    Err(Problem::new(ProblemType::NotAlive, detail))
}

#[derive(Deserialize)]
pub(crate) struct ReadyQuery {
    verbose: Option<String>,
}

pub(crate) async fn readyz(
    State(door): State<Door>,
    Extension(trust): Extension<Trust>,
    Asked(query): Asked<ReadyQuery>,
) -> Result<Response, Problem> {
    let mut readiness = door.probed.readiness().await;
    let tells_all = query.verbose.is_some() && trust == Trust::Full;
    if !tells_all {
        readiness.database = word(&readiness.database);
        readiness.broker = word(&readiness.broker);
    }
    if !readiness.ready {
        let detail = "it goes on by itself when everything is back";
        let mut problem = Problem::new(ProblemType::NotReady, detail)
            .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS))
            .with("database", readiness.database)
            .with("broker", readiness.broker);
        if let Some(mode) = readiness.mode {
            problem = problem.with("mode", mode);
        }
        return Err(problem);
    }
    Ok(if tells_all { Json(readiness).into_response() } else { "ok\n".into_response() })
}

/// All that a stranger learns of a server: its error may name hosts and users.
fn word(state: &str) -> String {
    if state == "ok" { "ok" } else { "unavailable" }.to_owned()
}

pub(crate) async fn metrics(State(door): State<Door>, headers: HeaderMap) -> Response {
    let mut text = door.probed.metrics_without_end();
    if let Some(beside) = &door.beside {
        text.push_str(&beside.metrics_without_end());
    }
    text.push_str(END);
    let (kind, text) = match takes_open_metrics(&headers) {
        true => (OPEN_METRICS, text),
        false => (PLAIN_TEXT, to_plain_text(&text)),
    };
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}
