//! The rulings as tables.

use super::*;

fn message(phase: &str, payload: &str) -> CommandMessage {
    let name = |text| Name::new(text).expect("a name");
    CommandMessage {
        key: format!("0190163d-8694-739b-aea5-966c26f8ad91/charge/{phase}/1").parse().unwrap(),
        attempt: 1,
        saga: name("s"),
        version: 1,
        service: name("payment"),
        command: name("charge"),
        action_sent_at: Timestamp::UNIX_EPOCH,
        fault: None,
        traceparent: None,
        payload: JsonText::parse(payload.as_bytes()).unwrap(),
    }
}

fn record(message: &CommandMessage, recorded: Recorded) -> Record {
    Record { fingerprint: Some(Fingerprint::of(&message.command, &message.payload)), recorded }
}

fn word(recorded: &Recorded) -> &'static str {
    match recorded {
        Recorded::Done { .. } => "done",
        Recorded::Rejected(_) => "rejected",
        Recorded::Fenced => "fenced",
        Recorded::Open => "open",
        Recorded::Prepared { .. } => "prepared",
        Recorded::GivenUp { .. } => "given-up",
    }
}

fn tell(ruling: &Ruling) -> String {
    match ruling {
        Ruling::Run => "run".to_owned(),
        Ruling::Refuse { .. } => "refuse".to_owned(),
        Ruling::Call { .. } => "call".to_owned(),
        Ruling::GiveUp => "give up".to_owned(),
        Ruling::Inquire { .. } => "inquire".to_owned(),
        Ruling::Wait { .. } => "wait".to_owned(),
        Ruling::UndoInDoubt { record: (key, record), .. } => {
            format!("run, store [{}={}]", key.phase, word(&record.recorded))
        }
        Ruling::Answer { outcome, record } => {
            let stored: Vec<String> = record
                .iter()
                .map(|(key, record)| format!("{}={}", key.phase, word(&record.recorded)))
                .collect();
            format!("answer {}, store [{}]", outcome.as_str(), stored.join(" "))
        }
    }
}

#[test]
fn inbox_rulings_match_the_table_in_the_module_doc() {
    let done = Recorded::Done { reply: JsonText::null() };
    let rejected = Recorded::Rejected(Rejection::new("no", "no"));
    let mut story = String::new();
    for phase in ["action", "settlement", "compensation"] {
        let message = message(phase, "{}");
        for action in [None, Some(done.clone()), Some(rejected.clone()), Some(Recorded::Fenced)] {
            let word = action.as_ref().map_or("none", word);
            let action = action.map(|a| record(&message, a));
            let own = if phase == "action" { action.as_ref() } else { None };
            let ruling = rule(&message, own, action.as_ref(), Timestamp::UNIX_EPOCH, &Retention::DEFAULT);
            story.push_str(&format!("{phase:<12} action {word:<8} -> {}\n", tell(&ruling)));
        }
    }
    insta::assert_snapshot!(story, @r"
    action       action none     -> run
    action       action done     -> answer done, store []
    action       action rejected -> answer rejected, store []
    action       action fenced   -> answer fenced, store []
    settlement   action none     -> answer fenced, store [action=fenced]
    settlement   action done     -> answer done, store []
    settlement   action rejected -> answer rejected, store []
    settlement   action fenced   -> answer fenced, store []
    compensation action none     -> answer done, store [action=fenced compensation=done]
    compensation action done     -> run
    compensation action rejected -> answer done, store [compensation=done]
    compensation action fenced   -> answer done, store [compensation=done]
    ");
}

#[test]
fn nothing_is_said_to_have_never_happened_once_a_call_was_prepared() {
    let request = JsonText::parse(br#"{"amount":1}"#).unwrap();
    let called_until = Timestamp::UNIX_EPOCH + Duration::from_secs(10);
    let prepared = Recorded::Prepared { request: request.clone(), called_until };
    let mut story = String::new();
    for phase in ["action", "settlement", "compensation"] {
        let message = message(phase, "{}");
        let cases = [
            ("calling", &prepared, 9),
            ("prepared", &prepared, 10),
            ("given up", &Recorded::GivenUp { request: request.clone() }, 0),
        ];
        for (case, recorded, second) in cases {
            let record = record(&message, recorded.clone());
            let now = Timestamp::UNIX_EPOCH + Duration::from_secs(second);
            let own = (phase == "action").then_some(&record);
            let ruling = tell(&rule(&message, own, Some(&record), now, &Retention::DEFAULT));
            story.push_str(&format!("{phase:<12} action {case:<8} -> {ruling}\n"));
        }
    }
    let undo = message("compensation", "{}");
    for (case, second) in [("calling", 9), ("prepared", 10)] {
        let own = record(&undo, prepared.clone());
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(second);
        let ruling = tell(&rule(&undo, Some(&own), None, now, &Retention::DEFAULT));
        story.push_str(&format!("compensation itself {case:<8} -> {ruling}\n"));
    }
    insta::assert_snapshot!(story, @r"
    action       action calling  -> wait
    action       action prepared -> call
    action       action given up -> answer in-doubt, store []
    settlement   action calling  -> wait
    settlement   action prepared -> inquire
    settlement   action given up -> answer in-doubt, store []
    compensation action calling  -> wait
    compensation action prepared -> run, store [action=given-up]
    compensation action given up -> run, store [action=given-up]
    compensation itself calling  -> wait
    compensation itself prepared -> call
    ");
}

#[test]
fn changed_payload_under_same_key_is_refused() {
    let first = message("action", r#"{"amount":1}"#);
    let forged = message("action", r#"{"amount":1000000}"#);
    let stored = record(&first, Recorded::Done { reply: JsonText::null() });
    let ruling = rule(&forged, Some(&stored), Some(&stored), Timestamp::UNIX_EPOCH, &Retention::DEFAULT);
    assert!(matches!(ruling, Ruling::Refuse { .. }), "{ruling:?}");
}

#[test]
fn command_older_than_retention_is_expired() {
    let retention = Retention { keep: Duration::from_secs(100), margin: Duration::from_secs(10) };
    for phase in ["action", "settlement", "compensation"] {
        let at = |seconds| Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
        let ruling = |now| tell(&rule(&message(phase, "{}"), None, None, now, &retention));
        assert_ne!(ruling(at(90)), "answer expired, store []", "{phase}");
        assert_eq!(ruling(at(91)), "answer expired, store []", "{phase}");
    }
}

#[test]
fn open_action_is_given_up_by_its_service_alone() {
    let open = |message: &CommandMessage| record(message, Recorded::Open);
    let now = Timestamp::UNIX_EPOCH;
    let rule = |message: &CommandMessage, own: Option<&Record>, action: Option<&Record>| {
        tell(&rule(message, own, action, now, &Retention::DEFAULT))
    };
    let mut story = String::new();
    let action = message("action", "{}");
    let record = open(&action);
    story.push_str(&format!("action, again           -> {}\n", rule(&action, Some(&record), Some(&record))));
    let payloads = [
        "null",
        r#"{"done":{"reply":1}}"#,
        r#"{"rejected":{"code":"no","message":"no"}}"#,
        r#"{"fenced":1}"#,
    ];
    for payload in payloads {
        let settlement = message("settlement", payload);
        story.push_str(&format!("settlement {payload} -> {}\n", rule(&settlement, None, Some(&record))));
    }
    let undo = message("compensation", "{}");
    story.push_str(&format!("compensation            -> {}\n", rule(&undo, None, Some(&record))));
    story.push_str(&format!(
        "compensation, itself    -> {}\n",
        rule(&undo, Some(&open(&undo)), Some(&record))
    ));
    insta::assert_snapshot!(story, @r#"
    action, again           -> answer accepted, store []
    settlement null -> give up
    settlement {"done":{"reply":1}} -> answer done, store [action=done]
    settlement {"rejected":{"code":"no","message":"no"}} -> answer rejected, store [action=rejected]
    settlement {"fenced":1} -> refuse
    compensation            -> answer failed, store []
    compensation, itself    -> answer accepted, store []
    "#);
}
