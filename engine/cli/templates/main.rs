//! The program: coordinator, service and command line in one binary.

mod contracts;
mod saga;
mod service;

use std::process::ExitCode;

use redress::DemoStart;
use serde_json::json;

fn main() -> ExitCode {
    redress::app([saga::send_parcel()])
        .services([service::service()])
        .demo(demo())
        .main()
}

/// The parcels that `cargo run` sends: one arrives, and one turns back.
fn demo() -> [DemoStart; 2] {
    [
        DemoStart {
            title: "two books for Reykjavik",
            saga: "send-parcel",
            input: json!({ "sku": "book", "quantity": 2, "address": "1 Harbour Street, Reykjavik" }),
            expect: ("completed", None),
            undone: &[],
            ..DemoStart::default()
        },
        DemoStart {
            title: "a book, and no address",
            saga: "send-parcel",
            input: json!({ "sku": "book", "quantity": 1, "address": "" }),
            expect: ("compensated", Some("no-address")),
            undone: &["reserve-goods"],
            ..DemoStart::default()
        },
    ]
}
