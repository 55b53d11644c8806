//! A door before a coordinator that loses, refuses or passes requests, one fate after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The fate of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The connection ends before anything is read.
    Closed,
    /// The coordinator answers, and the answer is lost.
    Lost,
    /// A proxy in between says that the coordinator is not there, in HTML.
    Unavailable,
    /// It goes through.
    Passed,
}

/// A proxy before a coordinator's API, which deals with the requests one after the other as it is told, with the last
/// fate for all that come later.
pub(crate) struct Door {
    pub(crate) url: String,
    pub(crate) passed: Arc<AtomicUsize>,
}

impl Door {
    pub(crate) async fn before(url: &str, fates: &'static [Fate]) -> Self {
        let server = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a local socket works");
        let url = format!("http://{}", listener.local_addr().expect("a local socket works"));
        let passed = Arc::new(AtomicUsize::new(0));
        let counter = passed.clone();
        tokio::spawn(async move {
            let mut fates = fates.iter().copied();
            let mut fate = Fate::Passed;
            while let Ok((client, _)) = listener.accept().await {
                fate = fates.next().unwrap_or(fate);
                tokio::spawn(deal_with(client, server.clone(), fate, counter.clone()));
            }
        });
        Self { url, passed }
    }

    pub(crate) fn environment(&self) -> [(&'static str, String); 1] {
        [("REDRESS_URL", self.url.clone())]
    }
}

/// One request per connection: the answer says so, and the client makes the next one.
async fn deal_with(mut client: TcpStream, server: String, fate: Fate, passed: Arc<AtomicUsize>) {
    if fate == Fate::Closed {
        return;
    }
    let request = whole(&mut client).await;
    if fate == Fate::Unavailable {
        let page = "<h1>upstream</h1>";
        let head = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nConnection: close\r\n";
        let answer = format!("{head}Content-Length: {}\r\n\r\n{page}", page.len());
        let _ = client.write_all(answer.as_bytes()).await;
        return;
    }
    let mut behind = TcpStream::connect(server).await.expect("a local socket works");
    let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    behind.write_all(request.as_bytes()).await.expect("a local socket works");
    let mut answer = Vec::new();
    behind.read_to_end(&mut answer).await.expect("a local socket works");
    if fate == Fate::Passed {
        passed.fetch_add(1, Ordering::Relaxed);
        let _ = client.write_all(&answer).await;
    }
}

/// A request with its body.
pub(crate) async fn whole(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = |line: &str| line.to_lowercase().strip_prefix("content-length:").map(str::to_owned);
            let length = head
                .lines()
                .find_map(length)
                .map_or(0, |length| length.trim().parse().expect("a length is a number"));
            if body.len() >= length {
                return text;
            }
        }
        let count = client.read_buf(&mut bytes).await.expect("a local socket works");
        assert!(count > 0, "the request ended early: {text}");
    }
}
