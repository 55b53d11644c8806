//! The setting of a test: databases, a prefix, the services, and the coordinator's end of the wire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redress_core::{
    Command, CommandMessage, IdempotencyKey, JsonText, Name, Outcome, Phase, ReplyMessage, SagaId,
};
use redress_participant::{ParticipantConfig, Stats};
use redress_wire::{Consumer, Topology, Wire, WireConfig};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bench::id;

/// Longer than any of these tests takes when all is well.
const PATIENCE: Duration = Duration::from_secs(60);
/// Room for the largest of these tests, in bytes.
const STREAM_BYTES_MAX: i64 = 16 << 20;

pub(crate) struct Shop {
    wire: Wire,
    replies: Consumer<ReplyMessage>,
    waiting: Vec<ReplyMessage>,
    pub(crate) pools: BTreeMap<&'static str, PgPool>,
    urls: BTreeMap<&'static str, String>,
    stats: Vec<Arc<Stats>>,
    open: CancellationToken,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An action of saga `number`.
pub(crate) fn action<C: Command>(number: u128, command: &C) -> CommandMessage {
    message(number, Phase::Action, C::NAME, command)
}

/// The compensation of saga `number`, sent for the step of the action that `of` names.
pub(crate) fn undo<C: Command>(number: u128, of: &str, command: &C) -> CommandMessage {
    let mut undo = message(number, Phase::Compensation, C::NAME, command);
    undo.key.step = name(of);
    undo
}

/// Steps are named as their actions.
fn message<C: Command>(number: u128, phase: Phase, step: &str, command: &C) -> CommandMessage {
    CommandMessage {
        key: IdempotencyKey { saga_id: SagaId(id(number)), step: name(step), phase, generation: 1 },
        attempt: 1,
        saga: name("test"),
        version: 1,
        service: name(C::SERVICE),
        command: name(C::NAME),
        action_sent_at: chrono::Utc::now(),
        fault: None,
        traceparent: None,
        payload: JsonText::of(command).unwrap(),
    }
}

impl Shop {
    /// The databases of these services, with their tables; no instance serves yet.
    pub(crate) async fn closed(services: &[&str]) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let servers = redress_devstack::shared().await;
        let prefix = format!("shop-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&servers.postgres().admin_url()).await.unwrap();
        let (mut pools, mut urls) = (BTreeMap::new(), BTreeMap::new());
        for service in redress_services::all().iter().filter(|service| services.contains(&service.name())) {
            let database = format!("{}_{}", prefix.replace('-', "_"), service.name());
            let create = AssertSqlSafe(format!("CREATE DATABASE {database}"));
            sqlx::raw_sql(create).execute(&mut admin).await.unwrap();
            let url = servers.postgres().url(&database);
            let pool = PgPool::connect(&url).await.unwrap();
            service.migrate(&pool, redress_participant::Migrations::Apply).await.unwrap();
            pools.insert(service.name(), pool);
            urls.insert(service.name(), url);
        }
        let settings = WireConfig { stream_bytes_max: STREAM_BYTES_MAX, ..WireConfig::for_tests() };
        let topology = Topology::new(&prefix).unwrap();
        let wire = Wire::connect(&servers.nats().url(), topology, settings).await.unwrap();
        let replies = wire.replies(&name("test"), 1);
        let open = CancellationToken::new();
        Self { wire, replies, waiting: Vec::new(), pools, urls, stats: Vec::new(), open }
    }

    /// The same, and the services serve.
    pub(crate) async fn open(services: &[&str]) -> Self {
        let mut shop = Self::closed(services).await;
        shop.serve().await;
        shop
    }

    /// Starts one more instance of each service.
    pub(crate) async fn serve(&mut self) {
        for service in redress_services::all() {
            let Some(url) = self.urls.get(service.name()) else { continue };
            let settings = ParticipantConfig::default();
            let pool = service.connect(url, &settings).await.unwrap();
            let (stats, serving) = service.start(pool, self.wire.clone(), settings, self.open.clone());
            self.stats.push(stats);
            tokio::spawn(serving);
        }
    }

    /// Publishes commands, in this order.
    pub(crate) async fn send(&self, commands: &[CommandMessage]) {
        for result in self.wire.publish_commands(commands).await {
            result.unwrap();
        }
    }

    /// The next `count` outcomes, by saga.
    pub(crate) async fn outcomes(&mut self, count: usize) -> Vec<Outcome> {
        while self.waiting.len() < count {
            let batch = timeout(PATIENCE, self.replies.next_batch(1_000)).await.unwrap_or_else(|_| {
                panic!("{} of {count} replies came: {:#?}", self.waiting.len(), self.waiting)
            });
            for delivery in batch {
                let (message, _, handle) = delivery.split();
                handle.ack().await;
                self.waiting.push(message.unwrap());
            }
        }
        let mut replies: Vec<ReplyMessage> = self.waiting.drain(..count).collect();
        replies.sort_by_key(|reply| reply.key.saga_id);
        replies.into_iter().map(|reply| reply.outcome).collect()
    }

    /// The next `count` outcomes in a line each, by saga.
    pub(crate) async fn told(&mut self, count: usize) -> String {
        self.outcomes(count).await.iter().map(told).collect::<Vec<_>>().join("\n")
    }

    /// Sends one after the other, and gives the answers in a line each.
    pub(crate) async fn ask(&mut self, commands: impl IntoIterator<Item = CommandMessage>) -> String {
        let mut answers = Vec::new();
        for command in commands {
            let key = command.key.clone();
            self.send(&[command]).await;
            let answer = self.told(1).await;
            answers.push(format!("{} {answer}", key.step));
        }
        answers.join("\n")
    }

    /// A part of a service's books: rows of one text each, in a line each.
    pub(crate) async fn read(&self, service: &str, sql: &'static str) -> String {
        let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&self.pools[service]).await.unwrap();
        rows.join("\n")
    }

    /// Batches that had to be run again, in all instances.
    pub(crate) fn batch_retries(&self) -> u64 {
        self.stats.iter().map(|stats| stats.batch_retries.load(Ordering::Relaxed)).sum()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.open.cancel();
    }
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { reply } => format!("done {reply}"),
        Outcome::Rejected(rejection) => format!("rejected {}: {}", rejection.code, rejection.message),
        Outcome::Failed { message } => format!("failed: {message}"),
        Outcome::Fenced => "fenced".to_owned(),
        Outcome::Expired => "expired".to_owned(),
        Outcome::Refused { reason } => format!("refused: {reason}"),
        Outcome::Accepted => "accepted".to_owned(),
        Outcome::InDoubt { reason } => format!("in doubt: {reason}"),
    }
}
