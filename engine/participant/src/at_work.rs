//! A participant at work, as its monitor sees it: what it has in hand, and whether its database is there.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redress_core::{Name, with_causes};
use redress_wire::Wire;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::repeated::Repeated;
use crate::stats::{Stats, count};
use crate::store;
use crate::watched::{Load, Watched};
use crate::worker::Worker;

/// How long the database may take to say that it is there: shorter than those wait who ask.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// The name of a handler that is for all commands that have none.
const ANY_COMMAND: &str = "any";

impl<S: Send + Sync + 'static> Watched for Worker<S> {
    fn service(&self) -> &Name {
        &self.service
    }

    fn stats(&self) -> &Stats {
        &self.inbox.stats
    }

    fn wire(&self) -> &Wire {
        &self.wire
    }

    fn loads(&self) -> Vec<Load> {
        let loads = self.beside().loads();
        let of_handler = |((phase, command), (running, waiting, concurrency)): (_, (usize, usize, usize))| {
            let command: Option<&Name> = command;
            let command = command.map_or(ANY_COMMAND, Name::as_str).to_owned();
            Load { command, phase, running, waiting, concurrency }
        };
        self.inbox.handlers.in_order().into_iter().zip(loads).map(of_handler).collect()
    }

    fn ask_database(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let options = self.inbox.pool.connect_options();
            // In a task of its own, because nothing may cancel a transaction.
            let asked = tokio::spawn(async move {
                let mut connection = PgConnection::connect_with(&options).await?;
                store::probe(&mut connection).await?;
                connection.close().await
            });
            match timeout(ANSWER_TIME_MAX, asked).await {
                Ok(Ok(Ok(()))) => Ok(()),
                Ok(Ok(Err(error))) => Err(with_causes(&error)),
                Ok(Err(panicked)) => Err(panicked.to_string()),
                Err(_) => Err(format!("no answer within {} s", ANSWER_TIME_MAX.as_secs())),
            }
        })
    }
}

/// A service without a database has none that could be down.
impl<S: Send + Sync + 'static> Watched for Repeated<S> {
    fn service(&self) -> &Name {
        &self.post.service
    }

    fn stats(&self) -> &Stats {
        &self.post.stats
    }

    fn wire(&self) -> &Wire {
        &self.post.wire
    }

    fn loads(&self) -> Vec<Load> {
        Vec::new()
    }

    fn ask_database(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl<S> Worker<S> {
    /// The intake stops until the database is back.
    pub(crate) fn note_database_down(&self) {
        // Commands that were in hand all find out; it is one outage.
        if self.inbox.stats.database_down.swap(1, Ordering::Relaxed) == 0 {
            count(&self.inbox.stats.outages);
        }
        self.database_down.notify_one();
    }

    pub(crate) fn note_database_up(&self) {
        self.inbox.stats.database_down.store(0, Ordering::Relaxed);
    }
}

/// Commands that are in a batch, until it is dropped.
pub(crate) struct InBatch<'s> {
    stats: &'s Stats,
    commands: u64,
}

impl<'s> InBatch<'s> {
    pub(crate) fn enter(stats: &'s Stats, commands: usize) -> Self {
        let commands = commands as u64;
        stats.in_batches.fetch_add(commands, Ordering::Relaxed);
        Self { stats, commands }
    }
}

impl Drop for InBatch<'_> {
    fn drop(&mut self) {
        self.stats.in_batches.fetch_sub(self.commands, Ordering::Relaxed);
    }
}
