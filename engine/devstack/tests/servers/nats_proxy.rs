//! The proxy before NATS, between a real server and real clients.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, pull};
use futures_util::StreamExt as _;
use redress_devstack::{NatsFaults, NatsProxy};

use crate::{PATIENCE, connect};

const NONE: NatsFaults = NatsFaults { seed: 1, loss: 0.0, duplication: 0.0, latency: Duration::ZERO };

/// Messages of each test: enough that a seed which loses none of them is out of the question.
const MESSAGES: u32 = 200;

/// A proxy before the shared server, and its URL.
async fn proxy(faults: NatsFaults) -> (NatsProxy, String) {
    let stack = redress_devstack::shared().await;
    let (proxy, port) = NatsProxy::before(stack.nats().port(), faults).await.unwrap();
    let url = stack.nats().url();
    let (address, _) = url.rsplit_once(':').unwrap();
    (proxy, format!("{address}:{port}"))
}

async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, happens).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// A question to the server, and its answer: what was sent before on this connection has been read by then.
async fn round_trip(client: &async_nats::Client) {
    async_nats::jetstream::new(client.clone()).query_account().await.unwrap();
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

/// The plain messages that arrive behind a proxy, in their order.
async fn arrived(subject: &str, faults: NatsFaults) -> Vec<String> {
    let (proxy, url) = proxy(faults).await;
    let listener = connect(&url).await;
    let mut messages = listener.subscribe(subject.to_owned()).await.unwrap();
    round_trip(&listener).await;
    let sender = connect(&redress_devstack::shared().await.nats().url()).await;
    for number in 0..MESSAGES {
        sender.publish(subject.to_owned(), number.to_string().into()).await.unwrap();
    }
    let came = proxy.wait_for(|traffic| traffic.plain.came == u64::from(MESSAGES));
    let plain = soon("all messages", came).await.plain;
    let mut arrived = Vec::new();
    while (arrived.len() as u64) < plain.came - plain.lost {
        arrived.push(text(&soon("a message", messages.next()).await.unwrap().payload));
    }
    arrived
}

#[tokio::test]
async fn same_seed_loses_the_same_messages_and_keeps_the_order_of_others() {
    let faults = NatsFaults { loss: 0.3, duplication: 0.3, latency: Duration::from_millis(5), ..NONE };
    let first = arrived("proxy.seeds", faults).await;
    assert_eq!(first, arrived("proxy.seeds", faults).await);
    assert_ne!(first, arrived("proxy.seeds", NatsFaults { seed: 2, ..faults }).await);
    let numbers: Vec<u32> = first.iter().map(|text| text.parse().unwrap()).collect();
    assert!(numbers.is_sorted() && numbers.len() < MESSAGES as usize, "{numbers:?}");
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "a plain message came twice");
}

#[tokio::test]
async fn message_is_under_way_for_the_latency_in_each_direction() {
    let latency = Duration::from_millis(40);
    let (_proxy, url) = proxy(NatsFaults { latency, ..NONE }).await;
    let client = connect(&url).await;
    round_trip(&client).await;
    let begun = Instant::now();
    round_trip(&client).await;
    assert!(begun.elapsed() >= 2 * latency, "{:?}", begun.elapsed());
}

/// Delivery until acknowledged: what is lost comes again, and what is acknowledged in vain, too.
#[tokio::test]
async fn stream_is_consumed_whole_through_losses_and_doubles() {
    let (proxy, url) = proxy(NatsFaults { loss: 0.2, duplication: 0.2, ..NONE }).await;
    let direct = crate::jetstream(&redress_devstack::shared().await.nats().url()).await;
    let config = async_nats::jetstream::stream::Config {
        name: "PROXY".to_owned(),
        subjects: vec!["proxy.stream".to_owned()],
        ..Default::default()
    };
    direct.create_stream(config).await.unwrap();
    for number in 0..MESSAGES {
        direct.publish("proxy.stream", number.to_string().into()).await.unwrap().await.unwrap();
    }
    let through = crate::jetstream(&url).await.get_stream("PROXY").await.unwrap();
    let consumer = pull::Config {
        durable_name: Some("all".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(1),
        ..Default::default()
    };
    let mut messages = through.create_consumer(consumer).await.unwrap().messages().await.unwrap();
    let mut seen = Vec::new();
    let all = async {
        while proxy.traffic().acknowledgements.came == 0 || proxy.traffic().unacknowledged > 0 {
            tokio::select! {
                message = messages.next() => {
                    let message = message.unwrap().unwrap();
                    seen.push(text(&message.payload));
                    message.ack().await.unwrap();
                }
                traffic = proxy.wait_for(|it| it.acknowledgements.came > 0 && it.unacknowledged == 0) => {
                    assert_eq!(traffic.unacknowledged, 0);
                }
            }
        }
    };
    soon("every message is acknowledged", all).await;
    let once: BTreeSet<&String> = seen.iter().collect();
    let traffic = proxy.traffic();
    assert_eq!(once.len(), MESSAGES as usize, "{traffic:?}");
    assert!(seen.len() > once.len() && traffic.deliveries.lost > 0 && traffic.deliveries.doubled > 0);
    assert!(traffic.acknowledgements.lost > 0, "{traffic:?}");
    direct.delete_stream("PROXY").await.unwrap();
}
