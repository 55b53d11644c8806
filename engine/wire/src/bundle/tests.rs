//! What travels together, and how it is read.

use redress_core::{JsonText, Outcome, Phase, SagaId};
use uuid::Uuid;

use super::*;
use crate::headers::Envelope;

fn reply(number: u128, saga: &str, outcome: Outcome) -> ReplyMessage {
    let name = |text: &str| Name::new(text).unwrap();
    let (saga_id, step) = (SagaId(Uuid::from_u128(number)), name("pay"));
    let key = IdempotencyKey { saga_id, step, phase: Phase::Action, generation: 1 };
    ReplyMessage { key, attempt: 2, saga: name(saga), version: 3, service: name("till"), outcome }
}

fn done(bytes: usize) -> Outcome {
    Outcome::Done { reply: JsonText::of(&"x".repeat(bytes)).unwrap() }
}

/// The places of the replies of each parcel.
fn places(replies: &[ReplyMessage]) -> Vec<Vec<usize>> {
    packed(replies).into_iter().map(|(_, places)| places).collect()
}

#[test]
fn replies_to_one_definition_travel_together_within_bounds() {
    let fenced = |number, saga| reply(number, saga, Outcome::Fenced);
    assert_eq!(places(&[]), [[0; 0]; 0]);
    assert_eq!(places(&[fenced(1, "sell"), fenced(2, "rent"), fenced(3, "sell")]), [vec![0, 2], vec![1]]);
    let many: Vec<_> = (0..150).map(|number| fenced(number, "sell")).collect();
    assert_eq!(places(&many).iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 22]);
    let large: Vec<_> = [30_000, 30_000, 30_000, 200_000, 10].map(|size| reply(1, "sell", done(size))).into();
    assert_eq!(places(&large), [vec![0, 1], vec![2], vec![3], vec![4]]);
}

#[test]
fn unreadable_reply_hides_no_other_and_keeps_a_bundle_of_its_own() {
    let replies = [reply(1, "sell", Outcome::Accepted), reply(2, "sell", done(3))];
    let (headers, body) = bundle(&replies.iter().collect::<Vec<_>>());
    let body = String::from_utf8(body).unwrap();
    let spoiled = body.replace("accepted", "perhaps");
    let parts = ReplyMessage::unpack(&headers, spoiled.as_bytes());
    let (reason, address) = parts[0].message.clone().unwrap_err();
    assert_eq!(reason, "the outcome `perhaps` is unknown");
    assert_eq!(address.map(|address| address.key), Some(replies[0].key.clone()));
    assert_eq!(parts[1].message, Ok(replies[1].clone()));
    let alone = parts[0].payload.clone().unwrap();
    let mended = String::from_utf8(alone).unwrap().replace("perhaps", "accepted");
    let again = ReplyMessage::unpack(&headers, mended.as_bytes());
    assert_eq!(again[0].message, Ok(replies[0].clone()), "it can be replayed");
    insta::assert_snapshot!(body, @r#"[{"key":"00000000-0000-0000-0000-000000000001/pay/action/1","attempt":2,"outcome":"accepted"},{"key":"00000000-0000-0000-0000-000000000002/pay/action/1","attempt":2,"outcome":"done","body":"xxx"}]"#);
}

#[test]
fn what_is_no_bundle_is_one_unreadable_message() {
    let (headers, _) = bundle(&[&reply(1, "sell", Outcome::Fenced)]);
    let mut reasons = Vec::new();
    let many = format!("[{}1]", "1,".repeat(REPLIES_MAX));
    for payload in ["", "{}", "[]", &many, "[1]", r#"[{"key":"x","attempt":1,"outcome":"done"}]"#] {
        let parts = ReplyMessage::unpack(&headers, payload.as_bytes());
        assert_eq!(parts.len(), 1, "{payload}");
        reasons.extend(parts.into_iter().map(|part| part.message.unwrap_err().0));
    }
    let mut without = headers.clone();
    without.insert(SAGA, "no name");
    reasons.push(ReplyMessage::unpack(&without, b"[]")[0].message.clone().unwrap_err().0);
    insta::assert_snapshot!(reasons.join("\n"), @r"
    the payload is no list of replies: EOF while parsing a value at line 1 column 0
    the payload is no list of replies: invalid type: map, expected a sequence at line 1 column 0
    the list has 0 replies; it takes 1 to 64
    the list has 65 replies; it takes 1 to 64
    the entry is no reply: invalid type: integer `1`, expected an object with `key`, `attempt`, `outcome` and perhaps `body` at line 1 column 1
    the entry's `key` is unusable: `x` is no key: expected `<saga-id>/<step>/<action|compensation|settlement>/<generation>`
    the header `Redress-Saga` is unusable: `no name` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens
    ");
}
