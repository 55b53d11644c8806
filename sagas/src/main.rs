//! The demo: two sagas, four services, three orders.

use std::process::ExitCode;

use redress::DemoStart;
use serde_json::{Value, json};

fn main() -> ExitCode {
    redress::app(redress_sagas::all()).services(redress_services::all()).demo(orders()).main()
}

/// One order that completes, one that cannot be paid, and one that cannot be delivered.
fn orders() -> Vec<DemoStart> {
    let start = |title, customer, address, expect, undone| DemoStart {
        title,
        saga: "place-order",
        input: order(customer, address),
        expect,
        undone,
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
    ]
}

fn order(customer: &str, address: &str) -> Value {
    json!({
        "customer": customer,
        "currency": "EUR",
        "address": address,
        "lines": [{ "sku": "book", "quantity": 2, "unit_price": 1500 }],
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_has_a_handler() {
        redress::app(redress_sagas::all()).services(redress_services::all()).check_wiring().unwrap();
    }
}
