//! Waits and events of a definition: as plain data, in its digest, its pictures and its examples.

use std::time::Duration;

use redress_core::behaviour::Behaviour;
use redress_core::definition::{ClosureError, InvalidDefinition, StepKind};
use redress_core::waiting::OnTimeout;
use redress_core::{Command, JsonText, SagaDefinition, Timestamp, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Pay {
    to: String,
}
impl Command for Pay {
    const SERVICE: &'static str = "bank";
    const NAME: &'static str = "pay";
    type Reply = ();
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Expense {
    to: String,
    days: u64,
    opens_at_s: i64,
    #[serde(default)]
    approved_by: Option<String>,
}

/// A person says yes.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Approval {
    /// The person.
    by: String,
    #[serde(default)]
    amount: u64,
}

const DAY: Duration = Duration::from_secs(86_400);

fn expense_with(days: u64, timeout: Duration) -> SagaDefinition {
    saga::<Expense>("expense", 1)
        .await_event::<Approval>("approval", timeout)
        .on_event(|e, approval| e.approved_by = Some(approval.by))
        .wait("cool-off", move |e| DAY * u32::try_from(e.days * days).unwrap_or(0))
        .wait_until("opening", |e| Timestamp::from_timestamp(e.opens_at_s, 0).unwrap_or_default())
        .when(|e| e.days > 1)
        .pivot("pay", |e| Pay { to: e.to.clone() })
        .await_event::<Approval>("receipt", timeout)
        .build()
}

fn expense() -> SagaDefinition {
    expense_with(1, DAY * 7)
}

fn data() -> JsonText {
    let input = json!({ "to": "ann", "days": 2, "opens_at_s": 1_767_258_000 });
    expense().read_input(&input).expect("a good input")
}

#[test]
fn definition_says_what_it_waits_for() {
    let described = expense().described();
    let told: Vec<String> = described["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| {
            let field = |name: &str| match &step[name] {
                serde_json::Value::Null => String::new(),
                value => format!(" {name}={value}"),
            };
            let fields = ["service", "ends", "timeout_ms", "on_timeout", "conditional"].map(field).concat();
            format!("{} {}{fields}: {}", step["name"], step["kind"], step["policy"])
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    "approval" "event" timeout_ms=604800000 on_timeout="turn-back": "awaited for at most 168 h, then the saga turns back"
    "cool-off" "wait" ends="after": "waits for as long as its data say"
    "opening" "wait" ends="at" conditional=true: "waits for as long as its data say"
    "pay" "pivot" service="bank" timeout_ms=10000: "tried for at most 2 min, then settled"
    "receipt" "event" timeout_ms=604800000 on_timeout="go-on": "awaited for at most 168 h, then the saga goes on without it"
    "#);
    assert_eq!(described["steps"][0]["schema"]["properties"]["by"]["description"], json!("The person."));
    assert!(expense().steps.iter().all(|step| step.kind.is_sent() == (step.name == *"pay")));
}

#[test]
fn digest_covers_what_is_waited_for_and_no_comment() {
    let quicker = expense_with(1, DAY);
    assert_ne!(expense().digest, quicker.digest);
    let going_on = saga::<Expense>("expense", 1).await_event::<Approval>("approval", DAY).or_go_on().build();
    let turning_back = saga::<Expense>("expense", 1).await_event::<Approval>("approval", DAY).or_turn_back();
    assert_ne!(going_on.digest, turning_back.build().digest);
    let StepKind::Event(event) = &going_on.steps[0].kind else { panic!("an event") };
    assert_eq!((event.timeout_ms, event.on_timeout), (86_400_000, OnTimeout::GoOn));
    let told = redress_core::digest::describe_difference(&expense().graph(), &quicker.graph());
    insta::assert_snapshot!(told.join("\n"), @"
    /steps/approval/timeout_ms: stored 604800000, now 86400000
    /steps/receipt/timeout_ms: stored 604800000, now 86400000
    ");
}

/// The digest covers no closure; the examples do.
#[test]
fn wait_that_lasts_longer_under_its_version_is_noticed() {
    let (before, now) = (expense(), expense_with(2, DAY * 7));
    assert_eq!(before.digest, now.digest);
    let told = Behaviour::of(&before).differences(&now).join("\n");
    assert!(
        told.starts_with("step `cool-off` makes something else of the same data: /wait: stored "),
        "{told}"
    );
    assert_eq!(Behaviour::of(&before).differences(&before), [""; 0]);
}

#[test]
fn diagram_shows_waits_and_the_event_that_may_turn_the_saga_back() {
    let definition = saga::<Expense>("expense", 1)
        .step("book", |e| Pay { to: e.to.clone() })
        .no_compensation()
        .wait("cool-off", |_| DAY)
        .await_event::<Approval>("approval", DAY)
        .build();
    insta::assert_snapshot!(definition.to_mermaid(), @r#"
    flowchart LR
        start(["expense v1"])
        do_book["book<br/>bank.pay"]
        start --> do_book
        do_cool_off("cool-off<br/>a wait")
        do_book --> do_cool_off
        do_approval("approval<br/>an event, awaited for 24 h")
        do_cool_off --> do_approval
        do_approval --> completed(["completed"])
        compensated(["compensated"])
        do_approval -. "timed out" .-> compensated
    "#);
}

#[test]
fn ends_of_waits_are_made_of_the_data() {
    let (definition, now) = (expense(), Timestamp::UNIX_EPOCH);
    let ends: Vec<String> = definition
        .steps
        .iter()
        .map(|step| match step.waits_until(&data(), now).expect("no closure fails") {
            Some(end) => format!("{} {end}", step.name),
            None => format!("{} does not wait", step.name),
        })
        .collect();
    insta::assert_snapshot!(ends.join("\n"), @"
    approval 1970-01-08 00:00:00 UTC
    cool-off 1970-01-03 00:00:00 UTC
    opening 2026-01-01 09:00:00 UTC
    pay does not wait
    receipt 1970-01-08 00:00:00 UTC
    ");
    let endless = saga::<Expense>("expense", 1).wait("for-ever", |_| Duration::MAX).build();
    assert_eq!(endless.steps[0].waits_until(&data(), now), Ok(Some(Timestamp::MAX_UTC)));
    let panics = saga::<Expense>("expense", 1).wait("never", |_| panic!("no length")).build();
    let error = panics.steps[0].waits_until(&data(), now).expect_err("it panics");
    assert!(matches!(error, ClosureError::Panicked { closure: "wait", .. }), "{error}");
}

#[test]
fn event_is_read_strictly_and_its_defaults_are_filled_in() {
    let approval = &expense().steps[0];
    let read = |payload: serde_json::Value| {
        let payload = JsonText::of(&payload).expect("it is JSON");
        match approval.read_event(&payload).expect("it is an event") {
            Ok(payload) => payload.to_string(),
            Err(invalid) => invalid.to_string(),
        }
    };
    assert_eq!(read(json!({ "by": "ann" })), r#"{"by":"ann","amount":0}"#);
    assert_eq!(
        read(json!({ "by": "ann", "x": 1 })),
        "the input does not fit: at `/x`, this field is unknown"
    );
    let large = read(json!({ "by": "a".repeat(300_000) }));
    assert_eq!(large, "the input does not fit: at `/`, it has 300009 bytes, more than 262144");
    assert!(expense().steps[1].read_event(&JsonText::null()).is_none(), "a wait is no event");
    let folded = approval.fold_reply(&data(), &JsonText::of(&json!({ "by": "ann" })).expect("it is JSON"));
    assert!(folded.expect("it fits").to_string().contains(r#""approved_by":"ann""#));
}

#[test]
fn event_without_time_is_no_definition() {
    let refused =
        saga::<Expense>("expense", 1).await_event::<Approval>("approval", Duration::ZERO).try_build();
    assert!(matches!(refused, Err(InvalidDefinition::ZeroTimeout { .. })));
}

#[test]
fn child_saga_waits_with_its_own_data_and_under_its_own_names() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Trip {
        expense: Expense,
    }
    let child = saga::<Expense>("expense", 1)
        .await_event::<Approval>("approval", DAY)
        .on_event(|e, approval| e.approved_by = Some(approval.by))
        .wait("cool-off", |e| DAY * u32::try_from(e.days).unwrap_or(0))
        .build();
    let trip = saga::<Trip>("trip", 1).saga("hotel", child, |t| &mut t.expense).build();
    let input = json!({ "expense": { "to": "ann", "days": 2, "opens_at_s": 1_767_258_000 } });
    let data = trip.read_input(&input).expect("a good input");
    let until = trip.steps[1].waits_until(&data, Timestamp::UNIX_EPOCH);
    assert_eq!(until, Ok(Some(Timestamp::UNIX_EPOCH + DAY * 2)));
    assert_eq!(trip.steps[0].name, *"hotel-approval");
    let folded = trip.steps[0].fold_reply(&data, &JsonText::of(&json!({ "by": "ann" })).expect("it is JSON"));
    assert!(folded.expect("it fits").to_string().contains(r#""approved_by":"ann""#));
}
