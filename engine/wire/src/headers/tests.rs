//! Tests of the headers.

use proptest::prelude::*;

use super::*;

fn command(fault: Option<FaultKind>) -> CommandMessage {
    let name = |text| Name::new(text).expect("a name");
    CommandMessage {
        key: "0190163d-8694-739b-aea5-966c26f8ad91/charge/settlement/3".parse().unwrap(),
        attempt: 7,
        saga: name("place-order"),
        version: 2,
        service: name("payment"),
        command: name("charge"),
        action_sent_at: "2026-11-23T10:11:12.345678Z".parse().unwrap(),
        fault,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        payload: JsonText::parse(br#"{"b": 1, "a": 2}"#).unwrap(),
    }
}

#[test]
fn commands_survive_headers_round_trip() {
    for fault in [
        None,
        Some(FaultKind::Fail),
        Some(FaultKind::Delay { ms: 5 }),
        Some(FaultKind::Reject { code: "no".to_owned() }),
    ] {
        let command = command(fault);
        let headers = of_command(&command, "redress.reply.payment.place-order.2");
        assert_eq!(CommandMessage::read(&headers, command.payload.as_bytes()), Ok(command));
    }
}

#[test]
fn replies_survive_headers_round_trip() {
    for outcome in [
        Outcome::Done { reply: JsonText::parse(br#"{"z":1,"a":[2]}"#).unwrap() },
        Outcome::Rejected(Rejection::new("insufficient-funds", "1,00 € short\n\"really\"")),
        Outcome::Failed { message: "connection\nlost".to_owned() },
        Outcome::Refused { reason: "no such command".to_owned() },
        Outcome::Fenced,
        Outcome::Expired,
    ] {
        let command = command(None);
        let reply = ReplyMessage {
            key: command.key,
            attempt: 7,
            saga: command.saga,
            version: 2,
            service: command.service,
            outcome,
        };
        let (headers, body) = of_reply(&reply);
        assert_eq!(ReplyMessage::read(&headers, &body), Ok(reply));
    }
}

#[test]
fn poison_carries_reason_and_reply_address() {
    let mut story = String::new();
    let mut check = |what: &str, spoil: &dyn Fn(&mut HeaderMap), payload: &[u8]| {
        let mut headers = of_command(&command(None), "r");
        spoil(&mut headers);
        let (reason, address) = CommandMessage::read(&headers, payload).unwrap_err();
        let told = if address.is_some() { "reported" } else { "nobody to tell" };
        story.push_str(&format!("{what}: {reason} ({told})\n"));
    };
    check("not JSON", &|_| {}, b"{");
    check("NUL", &|_| {}, br#""\u0000""#);
    check("no attempt", &|h| h.insert(ATTEMPT, "x"), b"1");
    check("bad key", &|h| h.insert(KEY, "x"), b"1");
    check("bad command", &|h| h.insert(COMMAND, "a.b"), b"1");
    check("bad fault", &|h| h.insert(FAULT, "explode"), b"1");
    insta::assert_snapshot!(story, @"
    not JSON: the payload is not JSON: EOF while parsing an object at line 1 column 1 (reported)
    NUL: the payload is unusable: a text in it holds a NUL character (reported)
    no attempt: the header `Redress-Attempt` is unusable: invalid digit found in string (nobody to tell)
    bad key: the header `Idempotency-Key` is unusable: `x` is no key: expected `<saga-id>/<step>/<action|compensation|settlement>/<generation>` (nobody to tell)
    bad command: the header `Redress-Command` is unusable: `a.b` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens (reported)
    bad fault: the header `Redress-Fault` is unusable: `explode` is no kind of fault: use reject (with a code), fail, delay (with ms), drop-command, drop-reply, delay-reply (with ms), duplicate, crash-before-commit, crash-after-commit, crash-after-reply, call-lost, call-late, call-twice or call-failed (reported)
    ");
}

/// Any headers, with those that we read among them more often than not, and values that are nearly right.
fn any_headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let known =
        [KEY, SAGA_ID, SAGA, VERSION, STEP, ATTEMPT, SERVICE, COMMAND, ACTION_SENT_AT, OUTCOME, FAULT, TRACE];
    let name = prop_oneof![4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "[!-9;-~]{1,20}"];
    let value = prop_oneof![
        Just("0190163d-8694-739b-aea5-966c26f8ad91/charge/action/1".to_owned()),
        Just("2026-11-23T10:11:12.345678Z".to_owned()),
        "[a-z0-9/#:.-]{0,40}",
        "[^\r\n]{0,40}",
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    proptest::collection::vec((name, value), 0..16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Every message is read or reported; nothing panics, and the report can be a letter.
    #[test]
    fn reading_never_panics_on_any_message(
        broken in any_headers(),
        good in any::<bool>(),
        payload in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..64),
            "[\\[\\]{}\"0-9a-z:, \\\\u]{0,64}".prop_map(String::into_bytes),
        ],
    ) {
        let mut headers = if good { of_command(&command(None), "r") } else { HeaderMap::new() };
        for (name, value) in &broken {
            headers.insert(name.as_str(), value.as_str());
        }
        let _ = CommandMessage::read(&headers, &payload);
        let _ = ReplyMessage::read(&headers, &payload);
        let _ = read_notification(&headers, &payload);
        let _ = to_text(&headers);
    }

    /// A message arrives as it was sent.
    #[test]
    fn any_command_and_reply_survives_headers_round_trip(
        attempt in 1_u32..,
        version in 1_u32..,
        text in "[^\0]{0,60}",
        generation in 1_u32..,
    ) {
        let mut command = command(None);
        (command.attempt, command.version, command.key.generation) = (attempt, version, generation);
        command.payload = JsonText::of(&text).unwrap();
        let headers = of_command(&command, "r");
        prop_assert_eq!(CommandMessage::read(&headers, command.payload.as_bytes()), Ok(command.clone()));
        for outcome in [
            Outcome::Done { reply: command.payload.clone() },
            Outcome::Rejected(Rejection::new(text.clone(), text.clone())),
            Outcome::Failed { message: text.clone() },
            Outcome::Refused { reason: text.clone() },
        ] {
            let reply = ReplyMessage {
                key: command.key.clone(),
                attempt,
                saga: command.saga.clone(),
                version,
                service: command.service.clone(),
                outcome,
            };
            let (headers, body) = of_reply(&reply);
            prop_assert_eq!(ReplyMessage::read(&headers, &body), Ok(reply));
        }
    }
}
