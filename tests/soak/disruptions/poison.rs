//! Messages that no receiver can use. Each bears a mark, so that every dead letter can be told from every other.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Played, raw};
use crate::clients::Clients;
use crate::rest;
use crate::yard::{PREFIX, Yard};

/// How long the broker's acknowledgement of a message is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a message is thrown again at a broker that is away.
const TRIES_MAX: u32 = 30;
/// The header that bears the mark.
pub(crate) const MARK: &str = "Soak-Mark";
/// A moment at which every command of the soak may have been sent first: its age never matters, as poison is refused
/// before.
const SENT_AT: &str = "2026-01-01T00:00:00.000000Z";
/// More than any payload of ours may have, and less than the broker takes.
const OVERSIZE_BYTES: usize = 600 << 10;

/// One message.
struct Dose {
    subject: String,
    headers: Vec<(&'static str, String)>,
    payload: Vec<u8>,
}

/// A command that would be valid if it were not for its payload and for the added headers.
fn command(mark: Uuid, name: &str, payload: &[u8], more: &[(&'static str, &str)]) -> Dose {
    let mut headers = envelope(mark, "action");
    headers.push(("Redress-Command", name.to_owned()));
    headers.push(("Redress-Reply-To", format!("{PREFIX}.reply.order.place-order.1")));
    headers.push(("Redress-Action-Sent-At", SENT_AT.to_owned()));
    headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Dose { subject: format!("{PREFIX}.command.order.{name}"), headers, payload: payload.to_vec() }
}

/// A reply to a command that no saga has sent.
fn reply(mark: Uuid, outcome: &str, payload: &[u8], more: &[(&'static str, &str)]) -> Dose {
    let mut headers = envelope(mark, "action");
    headers.push(("Redress-Outcome", outcome.to_owned()));
    headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Dose { subject: format!("{PREFIX}.reply.order.place-order.1"), headers, payload: payload.to_vec() }
}

fn envelope(mark: Uuid, phase: &str) -> Vec<(&'static str, String)> {
    vec![
        ("Idempotency-Key", format!("{mark}/create-order/{phase}/1")),
        ("Redress-Attempt", "1".to_owned()),
        ("Redress-Saga", "place-order".to_owned()),
        ("Redress-Version", "1".to_owned()),
        ("Redress-Service", "order".to_owned()),
    ]
}

/// The bad commands for the services.
fn bad_commands() -> Vec<Dose> {
    let mark = Uuid::now_v7;
    let bare = |payload: &[u8]| Dose {
        subject: format!("{PREFIX}.command.order.create"),
        headers: Vec::new(),
        payload: payload.to_vec(),
    };
    let mut elsewhere = command(mark(), "create", b"{}", &[]);
    elsewhere.headers.retain(|(name, _)| *name != "Redress-Service");
    elsewhere.headers.push(("Redress-Service", "payment".to_owned()));
    vec![
        command(mark(), "create", b"{", &[]),
        command(mark(), "create", br#""\u0000""#, &[]),
        command(mark(), "create", &vec![b'7'; OVERSIZE_BYTES], &[]),
        command(mark(), "fly", b"{}", &[]),
        elsewhere,
        bare(b""),
        bare(&[0xff, 0xfe]),
    ]
}

/// Messages that neither can use, with headers that the broker obeys.
fn bad_headers() -> Vec<Dose> {
    let mark = Uuid::now_v7;
    let [commands, replies] = ["COMMANDS", "REPLIES"].map(Yard::stream);
    vec![
        command(mark(), "create", b"{", &[("Nats-Expected-Stream", &commands)]),
        command(mark(), "create", b"{", &[("Nats-TTL", "never")]),
        command(mark(), "roll", b"{", &[("Nats-Rollup", "sub")]),
        reply(mark(), "done", b"{", &[("Nats-Expected-Stream", &replies)]),
    ]
}

/// The bad replies for the coordinators.
fn bad_replies() -> Vec<Dose> {
    let mark = Uuid::now_v7;
    vec![
        reply(mark(), "done", b"{", &[]),
        reply(mark(), "done", br#""\u0000""#, &[]),
        reply(mark(), "perhaps", b"null", &[]),
        reply(mark(), "rejected", b"7", &[]),
        reply(mark(), "done", b"null", &[]),
        Dose {
            subject: format!("{PREFIX}.reply.order.place-order.1"),
            headers: Vec::new(),
            payload: b"\xff".to_vec(),
        },
    ]
}

/// Commands that no service can use.
pub(crate) async fn commands(clients: &Clients) -> Played {
    throw_all(clients, bad_commands()).await
}

/// Replies that no coordinator can use.
pub(crate) async fn replies(clients: &Clients) -> Played {
    throw_all(clients, bad_replies()).await
}

/// Messages that are instructions to the broker, too.
pub(crate) async fn headers(clients: &Clients) -> Played {
    throw_all(clients, bad_headers()).await
}

async fn throw_all(clients: &Clients, doses: Vec<Dose>) -> Played {
    let mut stored = 0;
    for dose in doses {
        stored += u64::from(throw(clients, dose).await);
    }
    Ok(stored)
}

/// Throws it until the broker says that it has stored it, or that it never will.
async fn throw(clients: &Clients, dose: Dose) -> bool {
    let (book, streams) = (&clients.book, clients.yard.streams());
    let key = dose.headers.iter().find(|(name, _)| *name == "Idempotency-Key");
    let of_key = key.and_then(|(_, key)| key.split('/').next()?.parse().ok());
    for _ in 0..TRIES_MAX {
        // A copy whose fate is unknown keeps its mark; the next one gets another where that is possible.
        let mark = of_key.unwrap_or_else(Uuid::now_v7);
        book.throws(mark);
        let mut headers = HeaderMap::new();
        headers.insert(MARK, mark.to_string());
        for (name, value) in &dose.headers {
            headers.insert(*name, value.as_str());
        }
        let sent = streams.publish_with_headers(dose.subject.clone(), headers, dose.payload.clone().into());
        let stored = timeout(PATIENCE, async { sent.await?.await }).await;
        match stored.map(|stored| stored.map_err(|error| error.kind())) {
            Ok(Ok(_)) => {
                book.stored(mark);
                return true;
            }
            Err(_) | Ok(Err(PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe)) => {}
            Ok(Err(PublishErrorKind::StreamNotFound)) => {}
            Ok(Err(_)) => {
                book.refused(mark);
                return false;
            }
        }
        rest(Duration::from_secs(1)).await;
    }
    false
}

/// Header blocks as no client library writes them.
fn broken_blocks(mark: Uuid) -> [String; 3] {
    let mark = format!("{MARK}: {mark}\r\n");
    [
        format!("NATS/1.0\r\n{mark}Soak: a\rb\r\n\r\n"),
        format!("NATS/1.0\r\n{mark}a line without its colon\r\n\r\n"),
        format!("NATS/1.0\r\n{mark}Soak: \r\r\n\r\n"),
    ]
}

/// Broken header blocks to a service and to the coordinators, by hand.
pub(crate) async fn broken_headers(clients: &Clients) -> Played {
    let mut stored = 0;
    for subject in ["command.order.create", "reply.order.place-order.1"] {
        for number in 0..3 {
            let mark = Uuid::now_v7();
            let block = broken_blocks(mark)[number].clone();
            clients.book.throws_broken(mark);
            if throw_by_hand(clients, &format!("{PREFIX}.{subject}"), &block, mark).await {
                clients.book.stored(mark);
                stored += 1;
            }
        }
    }
    Ok(stored)
}

/// Speaks NATS by hand; returns true if the broker has stored the message.
async fn throw_by_hand(clients: &Clients, subject: &str, block: &str, mark: Uuid) -> bool {
    let url = clients.yard.stack.nats().url();
    let address: async_nats::ServerAddr = url.parse().expect("the stack's URL");
    let Some(mut socket) = raw::connect(clients.yard.stack.nats().port()).await else { return false };
    let user = address.username().unwrap_or_default();
    let password = address.password().unwrap_or_default();
    let payload = mark.to_string();
    let (headers, all) = (block.len(), block.len() + payload.len());
    let said = format!(
        "CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"headers\":true,\"verbose\":false,\"lang\":\"hand\",\
         \"version\":\"0\",\"protocol\":1}}\r\nSUB soak.inbox.{mark} 1\r\n\
         HPUB {subject} soak.inbox.{mark} {headers} {all}\r\n{block}{payload}\r\nPING\r\n"
    );
    raw::say(&mut socket, said.as_bytes()).await
        && raw::hear_until(&mut socket, "\"stream\"").await.contains("\"seq\"")
}
