//! Bytes on a socket, for clients that keep to no protocol.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long a connection to this machine may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects to a port of this machine; nothing if no process listens there.
pub(super) async fn connect(port: u16) -> Option<TcpStream> {
    timeout(PATIENCE, TcpStream::connect(("127.0.0.1", port))).await.ok()?.ok()
}

/// Connects with a window for a few kilobytes, so that the server has to wait for a client that reads slowly.
pub(super) async fn connect_narrow(port: u16) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_recv_buffer_size(4_096).ok()?;
    timeout(PATIENCE, socket.connect(([127, 0, 0, 1], port).into())).await.ok()?.ok()
}

/// Sends this text; returns true if it could be sent.
pub(super) async fn say(socket: &mut TcpStream, text: &[u8]) -> bool {
    timeout(PATIENCE, socket.write_all(text)).await.is_ok_and(|said| said.is_ok())
}

/// The answer until this word is seen in it, the other end closes or is silent for too long.
pub(super) async fn hear_until(socket: &mut TcpStream, what: &str) -> String {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4_096]);
    while !String::from_utf8_lossy(&heard).contains(what) {
        match timeout(PATIENCE, socket.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => heard.extend_from_slice(&buffer[..count]),
            Ok(_) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// A start as it goes over the wire.
pub(super) fn start(key: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /v1/sagas HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
