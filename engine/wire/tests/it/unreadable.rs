//! Messages that the client library cannot read are found, come out like all poison, and are deleted.

use std::time::Duration;

use redress_core::message::NotificationMessage;
use redress_core::{JsonText, Outcome};
use redress_wire::headers::of_command;
use redress_wire::{Consumer, Wire, WireConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{beside_shared, command, name, publish, reply, soon, stored, wire_config, wire_with};

/// Messages that were out when the client ended come again soon.
async fn wire() -> Wire {
    wire_with(WireConfig { ack_wait: Duration::from_secs(2), ..wire_config() }).await
}

/// Stores a message whose header block no client library would write.
pub(crate) async fn inject_by_hand(subject: &str, block: &[u8]) {
    let shared = redress_devstack::shared().await;
    let url: async_nats::ServerAddr = shared.nats().url().parse().unwrap();
    let (user, password) = (url.username().unwrap(), url.password().unwrap());
    let mut socket = TcpStream::connect(("127.0.0.1", shared.nats().port())).await.unwrap();
    let connect = format!(
        "CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"verbose\":false,\"headers\":true}}\r\n\
         HPUB {subject} {} {}\r\n",
        block.len(),
        block.len() + "null".len(),
    );
    let talk = [connect.as_bytes(), block, b"null\r\nPING\r\n"].concat();
    socket.write_all(&talk).await.unwrap();
    let mut heard = String::new();
    while !heard.contains("PONG") {
        let mut buffer = [0; 1024];
        let length = socket.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}

/// One that ends the client, those that break the connection, and one that is taken for an order of the server's.
pub(crate) const BLOCKS: [&[u8]; 4] = [
    b"NATS/1.0\r\nName: a\rb\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\nName: \xff\r\n\r\n",
    b"NATS/1.0 404 Not here\r\n\r\n",
];

/// Everything that comes until the good message: the reasons of the messages that are given up.
async fn until_good<M: redress_wire::headers::Envelope>(
    consumer: &mut Consumer<M>,
    poison: usize,
) -> Vec<String> {
    let (mut reasons, mut good) = (Vec::new(), false);
    while !good || reasons.len() < poison {
        for delivery in soon("what is stored", consumer.next_batch(10)).await {
            match delivery.message {
                Ok(_) => {
                    delivery.handle().ack().await;
                    good = true;
                }
                Err(ref poison) => {
                    reasons.push(poison.reason.clone());
                    delivery.handle().term().await;
                }
            }
        }
    }
    reasons
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_end_client_are_given_up_and_later_ones_come() {
    for (number, block) in (0..).zip(&BLOCKS[..3]) {
        let wire = wire().await;
        inject_by_hand(&wire.topology().command_subject("till", "charge"), block).await;
        publish(&wire, &[command(number)]).await;
        let mut till = wire.commands(&name("till"));
        let reasons = until_good(&mut till, 1).await;
        assert_eq!(reasons.len(), 1, "{}", block.escape_ascii());
        assert!(reasons[0].starts_with("its header block cannot be read"), "{}", reasons[0]);
        let (context, stream) = (beside_shared().await, wire.topology().commands_stream());
        soon("both are gone", async { while stored(&context, &stream).await > 0 {} }).await;
        soon("a client that works", async {
            while !wire.is_alive() {
                tokio::task::yield_now().await
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_end_client_are_given_up_and_later_ones_come() {
    let wire = wire().await;
    let answer = reply(&command(1), Outcome::Fenced);
    inject_by_hand(&wire.topology().reply_subject(&answer), BLOCKS[0]).await;
    assert_eq!(wire.publish_replies(&[answer]).await, [Ok(())]);
    let mut replies = wire.replies(&name("place-order"), 1);
    assert_eq!(until_good(&mut replies, 1).await.len(), 1);
}

/// A server from before 2.12 stores the status with the message, and the client would take it for the server's own; a newer
/// one takes it out.
#[tokio::test(flavor = "multi_thread")]
async fn stored_status_hides_no_message() {
    let wire = wire().await;
    let subject = wire.topology().command_subject("till", "charge");
    inject_by_hand(&subject, BLOCKS[3]).await;
    inject_by_hand(&subject, BLOCKS[1]).await;
    publish(&wire, &[command(1)]).await;
    let mut till = wire.commands(&name("till"));
    let reasons = until_good(&mut till, 2).await;
    assert!(
        reasons.contains(&"its header block cannot be read: a line of it has no colon".to_owned()),
        "{reasons:?}"
    );
}

/// The saga is told, if the rest says which.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_command_names_its_saga() {
    let wire = wire().await;
    let mut block = b"NATS/1.0\r\n".to_vec();
    for (header, value) in redress_wire::headers::to_text(&of_command(&command(1), "somewhere")) {
        block.extend(format!("{header}: {value}\r\n").into_bytes());
    }
    block.extend(b"Odd: a\rb\r\n\r\n");
    inject_by_hand(&wire.topology().command_subject("till", "charge"), &block).await;
    let mut till = wire.commands(&name("till"));
    let batch = soon("the poison", till.next_batch(1)).await;
    let poison = batch[0].message.as_ref().unwrap_err();
    assert_eq!(poison.address.as_ref().unwrap().key, command(1).key);
    let kept = poison.headers.iter().find(|(name, _)| name == "Redress-Original-Header-Block").unwrap();
    assert_eq!(kept.1, block.escape_ascii().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn listener_survives_notification_that_ends_client() {
    let wire = wire().await;
    let mut heard = wire.notifications(&name("till")).await.unwrap();
    let subject = wire.topology().notification_subject("till", "greet");
    inject_by_hand(&subject, BLOCKS[0]).await;
    let told = NotificationMessage {
        saga_id: command(1).key.saga_id,
        saga: name("place-order"),
        version: 1,
        step: name("greet"),
        service: name("till"),
        command: name("greet"),
        traceparent: None,
        payload: JsonText::of(&1).unwrap(),
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    soon("a notification after it", async {
        loop {
            tokio::select! {
                notification = heard.next() => break assert_eq!(notification.as_ref(), Some(&told)),
                _ = ticks.tick() => wire.notify(std::slice::from_ref(&told)).await,
            }
        }
    })
    .await;
}
