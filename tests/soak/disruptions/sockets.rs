//! Clients that hold on to connections.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{Played, raw};
use crate::clients::Clients;
use crate::rest;
use crate::support::until;

/// Silent sockets at each coordinator: about what a process may open on most systems, and half of them would do.
const SILENT: usize = 400;
/// Clients that hardly read: in the audit they cost 2.9 GB.
const SLOW: usize = 25;
/// The pause of a slow reader between two bytes.
const SLOW_PAUSE: Duration = Duration::from_millis(100);

/// Sockets without a word, with half a header, and with half a body, held for a while; the API answers all the same.
pub(super) async fn silent(clients: &Clients, length: Duration) -> Played {
    let mut held: Vec<TcpStream> = Vec::new();
    for coordinator in 0..clients.yard.coordinators.len() {
        let Some(port) = clients.yard.port(coordinator) else { continue };
        let opening = futures_util::stream::iter(0..SILENT).map(|number| open(port, number));
        let opened: Vec<Option<TcpStream>> = opening.buffer_unordered(50).collect().await;
        held.extend(opened.into_iter().flatten());
    }
    let count = held.len();
    // While they are held, another client is served.
    if count > 0 {
        until("an answer of the API beside silent sockets", async || {
            let url = clients.url("/v1/sagas?limit=1")?;
            let answer = clients.http.get(url).timeout(Duration::from_secs(5)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
    rest(length).await;
    drop(held);
    Ok(count as u64)
}

async fn open(port: u16, number: usize) -> Option<TcpStream> {
    let mut socket = raw::connect(port).await?;
    let whole = raw::start("silent", "{\"saga\":\"place-order\",\"input\":{}}");
    let said: &[u8] = match number % 4 {
        0 => &whole[..20],
        1 => &whole[..whole.len() - 10],
        _ => b"",
    };
    raw::say(&mut socket, said).await.then_some(socket)
}

/// Long lists, read byte by byte.
pub(super) async fn slow_readers(clients: &Clients, length: Duration) -> Played {
    let Some(port) = clients.yard.port(0).or_else(|| clients.yard.port(1)) else { return Ok(0) };
    let readers = (0..SLOW).map(|_| read_slowly(port, length));
    let heard: Vec<bool> = futures_util::future::join_all(readers).await;
    Ok(heard.into_iter().filter(|heard| *heard).count() as u64)
}

/// Returns true if anything came.
async fn read_slowly(port: u16, length: Duration) -> bool {
    let Some(mut socket) = raw::connect_narrow(port).await else { return false };
    raw::say(&mut socket, b"GET /v1/sagas?limit=200 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
    let (begun, mut heard) = (Instant::now(), false);
    while begun.elapsed() < length {
        match timeout(length, socket.read_u8()).await {
            Ok(Ok(_)) => heard = true,
            Ok(Err(_)) | Err(_) => break,
        }
        rest(SLOW_PAUSE).await;
    }
    heard
}
