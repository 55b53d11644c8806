//! Testing a saga without a server: its whole matrix in one line, and one story line by line, in virtual time.
//!
//! ```sh
//! cargo run -p redress --example testing_a_saga
//! ```
//!
//! In a project both stand in `#[test]` functions, the story against an inline snapshot.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use redress::{Command, SagaDefinition, saga};
use redress_testkit::{Story, UnwindMatrix};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "hotel", name = "book-room", reply = RoomBooked, crate = ::redress)]
struct BookRoom {
    nights: u32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct RoomBooked {
    room: u32,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "hotel", name = "cancel-room", compensates = BookRoom, crate = ::redress)]
struct CancelRoom {
    /// Unknown if the booking's reply never came.
    room: Option<u32>,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "bank", name = "pay", crate = ::redress)]
struct Pay {
    amount: u32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Holiday {
    nights: u32,
    #[serde(default)]
    room: Option<u32>,
}

fn book_holiday() -> SagaDefinition {
    saga::<Holiday>("book-holiday", 1)
        .step("book-room", |h| BookRoom { nights: h.nights })
        .on_reply(|h, booked| h.room = Some(booked.room))
        .compensate(|h| CancelRoom { room: h.room })
        .pivot("pay", |h| Pay { amount: 100 * h.nights })
        .build()
}

fn main() {
    // Every step × phase × fault; `redress_testkit::unwind_matrix(book_holiday())` is the short form, which panics.
    let matrix = UnwindMatrix::of(book_holiday()).input(json!({ "nights": 2 }));
    match matrix.run() {
        Ok(table) => println!("{table}"),
        Err(failure) => panic!("{failure}"),
    }

    // A command is lost and sent again; then the bank says no.
    let run = Story::of(&book_holiday())
        .input(json!({ "nights": 2 }))
        .reply("book-room", json!({ "room": 12 }))
        .given(r#"{"step": "book-room", "kind": "drop-command", "times": 1}"#)
        .given(r#"{"step": "pay", "kind": "reject", "code": "insufficient-funds"}"#)
        .play();
    println!("{run}");
}
