//! The results of closures on example data bind a version, as its shape does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::{
    ChargePayment, CreateOrder, PlaceOrder, RefundPayment, ReserveInventory, ShipOrder, place_order,
};
use redress_core::behaviour::Behaviour;
use redress_core::definition::InvalidDefinition;
use redress_core::{SagaDefinition, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The same shape each time: only what the closures do differs.
fn charging(amount: fn(&PlaceOrder) -> i64) -> SagaDefinition {
    saga::<PlaceOrder>("charge", 1)
        .step("charge-payment", move |o| ChargePayment { payment: o.order, amount: amount(o) })
        .on_reply(|o, charged| o.receipt = Some(charged.receipt))
        .compensate(|o| RefundPayment { payment: o.order })
        .pivot("ship-order", |o| ShipOrder { shipment: o.order, address: o.address.clone() })
        .build()
}

/// The differences for which a version deployed as the first would be refused if it came back as the second.
fn changes(deployed: &SagaDefinition, now: &SagaDefinition) -> String {
    assert_eq!(deployed.digest, now.digest, "the shape is the same");
    let stored = Behaviour::of(deployed).to_text();
    let differences = Behaviour::from_text(&stored).expect("it can be read").differences(now);
    // One digest for one behaviour, in every process.
    assert_eq!(Behaviour::of(deployed).digest() == Behaviour::of(now).digest(), differences.is_empty());
    differences.join("\n")
}

#[test]
fn doubled_amount_changes_the_behaviour() {
    let (once, twice) = (charging(|o| o.total), charging(|o| o.total * 2));
    insta::assert_snapshot!(changes(&once, &twice), @"step `charge-payment` makes something else of the same data: /command/amount: stored 17, now 34");
}

#[test]
fn refactored_closure_keeps_the_behaviour() {
    let folded = |o: &PlaceOrder| (0..o.total).fold(0, |sum, _| sum + 1);
    assert_eq!(changes(&charging(|o| o.total), &charging(folded)), "");
}

#[test]
fn folded_reply_shows_in_commands_of_later_steps() {
    let shipping = |address: fn(&PlaceOrder) -> String| {
        saga::<PlaceOrder>("ship", 1)
            .step("charge-payment", |o| ChargePayment { payment: o.order, amount: o.total })
            .on_reply(|o, charged| o.receipt = Some(charged.receipt))
            .compensate(|o| RefundPayment { payment: o.order })
            .pivot("ship-order", move |o| ShipOrder { shipment: o.order, address: address(o) })
            .build()
    };
    let told = shipping(|o| format!("{} ({})", o.address, o.receipt.as_deref().unwrap_or("unpaid")));
    let untold = shipping(|o| format!("{} (unpaid)", o.address));
    insta::assert_snapshot!(changes(&told, &untold), @r#"step `ship-order` makes something else of the same data: /command/address: stored "d3 (q1004)", now "d3 (unpaid)""#);
}

#[test]
fn condition_and_compensation_are_part_of_the_behaviour() {
    let reserving = |least: i64, undo: fn(&PlaceOrder) -> u64| {
        saga::<PlaceOrder>("reserve", 1)
            .step("reserve", |o| ReserveInventory { reservation: o.order, lines: o.lines.clone() })
            .when(move |o| o.lines.len() as i64 >= least)
            .no_compensation()
            .step("charge", |o| ChargePayment { payment: o.order, amount: o.total })
            .compensate(move |o| RefundPayment { payment: undo(o) })
            .build()
    };
    let deployed = reserving(1, |o| o.order);
    insta::assert_snapshot!(changes(&deployed, &reserving(2, |o| o.order)), @"step `reserve` makes something else of the same data: /when: stored true, now false");
    insta::assert_snapshot!(changes(&deployed, &reserving(1, |o| o.order + 1)), @"step `charge` makes something else of the same data: /compensation/payment: stored 7, now 8");
}

#[test]
fn closure_panic_on_an_example_is_silent_and_kept() {
    let first = |o: &PlaceOrder| o.lines[0].len() as i64;
    let picky = charging(first);
    assert_eq!(changes(&picky, &charging(first)), "");
    let lenient = charging(|o| o.lines.first().map_or(0, |line| line.len() as i64));
    insta::assert_snapshot!(changes(&picky, &lenient), @r#"step `charge-payment` makes something else of the same data: /command: stored "(the closure panicked)", now {"amount":0,"payment":7}"#);
}

#[test]
fn value_made_anew_by_a_closure_is_named_and_left_out() {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let making = |amount: i64| {
        saga::<PlaceOrder>("make", 1)
            .step("create-order", |o| CreateOrder {
                order: NEXT.fetch_add(1, Ordering::Relaxed),
                customer: o.customer.clone(),
            })
            .no_compensation()
            .step("charge", move |o| ChargePayment { payment: o.order, amount })
            .no_compensation()
            .build()
    };
    assert_eq!(Behaviour::of(&making(1)).made_anew, ["create-order/command/order"]);
    assert_eq!(changes(&making(1), &making(1)), "");
    // The rest is covered all the same.
    assert_ne!(changes(&making(1), &making(2)), "");
}

#[test]
fn default_made_anew_by_the_definition_is_fixed() {
    fn anew() -> uuid::Uuid {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        uuid::Uuid::from_u128(NEXT.fetch_add(1, Ordering::Relaxed).into())
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Made {
        #[serde(default = "anew")]
        id: uuid::Uuid,
        #[serde(default)]
        weights: HashMap<String, u32>,
    }
    let definition = || {
        saga::<Made>("made", 1)
            .step("create", |m| CreateOrder { order: 1, customer: m.id.to_string() })
            .no_compensation()
            // Sorted by chance.
            .step("reserve", |m| ReserveInventory {
                reservation: 1,
                lines: m.weights.keys().cloned().collect(),
            })
            .no_compensation()
            .build()
    };
    let behaviour = Behaviour::of(&definition());
    assert_eq!(behaviour.made_anew, ["reserve/command/lines/0", "reserve/command/lines/1"]);
    assert_eq!(changes(&definition(), &definition()), "");
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
struct Iban(String);

impl TryFrom<String> for Iban {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.starts_with("DE") { Ok(Self(text)) } else { Err("no IBAN".to_owned()) }
    }
}

impl From<Iban> for String {
    fn from(iban: Iban) -> Self {
        iban.0
    }
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Transfer {
    to: Iban,
    amount: i64,
}

#[test]
fn author_examples_cover_data_that_the_schema_cannot_generate() {
    let transfer = |factor: i64| {
        saga::<Transfer>("transfer", 1)
            .step("charge", move |t| ChargePayment { payment: 1, amount: t.amount * factor })
            .no_compensation()
    };
    let without = Behaviour::of(&transfer(1).build());
    assert!(without.examples.is_empty() && without.digest().is_none());
    insta::assert_snapshot!(without.unreadable[0], @"the input does not fit: at `/to`, no IBAN");
    let example = || Transfer { to: Iban("DE1".to_owned()), amount: 12 };
    let given = |factor| transfer(factor).example(example()).build();
    insta::assert_snapshot!(changes(&given(1), &given(2)), @"step `charge` makes something else of the same data: /command/amount: stored 12, now 24");
    // Generated ones only where they are wanted.
    let only = transfer(1).examples([example()]).build();
    assert_eq!(Behaviour::of(&only).unreadable, [""; 0]);
    assert_eq!(Behaviour::of(&only).examples.len(), 1);
    // Another example does not make an unchanged definition look changed, and none leaves closures out.
    let more = transfer(1).examples([example(), Transfer { amount: 13, ..example() }]).build();
    assert_eq!(Behaviour::of(&only).differences(&more), [""; 0]);
    assert!(!Behaviour::of(&only).has_the_examples_of(&Behaviour::of(&more)));
    assert_eq!(Behaviour::of(&only).differences(&transfer(2).examples([]).build()), [""; 0]);
}

#[test]
fn example_that_is_not_json_is_refused() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Odd {
        #[serde(skip_deserializing)]
        #[schemars(with = "String")]
        by_pair: HashMap<(u8, u8), u8>,
    }
    let odd = Odd { by_pair: HashMap::from([((1, 2), 3)]) };
    let refused = saga::<Odd>("odd", 1)
        .step("create", |_| CreateOrder { order: 1, customer: String::new() })
        .no_compensation()
        .example(odd)
        .try_build()
        .unwrap_err();
    assert!(matches!(refused, InvalidDefinition::Example { .. }), "{refused}");
}

#[test]
fn behaviour_digest_is_stable() {
    let behaviour = Behaviour::of(&place_order());
    assert_eq!(behaviour.made_anew, [""; 0]);
    assert_eq!(behaviour.unreadable, [""; 0]);
    // A change of how examples are generated changes this; deployed versions are compared on their own.
    insta::assert_snapshot!(behaviour.digest().unwrap(), @"cd90a0131bd4aaf89939e7908d624078d58e04f37b7e40c7cebb97d2df5ecd26");
}
