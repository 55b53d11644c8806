//! A rush of replies, on tokio's paused clock: a command is not timed out while its answer may lie among those that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redress_coordinator::ports::{Bus, BusHealth, Clock, Incoming, Lag, RawMessage, Replies};
use redress_coordinator::{Config, Engine, StartRequest};
use redress_core::decide::{NotSent, Unsent};
use redress_core::message::NotificationMessage;
use redress_core::{CommandMessage, IdempotencyKey, Name, Outcome, Phase, ReplyMessage, SagaId, Timestamp};
use redress_simulation::memory::{MemoryBus, MemoryJournal};
use redress_testkit::fixtures;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How far the replies are behind in the rush.
const BEHIND: Duration = Duration::from_secs(30);

/// A clock in tokio's paused time.
#[derive(Clone, Debug)]
struct PausedClock(Instant);

impl PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.0.elapsed()
    }
}

impl Clock for PausedClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }

    fn jitter(&self) -> f64 {
        0.5
    }

    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}

type Inner = MemoryBus<PausedClock>;

/// A bus whose replies were published a while ago, and that counts the commands.
#[derive(Clone)]
struct LateBus {
    inner: Inner,
    clock: PausedClock,
    published: Arc<AtomicU64>,
}

/// Its replies.
struct LateReplies {
    inner: <Inner as Bus>::Replies,
    bus: LateBus,
}

impl Replies for LateReplies {
    type Acknowledge = <<Inner as Bus>::Replies as Replies>::Acknowledge;

    async fn next_batch(&mut self, max: usize) -> Vec<Incoming<Self::Acknowledge>> {
        let mut batch = self.inner.next_batch(max).await;
        for incoming in &mut batch {
            incoming.lag = Lag::Behind { published_at: self.bus.clock.now() - BEHIND };
        }
        batch
    }
}

impl Bus for LateBus {
    type Replies = LateReplies;
    type Letters = <Inner as Bus>::Letters;
    type Incarnation = <Inner as Bus>::Incarnation;

    async fn publish(&self, commands: &[CommandMessage]) -> Vec<NotSent> {
        self.published.fetch_add(commands.len() as u64, Ordering::Relaxed);
        self.inner.publish(commands).await
    }

    async fn tell(&self, notifications: Vec<NotificationMessage>) {
        self.inner.tell(notifications).await;
    }

    fn replies(&self, saga: &Name, version: u32) -> LateReplies {
        LateReplies { inner: self.inner.replies(saga, version), bus: self.clone() }
    }

    fn letters(&self) -> Self::Letters {
        self.inner.letters()
    }

    fn carries(&self, subject: &str) -> bool {
        self.inner.carries(subject)
    }

    async fn replay(&self, message_id: String, message: &RawMessage) -> Result<(), Unsent> {
        self.inner.replay(message_id, message).await
    }

    fn health(&self) -> BusHealth {
        self.inner.health()
    }

    async fn incarnation(&self) -> Option<u64> {
        self.inner.incarnation().await
    }

    async fn flush(&self) {}

    fn is_alive(&self) -> bool {
        true
    }

    fn raw_reply(&self, reply: &ReplyMessage) -> RawMessage {
        self.inner.raw_reply(reply)
    }
}

/// A reply to a command that nobody has sent.
fn stray(saga: &Name, version: u32) -> ReplyMessage {
    ReplyMessage {
        service: Name::new("till").expect("a valid name"),
        saga: saga.clone(),
        version,
        key: IdempotencyKey {
            saga_id: SagaId(Uuid::now_v7()),
            step: Name::new("charge").expect("a valid name"),
            phase: Phase::Action,
            generation: 1,
        },
        attempt: 1,
        outcome: Outcome::Fenced,
    }
}

#[tokio::test(start_paused = true)]
async fn command_is_not_timed_out_while_the_replies_are_behind() {
    let clock = PausedClock(Instant::now());
    let of_journal = clock.clone();
    let journal = MemoryJournal::new(move || of_journal.now());
    let bus =
        LateBus { inner: MemoryBus::new(clock.clone()), clock: clock.clone(), published: Arc::default() };
    let definition = fixtures::five_steps(9, 9);
    let (name, version) = (definition.name.clone(), definition.version);
    let (published, inner) = (bus.published.clone(), bus.inner.clone());
    let engine = Engine::on(Config::new(""), vec![definition], journal, bus, clock).await.unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        async move { engine.run(shutdown).await }
    });
    let rush_for = async |seconds: u32| {
        for _ in 0..2 * seconds {
            inner.with(|store, now| store.replies.publish(stray(&name, version), now));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    rush_for(1).await;
    let input = serde_json::json!({});
    let (saga, key) = (name.to_string(), "order-1".to_owned());
    engine.start_request(StartRequest { saga, input, key, ..StartRequest::default() }).await.unwrap();
    // Its first command has ten seconds.
    rush_for(35).await;
    assert_eq!(published.load(Ordering::Relaxed), 1, "its answer may lie among those that wait");
    // It is timed out after forty, as of the tenth, and sent again once the replies of that moment were taken, too.
    rush_for(40).await;
    assert_eq!(published.load(Ordering::Relaxed), 2, "its answer was not among them");
    // Nothing comes any more, so there is nothing among which an answer could lie.
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(published.load(Ordering::Relaxed), 3, "it is sent again in its own time");
    shutdown.cancel();
    running.await.unwrap();
}
