//! A connection of the bench's client to the API: one exchange after the other.

use std::net::SocketAddr;

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long the API is asked to wait for the end of a saga, in its own words: the longest that it does.
const WAIT: &str = "60s";

/// A connection that is open and idle.
pub(super) struct Connection {
    sender: SendRequest<String>,
}

/// A request that may be made more than once.
pub(super) struct Exchange {
    host: String,
    key: String,
    body: String,
}

/// An answer.
pub(super) struct Answered {
    status: StatusCode,
    body: Vec<u8>,
}

impl Exchange {
    /// The start of a saga that waits for its end.
    pub(super) fn start(address: SocketAddr, key: &str, body: String) -> Self {
        Self { host: address.to_string(), key: format!("\"{key}\""), body }
    }

    fn request(&self) -> anyhow::Result<Request<String>> {
        let request = Request::post(format!("/v1/sagas?wait={WAIT}"))
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", &self.key);
        request.body(self.body.clone()).context("the request cannot be written")
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If nothing listens there.
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("the API at {address} could not be reached"))?;
        // Requests are written whole: waiting for more to send would only delay them.
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with its sender; a request on it tells of its errors.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self { sender })
    }

    /// Makes an exchange and reads the answer to its end, so that the next one can follow.
    ///
    /// # Errors
    /// If there is no answer.
    pub(super) async fn make(&mut self, exchange: &Exchange) -> anyhow::Result<Answered> {
        self.sender.ready().await.context("the API has closed the connection")?;
        let answer = self.sender.send_request(exchange.request()?).await;
        let (head, body) = answer.context("the API has not answered")?.into_parts();
        let body = body.collect().await.context("the API has not answered to the end")?;
        Ok(Answered { status: head.status, body: body.to_bytes().into() })
    }
}

impl Answered {
    /// The body, if the start was accepted.
    ///
    /// # Errors
    /// What the API says otherwise.
    pub(super) fn if_accepted(self) -> anyhow::Result<Vec<u8>> {
        let Self { status, body } = self;
        anyhow::ensure!(
            status == StatusCode::ACCEPTED,
            "the API has refused a start with {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}
