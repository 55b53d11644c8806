//! The sagas of the stories, and how a story is told.

use std::time::Duration;

use redress_core::definition::{Delivery, InDoubt, LateSuccess, StepKind};
use redress_core::{Name, RetryPolicy, SagaDefinition, saga};
use redress_macros::Command;
use redress_testkit::{RunResult, Story, check};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "payment", name = "charge", reply = Receipt)]
struct Charge {
    number: u64,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "payment", name = "refund", compensates = Charge)]
struct Refund {
    number: u64,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "stock", name = "reserve")]
struct Reserve {
    number: u64,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "stock", name = "release", compensates = Reserve)]
struct Release {
    number: u64,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "stock", name = "wrap")]
struct Wrap {
    number: u64,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "shipping", name = "ship")]
pub(crate) struct Ship {
    pub(crate) number: u64,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "order", name = "confirm")]
struct Confirm {
    number: u64,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "dashboard", name = "tell")]
struct Tell {
    number: u64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Receipt {
    number: u64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Sale {
    number: u64,
    #[serde(default)]
    gift: bool,
    #[serde(default)]
    receipt: Option<u64>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Expense {
    pub(crate) number: u64,
    #[serde(default)]
    approved_by: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Approval {
    by: String,
}

/// A step, an approval within a day, two hours to think again, the pivot.
pub(crate) fn expense() -> SagaDefinition {
    saga::<Expense>("expense", 1)
        .step("book", |e| Reserve { number: e.number })
        .compensate(|e| Release { number: e.number })
        .await_event::<Approval>("approval", Duration::from_secs(86_400))
        .on_event(|e, approval| e.approved_by = Some(approval.by))
        .wait("cool-off", |_| Duration::from_secs(7_200))
        .pivot("pay", |e| Ship { number: e.number })
        .build()
}

/// An event after the pivot, if its condition holds.
pub(crate) fn pay_later(awaits: bool) -> SagaDefinition {
    saga::<Expense>("pay-later", 1)
        .pivot("pay", |e| Ship { number: e.number })
        .await_event::<Approval>("approval", Duration::from_secs(3_600))
        .when(move |_| awaits)
        .retriable("tell", |e| Confirm { number: e.number })
        .build()
}

/// Two steps, the pivot, and one more.
pub(crate) fn sell() -> SagaDefinition {
    saga::<Sale>("sell", 1)
        .step("charge", |s| Charge { number: s.number })
        .on_reply(|s, receipt| s.receipt = Some(receipt.number))
        .compensate(|s| Refund { number: s.number })
        .retry(RetryPolicy::ACTION.attempts(2))
        .compensation_retry(RetryPolicy::COMPENSATION.attempts(3))
        .compensation_timeout(Duration::from_secs(60))
        .step("reserve", |s| Reserve { number: s.number })
        .compensate(|s| Release { number: s.number })
        .retry(RetryPolicy::ACTION.attempts(2))
        .pivot("ship", |s| Ship { number: s.number })
        .retry(RetryPolicy::ACTION.attempts(2))
        .retriable("confirm", |s| Confirm { number: s.number })
        .build()
}

/// The payment needs an approval, and its provider may not tell what became of it.
pub(crate) fn sell_on_approval() -> SagaDefinition {
    saga::<Sale>("sell-on-approval", 1)
        .step("reserve", |s| Reserve { number: s.number })
        .compensate(|s| Release { number: s.number })
        .step("charge", |s| Charge { number: s.number })
        .on_reply(|s, receipt| s.receipt = Some(receipt.number))
        .compensate(|s| Refund { number: s.number })
        .answer_within(Duration::from_secs(86_400))
        .people_may_answer()
        .in_doubt(InDoubt::Undo)
        .pivot("ship", |s| Ship { number: s.number })
        .retriable("confirm", |s| Confirm { number: s.number })
        .build()
}

/// A step that nobody remembers beside the payment, and another one behind the pivot.
pub(crate) fn sell_with_quote() -> SagaDefinition {
    let policy = RetryPolicy::ACTION.attempts(2);
    saga::<Sale>("sell-with-quote", 1)
        .step("reserve", |s| Reserve { number: s.number })
        .compensate(|s| Release { number: s.number })
        .parallel(|stage| {
            stage
                .step("quote", |s| Wrap { number: s.number })
                .no_compensation()
                .retry(policy)
                .delivery(Delivery::AtLeastOnce)
                .step("charge", |s| Charge { number: s.number })
                .compensate(|s| Refund { number: s.number })
                .retry(policy)
        })
        .pivot("ship", |s| Ship { number: s.number })
        .retriable("announce", |s| Tell { number: s.number })
        .delivery(Delivery::AtLeastOnce)
        .retriable("confirm", |s| Confirm { number: s.number })
        .deadline(Duration::from_secs(600))
        .build()
}

/// The first of these, with this policy for the action and for the compensation of its first step.
pub(crate) fn sell_with(policy: RetryPolicy) -> SagaDefinition {
    let mut definition = sell();
    let charge = &mut definition.steps[0];
    charge.retry = policy;
    if let StepKind::Compensatable { compensation: Some(refund) } = &mut charge.kind {
        refund.retry = policy;
    }
    definition
}

/// Steps side by side, a gift on condition, a notification.
pub(crate) fn sell_faster() -> SagaDefinition {
    saga::<Sale>("sell-faster", 1)
        .parallel(|stage| {
            stage
                .step("charge", |s| Charge { number: s.number })
                .on_reply(|s, receipt| s.receipt = Some(receipt.number))
                .compensate(|s| Refund { number: s.number })
                .retry(RetryPolicy::ACTION.attempts(1))
                .late_success(LateSuccess::Compensate)
                .step("reserve", |s| Reserve { number: s.number })
                .compensate(|s| Release { number: s.number })
        })
        .step("wrap", |s| Wrap { number: s.number })
        .no_compensation()
        .when(|s| s.gift)
        .notify("tell", |s| Tell { number: s.receipt.unwrap_or_default() })
        .pivot("ship", |s| Ship { number: s.number })
        .deadline(Duration::from_secs(60))
        .build()
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Bundle {
    number: u64,
    sale: Inner,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Inner {
    number: u64,
    #[serde(default)]
    receipt: Option<u64>,
}

/// A saga inside another one.
pub(crate) fn sell_bundle() -> SagaDefinition {
    let pay = saga::<Inner>("pay", 1)
        .step("charge", |s| Charge { number: s.number })
        .on_reply(|s, receipt| s.receipt = Some(receipt.number))
        .compensate(|s| Refund { number: s.receipt.unwrap_or_default() })
        .notify("tell", |s| Tell { number: s.receipt.unwrap_or_default() })
        .when(|s| s.receipt.is_some())
        .build();
    saga::<Bundle>("sell-bundle", 1)
        .step("reserve", |b| Reserve { number: b.number })
        .compensate(|b| Release { number: b.number })
        .saga("payment", pay, |b| &mut b.sale)
        .pivot("ship", |b| Ship { number: b.sale.receipt.unwrap_or_default() })
        .build()
}

/// A story as it was told, once everything that must hold of any saga was seen to hold of it.
pub(crate) fn played(definition: &SagaDefinition, story: Story<'_>) -> RunResult {
    let run = story.play();
    check::history(definition, &run.history).unwrap();
    check::waits_in_time(definition, &run.history).unwrap();
    check::unremembered(definition, &run.state, &run.history).unwrap();
    assert_eq!(run.wrong, None);
    if matches!(run.status(), "completed" | "compensated") {
        check::effects(definition, &run.state, |step| run.effects[step]).unwrap();
    }
    run
}

pub(crate) fn check_story(definition: SagaDefinition, given: &[&str]) -> String {
    let story = given.iter().fold(Story::of(&definition), |story, fault| story.given(fault));
    played(&definition, story).to_string()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
