//! The demo: four sagas, six services, five orders.

use std::process::ExitCode;

use redress::{DemoAnswer, DemoStart};
use redress_services::card_provider::CardProvider;
use serde_json::{Value, json};

/// A fifth of the CPU time of coordinator and services went to the allocator of glibc (ARCHITECTURE, "Where the time goes").
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    redress::app(redress_sagas::all()).services(redress_services::all()).demo(orders()).main()
}

const GOOD: &str = "4000 0000 0000 1881";
/// The provider charges this card, and its first answer is lost.
const FIRST_ANSWER_LOST: &str = "4000 0000 0000 0504";

/// One order that completes, one that cannot be paid, one that cannot be delivered, one that a person approves, and one
/// whose card is charged although the provider does not say so at once.
fn orders() -> Vec<DemoStart> {
    let start = |title, customer, address, expect, undone| DemoStart {
        title,
        saga: "place-order",
        input: order(customer, address, 2),
        expect,
        undone,
        ..DemoStart::default()
    };
    let by_card = |title, customer, address, quantity, card: &str| {
        let mut input = order(customer, address, quantity);
        input["card"] = json!(card);
        let afterwards = Some(books as fn(&Value) -> String);
        DemoStart { title, saga: "order-by-card", input, afterwards, ..DemoStart::default() }
    };
    vec![
        start("alice orders two books", "alice", "1 Harbour Street, Reykjavik", ("completed", None), &[]),
        start(
            "bob has 5.00 and orders for 30.00",
            "bob",
            "2 Mill Lane, Bree",
            ("compensated", Some("insufficient-funds")),
            &["create-order"],
        ),
        start(
            "alice orders to where no carrier goes",
            "alice",
            "3 Coral Reef, Atlantis",
            ("compensated", Some("address-undeliverable")),
            &["reserve-inventory", "charge-payment", "create-order"],
        ),
        DemoStart {
            answer: Some(DemoAnswer {
                step: "approve-order",
                actor: "carol",
                reply: json!({ "by": "carol" }),
            }),
            expect: ("completed", None),
            ..by_card(
                "dora orders forty books by card: above 500.00 a person approves",
                "dora",
                "4 Station Road, Porto",
                40,
                GOOD,
            )
        },
        DemoStart {
            expect: ("compensated", Some("address-undeliverable")),
            undone: &["reserve-inventory", "charge-card", "create-order"],
            ..by_card(
                "erin pays by card, and the provider charges and answers 504; then no carrier goes there",
                "erin",
                "5 Kelp Forest, Atlantis",
                2,
                FIRST_ANSWER_LOST,
            )
        },
    ]
}

fn order(customer: &str, address: &str, quantity: u32) -> Value {
    json!({
        "customer": customer,
        "currency": "EUR",
        "address": address,
        "lines": [{ "sku": "book", "quantity": quantity, "unit_price": 1500 }],
    })
}

/// The books of the card provider, which is another company.
fn books(saga: &Value) -> String {
    let told = CardProvider::of_the_demo().told_of(saga["id"].as_str().unwrap_or_default());
    format!("the card provider's books: {told}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_has_a_handler() {
        redress::app(redress_sagas::all()).services(redress_services::all()).check_wiring().unwrap();
    }
}
