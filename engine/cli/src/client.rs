//! The API as the commands see it: `redress-client`, with answers as they are, and failures with exit codes.
//!
//! The commands print what the API said, to the last member, so they send requests for JSON and read as much of the
//! answers as they need.

use redress_client::{Call, Client, ClientConfig, ClientError, Problem, SagaId, SagaQuery};
use serde_json::Value;

use crate::args::ApiArgs;
use crate::args::saga_ref::SagaRef;
use crate::failure::Failure;
use crate::legible::legible;

/// How many sagas a page holds when an id is searched by its beginning, and how many pages are searched.
const FIND_LIMIT: u32 = 200;
const FIND_PAGES_MAX: usize = 10;
/// How many ids are told when several begin alike.
const ALIKE_TOLD: usize = 5;

/// The address and the secret of the command line.
pub(crate) fn config(args: &ApiArgs) -> ClientConfig {
    let config = ClientConfig::new(&args.url);
    match &args.token {
        Some(token) => config.token(token),
        None => config,
    }
}

pub(crate) fn connect(args: &ApiArgs) -> Result<Client, Failure> {
    Client::new(config(args)).map_err(Failure::of_client)
}

/// Sends a request and gives the answer as it is.
pub(crate) async fn ask<T>(client: &Client, call: Call<T>) -> Result<Value, Failure> {
    client.send(call.as_json()).await.map_err(Failure::of_client)
}

/// The whole history of a saga, page by page: one that was tried for days has more than a page of it.
pub(crate) async fn history(client: &Client, id: SagaId) -> Result<Vec<Value>, Failure> {
    let (mut rows, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut page = ask(client, Call::history(id, cursor.as_deref())).await?;
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            rows.extend(items);
        }
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(rows),
        }
    }
}

/// The id of the saga that is meant: the only one that begins like this.
pub(crate) async fn find(client: &Client, saga: &SagaRef) -> Result<SagaId, Failure> {
    let prefix = match saga {
        SagaRef::Id(id) => return Ok(*id),
        SagaRef::Prefix(prefix) => prefix,
    };
    // The search finds those that begin so first, among those whose key or label it is; what comes after them only has it
    // somewhere, and has a cursor of another form.
    let (text, limit) = (Some(prefix.clone()), Some(FIND_LIMIT));
    let mut query = SagaQuery { text, limit, ..SagaQuery::default() };
    let mut found = Vec::new();
    for _ in 0..FIND_PAGES_MAX {
        let page = ask(client, Call::sagas(&query)).await?;
        let ids = page["items"].as_array().into_iter().flatten().filter_map(|item| item["id"].as_str());
        let alike = ids.filter(|id| id.starts_with(prefix.as_str()));
        found.extend(alike.filter_map(|id| id.parse::<SagaId>().ok()));
        match page["next"].as_str() {
            Some(next) if found.len() < 2 && next.parse::<SagaId>().is_ok() => {
                query.cursor = Some(next.to_owned())
            }
            Some(_) | None => return the_only_one(prefix, found),
        }
    }
    let error = anyhow::anyhow!("too many sagas hold `{prefix}` somewhere to find the one that begins so");
    Err(Failure::usage(error).remedy("say more of the id"))
}

fn the_only_one(prefix: &str, mut found: Vec<SagaId>) -> Result<SagaId, Failure> {
    match (found.pop(), found.pop()) {
        (Some(id), None) => Ok(id),
        (None, _) => {
            Err(Failure::new(5, anyhow::anyhow!("there is no saga whose id begins with `{prefix}`"))
                .remedy("redress list"))
        }
        (Some(one), Some(another)) => {
            let mut alike = vec![one.to_string(), another.to_string()];
            alike.extend(found.into_iter().rev().take(ALIKE_TOLD - 2).map(|id| id.to_string()));
            Err(Failure::usage(format!("several ids begin with `{prefix}`, such as {}", alike.join(", ")))
                .remedy("say more of the id"))
        }
    }
}

/// The failure in a few words, without its causes.
pub(crate) fn brief(error: &ClientError) -> String {
    match error {
        ClientError::NoConnection { base_url, .. } => format!("no API at {base_url}"),
        ClientError::NoAnswer { base_url, .. } => format!("no answer from {base_url}"),
        ClientError::Problem(problem) if problem.title.is_empty() => {
            format!("the answer is {}", problem.status)
        }
        ClientError::Problem(problem) => legible(&problem.title).into_owned(),
        ClientError::Unreadable { .. } | ClientError::Unsendable(_) => {
            legible(&error.to_string()).into_owned()
        }
    }
}

impl Failure {
    /// A request of the API that has no answer to go on with.
    pub(crate) fn of_client(error: ClientError) -> Self {
        let brief = brief(&error);
        let may_pass = error.may_pass();
        match error {
            ClientError::Unsendable(_) => Self::usage(brief),
            ClientError::NoConnection { source, .. } | ClientError::NoAnswer { source, .. } => {
                Self::unavailable(anyhow::Error::from_boxed(source).context(brief))
                    .remedy("redress up, or --url / REDRESS_URL if it is elsewhere")
            }
            ClientError::Problem(problem) if problem.detail.is_empty() => {
                Self::new(exit_code(&problem), anyhow::anyhow!(brief))
            }
            ClientError::Problem(problem) => {
                let detail = anyhow::anyhow!(legible(&problem.detail).into_owned());
                Self::new(exit_code(&problem), detail.context(brief))
            }
            // A proxy in front of a coordinator that is away speaks HTML.
            ClientError::Unreadable { .. } if may_pass => Self::unavailable(anyhow::anyhow!(brief)),
            ClientError::Unreadable { .. } => Self::new(1, anyhow::anyhow!(brief)),
        }
    }
}

fn exit_code(problem: &Problem) -> u8 {
    match problem.status {
        404 => 5,
        409 | 412 => 6,
        502..=504 => 69,
        _ if problem.word() == "idempotency-key-reused" => 6,
        _ => 1,
    }
}
