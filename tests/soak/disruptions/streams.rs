//! The streams deliver twice, or take no more.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use super::Played;
use crate::clients::Clients;
use crate::yard::{PREFIX, Yard};
use crate::{rest, support};

/// How long one message, or one answer of the broker, is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the limits of a stream are put back at a broker that does not answer.
const TRIES_MAX: u32 = 30;
/// The header that marks a message as a copy.
const COPY: &str = "Soak-Copy";

/// Copies every command and every reply for a while, under another message id.
///
/// The client is of its own: it hears every message, and one with broken headers ends it.
pub(super) async fn double(clients: &Clients, length: Duration) -> Played {
    let Ok(nats) = support::connect_nats(&clients.yard.stack).await else { return Ok(0) };
    let (commands, replies) = tokio::join!(
        nats.subscribe(format!("{PREFIX}.command.>")),
        nats.subscribe(format!("{PREFIX}.reply.>"))
    );
    let (Ok(commands), Ok(replies)) = (commands, replies) else { return Ok(0) };
    let mut messages = futures_util::stream::select(commands, replies);
    let (begun, mut copies) = (Instant::now(), 0);
    while begun.elapsed() < length {
        let Ok(Some(message)) = timeout(length, messages.next()).await else { break };
        let mut headers = message.headers.unwrap_or_default();
        let has_key = ["Idempotency-Key", "Redress-Replies"].iter().any(|name| headers.get(*name).is_some());
        let is_ours = has_key && headers.get("Soak-Mark").is_none();
        if headers.get(COPY).is_some() || !is_ours {
            continue;
        }
        let id = headers.get("Nats-Msg-Id").map(|id| format!("{id}-copy"));
        if let Some(id) = id {
            headers.insert("Nats-Msg-Id", id);
        }
        headers.insert(COPY, "1");
        // A broker that is away takes no copies.
        if nats.publish_with_headers(message.subject, headers, message.payload).await.is_ok() {
            copies += 1;
        }
    }
    Ok(copies)
}

/// The stream of commands takes one message per command for a while, and none beyond.
pub(super) async fn full(clients: &Clients, length: Duration) -> Played {
    let streams = clients.yard.streams();
    let name = Yard::stream("COMMANDS");
    let _alone = clients.yard.broker.lock().await;
    let Ok(Ok(stream)) = timeout(PATIENCE, streams.get_stream(&name)).await else { return Ok(0) };
    let before = stream.cached_info().config.clone();
    let narrow = async_nats::jetstream::stream::Config { max_messages_per_subject: 1, ..before.clone() };
    if !matches!(timeout(PATIENCE, streams.update_stream(narrow)).await, Ok(Ok(_))) {
        return Ok(0);
    }
    // A coordinator that finds the limit changed puts it back, perhaps at once.
    let was_narrow = is_narrow(clients, &name).await;
    if was_narrow {
        rest(length).await;
    }
    for _ in 0..TRIES_MAX {
        if matches!(timeout(PATIENCE, streams.update_stream(before.clone())).await, Ok(Ok(_))) {
            return Ok(u64::from(was_narrow));
        }
        rest(Duration::from_secs(1)).await;
    }
    Err("the limits of the stream of commands could not be put back".to_owned())
}

/// Returns true if the stream takes one message per command and no more.
async fn is_narrow(clients: &Clients, name: &str) -> bool {
    let stream = timeout(PATIENCE, clients.yard.streams().get_stream(name)).await;
    matches!(stream, Ok(Ok(stream)) if stream.cached_info().config.max_messages_per_subject == 1)
}
