//! A definition that a user writes becomes plain data: built, checked, digested, drawn, and its closures called.

use std::time::Duration;

use crate::support::{
    CancelOrder, ChargePayment, ConfirmOrder, CreateOrder, PlaceOrder, RefundPayment, ReserveInventory,
    ShipOrder, place_order, place_order_retrying,
};
use redress_core::definition::{ClosureError, InvalidDefinition, StepKind, TIMEOUT_MS_DEFAULT};
use redress_core::digest::describe_difference;
use redress_core::{Command, Compensates, JsonText, RetryPolicy, SagaDefinition, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

fn data() -> JsonText {
    place_order()
        .read_input(
            &json!({"customer": "alice", "address": "1 Harbour Street", "lines": ["book"], "total": 3000}),
        )
        .expect("a good input")
}

#[test]
fn steps_keep_their_order_kind_and_policies() {
    let steps: Vec<String> = place_order()
        .steps
        .iter()
        .map(|step| {
            let undo = step.compensation().map(|undo| format!(" undo {} {}", undo.command, undo.retry));
            format!(
                "{} {} {}.{} {} ms {}{}",
                step.name,
                step.kind.as_str(),
                step.service,
                step.command,
                step.timeout_ms,
                step.retry,
                undo.unwrap_or_default()
            )
        })
        .collect();
    insta::assert_snapshot!(steps.join("\n"), @r"
    create-order compensatable order.create 10000 ms for at most 2 min undo cancel at most 20 times
    charge-payment compensatable payment.charge 3000 ms for at most 2 min undo refund at most 20 times
    reserve-inventory compensatable inventory.reserve 10000 ms for at most 2 min undo release at most 50 times
    ship-order pivot shipping.ship 10000 ms for at most 2 min
    confirm-order retriable order.confirm 10000 ms for ever
    ");
    assert_eq!(place_order().deadline_ms, Some(3_600_000));
    assert_eq!(
        place_order().step("ship-order").map(|(place, step)| (place, step.kind.as_str())),
        Some((3, "pivot"))
    );
}

#[test]
fn pivot_and_compensation_are_optional() {
    let definition = saga::<PlaceOrder>("just-create", 2)
        .step("create", |o| CreateOrder { order: o.order, customer: o.customer.clone() })
        .no_compensation()
        .build();
    assert!(matches!(definition.steps[0].kind, StepKind::Compensatable { compensation: None }));
    assert_eq!(definition.steps[0].timeout_ms, TIMEOUT_MS_DEFAULT);
    assert_eq!(definition.steps[0].compensation_payload(&data()), Ok(None));
    assert_eq!(definition.version, 2);
}

#[test]
fn retriable_step_is_retried_for_ever_despite_its_policy() {
    let definition = saga::<PlaceOrder>("s", 1)
        .pivot("ship", |o| ShipOrder { shipment: o.order, address: o.address.clone() })
        .retriable("confirm", |o| ConfirmOrder { order: o.order })
        .retry(RetryPolicy::ACTION.attempts(3).backoff(1, 2))
        .build();
    let retry = definition.steps[1].retry;
    assert_eq!(retry, RetryPolicy::FOR_EVER.backoff(1, 2));
}

#[test]
fn payload_bytes_are_the_same_every_time() {
    let definition = place_order();
    let payloads: Vec<String> = definition
        .steps
        .iter()
        .map(|step| {
            let undo = step.compensation_payload(&data()).unwrap();
            let undo = undo.map_or(String::new(), |undo| format!("  undo {undo}"));
            format!("{}{undo}", step.action_payload(&data()).unwrap())
        })
        .collect();
    insta::assert_snapshot!(payloads.join("\n"), @r#"
    {"order":7,"customer":"alice"}  undo {"order":7}
    {"payment":7,"amount":3000}  undo {"payment":7}
    {"reservation":7,"lines":["book"]}  undo {"reservation":7}
    {"shipment":7,"address":"1 Harbour Street"}
    {"order":7}
    "#);
}

#[test]
fn reply_is_folded_into_the_data() {
    let definition = place_order();
    let (_, charge) = definition.step("charge-payment").unwrap();
    let reply = JsonText::of(&json!({"receipt": "r-1"})).unwrap();
    insta::assert_snapshot!(charge.fold_reply(&data(), &reply).unwrap(), @r#"{"customer":"alice","address":"1 Harbour Street","lines":["book"],"total":3000,"order":7,"receipt":"r-1"}"#);

    let (_, create) = definition.step("create-order").unwrap();
    assert_eq!(create.fold_reply(&data(), &JsonText::null()).unwrap(), data(), "no on_reply, no change");

    let wrong = charge.fold_reply(&data(), &JsonText::of(&json!({"paid": true})).unwrap()).unwrap_err();
    insta::assert_snapshot!(wrong, @"the `on_reply` of step `charge-payment` could not read its data or reply (missing field `receipt` at line 1 column 13)");
    let elsewhere = charge.action_payload(&JsonText::of(&json!({"basket": 1})).unwrap()).unwrap_err();
    insta::assert_snapshot!(elsewhere, @"the `action` of step `charge-payment` could not read its data or reply (missing field `customer` at line 1 column 12)");
}

#[test]
fn panicking_closure_is_an_error_of_its_saga() {
    let definition = saga::<PlaceOrder>("s", 1)
        .step("charge", |o| match o.total {
            0 => panic!("nothing to charge"),
            amount => ChargePayment { payment: o.order, amount },
        })
        .on_reply(|o, charged| assert!(o.receipt.replace(charged.receipt).is_none(), "charged twice"))
        .compensate(|o| RefundPayment { payment: u64::try_from(o.total).expect("a positive total") })
        .build();
    let broke =
        JsonText::parse(br#"{"customer":"a","address":"b","lines":[],"total":0,"order":1,"receipt":"r-1"}"#)
            .unwrap();
    let owing =
        JsonText::parse(br#"{"customer":"a","address":"b","lines":[],"total":-1,"order":1}"#).unwrap();
    let step = &definition.steps[0];
    let panicked = |closure| ClosureError::Panicked { step: step.name.clone(), closure };
    assert_eq!(step.action_payload(&broke), Err(panicked("action")));
    assert_eq!(step.compensation_payload(&owing), Err(panicked("compensate")));
    let reply = JsonText::of(&json!({"receipt": "r-2"})).unwrap();
    assert_eq!(step.fold_reply(&broke, &reply), Err(panicked("on_reply")));
    assert!(step.action_payload(&data()).is_ok(), "the next saga is not disturbed");
}

#[test]
fn input_is_read_strictly() {
    let read = |input| place_order().read_input(&input).unwrap_err().to_string();
    let input = |field: &str, value| {
        let mut input = json!({"customer": "a", "address": "b", "lines": ["book"], "total": 1});
        input[field] = value;
        input
    };
    insta::assert_snapshot!(read(json!({"customer": "a"})), @"the input does not fit: at `/`, missing field `address`");
    insta::assert_snapshot!(read(input("coupon", json!("SAVE"))), @"the input does not fit: at `/coupon`, this field is unknown");
    insta::assert_snapshot!(read(input("lines", json!(["book", 5]))), @"the input does not fit: at `/lines/1`, invalid type: integer `5`, expected a string");
    insta::assert_snapshot!(read(input("lines", json!(["bo\0ok"]))), @"the input does not fit: at `/lines/0`, a text holds a NUL character, which no service can store");
}

#[test]
fn digest_is_stable_and_changes_with_the_definition() {
    let (now, changed) = (place_order(), place_order_retrying(RetryPolicy::ACTION.attempts(6)));
    insta::assert_snapshot!(now.digest, @"dee57299689cd8492e9b033dc47d3a83eeb5cae845822cbe4d1e4231ed203b9d");
    assert_eq!(now.digest, place_order().digest);
    assert_ne!(now.digest, changed.digest);
    assert_eq!(describe_difference(&now.graph(), &place_order().graph()), [""; 0]);
    insta::assert_snapshot!(describe_difference(&now.graph(), &changed.graph()).join("\n"), @"/steps/charge-payment/retry/attempts_max: stored null, now 6");
}

/// The default policy of an action was five attempts once. A version that was deployed then says so itself, and is the
/// same version to the byte.
#[test]
fn definition_deployed_with_the_old_default_keeps_its_digest_under_an_explicit_policy() {
    let mut definition = place_order();
    for step in definition.steps.iter_mut().filter(|step| step.retry == RetryPolicy::ACTION) {
        step.retry = RetryPolicy::FOR_EVER.attempts(5).backoff(200, 10_000);
    }
    let digest = redress_core::digest::of(&definition.graph());
    insta::assert_snapshot!(digest, @"a1fd4282dcd6824cc9c9b727e8a59c3e709a9c0c4ca382e3eb2e27510e10f23f");
    let difference = describe_difference(&definition.graph(), &place_order().graph());
    insta::assert_snapshot!(difference[..2].join("\n"), @r"
    /steps/charge-payment/retry/attempts_max: stored 5, now null
    /steps/charge-payment/retry/tried_ms_max: new, 120000
    ");
}

#[test]
fn diagram_shows_forward_path_and_compensations() {
    insta::assert_snapshot!(place_order().to_mermaid(), @r#"
    flowchart LR
        start(["place-order v1"])
        do_create_order["create-order<br/>order.create"]
        start --> do_create_order
        do_charge_payment["charge-payment<br/>payment.charge"]
        do_create_order --> do_charge_payment
        do_reserve_inventory["reserve-inventory<br/>inventory.reserve"]
        do_charge_payment --> do_reserve_inventory
        do_ship_order{{"ship-order<br/>shipping.ship<br/>no return from here"}}
        do_reserve_inventory --> do_ship_order
        do_confirm_order[["confirm-order<br/>order.confirm<br/>until it succeeds"]]
        do_ship_order --> do_confirm_order
        do_confirm_order --> completed(["completed"])
        undo_reserve_inventory[/"inventory.release"/]
        do_reserve_inventory -.- undo_reserve_inventory
        undo_charge_payment[/"payment.refund"/]
        do_charge_payment -.- undo_charge_payment
        undo_create_order[/"order.cancel"/]
        do_create_order -.- undo_create_order
        compensated(["compensated"])
        do_ship_order -. "rejected" .-> undo_reserve_inventory
        undo_reserve_inventory -.-> undo_charge_payment
        undo_charge_payment -.-> undo_create_order
        undo_create_order -.-> compensated
    "#);
}

#[test]
fn diagram_without_pivot_or_compensation() {
    let definition = saga::<PlaceOrder>("end", 1)
        .step("end", |o| CreateOrder { order: o.order, customer: o.customer.clone() })
        .no_compensation()
        .build();
    insta::assert_snapshot!(definition.to_mermaid(), @r#"
    flowchart LR
        start(["end v1"])
        do_end["end<br/>order.create"]
        start --> do_end
        do_end --> completed(["completed"])
        compensated(["compensated"])
        do_end -. "rejected" .-> compensated
    "#);
}

/// A command of a service whose name is none, which only `try_build` can see.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Shout {}

impl Command for Shout {
    const SERVICE: &'static str = "Payment";
    const NAME: &'static str = "shout";
    type Reply = ();
}

impl Compensates<Shout> for Shout {}

#[test]
fn invalid_definition_is_refused_with_a_reason() {
    let create = |o: &PlaceOrder| CreateOrder { order: o.order, customer: o.customer.clone() };
    let one = |name, version| saga::<PlaceOrder>(name, version).step("create", create).no_compensation();
    let mistakes: Vec<Result<SagaDefinition, InvalidDefinition>> = vec![
        saga::<PlaceOrder>("empty", 1).try_build(),
        one("Sell Things", 1).try_build(),
        one("place-order", 0).try_build(),
        one("twice", 1).step("create", create).no_compensation().try_build(),
        one("s", 1).step("two.words", create).no_compensation().try_build(),
        one("s", 1).step("shout", |_| Shout {}).compensate(|_| Shout {}).try_build(),
        one("s", 1).timeout(Duration::from_micros(999)).try_build(),
        one("s", 1)
            .step("charge", |o| ChargePayment { payment: o.order, amount: o.total })
            .compensate(|o| RefundPayment { payment: o.order })
            .compensation_timeout(Duration::ZERO)
            .try_build(),
        one("s", 1).deadline(Duration::ZERO).try_build(),
    ];
    let told: Vec<String> = mistakes.into_iter().map(|mistake| mistake.unwrap_err().to_string()).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    saga `empty` has no step: add one
    saga `Sell Things`: `Sell Things` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens
    saga `place-order` has version 0: versions count from 1
    saga `twice` has two steps named `create`: give each its own name
    saga `s`: `two.words` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens
    saga `s`: `Payment` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens
    saga `s`: the timeout of step `create` is zero: give it at least a millisecond
    saga `s`: the timeout of step `charge` is zero: give it at least a millisecond
    saga `s`: its deadline is zero: give it at least a millisecond, or none
    ");
}

#[test]
#[should_panic(expected = "saga `empty` has no step: add one")]
fn build_panics_with_the_definition_error() {
    let _ = saga::<PlaceOrder>("empty", 1).build();
}

#[test]
fn definitions_of_different_data_types_share_one_array() {
    let other = saga::<Vec<String>>("reserve", 1)
        .step("reserve", |lines| ReserveInventory { reservation: 1, lines: lines.clone() })
        .no_compensation()
        .build();
    let names = [place_order(), other].map(|definition| definition.name.to_string());
    assert_eq!(names, ["place-order", "reserve"]);
}

#[test]
fn unfit_child_saga_is_refused() {
    #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    struct Parent {
        order: PlaceOrder,
        other: String,
    }
    let parent = |child: SagaDefinition| saga::<Parent>("parent", 1).saga("child", child, |p| &mut p.order);
    let fine = || {
        saga::<PlaceOrder>("cancel", 1).step("cancel", |o| CancelOrder { order: o.order }).no_compensation()
    };
    let refused = [
        parent(fine().pivot("ship", |o| ShipOrder { shipment: o.order, address: o.address.clone() }).build())
            .try_build(),
        parent(fine().deadline(std::time::Duration::from_secs(1)).build()).try_build(),
        saga::<Parent>("parent", 1).saga("child", fine().build(), |p| &mut p.other).try_build(),
        parent(fine().build()).saga("child", fine().build(), |p| &mut p.order).try_build(),
    ];
    let reasons: Vec<String> = refused.into_iter().map(|r| r.unwrap_err().to_string()).collect();
    insta::assert_snapshot!(reasons.join("\n"), @"
    saga `parent`: step `ship` of the child `child` is a pivot or retriable: a child has only steps that can be undone, because its parent may still turn back
    saga `parent`: the child `child` has a deadline of its own: give it to the parent
    saga `parent`: the field given to the child `child` is not of the type of the child's data
    saga `parent` has two steps named `child-cancel`: give each its own name
    ");
    insta::assert_snapshot!(parent(fine().build()).build().to_mermaid(), @r#"
    flowchart LR
        start(["parent v1"])
        do_child_cancel["child-cancel<br/>order.cancel"]
        start --> do_child_cancel
        do_child_cancel --> completed(["completed"])
        compensated(["compensated"])
        do_child_cancel -. "rejected" .-> compensated
    "#);
}
