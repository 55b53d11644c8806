//! Postgres dies, ends its sessions, or is not heard.

use std::time::Duration;

use redress_devstack::{Drop, StopMode};
use sqlx::Row;

use super::Played;
use crate::clients::Clients;
use crate::support::until;
use crate::yard::Yard;

/// How long a proxy may wait for a COMMIT to take: there is one with every batch.
const COMMIT_PATIENCE: Duration = Duration::from_secs(20);

/// Stops at once, and recovers.
pub(super) async fn restart(clients: &Clients) -> Played {
    let _alone = clients.yard.database.lock().await;
    let restarted = clients.yard.stack.postgres().restart(StopMode::Immediate).await;
    restarted.map_err(|error| format!("Postgres did not come back: {error}"))?;
    until("the journal", async || sqlx::query("SELECT 1").execute(&clients.yard.journal).await.ok()).await;
    Ok(1)
}

/// Ends every session of the installation.
pub(super) async fn end_sessions(clients: &Clients) -> Played {
    let _alone = clients.yard.database.lock().await;
    let ended = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) AS ended FROM pg_stat_activity \
                 WHERE datname = ANY($1) AND pid <> pg_backend_pid()";
    let row = until("an answer of Postgres", async || {
        let row = sqlx::query(ended).bind(Yard::databases()).fetch_one(&clients.yard.journal);
        row.await.ok()
    })
    .await;
    Ok(u64::try_from(row.get::<i64, _>("ended")).unwrap_or_default())
}

/// The next COMMIT through a proxy is carried out, and its answer is lost; or the whole connection falls silent.
pub(super) async fn drop_answer(clients: &Clients, mut chance: fastrand::Rng) -> Played {
    let drop = if chance.bool() { Drop::Reply } else { Drop::Connection };
    let proxy = &clients.yard.proxies[chance.usize(..clients.yard.proxies.len())];
    proxy.drop_on_match(drop, b"COMMIT");
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    let dropping = async {
        while !proxy.has_dropped() {
            looks.tick().await;
        }
    };
    Ok(u64::from(tokio::time::timeout(COMMIT_PATIENCE, dropping).await.is_ok()))
}
