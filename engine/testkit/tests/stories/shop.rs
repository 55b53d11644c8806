//! The sagas of the stories, and how a story is told.

use std::time::Duration;

use redress_core::definition::LateSuccess;
use redress_core::{Command, Compensates, Name, RetryPolicy, SagaDefinition, saga};
use redress_testkit::{Life, Story, check};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! commands {
    ($($name:ident = $service:literal $command:literal -> $reply:ty;)*) => { $(
        #[derive(Serialize, Deserialize, JsonSchema)]
        struct $name { number: u64 }
        impl Command for $name {
            const SERVICE: &'static str = $service;
            const NAME: &'static str = $command;
            type Reply = $reply;
        }
    )* };
}

commands! {
    Charge = "payment" "charge" -> Receipt;
    Refund = "payment" "refund" -> ();
    Reserve = "stock" "reserve" -> ();
    Release = "stock" "release" -> ();
    Wrap = "stock" "wrap" -> ();
    Ship = "shipping" "ship" -> ();
    Confirm = "order" "confirm" -> ();
    Tell = "dashboard" "tell" -> ();
}

impl Compensates<Charge> for Refund {}
impl Compensates<Reserve> for Release {}

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

/// Side by side, a gift on condition, somebody who is told.
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
pub(crate) fn told(definition: &SagaDefinition, story: Story<'_>) -> Life {
    let life = story.play();
    check::history(definition, &life.history).unwrap();
    assert_eq!(life.wrong, None);
    if matches!(life.status(), "completed" | "compensated") {
        check::effects(definition, &life.state, |step| life.effects[step]).unwrap();
    }
    life
}

pub(crate) fn check_story(definition: SagaDefinition, given: &[&str]) -> String {
    let story = given.iter().fold(Story::of(&definition), |story, fault| story.given(fault));
    told(&definition, story).to_string()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
