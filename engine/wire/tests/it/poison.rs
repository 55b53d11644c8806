//! Messages that cannot be read come out with a reason, and block nothing.

use async_nats::HeaderMap;
use redress_core::{CommandMessage, IdempotencyKey, LetterCode, Outcome, ReplyMessage};
use redress_wire::headers::{of_command, of_reply};
use redress_wire::{DeadLetter, Kept, Malformed, Wire};
use uuid::Uuid;

use crate::fixture::{beside_shared, command, name, publish, reply, soon, stored, wire};

async fn inject(subject: String, headers: HeaderMap, payload: &[u8]) {
    let context = beside_shared().await;
    context.publish_with_headers(subject, headers, payload.to_vec().into()).await.unwrap().await.unwrap();
}

/// A line for people: the outcome of a message.
fn told(message: Result<IdempotencyKey, Malformed>) -> String {
    match message {
        Ok(key) => format!("fine: {key}"),
        Err(poison) => {
            let whom = poison.address.map_or("nobody to tell".to_owned(), |address| {
                format!("tell {} v{} attempt {}", address.key.step, address.version, address.attempt)
            });
            format!("{} ({whom})", poison.reason)
        }
    }
}

async fn come(wire: &Wire, commands: usize) -> Vec<Result<CommandMessage, Malformed>> {
    let mut till = wire.commands(&name("till"));
    let mut came = Vec::new();
    while came.len() < commands {
        for delivery in soon("everything", till.next_batch(100)).await {
            delivery.handle().ack().await;
            came.push(delivery.message);
        }
    }
    came
}

#[tokio::test]
async fn unreadable_commands_are_reported_and_block_nothing() {
    let wire = wire().await;
    let subject = wire.topology().command_subject("till", "charge");
    let good = || of_command(&command(0), "somewhere");
    let spoilt = |header: &str, value: &str| {
        let mut headers = good();
        headers.insert(header, value);
        headers
    };
    inject(subject.clone(), HeaderMap::new(), b"null").await;
    inject(subject.clone(), spoilt("Nats-Msg-Id", "a"), b"{").await;
    inject(subject.clone(), spoilt("Nats-Msg-Id", "b"), br#""\u0000""#).await;
    inject(subject.clone(), spoilt("Nats-Msg-Id", "c"), b"\xff").await;
    inject(subject.clone(), spoilt("Nats-Msg-Id", "d"), &[b'1'; 300 << 10]).await;
    for (id, (header, value)) in (0..).zip([
        ("Redress-Attempt", "0"),
        ("Redress-Attempt", "-1"),
        ("Redress-Version", "99999999999"),
        ("Redress-Saga", "x.y"),
        ("Idempotency-Key", "../../etc/passwd"),
        ("Redress-Action-Sent-At", "yesterday"),
        ("Redress-Fault", "explode"),
        ("Redress-Service", "stock"),
        ("Redress-Command", "refund"),
    ]) {
        let mut headers = spoilt(header, value);
        headers.insert("Nats-Msg-Id", format!("e{id}"));
        inject(subject.clone(), headers, b"null").await;
    }
    publish(&wire, &[command(7)]).await;

    let came = come(&wire, 15).await;
    let story: Vec<String> =
        came.into_iter().map(|message| told(message.map(|command| command.key))).collect();
    let story = story.join("\n").replace(&**wire.topology().prefix(), "redress");
    insta::assert_snapshot!(story, @"
    the header `Idempotency-Key` is missing (nobody to tell)
    the payload is not JSON: EOF while parsing an object at line 1 column 1 (tell charge-payment v1 attempt 1)
    the payload is unusable: a text in it holds a NUL character (tell charge-payment v1 attempt 1)
    the payload is not JSON: expected value at line 1 column 1 (tell charge-payment v1 attempt 1)
    the payload is unusable: it has 307200 bytes, more than 262144 (tell charge-payment v1 attempt 1)
    the header `Redress-Attempt` is unusable: number would be zero for non-zero type (nobody to tell)
    the header `Redress-Attempt` is unusable: invalid digit found in string (nobody to tell)
    the header `Redress-Version` is unusable: number too large to fit in target type (nobody to tell)
    the header `Redress-Saga` is unusable: `x.y` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens (nobody to tell)
    the header `Idempotency-Key` is unusable: `../../etc/passwd` is no key: expected `<saga-id>/<step>/<action|compensation|settlement>/<generation>` (nobody to tell)
    the header `Redress-Action-Sent-At` is unusable: input contains invalid characters (tell charge-payment v1 attempt 1)
    the header `Redress-Fault` is unusable: `explode` is no kind of fault: use reject (with a code), fail, delay (with ms), drop-command, drop-reply, delay-reply (with ms), duplicate, crash-before-commit, crash-after-commit, crash-after-reply, call-lost, call-late, call-twice or call-failed (tell charge-payment v1 attempt 1)
    its headers belong on the subject `redress.command.stock.charge` (nobody to tell)
    its headers belong on the subject `redress.command.till.refund` (nobody to tell)
    fine: 00000000-0000-0000-0000-000000000008/charge-payment/action/1
    ");
}

#[tokio::test]
async fn poison_keeps_headers_and_payload() {
    let wire = wire().await;
    let subject = wire.topology().command_subject("till", "charge");
    let mut headers = HeaderMap::new();
    headers.append("Colour", "red");
    headers.append("Colour", "blue");
    inject(subject.clone(), headers, b"\x00\xff").await;
    let poison = come(&wire, 1).await.pop().unwrap().unwrap_err();
    assert_eq!(poison.subject, subject);
    assert_eq!(poison.payload, b"\x00\xff");
    let colours = [("Colour", "red"), ("Colour", "blue")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(poison.headers, colours);
}

#[tokio::test]
async fn unreadable_replies_are_reported_and_block_nothing() {
    let wire = wire().await;
    let done = reply(&command(0), Outcome::Fenced);
    let subject = wire.topology().reply_subject(&done);
    let deep = "[".repeat(500) + &"]".repeat(500);
    for (outcome, payload) in [
        ("done", &b"{"[..]),
        ("done", br#"{"a":"\u0000"}"#),
        ("done", b"1e400"),
        ("done", deep.as_bytes()),
        ("rejected", br#"{"code":"x"}"#),
        ("rejected", br#"{"code":"x","message":"\u0000"}"#),
        ("failed", b"{}"),
        ("failed", br#""\u0000""#),
        ("refused", b""),
        ("maybe", b""),
    ] {
        let (mut headers, _) = of_reply(&done);
        headers.insert("Redress-Outcome", outcome);
        inject(subject.clone(), headers, payload).await;
    }
    let (mut headers, _) = of_reply(&done);
    headers.insert("Redress-Service", "stock");
    inject(subject.clone(), headers, b"").await;
    let (mut headers, _) = of_reply(&done);
    headers.insert("Redress-Outcome", "xxx");
    inject(subject.clone(), headers, b"").await;
    assert_eq!(wire.publish_replies(std::slice::from_ref(&done)).await, [Ok(())]);

    let mut replies = wire.replies(&name("place-order"), 1);
    let mut came: Vec<Result<ReplyMessage, Malformed>> = Vec::new();
    while came.len() < 13 {
        let batch = soon("everything", replies.next_batch(100)).await;
        for delivery in batch {
            came.push(delivery.message);
        }
    }
    let story: Vec<String> = came.into_iter().map(|message| told(message.map(|reply| reply.key))).collect();
    let story = story.join("\n").replace(&**wire.topology().prefix(), "redress");
    insta::assert_snapshot!(story, @"
    the payload is not JSON: EOF while parsing an object at line 1 column 1 (tell charge-payment v1 attempt 1)
    the payload is unusable: a text in it holds a NUL character (tell charge-payment v1 attempt 1)
    the payload is unusable: it is not readable (number out of range at line 1 column 5) (tell charge-payment v1 attempt 1)
    the payload is unusable: it is nested 500 deep, more than 100 (tell charge-payment v1 attempt 1)
    the payload is no rejection: missing field `message` at line 1 column 12 (tell charge-payment v1 attempt 1)
    the payload is unusable: a text in it holds a NUL character (tell charge-payment v1 attempt 1)
    the payload is no sentence: invalid type: map, expected a string at line 1 column 0 (tell charge-payment v1 attempt 1)
    the payload is unusable: a text in it holds a NUL character (tell charge-payment v1 attempt 1)
    the payload is not JSON: EOF while parsing a value at line 1 column 0 (tell charge-payment v1 attempt 1)
    the outcome `maybe` is unknown (tell charge-payment v1 attempt 1)
    its headers belong on the subject `redress.reply.stock.place-order.1` (nobody to tell)
    the outcome `xxx` is unknown (tell charge-payment v1 attempt 1)
    fine: 00000000-0000-0000-0000-000000000001/charge-payment/action/1
    ");
}

#[tokio::test]
async fn dead_letter_keeps_message_and_reason() {
    let wire = wire().await;
    let mut headers = redress_wire::headers::to_text(&of_command(&command(0), "somewhere"));
    headers.push(("Odd".to_owned(), "one\r\ntwo".to_owned()));
    headers.push(("no:name".to_owned(), "x".to_owned()));
    headers.push((String::new(), "x".to_owned()));
    let letter = DeadLetter {
        id: Uuid::now_v7(),
        service: name("till"),
        code: LetterCode::Unreadable,
        missing: None,
        subject: "redress.command.till.charge".to_owned(),
        reason: "two\nlines".to_owned(),
        headers,
        payload: b"\x00\xff".to_vec(),
    };
    for _ in 0..2 {
        wire.publish_dead_letter(&letter).await.unwrap();
    }
    let context = beside_shared().await;
    let stream = wire.topology().dead_letters_stream();
    assert_eq!(stored(&context, &stream).await, 2);
    let kept = context.get_stream(&stream).await.unwrap().get_raw_message(1).await.unwrap();
    assert_eq!(kept.subject.as_str(), wire.topology().dead_letters_of("till"));
    assert_eq!(kept.payload.as_ref(), b"\x00\xff");
    let header = |name: &str| kept.headers.get(name).map(|value| value.as_str());
    assert_eq!(header("Redress-Reason"), Some("two lines"));
    assert_eq!(header("Redress-Subject"), Some("redress.command.till.charge"));
    assert_eq!(header("Redress-Saga"), Some("place-order"));
    assert_eq!(header("Odd"), Some("one  two"));
    assert_eq!(header("Redress-Letter-Id"), Some(&*letter.id.to_string()));
    assert_eq!(header("Redress-Letter-Code"), Some("unreadable"));
    assert_eq!(header("Redress-Original-Nats-Msg-Id"), Some(&*format!("{}#1", command(0).key)));
}

/// Orders to the server, in the headers of a message that becomes a letter, would have the letter refused.
#[tokio::test]
async fn dead_letter_gives_server_no_orders() {
    let wire = wire().await;
    for order in
        ["Nats-Expected-Stream", "Nats-Expected-Last-Sequence", "Nats-Rollup", "Nats-TTL", "Nats-Schedule"]
    {
        let letter = DeadLetter {
            id: Uuid::now_v7(),
            service: name("till"),
            code: LetterCode::Unreadable,
            missing: None,
            subject: "redress.command.till.charge".to_owned(),
            reason: "odd".to_owned(),
            headers: vec![(order.to_owned(), "1h".to_owned())],
            payload: Vec::new(),
        };
        assert_eq!(wire.publish_dead_letter(&letter).await, Ok(Kept::Whole), "{order}");
    }
}

#[tokio::test]
async fn refused_dead_letter_is_kept_reduced() {
    let wire = wire().await;
    let letter = DeadLetter {
        id: Uuid::now_v7(),
        service: name("till"),
        code: LetterCode::Unreadable,
        missing: None,
        subject: "redress.command.till.charge".to_owned(),
        reason: "odd".to_owned(),
        // As many as a message may have, so that a letter about it has too many.
        headers: vec![("Odd".to_owned(), "x".repeat(65_490)), ("Idempotency-Key".to_owned(), "k".to_owned())],
        payload: vec![b'x'; 10_000],
    };
    assert_eq!(wire.publish_dead_letter(&letter).await, Ok(Kept::Reduced));
    let stream = beside_shared().await.get_stream(wire.topology().dead_letters_stream()).await.unwrap();
    let kept = stream.get_raw_message(1).await.unwrap();
    assert_eq!(kept.payload.len(), 4 << 10);
    assert_eq!(kept.headers.get("Idempotency-Key").unwrap().as_str(), "k");
    assert_eq!(kept.headers.get("Redress-Reduced").unwrap().as_str(), "2 headers and 10000 bytes came");
}
