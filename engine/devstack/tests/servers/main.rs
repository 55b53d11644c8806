//! Private servers, for real: started, restarted, wiped, killed, and never left behind.

#![expect(clippy::unwrap_used, reason = "in a test, a broken expectation is the finding")]

mod held;
mod kept;
mod leaving;
mod lifecycle;
mod nats_proxy;
mod paused;
mod providing;
mod strangers;

use std::time::Duration;

/// How long a test waits for something that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, holds).await.is_err() {
        panic!("waited in vain until {what}");
    }
}

/// Returns true if a process runs (a zombie does not).
pub(crate) fn runs(pid: u32) -> bool {
    let output =
        std::process::Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

/// One value from Postgres.
pub(crate) async fn number(url: &str, query: &'static str) -> Result<i32, sqlx::Error> {
    use sqlx::Connection as _;
    let mut connection = sqlx::PgConnection::connect(url).await?;
    let number = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(number)
}

/// Runs a statement in Postgres.
pub(crate) async fn execute(url: &str, statement: &'static str) {
    use sqlx::Connection as _;
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A NATS connection with the credentials of the URL, which the client library itself does not look at.
pub(crate) async fn connect(url: &str) -> async_nats::Client {
    let address: async_nats::ServerAddr = url.parse().unwrap();
    let [user, password] = [address.username(), address.password()].map(|part| part.unwrap().to_owned());
    async_nats::ConnectOptions::with_user_and_password(user, password).connect(address).await.unwrap()
}

/// A JetStream context on a new connection.
pub(crate) async fn jetstream(url: &str) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(connect(url).await)
}

/// Makes a stream with one message in it.
pub(crate) async fn store_message(url: &str, stream: &str) {
    let jetstream = jetstream(url).await;
    jetstream
        .create_stream(async_nats::jetstream::stream::Config {
            name: stream.to_owned(),
            ..Default::default()
        })
        .await
        .unwrap();
    jetstream.publish(stream.to_owned(), "hello".into()).await.unwrap().await.unwrap();
}

/// How many messages a stream holds; `None` when it does not exist.
pub(crate) async fn messages(url: &str, stream: &str) -> Option<u64> {
    let stream = jetstream(url).await.get_stream(stream).await.ok()?;
    Some(stream.get_info().await.unwrap().state.messages)
}
