//! The API as the commands see it.

use anyhow::Context as _;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::args::ApiArgs;
use crate::failure::Failure;

/// A client of a coordinator's API.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(args: &ApiArgs) -> Self {
        Self {
            http: reqwest::Client::new(),
            base: args.url.trim_end_matches('/').to_owned(),
            token: args.token.clone(),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a request and reads the JSON; a problem becomes a failure in its own words.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = request.send().await.map_err(|error| {
            Failure::unavailable(anyhow::Error::from(error).context(format!("no API at {}", self.base)))
                .remedy("redress up, or --url / REDRESS_URL if it is elsewhere")
        })?;
        let status = response.status();
        let body = response.bytes().await.context("the answer could not be read")?;
        let json: Value = serde_json::from_slice(&body)
            .with_context(|| format!("the answer ({status}) is not JSON: is {} a coordinator?", self.base))?;
        if status.is_success() {
            return Ok(json);
        }
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let code = match status.as_u16() {
            404 => 5,
            409 | 412 => 6,
            503 => 69,
            _ if text("type").ends_with("idempotency-key-reused") => 6,
            _ => 1,
        };
        Err(Failure::new(code, anyhow::anyhow!("{}", text("detail")).context(text("title"))))
    }
}
