//! A service in the trait form: the impls that `#[derive(Command)]` and `#[service]` write, by hand.
//!
//! ```sh
//! cargo run -p redress --example plain_handle -- demo --exit
//! ```
//!
//! A seat is booked and a ticket is issued. Handlers of one service may use both forms.

use std::process::ExitCode;

use redress::{
    Answer, Command, Compensate, Compensates, DemoStart, Handle, Participant, SagaDefinition, Service, Tx,
    Undone, done, reject, saga,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Serialize, Deserialize, JsonSchema)]
struct BookSeat {
    number: i64,
    traveller: String,
}

impl Command for BookSeat {
    const SERVICE: &'static str = "train";
    const NAME: &'static str = "book-seat";
    type Reply = ();
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct FreeSeat {
    number: i64,
}

impl Command for FreeSeat {
    const SERVICE: &'static str = "train";
    const NAME: &'static str = "free-seat";
    type Reply = ();
}

/// Without this line `FreeSeat` in `.compensate(..)` below does not compile.
impl Compensates<BookSeat> for FreeSeat {}

#[derive(Serialize, Deserialize, JsonSchema)]
struct IssueTicket {
    number: i64,
    class: u8,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Ticket {
    code: String,
}

impl Command for IssueTicket {
    const SERVICE: &'static str = "train";
    const NAME: &'static str = "issue-ticket";
    type Reply = Ticket;
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Journey {
    traveller: String,
    seat: i64,
    class: u8,
    /// Learnt from the service.
    #[serde(default)]
    ticket: Option<String>,
}

fn travel() -> SagaDefinition {
    saga::<Journey>("travel", 1)
        .step("book-seat", |j| BookSeat { number: j.seat, traveller: j.traveller.clone() })
        .compensate(|j| FreeSeat { number: j.seat })
        .pivot("issue-ticket", |j| IssueTicket { number: j.seat, class: j.class })
        .on_reply(|j, ticket| j.ticket = Some(ticket.code))
        .build()
}

#[derive(Clone)]
struct Train;

impl Handle<BookSeat> for Train {
    async fn handle(&self, tx: &mut Tx<'_>, command: BookSeat) -> Answer<()> {
        let insert =
            sqlx::query("INSERT INTO seats (number, traveller) VALUES ($1, $2) ON CONFLICT DO NOTHING");
        let booked = insert.bind(command.number).bind(command.traveller).execute(tx).await?;
        match booked.rows_affected() {
            0 => reject("seat-taken", format!("seat {} is taken", command.number)),
            _ => done(()),
        }
    }
}

impl Compensate<FreeSeat> for Train {
    async fn compensate(&self, tx: &mut Tx<'_>, command: FreeSeat) -> Undone<()> {
        sqlx::query("DELETE FROM seats WHERE number = $1").bind(command.number).execute(tx).await?;
        Ok(())
    }
}

impl Handle<IssueTicket> for Train {
    async fn handle(&self, tx: &mut Tx<'_>, command: IssueTicket) -> Answer<Ticket> {
        if !(1..=2).contains(&command.class) {
            return reject("no-such-class", format!("the train has no class {}", command.class));
        }
        // The same key on every attempt: for third parties that know such keys.
        done(Ticket { code: format!("{}-{}", command.number, tx.idempotency_key().saga_id) })
    }
}

fn register(train: Participant<Train>) -> Participant<Train> {
    train.handle::<BookSeat>().compensate::<FreeSeat>().handle::<IssueTicket>()
}

fn main() -> ExitCode {
    let tables = || Some(sqlx::migrate!("examples/plain_handle/migrations"));
    let train = Service::new("train", tables, register, Train);
    let journey = |title, seat, class, expect, undone| DemoStart {
        title,
        saga: "travel",
        input: json!({ "traveller": "alice", "seat": seat, "class": class }),
        expect,
        undone,
        ..DemoStart::default()
    };
    let demo = [
        journey("a seat in the first class", 1, 1, ("completed", None), &[]),
        journey("the same seat again", 1, 2, ("compensated", Some("seat-taken")), &[]),
        journey(
            "a seat in the third class, which there is not",
            2,
            3,
            ("compensated", Some("no-such-class")),
            &["book-seat"],
        ),
    ];
    redress::app([travel()]).services([train]).demo(demo).main()
}
