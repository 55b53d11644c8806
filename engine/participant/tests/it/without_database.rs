//! A service without a database: its handlers may run again, and its listener hears at most once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redress_core::fault::FaultKind;
use redress_core::message::NotificationMessage;
use redress_core::{CommandMessage, JsonText, Phase, ReplyMessage};
use redress_macros::{Command, service};
use redress_participant::{
    Answer, FaultMode, Handle, HandlerError, ListenWithoutDatabase, Participant, ParticipantConfig, Received,
    ServeError, Service, Stats, Tx, done, reject,
};
use redress_wire::{Consumer, Topology, Wire, WireConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::fixture::{STREAM_BYTES_MAX, command, name, saga, told, told_in_order, until};

mod with_database;

/// Longer than any of these tests takes when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
enum Say {
    Done,
    No,
    Err,
    Panic,
    Hang,
    /// What cannot travel.
    Nul,
    /// Waits for the test.
    Wait,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "prices", name = "quote", reply = String)]
struct Quote {
    say: Say,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "prices", name = "look")]
struct Look {}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "prices", name = "shown")]
struct Shown {
    say: Say,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "prices", name = "keep")]
struct Keep {}

#[derive(Clone)]
struct Prices {
    /// `key attempt` of each call.
    ran: Arc<Mutex<Vec<String>>>,
    entered: Arc<Semaphore>,
    leave: Arc<Semaphore>,
}

impl Default for Prices {
    fn default() -> Self {
        let none = || Arc::new(Semaphore::new(0));
        Self { ran: Arc::default(), entered: none(), leave: none() }
    }
}

#[service("prices")]
impl Prices {
    #[action(at_least_once, concurrency = 2, time_max_s = 1)]
    async fn quote(&self, received: &Received, command: Quote) -> Answer<String> {
        let run = format!("{} {}", received.key().step, received.attempt());
        self.ran.lock().unwrap().push(run);
        match command.say {
            Say::Done => done(format!("attempt {} of {}", received.attempt(), received.saga())),
            Say::No => reject("sold-out", "there is none left"),
            Say::Err => Err("no line to the exchange".into()),
            Say::Panic => panic!("as the test orders"),
            Say::Hang => std::future::pending().await,
            Say::Nul => done("\0".to_owned()),
            Say::Wait => {
                self.entered.add_permits(1);
                self.leave.acquire().await?.forget();
                done("waited".to_owned())
            }
        }
    }

    #[action(at_least_once)]
    async fn look(&self, _: &Received, _: Look) -> Answer<()> {
        done(())
    }
}

impl ListenWithoutDatabase<Shown> for Prices {
    async fn listen_without_database(&self, received: &Received, shown: Shown) -> Result<(), HandlerError> {
        self.ran.lock().unwrap().push(received.key().to_string());
        match shown.say {
            Say::Err => Err("it does not listen".into()),
            Say::Panic => panic!("as the test orders"),
            Say::Done | Say::No | Say::Hang | Say::Nul | Say::Wait => Ok(()),
        }
    }
}

impl Handle<Keep> for Prices {
    async fn handle(&self, _: &mut Tx<'_>, _: Keep) -> Answer<()> {
        done(())
    }
}

fn service(prices: Prices) -> Service {
    let register = |it: Participant<Prices>| {
        <Prices as redress_participant::ServiceHandlers>::register(it).listen_without_database::<Shown>()
    };
    Service::new("prices", || None, register, prices)
}

/// The coordinator's end of the wire; there is no database.
struct Line {
    wire: Wire,
    replies: Consumer<ReplyMessage>,
    waiting: Vec<ReplyMessage>,
}

struct Instance {
    prices: Prices,
    stats: Arc<Stats>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServeError>>,
}

async fn wire(prefix: &str) -> Wire {
    let nats = redress_devstack::shared().await.nats().url();
    let config = WireConfig { stream_bytes_max: STREAM_BYTES_MAX, ..WireConfig::for_tests() };
    Wire::connect(&nats, Topology::new(prefix).unwrap(), config).await.unwrap()
}

fn impatient() -> ParticipantConfig {
    ParticipantConfig { unknown_command_age: Duration::ZERO, ..ParticipantConfig::default() }
}

fn obedient() -> ParticipantConfig {
    ParticipantConfig { faults: FaultMode::Abandon, ..impatient() }
}

fn begin(wire: Wire, config: ParticipantConfig) -> Instance {
    let (prices, shutdown) = (Prices::default(), CancellationToken::new());
    let (stats, serving) = service(prices.clone()).start_without_database(wire, config, shutdown.clone());
    Instance { prices, stats, shutdown, task: tokio::spawn(serving) }
}

impl Line {
    async fn new(test: &str) -> Self {
        let born = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let wire = wire(&format!("bare-{test}-{born}-{}", std::process::id())).await;
        let replies = wire.replies(&name("test"), 1);
        Self { wire, replies, waiting: Vec::new() }
    }

    fn serve(&self, config: ParticipantConfig) -> Instance {
        begin(self.wire.clone(), config)
    }

    async fn send(&self, commands: &[CommandMessage]) {
        for result in self.wire.publish_commands(commands).await {
            result.unwrap();
        }
    }

    async fn replies(&mut self, count: usize) -> Vec<ReplyMessage> {
        while self.waiting.len() < count {
            let batch = timeout(PATIENCE, self.replies.next_batch(1_000)).await.unwrap();
            for delivery in batch {
                let (message, _, ack) = delivery.split();
                ack.ack().await;
                self.waiting.push(message.unwrap());
            }
        }
        self.waiting.drain(..count).collect()
    }

    async fn ask(&mut self, command: CommandMessage) -> String {
        self.send(&[command]).await;
        told(&self.replies(1).await.remove(0).outcome)
    }

    async fn leave(self, instances: impl IntoIterator<Item = Instance>) {
        for instance in instances {
            instance.shutdown.cancel();
            timeout(PATIENCE, instance.task).await.unwrap().unwrap().unwrap();
        }
    }
}

impl Instance {
    fn counted(&self) -> String {
        let counts = self.stats.read().into_iter().filter(|(_, count)| *count > 0);
        counts.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }

    fn ran(&self) -> usize {
        self.prices.ran.lock().unwrap().len()
    }
}

fn quote(number: u128, say: Say) -> CommandMessage {
    CommandMessage { service: name("prices"), ..command(number, Phase::Action, "quote", &Quote { say }) }
}

fn look(number: u128) -> CommandMessage {
    CommandMessage { service: name("prices"), ..command(number, Phase::Action, "look", &Look {}) }
}

fn in_phase(phase: Phase, mut command: CommandMessage) -> CommandMessage {
    command.key.phase = phase;
    command
}

fn again(command: CommandMessage) -> CommandMessage {
    CommandMessage { attempt: command.attempt + 1, ..command }
}

fn with(fault: FaultKind, command: CommandMessage) -> CommandMessage {
    CommandMessage { fault: Some(fault), ..command }
}

#[tokio::test(flavor = "multi_thread")]
async fn service_without_database_gives_every_answer() {
    let mut line = Line::new("answers").await;
    let prices = line.serve(impatient());
    let unreadable = CommandMessage { payload: JsonText::of("a text").unwrap(), ..quote(7, Say::Done) };
    let unknown = CommandMessage { command: name("juggle"), ..quote(8, Say::Done) };
    let mut asked: Vec<CommandMessage> = [Say::Done, Say::No, Say::Err, Say::Panic, Say::Hang, Say::Nul]
        .into_iter()
        .zip(1..)
        .map(|(say, number)| quote(number, say))
        .collect();
    asked.extend([unreadable, unknown]);
    asked.push(in_phase(Phase::Settlement, quote(9, Say::Done)));
    asked.push(in_phase(Phase::Compensation, quote(10, Say::Done)));
    line.send(&asked).await;
    let told = told_in_order(line.replies(asked.len()).await);
    insta::assert_snapshot!(told, @r#"
    done "attempt 1 of test"
    rejected sold-out: there is none left
    failed: no line to the exchange
    failed: the handler panicked; see the service's log for where
    failed: the handler did not end within 1s
    refused: the reply cannot travel: a text in it holds a NUL character
    refused: the payload is no `quote`: invalid type: string "a text", expected struct Quote at line 1 column 8
    refused: service `prices` knows no action `juggle`
    in doubt: service `prices` handles `quote` at least once and remembers nothing of it
    refused: service `prices` knows no compensation `quote`
    "#);
    assert_eq!(prices.counted(), "done 1, rejected 1, failed 3, dead_letters 4, in_doubt 1");
    assert_eq!(line.wire.listening(&name("prices")).await.unwrap(), Some(1), "a probe sees it listen");
    line.leave([prices]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn command_that_is_sent_again_is_handled_again() {
    let mut line = Line::new("again").await;
    let prices = line.serve(impatient());
    assert_eq!(line.ask(quote(1, Say::Done)).await, r#"done "attempt 1 of test""#);
    assert_eq!(line.ask(again(quote(1, Say::Done))).await, r#"done "attempt 2 of test""#);
    assert_eq!((prices.ran(), prices.counted().as_str()), (2, "done 2, run_again 1"));
    line.leave([prices]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn command_of_a_process_that_was_killed_is_delivered_to_the_next_one() {
    let mut line = Line::new("killed").await;
    line.send(&[quote(1, Say::Wait)]).await;
    let prefix = line.wire.topology().prefix().to_string();
    // In a runtime of its own, which is gone as after SIGKILL once the handler waits.
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let dying = begin(wire(&prefix).await, impatient());
            timeout(PATIENCE, dying.prices.entered.acquire()).await.unwrap().unwrap().forget();
        });
        runtime.shutdown_background();
    });
    tokio::task::spawn_blocking(|| process.join().unwrap()).await.unwrap();
    let prices = line.serve(impatient());
    prices.prices.leave.add_permits(1);
    assert_eq!(told(&line.replies(1).await[0].outcome), r#"done "waited""#);
    assert_eq!(prices.counted(), "done 1, redelivered 1, run_again 1");
    line.leave([prices]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kind_without_database_runs_as_many_at_once_as_it_may_and_holds_up_no_other() {
    let mut line = Line::new("places").await;
    let prices = line.serve(impatient());
    line.send(&(1..=6).map(|number| quote(number, Say::Wait)).collect::<Vec<_>>()).await;
    let entered = prices.prices.entered.clone();
    timeout(PATIENCE, entered.acquire_many(2)).await.unwrap().unwrap().forget();
    assert_eq!(line.ask(look(7)).await, "done null", "another kind is answered meanwhile");
    assert_eq!(prices.ran(), 2, "two places");
    prices.prices.leave.add_permits(6);
    assert_eq!(line.replies(6).await.len(), 6);
    line.leave([prices]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service_without_database_finishes_what_runs_and_puts_back_what_waits() {
    let mut line = Line::new("stops").await;
    let prices = line.serve(impatient());
    line.send(&(1..=3).map(|number| quote(number, Say::Wait)).collect::<Vec<_>>()).await;
    let entered = prices.prices.entered.clone();
    timeout(PATIENCE, entered.acquire_many(2)).await.unwrap().unwrap().forget();
    prices.shutdown.cancel();
    prices.prices.leave.add_permits(2);
    timeout(PATIENCE, prices.task).await.unwrap().unwrap().unwrap();
    assert_eq!(line.replies(2).await.len(), 2);
    let next = line.serve(impatient());
    next.prices.leave.add_permits(1);
    assert_eq!(line.replies(1).await.len(), 1);
    line.leave([next]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service_without_database_obeys_injected_failures() {
    let mut line = Line::new("faults").await;
    let prices = line.serve(obedient());
    assert_eq!(line.ask(with(FaultKind::Fail, quote(1, Say::Done))).await, "failed: injected failure");
    let no = FaultKind::Reject { code: "no-luck".to_owned() };
    assert_eq!(line.ask(with(no, quote(2, Say::Done))).await, "rejected no-luck: injected rejection");
    assert_eq!(prices.ran(), 0);
    // Handled and not answered; only the next attempt is.
    line.send(&[with(FaultKind::DropReply, quote(3, Say::Done))]).await;
    assert_eq!(line.ask(again(quote(3, Say::Done))).await, r#"done "attempt 2 of test""#);
    // Not handled at all.
    line.send(&[with(FaultKind::DropCommand, quote(4, Say::Done))]).await;
    assert_eq!(line.ask(again(quote(4, Say::Done))).await, r#"done "attempt 2 of test""#);
    // Handled, and delivered again.
    let silent = line.ask(with(FaultKind::CrashAfterCommit, quote(5, Say::Done))).await;
    assert_eq!(silent, r#"done "attempt 1 of test""#);
    let ran = prices.prices.ran.lock().unwrap().len();
    assert_eq!(ran, 5, "3 twice, 4 once, 5 twice");
    line.send(&[with(FaultKind::Duplicate, quote(6, Say::Done))]).await;
    assert_eq!(line.replies(2).await.len(), 2);
    line.leave([prices]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notification_is_heard_without_a_database_and_lost_if_the_listener_fails() {
    let line = Line::new("notified").await;
    let prices = line.serve(impatient());
    let notification = |number, say| NotificationMessage {
        saga_id: saga(number),
        saga: name("test"),
        version: 1,
        step: name("tell"),
        service: name("prices"),
        command: name("shown"),
        traceparent: None,
        payload: JsonText::of(&Shown { say }).unwrap(),
    };
    // Until its subscription is there, nobody hears.
    until("it listens", async || {
        line.wire.notify(&[notification(1, Say::Done)]).await;
        prices.ran() > 0
    })
    .await;
    line.wire
        .notify(&[notification(2, Say::Err), notification(3, Say::Panic), notification(4, Say::Done)])
        .await;
    let last = format!("{}/tell/action/1", saga(4));
    until("the last one", async || prices.prices.ran.lock().unwrap().contains(&last)).await;
    let unheard = prices.stats.read().into_iter().find(|(name, _)| *name == "unheard").unwrap().1;
    assert_eq!(unheard, 2, "and none comes again");
    line.leave([prices]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service_with_a_handler_in_a_transaction_is_not_served_without_a_database() {
    let line = Line::new("refused").await;
    let mixed =
        Service::new("prices", || None, |it: Participant<Prices>| it.handle::<Keep>(), Prices::default());
    assert!(mixed.needs_database() && !service(Prices::default()).needs_database());
    let (_, serving) = mixed.start_without_database(line.wire.clone(), impatient(), CancellationToken::new());
    let refused = serving.await.unwrap_err();
    insta::assert_snapshot!(refused, @"service `prices` needs a database: `keep` is handled in a transaction; serve it with a pool, or handle it with `HandleAtLeastOnce` or `ListenWithoutDatabase`, which have none");
}
