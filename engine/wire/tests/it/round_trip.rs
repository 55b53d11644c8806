//! Everything that is sent arrives as it was.

use redress_core::fault::FaultKind;
use redress_core::{CommandMessage, IdempotencyKey, JsonText, Outcome, Phase, Rejection, ReplyMessage};

use crate::fixture::{command, name, reply, soon, wire};

fn kinds_of_commands() -> Vec<CommandMessage> {
    let faults = [
        None,
        Some(FaultKind::Fail),
        Some(FaultKind::Delay { ms: 250 }),
        Some(FaultKind::Reject { code: "out-of-stock".to_owned() }),
        Some(FaultKind::DropReply),
        Some(FaultKind::CrashAfterCommit),
    ];
    let payloads: [&[u8]; 6] = [
        b"null",
        b" {\"b\" : 1,\n\t\"a\":[1.0, 2e3]} ",
        "\"\u{1f4a1} \u{fc}ml\u{e4}ut\"".as_bytes(),
        br#""\u0001\r\n""#,
        b"-0.0",
        b"{}",
    ];
    let traces = [None, Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned())];
    let mut commands = Vec::new();
    for phase in [Phase::Action, Phase::Compensation, Phase::Settlement] {
        for (fault, payload) in faults.iter().zip(payloads) {
            for traceparent in &traces {
                let number = u32::try_from(commands.len()).unwrap();
                let plain = command(number);
                commands.push(CommandMessage {
                    key: IdempotencyKey { phase, generation: number + 1, ..plain.key },
                    attempt: u32::MAX - number,
                    version: 1 + number,
                    fault: fault.clone(),
                    traceparent: traceparent.clone(),
                    payload: JsonText::parse(payload).unwrap(),
                    ..plain
                });
            }
        }
    }
    let largest = format!("\"{}\"", "x".repeat(redress_core::message::PAYLOAD_BYTES_MAX - 2));
    commands.push(CommandMessage { payload: JsonText::parse(largest.as_bytes()).unwrap(), ..command(99) });
    let longest = name(&"n".repeat(63));
    commands.push(CommandMessage {
        key: IdempotencyKey { step: longest.clone(), ..command(100).key },
        saga: longest.clone(),
        command: longest,
        ..command(100)
    });
    commands
}

#[tokio::test]
async fn commands_arrive_as_they_were() {
    let wire = wire().await;
    let sent = kinds_of_commands();
    assert!(wire.publish_commands(&sent).await.iter().all(Result::is_ok));
    let mut till = wire.commands(&name("till"));
    let mut came = Vec::new();
    while came.len() < sent.len() {
        for delivery in soon("the commands", till.next_batch(100)).await {
            assert_eq!(delivery.deliveries, 1);
            came.push(delivery.message.unwrap());
        }
    }
    assert_eq!(came, sent);
}

#[tokio::test]
async fn replies_arrive_as_they_were() {
    let wire = wire().await;
    let outcomes = [
        Outcome::Done { reply: JsonText::parse(br#"{"z":1,"a": [2]}"#).unwrap() },
        Outcome::Done { reply: JsonText::null() },
        Outcome::Rejected(Rejection::new("insufficient-funds", "1,00 \u{20ac} short\r\n\"really\"")),
        Outcome::Failed { message: String::new() },
        Outcome::Failed { message: "connection\nlost".to_owned() },
        Outcome::Refused { reason: "no such command".to_owned() },
        Outcome::Fenced,
        Outcome::Expired,
    ];
    let sent: Vec<ReplyMessage> =
        (0..).zip(outcomes).map(|(n, outcome)| reply(&command(n), outcome)).collect();
    assert!(wire.publish_replies(&sent).await.iter().all(Result::is_ok));
    let mut replies = wire.replies(&name("place-order"), 1);
    let mut came = Vec::new();
    while came.len() < sent.len() {
        let batch = soon("the replies", replies.next_batch(100)).await;
        came.extend(batch.into_iter().map(|delivery| delivery.message.unwrap()));
    }
    assert_eq!(came, sent);
}

#[tokio::test]
async fn consumers_take_only_their_own_messages() {
    let wire = wire().await;
    let other_service = CommandMessage { service: name("stock"), ..command(1) };
    let other_version = CommandMessage { version: 2, ..command(2) };
    let other_saga = CommandMessage { saga: name("book-trip"), ..command(3) };
    let all = [command(0), other_service, other_version, other_saga];
    assert!(wire.publish_commands(&all).await.iter().all(Result::is_ok));
    let replies: Vec<ReplyMessage> = all.iter().map(|command| reply(command, Outcome::Fenced)).collect();
    assert!(wire.publish_replies(&replies).await.iter().all(Result::is_ok));

    let mut stock = wire.commands(&name("stock"));
    let batch = soon("the command", stock.next_batch(9)).await;
    assert_eq!(batch.len(), 1);
    assert_eq!(batch[0].message.as_ref(), Ok(&all[1]));
    for (saga, version, expected) in [("book-trip", 1, &replies[3]), ("place-order", 2, &replies[2])] {
        let batch = soon("the reply", wire.replies(&name(saga), version).next_batch(9)).await;
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].message.as_ref(), Ok(expected));
    }
}
