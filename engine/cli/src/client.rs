//! The API as the commands see it.

use std::error::Error;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Method, RequestBuilder, Url};
use serde_json::Value;

use crate::args::ApiArgs;
use crate::failure::Failure;

/// How long a connection may take: longer than a busy machine takes, shorter than a person waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of a coordinator's API.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(args: &ApiArgs) -> Result<Self, Failure> {
        let url =
            Url::parse(&args.url).map_err(|error| Failure::usage(format!("`{}`: {error}", args.url)))?;
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        // A proxy for the world outside knows nothing of this machine.
        if url.host_str().is_some_and(is_this_machine) {
            http = http.no_proxy();
        }
        let base = args.url.trim_end_matches('/').to_owned();
        Ok(Self { http: http.build()?, base, token: args.token.clone() })
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

    /// The whole history of a saga, page by page: one that was tried for days has more than a page of it.
    pub(crate) async fn history(&self, id: &str) -> Result<Vec<Value>, Failure> {
        let path = format!("/v1/sagas/{id}/history");
        let (mut rows, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let request = self.request(Method::GET, &path).query(&cursor.map(|cursor| [("cursor", cursor)]));
            let mut page = self.send(request).await?;
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                rows.extend(items);
            }
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(rows),
            }
        }
    }

    /// Sends a request and reads the JSON; a problem becomes a failure in its own words.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = request.send().await.map_err(|error| {
            if error.is_builder() {
                return Failure::usage(format!("the request cannot be made: {}", causes(&error)));
            }
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

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn causes(error: &dyn Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts.join(": ")
}
