//! One request: sent, repeated where that is safe, and its answer read.

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::{RequestBuilder, Url};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::call::{Call, Repetition};
use crate::config::ClientConfig;
use crate::error::{ClientError, Problem};

/// The least that a try is given, however little time is left: one try is always made.
const TRY_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// The pause before the first repetition; it doubles with each one.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between two tries: a coordinator that is back is noticed about as soon as a person would notice.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The connections to a coordinator.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    http: reqwest::Client,
    base_url: String,
    token: Option<String>,
    answer_timeout: Duration,
}

/// How long a request that is safe to repeat is repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Repeat {
    /// For so long, each try with its full time: a coordinator whose database is away takes some to say so.
    For(Duration),
    /// Until then: the time of a try ends there as well, but for the least that each is given.
    Until(Instant),
}

impl Transport {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let url = Url::parse(&config.base_url)
            .map_err(|error| ClientError::Unsendable(format!("`{}`: {error}", config.base_url)))?;
        let is_web = matches!(url.scheme(), "http" | "https");
        if !is_web || url.query().is_some() || url.fragment().is_some() {
            return Err(ClientError::Unsendable(format!("`{}`: not an address of HTTP", config.base_url)));
        }
        let token = config.token.as_deref();
        if token.is_some_and(|token| token.bytes().any(|byte| !matches!(byte, b' '..=b'~'))) {
            return Err(ClientError::Unsendable("the token holds a character that no header can".to_owned()));
        }
        let mut http = reqwest::Client::builder().connect_timeout(config.connect_timeout);
        // A proxy for the world outside knows nothing of this machine.
        if url.host_str().is_some_and(is_this_machine) {
            http = http.no_proxy();
        }
        Ok(Self {
            http: http.build().map_err(|error| ClientError::Unsendable(causes(&error)))?,
            base_url: config.base_url.trim_end_matches('/').to_owned(),
            token: config.token.clone(),
            answer_timeout: config.answer_timeout,
        })
    }

    /// Sends a request and reads its answer; one that is safe to repeat is made again and again until it is answered or
    /// the time is over, then gives the last failure. `silent` hears of the first one, if another try follows.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        call: &Call<T>,
        repeat: Repeat,
        silent: impl FnOnce(&ClientError),
    ) -> Result<T, ClientError> {
        self.read(self.repeat(call, repeat, silent).await?)
    }

    /// The same, for an answer that is text.
    pub(crate) async fn text(&self, call: &Call<String>, repeat: Repeat) -> Result<String, ClientError> {
        let Answer { status, body } = self.repeat(call, repeat, |_| {}).await?;
        String::from_utf8(body).map_err(|error| self.unreadable(status, error.to_string()))
    }

    async fn repeat<T>(
        &self,
        call: &Call<T>,
        repeat: Repeat,
        silent: impl FnOnce(&ClientError),
    ) -> Result<Answer, ClientError> {
        let begin = Instant::now();
        // A time beyond the clock is as good as a year.
        let far = begin + Duration::from_secs(365 * 86_400);
        let (deadline, try_timeout_min) = match repeat {
            Repeat::For(patience) => (begin.checked_add(patience).unwrap_or(far), self.answer_timeout),
            Repeat::Until(deadline) => (deadline, TRY_TIMEOUT_MIN.min(self.answer_timeout)),
        };
        let (mut pause, mut silent) = (PAUSE_FIRST, Some(silent));
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.answer(call, left.clamp(try_timeout_min, self.answer_timeout)).await {
                Err(error) if error.may_pass() && call.repetition == Repetition::Safe => error,
                done => return done,
            };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            if let Some(silent) = silent.take() {
                silent(&error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The request, with the token.
    fn request<T>(&self, call: &Call<T>) -> RequestBuilder {
        let mut request = self.http.request(call.method.clone(), format!("{}{}", self.base_url, call.path));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        match &call.body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    /// One try: a success with its body, or the problem that the answer states.
    async fn answer<T>(&self, call: &Call<T>, timeout: Duration) -> Result<Answer, ClientError> {
        let request = self.request(call).timeout(timeout);
        let response = request.send().await.map_err(|error| self.unsent(error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.unsent(error))?;
        let answer = Answer { status: status.as_u16(), body: body.to_vec() };
        if status.is_success() {
            return Ok(answer);
        }
        let mut problem: Problem = self.read(answer)?;
        problem.status = status.as_u16();
        Err(ClientError::Problem(Box::new(problem)))
    }

    fn read<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, ClientError> {
        serde_json::from_slice(&answer.body)
            .map_err(|error| self.unreadable(answer.status, error.to_string()))
    }

    fn unreadable(&self, status: u16, problem: String) -> ClientError {
        ClientError::Unreadable { base_url: self.base_url.clone(), status, problem }
    }

    fn unsent(&self, error: reqwest::Error) -> ClientError {
        let base_url = self.base_url.clone();
        match (error.is_builder(), error.is_connect()) {
            (true, _) => ClientError::Unsendable(causes(&error)),
            (false, true) => ClientError::NoConnection { base_url, source: Box::new(error) },
            (false, false) => ClientError::NoAnswer { base_url, source: Box::new(error) },
        }
    }
}

/// A successful answer.
struct Answer {
    /// The HTTP status.
    status: u16,
    body: Vec<u8>,
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn causes(error: &dyn StdError) -> String {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts.join(": ")
}
