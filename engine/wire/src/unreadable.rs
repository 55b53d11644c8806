//! Messages that the client library cannot read.
//!
//! A header block that no client library would write (not UTF-8, a line without a colon, a status line, a lone carriage
//! return) never reaches us as a message: it breaks the connection, ends the client, or is taken for an order of the
//! server's, each time it is delivered. The server keeps such a message and gives it out as often as it likes.
//!
//! So beside each consumer a lookout reads the messages that the server has sent and that are not settled, by
//! `STREAM.MSG.GET`, whose answer carries the block as base64. It looks when a client had to be replaced or a
//! connection was lost, and once a minute while anything was delivered more than once. The messages that it finds come
//! out of [`crate::Consumer`] like all other poison; settling one deletes it from the stream.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::header::HeaderName;
use async_nats::jetstream::context::Context;
use async_nats::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redress_core::LetterCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::headers::{self, Envelope, Malformed};
use crate::wire::Wire;

/// Pause between two checks that the connection is still the same, which send nothing: well within an `ack_wait`, as
/// the message that ended the last connection ends this one after that.
const CONNECTION_EVERY: Duration = Duration::from_millis(500);
/// Pause between two looks at messages that were delivered more than once.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The most messages that one look reads: as many as the server sends without an acknowledgement.
const LOOK_MESSAGES_MAX: usize = 10_000;
/// The time after which a message that was found and not settled is told again.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// The most messages that were found and wait to be taken.
const FOUND_MAX: usize = 16;
/// The header under which a block that cannot be sent again is kept, each odd byte escaped.
pub(crate) const BLOCK: &str = "Redress-Original-Header-Block";

/// A message that was found in the stream, not delivered.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) sequence: u64,
    pub(crate) malformed: Malformed,
    pub(crate) bytes: usize,
}

/// Looks beside a consumer for messages that cannot be read; ends when dropped.
#[derive(Debug)]
pub(crate) struct Lookout {
    found: mpsc::Receiver<Found>,
    task: AbortHandle,
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lookout {
    pub(crate) fn beside<M: Envelope>(wire: Wire, consumer: ConsumerName) -> Self {
        let (sender, found) = mpsc::channel(FOUND_MAX);
        let task = tokio::spawn(run::<M>(wire, consumer, sender)).abort_handle();
        Self { found, task }
    }

    /// The next message that was found. Cancel safe.
    pub(crate) async fn next(&mut self) -> Found {
        match self.found.recv().await {
            Some(found) => found,
            // The lookout has panicked: nothing more is found.
            None => std::future::pending().await,
        }
    }
}

/// Which consumer of which stream.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerName {
    pub(crate) stream: String,
    pub(crate) durable: String,
    pub(crate) filter: String,
}

async fn run<M: Envelope>(wire: Wire, consumer: ConsumerName, found: mpsc::Sender<Found>) {
    let mut told: HashMap<u64, Instant> = HashMap::new();
    let (mut connection, mut looked_at) = (wire.connection(), Instant::now());
    loop {
        tokio::time::sleep(CONNECTION_EVERY).await;
        let present = wire.connection();
        if present == connection && looked_at.elapsed() < LOOK_EVERY {
            continue;
        }
        told.retain(|_, at| at.elapsed() < TELL_AGAIN_AFTER);
        let Some(progress) = progress(&wire.link().context, &consumer).await else { continue };
        let all_seen = (present == connection && progress.redelivered == 0)
            || look::<M>(&wire, &consumer, progress.delivered_until, &mut told, &found).await;
        if all_seen {
            (connection, looked_at) = (present, Instant::now());
        }
    }
}

/// Reads the messages that the server has sent and that are not settled; returns true if that came to an end.
async fn look<M: Envelope>(
    wire: &Wire,
    consumer: &ConsumerName,
    until: u64,
    told: &mut HashMap<u64, Instant>,
    found: &mpsc::Sender<Found>,
) -> bool {
    let context = wire.link().context.clone();
    let mut from = 1;
    for _ in 0..LOOK_MESSAGES_MAX {
        let stored = match stored(&context, consumer, from).await {
            Seen::Message(stored) if stored.sequence <= until => stored,
            Seen::Message(_) | Seen::End => return true,
            Seen::NoAnswer => return false,
        };
        from = stored.sequence + 1;
        let Err((reason, salvaged)) = read_block(&stored.block) else { continue };
        if told.contains_key(&stored.sequence) {
            continue;
        }
        let sequence = stored.sequence;
        tracing::warn!(stream = %consumer.stream, sequence, reason, "message unreadable for the client library");
        if found.send(stored.found::<M>(wire, reason, salvaged)).await.is_ok() {
            told.insert(sequence, Instant::now());
        }
    }
    true
}

/// The progress of a consumer.
struct Progress {
    delivered_until: u64,
    redelivered: u64,
}

async fn progress(context: &Context, consumer: &ConsumerName) -> Option<Progress> {
    let subject = format!("CONSUMER.INFO.{}.{}", consumer.stream, consumer.durable);
    let info: Value = context.request(subject, &json!({})).await.ok()?;
    Some(Progress {
        delivered_until: info["delivered"]["stream_seq"].as_u64()?,
        redelivered: info["num_redelivered"].as_u64().unwrap_or(0),
    })
}

/// A message as the stream keeps it.
struct Stored {
    subject: String,
    sequence: u64,
    block: Vec<u8>,
    payload: Vec<u8>,
}

/// The server's answer about the first message at or behind a position.
enum Seen {
    Message(Stored),
    /// There is none.
    End,
    NoAnswer,
}

/// The first message at or behind `from`.
async fn stored(context: &Context, consumer: &ConsumerName, from: u64) -> Seen {
    let asked = json!({ "seq": from, "next_by_subj": consumer.filter });
    let subject = format!("STREAM.MSG.GET.{}", consumer.stream);
    match context.request::<_, _, Value>(subject, &asked).await {
        Ok(answer) => Stored::read(&answer["message"]).map_or(Seen::End, Seen::Message),
        Err(_) => Seen::NoAnswer,
    }
}

impl Stored {
    fn read(message: &Value) -> Option<Self> {
        let bytes = |name: &str| STANDARD.decode(message[name].as_str().unwrap_or_default()).ok();
        Some(Self {
            subject: message["subject"].as_str()?.to_owned(),
            sequence: message["seq"].as_u64()?,
            block: bytes("hdrs")?,
            payload: bytes("data")?,
        })
    }

    fn found<M: Envelope>(self, wire: &Wire, reason: String, salvaged: HeaderMap) -> Found {
        // Read only for the address: with such a block it is no message, even if the rest can be read.
        let address = match M::read(&salvaged, &self.payload) {
            Ok(message) => message.address().filter(|_| message.subject(wire.topology()) == self.subject),
            Err((_, address)) => address,
        };
        let mut headers = headers::to_text(&salvaged);
        headers.push((BLOCK.to_owned(), self.block.escape_ascii().to_string()));
        let bytes = self.block.len() + self.payload.len();
        let (code, subject, payload) = (LetterCode::Unreadable, self.subject, self.payload);
        let malformed = Malformed { code, reason, address, subject, headers, payload };
        Found { sequence: self.sequence, malformed, bytes }
    }
}

/// The position of a message that was found.
pub(crate) struct StoredMessage {
    pub(crate) wire: Wire,
    pub(crate) consumer: ConsumerName,
    pub(crate) sequence: u64,
}

/// Deletes a message that was found, if an unreadable one still lies there: the stream may have been made anew.
pub(crate) async fn delete(message: &StoredMessage) {
    let StoredMessage { wire, consumer, sequence } = message;
    let context = wire.link().context.clone();
    match stored(&context, consumer, *sequence).await {
        Seen::Message(stored) if stored.sequence == *sequence && read_block(&stored.block).is_err() => {}
        Seen::Message(_) | Seen::End | Seen::NoAnswer => return,
    }
    let (stream, asked) = (&consumer.stream, json!({ "seq": sequence, "no_erase": true }));
    let answer: Result<Value, _> = context.request(format!("STREAM.MSG.DELETE.{stream}"), &asked).await;
    let refused = match &answer {
        Ok(answer) if answer["success"] == true => return,
        Ok(answer) => answer["error"]["description"].to_string(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(
        stream,
        sequence,
        refused,
        "failed to delete an unreadable message; retrying when it is found again"
    );
}

/// Reads a header block as the client library does; if it cannot, returns the reason and the headers that can be read.
///
/// # Errors
/// The reason, and the headers that can be read.
pub(crate) fn read_block(block: &[u8]) -> Result<HeaderMap, (String, HeaderMap)> {
    let mut trouble: Option<&str> = None;
    let text = String::from_utf8_lossy(block);
    if std::str::from_utf8(block).is_err() {
        trouble = Some("it is not UTF-8");
    }
    let mut read = HeaderMap::new();
    let mut lines = text.lines().peekable();
    match lines.next().map(|line| line.strip_prefix("NATS/1.0").map(str::trim)) {
        // A message without headers has no block.
        None if block.is_empty() => {}
        Some(Some("")) => {}
        Some(Some(_)) => trouble = trouble.or(Some("it has a status, as only answers of the server have")),
        None | Some(None) => trouble = trouble.or(Some("it does not begin with `NATS/1.0`")),
    }
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            trouble = trouble.or(Some("a line of it has no colon"));
            continue;
        };
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        let value = value.trim_end();
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(value)) => read.append(name, value),
            (Ok(name), Err(_)) => {
                trouble = trouble.or(Some("a value in it has a line break"));
                read.append(name, headers::one_line(value));
            }
            (Err(_), _) => trouble = trouble.or(Some("a name in it has odd characters")),
        }
    }
    match trouble {
        None => Ok(read),
        Some(trouble) => Err((format!("its header block cannot be read: {trouble}"), read)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unreadable_header_blocks_are_found() {
        let mut story = String::new();
        for block in [
            &b""[..],
            b"NATS/1.0\r\nA: b\r\n\r\n",
            b"NATS/1.0\r\nA: b\r\n more\r\n\r\n",
            b"NATS/1.0\r\nName: a\rb\r\nGood: yes\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\nGood: yes\r\n\r\n",
            b"NATS/1.0\r\nA: \xff\r\n\r\n",
            b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
            b"NATS/2.0\r\n\r\n",
            b"\r\n",
            b"NATS/1.0\r\n\x01: b\r\n\r\n",
        ] {
            let told = match read_block(block) {
                Ok(read) => format!("fine, {} headers", read.len()),
                Err((reason, read)) => format!("{reason} ({} headers)", read.len()),
            };
            story.push_str(&format!("{}: {told}\n", block.escape_ascii()));
        }
        insta::assert_snapshot!(story, @r#"
        : fine, 0 headers
        NATS/1.0\r\nA: b\r\n\r\n: fine, 1 headers
        NATS/1.0\r\nA: b\r\n more\r\n\r\n: fine, 1 headers
        NATS/1.0\r\nName: a\rb\r\nGood: yes\r\n\r\n: its header block cannot be read: a value in it has a line break (2 headers)
        NATS/1.0\r\nno colon\r\nGood: yes\r\n\r\n: its header block cannot be read: a line of it has no colon (1 headers)
        NATS/1.0\r\nA: \xff\r\n\r\n: its header block cannot be read: it is not UTF-8 (1 headers)
        NATS/1.0 409 Consumer Deleted\r\n\r\n: its header block cannot be read: it has a status, as only answers of the server have (0 headers)
        NATS/2.0\r\n\r\n: its header block cannot be read: it does not begin with `NATS/1.0` (0 headers)
        \r\n: its header block cannot be read: it does not begin with `NATS/1.0` (0 headers)
        NATS/1.0\r\n\x01: b\r\n\r\n: its header block cannot be read: a name in it has odd characters (0 headers)
        "#);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// The salvaged headers can always be sent again.
        #[test]
        fn salvaging_never_panics_on_any_block(block in proptest::collection::vec(any::<u8>(), 0..200), text in "(?s)NATS/1.0\r\n.{0,80}") {
            for block in [&block[..], text.as_bytes()] {
                let read = match read_block(block) {
                    Ok(read) | Err((_, read)) => read,
                };
                for (_, value) in headers::to_text(&read) {
                    prop_assert!(!value.contains(['\r', '\n']));
                }
            }
        }
    }
}
