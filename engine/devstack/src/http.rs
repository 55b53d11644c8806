//! The only HTTP request of a stack: is NATS healthy?
//!
//! A client library would be a heavy dependency for a GET over loopback whose body is not even read.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one probe may take: it is loopback, and it is repeated.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Returns true if `GET path` on a loopback port answers 200.
pub(crate) async fn is_ok(port: u16, path: &str) -> bool {
    matches!(tokio::time::timeout(TIMEOUT, status_line(port, path)).await, Ok(Ok(line)) if accepts(&line))
}

fn accepts(status_line: &str) -> bool {
    status_line.split(' ').nth(1) == Some("200")
}

async fn status_line(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn health_probe_accepts_status_200_only() {
        assert!(super::accepts("HTTP/1.1 200 OK"));
        assert!(!super::accepts("HTTP/1.1 503 Service Unavailable"));
        assert!(!super::accepts(""));
    }
}
