//! Messages that stay in a work queue although every consumer is done with them.
//!
//! A broker that dies may remember that a message was acknowledged and not yet that it was deleted: it keeps the message,
//! and never delivers it. (Seen with NATS 2.15 after a `kill -9`: a few as a rule, some hundred if a wipe came just
//! before.) The age of the stream ends them. Such a message was stored before the broker was last back, and a consumer
//! takes its subject. Every other message that stays is one that we forgot.

use base64::prelude::{BASE64_STANDARD, Engine};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::clients::Clients;
use super::yard::Yard;

/// Messages that a violation shows.
const SHOWN_MAX: usize = 10;
/// The broker's code for a stream that holds no further message.
const NO_MESSAGE_FOUND: u64 = 10_037;

/// Why this stream is not quiet, if it is not: a consumer has work, or a message stays that no death of the broker
/// explains.
///
/// `anchors` is the number of messages that stay by intent.
pub(crate) async fn noise(clients: &Clients, what: &str, anchors: usize) -> Option<String> {
    let Ok(stream) = clients.yard.streams().get_stream(Yard::stream(what)).await else {
        return Some(format!("there is no stream {what}"));
    };
    let mut filters = Vec::new();
    let mut consumers = stream.consumers();
    while let Some(consumer) = consumers.next().await {
        match consumer {
            Ok(consumer) if consumer.num_pending == 0 && consumer.num_ack_pending == 0 => {
                filters.push(consumer.config.filter_subject);
                filters.extend(consumer.config.filter_subjects);
            }
            Ok(consumer) => {
                let (pending, unsettled) = (consumer.num_pending, consumer.num_ack_pending);
                return Some(format!("{what}/{}: {pending} to come, {unsettled} out", consumer.name));
            }
            Err(error) => return Some(error.to_string()),
        }
    }
    let broker_is_back = clients.book.notes().broker_is_back;
    let is_explained = |left: &Left| {
        let is_old = broker_is_back.is_some_and(|back| left.stored_at < back);
        is_old && filters.iter().any(|filter| takes(filter, &left.subject))
    };
    match left_in(clients, what).await {
        Ok(left) => {
            let ours: Vec<&Left> = left.iter().filter(|left| !is_explained(left)).collect();
            (ours.len() > anchors).then(|| {
                let shown: Vec<String> = ours.iter().take(SHOWN_MAX).map(|left| left.to_string()).collect();
                format!("{what} holds {} messages that nothing explains: {}", ours.len(), shown.join(", "))
            })
        }
        Err(error) => Some(format!("{what} cannot be read: {error}")),
    }
}

/// A message that is still in its stream.
struct Left {
    sequence: u64,
    subject: String,
    headers: String,
    stored_at: DateTime<Utc>,
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?}", self.sequence, self.subject, self.headers)
    }
}

/// All messages of a stream, over its gaps.
///
/// The broker's answers are read here, since the client refuses to show a message whose header block is broken.
async fn left_in(clients: &Clients, what: &str) -> Result<Vec<Left>, String> {
    let (mut left, mut next) = (Vec::new(), 1);
    loop {
        let get = format!("STREAM.MSG.GET.{}", Yard::stream(what));
        let asked = clients.yard.streams().request(get, &json!({ "seq": next, "next_by_subj": ">" })).await;
        let answer: Value = asked.map_err(|error| error.to_string())?;
        if answer["error"]["err_code"] == NO_MESSAGE_FOUND {
            return Ok(left);
        }
        let message = read(&answer["message"]).ok_or_else(|| answer.to_string())?;
        next = message.sequence + 1;
        left.push(message);
    }
}

fn read(message: &Value) -> Option<Left> {
    let headers = BASE64_STANDARD.decode(message["hdrs"].as_str().unwrap_or_default()).ok()?;
    Some(Left {
        sequence: message["seq"].as_u64()?,
        subject: message["subject"].as_str()?.to_owned(),
        headers: String::from_utf8_lossy(&headers).into_owned(),
        stored_at: message["time"].as_str()?.parse().ok()?,
    })
}

/// Whether a consumer with this filter takes messages of this subject.
fn takes(filter: &str, subject: &str) -> bool {
    let (mut tokens, mut pattern) = (subject.split('.'), filter.split('.'));
    loop {
        match (pattern.next(), tokens.next()) {
            (None, None) | (Some(">"), Some(_)) => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(token)) if wanted == token => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}
