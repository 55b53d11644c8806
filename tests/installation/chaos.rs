//! Five hundred orders while a process dies at random moments: every saga ends as it must, and the books agree.
//!
//! Each test also proves that its fault happened. The moments come from a seed that is printed; `CHAOS_SEED` plays the
//! same ones again.

use crate::support::orders::{Order, Placing};
use crate::support::{SERVICES, World};
use futures_util::StreamExt;
use redress::devstack::StopMode;
use tokio_util::sync::CancellationToken;

/// Orders per test.
const ORDERS: usize = 500;
/// Kills of each process that is killed again and again.
const KILLS: usize = 20;
/// The last moment of a disruption: later, there might be nothing left to disturb.
const LAST_MOMENT: usize = ORDERS * 9 / 10;

/// Chance, with a seed that is printed.
#[expect(clippy::print_stdout, reason = "the seed is for whoever sees the test fail")]
fn chance() -> fastrand::Rng {
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("CHAOS_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Random moments, in order: each is a number of sagas that have ended.
fn moments(chance: &mut fastrand::Rng, count: usize) -> Vec<i64> {
    let mut moments: Vec<i64> = (0..count).map(|_| chance.usize(..LAST_MOMENT) as i64).collect();
    moments.sort_unstable();
    moments
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_is_killed_twenty_times() {
    let mut world = World::start().await;
    let mut chance = chance();
    let placing = Placing::begin(&world, ORDERS);
    for moment in moments(&mut chance, KILLS) {
        world.wait_for(moment).await;
        world.replace_coordinator(0).await;
        world.announce();
    }
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(evidence.redelivered > 0, "what the killed had in hand came again: {evidence:?}");
    println!("{KILLS} kills: {evidence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_killed_twenty_times_each() {
    let groups: Vec<&[&str]> = SERVICES.iter().map(std::slice::from_ref).collect();
    let mut world = World::with(redress::devstack::shared().await, 1, &groups).await;
    let mut chance = chance();
    let mut victims = [0, 1, 2, 3].repeat(KILLS);
    chance.shuffle(&mut victims);
    let placing = Placing::begin(&world, ORDERS);
    for (moment, victim) in moments(&mut chance, victims.len()).into_iter().zip(victims) {
        world.wait_for(moment).await;
        world.replace_services(victim, &[SERVICES[victim]]).await;
    }
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(evidence.redelivered > 0, "what the killed had in hand came again: {evidence:?}");
    println!("{KILLS} kills of each: {evidence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_killed_and_comes_back() {
    let world = World::on_own_servers().await;
    let mut chance = chance();
    let placing = Placing::begin(&world, ORDERS);
    for moment in moments(&mut chance, 5) {
        world.wait_for(moment).await;
        world.stack.nats().restart(StopMode::Kill).await.expect("NATS comes back");
    }
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(evidence.redelivered > 0, "what was in flight came again: {evidence:?}");
    println!("5 restarts: {evidence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream_store_is_wiped_in_the_middle_of_the_run() {
    let world = World::on_own_servers().await;
    let placing = Placing::begin(&world, ORDERS);
    world.wait_for(ORDERS as i64 / 5).await;
    world.stack.nats().wipe_store().await.expect("the store is wiped");
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(evidence.resent > 0, "commands were lost with the store and sent again: {evidence:?}");
    println!("1 wipe: {evidence:?}");
}

/// What the broker had acknowledged since the copy was made is gone, and its sequences begin again where they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_forgets_what_it_had_acknowledged() {
    let world = World::on_own_servers().await;
    let placing = Placing::begin(&world, ORDERS);
    world.wait_for(ORDERS as i64 / 10).await;
    world.stack.nats().keep_store().await.expect("the store is kept");
    world.wait_for(ORDERS as i64 / 2).await;
    world.stack.nats().roll_store_back().await.expect("the store is as it was");
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(evidence.resent > 0, "commands were forgotten and sent again: {evidence:?}");
    println!("1 amnesia: {evidence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_restarted_at_once() {
    let world = World::on_own_servers().await;
    let mut chance = chance();
    let placing = Placing::begin(&world, ORDERS);
    for moment in moments(&mut chance, 3) {
        world.wait_for(moment).await;
        world.stack.postgres().restart(StopMode::Immediate).await.expect("Postgres comes back");
        world.wait_for_journal().await;
    }
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(evidence.redelivered > 0, "what could not be written came again: {evidence:?}");
    println!("3 restarts: {evidence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinators_share_the_work() {
    let world = World::with(redress::devstack::shared().await, 2, &[&SERVICES]).await;
    let placing = Placing::begin(&world, ORDERS);
    let orders = placing.accepted().await;
    world.check(&orders).await;
    for coordinator in 0..2 {
        let url = world.coordinators[coordinator].says.trim_start_matches("listening on ");
        let metrics = world.http.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
        // The series are there from the start, at zero.
        let ended = metrics.lines().filter(|line| line.starts_with("redress_sagas_ended_total{"));
        let ended = ended.filter(|line| !line.ends_with(" 0"));
        assert!(ended.count() > 0, "coordinator {coordinator} ended no saga:\n{metrics}");
    }
}

/// How many commands an order sends to its services, and how many of them are compensations.
fn commands(order: Order) -> (usize, usize) {
    let actions = match order {
        Order::Fine => 5,
        Order::Unpayable => 2,
        Order::Undeliverable => 4,
    };
    let undos = order.end().1.len();
    (actions + undos, undos)
}

/// The messages that were delivered a second time.
#[derive(Debug, Default)]
struct Copies {
    commands: usize,
    replies: usize,
    /// The commands among them that are compensations.
    undos: usize,
}

impl Copies {
    /// Publishes a message once more, under another message id; a copy is not copied.
    async fn copy(&mut self, client: &async_nats::Client, message: async_nats::Message) {
        let mut headers = message.headers.unwrap_or_default();
        if headers.get("Test-Copy").is_some() {
            return;
        }
        if let Some(id) = headers.get("Nats-Msg-Id").map(ToString::to_string) {
            headers.insert("Nats-Msg-Id", format!("{id}-copy"));
        }
        headers.insert("Test-Copy", "1");
        let is_undo = headers.get("Redress-Phase").is_some_and(|phase| phase.as_str() == "compensation");
        let replies = headers
            .get("Redress-Replies")
            .map_or(1, |replies| replies.as_str().parse().expect("it is a number"));
        match message.subject.contains(".command.") {
            true => (self.commands, self.undos) = (self.commands + 1, self.undos + usize::from(is_undo)),
            false => self.replies += replies,
        }
        let copied = client.publish_with_headers(message.subject, headers, message.payload).await;
        copied.expect("NATS answers");
    }
}

/// Copies every command and every reply of a world while it runs.
struct Copying {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Copies>,
}

impl Copying {
    /// Stops, and waits until the copies, too, have been delivered: what `world` did with them can be seen.
    async fn finish(self, world: &World) -> Copies {
        self.stop.cancel();
        let copies = self.task.await.expect("copying does not panic");
        world.until_quiet().await;
        copies
    }
}

async fn deliver_everything_twice(world: &World) -> Copying {
    let client = world.nats().await;
    let mut messages = client.subscribe(format!("{}.*.>", world.prefix)).await.expect("NATS answers");
    client.flush().await.expect("NATS answers");
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let task = tokio::spawn(async move {
        let mut copies = Copies::default();
        let mut before_the_end = messages.by_ref().take_until(Box::pin(stopped));
        while let Some(message) = before_the_end.next().await {
            copies.copy(&client, message).await;
        }
        // What was published before is still to come.
        messages.drain().await.expect("NATS answers");
        while let Some(message) = messages.next().await {
            copies.copy(&client, message).await;
        }
        client.flush().await.expect("NATS answers");
        copies
    });
    Copying { stop, task }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_delivered_twice_is_done_once() {
    // The books of the demo refuse a second effect by keys of their own; the effects that only the inbox prevents are
    // counted apart.
    let counting = World::with(redress::devstack::shared().await, 0, &[]).await;
    let copying = deliver_everything_twice(&counting).await;
    let mut copies = Copies::default();
    crate::support::tally::counts_once(&counting, async {
        copies = copying.finish(&counting).await;
    })
    .await;
    let undone = crate::support::tally::COUNTED as usize / 2;
    assert!(copies.undos >= undone && copies.commands >= 5 * undone, "every command came twice: {copies:?}");
    drop(counting);

    let world = World::start().await;
    let copying = deliver_everything_twice(&world).await;
    let placing = Placing::begin(&world, ORDERS);
    let orders = placing.accepted().await;
    world.check(&orders).await;
    let copies = copying.finish(&world).await;
    let (asked, undos) = (0..ORDERS)
        .map(Order::number)
        .map(commands)
        .fold((0, 0), |(a, u), (asked, undos)| (a + asked, u + undos));
    assert!(copies.undos >= undos, "every compensation came twice: {copies:?}");
    assert!(copies.commands >= asked, "every command came twice: {copies:?}");
    assert!(copies.replies >= asked, "every reply came twice: {copies:?}");
    // The late copies were noted; the books stay as they are.
    world.check(&orders).await;
}
