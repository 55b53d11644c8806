//! A seat that is held and paid for: contract, service and saga of a crate that knows `redress` alone.

use redress::{
    Answer, Command, Generated, SagaContract, SagaDefinition, Tx, Undone, done, reject, service, sqlx,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Holds a seat.
#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "cinema", name = "hold", crate = ::redress)]
pub struct HoldSeat {
    ticket: Uuid,
    seat: String,
}

/// Gives it back.
#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "cinema", name = "release", compensates = HoldSeat, crate = ::redress)]
pub struct ReleaseSeat {
    ticket: Uuid,
}

/// Prints the ticket, if the seat's price is paid in full.
#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "cinema", name = "print", reply = Printed, crate = ::redress)]
pub struct PrintTicket {
    ticket: Uuid,
    paid: i64,
}

/// The ticket's code.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Printed {
    code: String,
}

/// The data of the saga.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Visit {
    /// The seat.
    pub seat: String,
    /// The money, in cents.
    pub paid: i64,
    /// Made when the saga starts.
    #[serde(default)]
    pub ticket: Generated<Uuid>,
    /// The printed code.
    pub code: Option<String>,
}

/// The saga, for all that start it.
pub const VISIT: SagaContract<Visit> = SagaContract::new("visit", 1);

/// The saga, for the program that runs it.
pub fn visit() -> SagaDefinition {
    VISIT
        .define()
        .step("hold-seat", |v| HoldSeat { ticket: *v.ticket, seat: v.seat.clone() })
        .compensate(|v| ReleaseSeat { ticket: *v.ticket })
        .pivot("print-ticket", |v| PrintTicket { ticket: *v.ticket, paid: v.paid })
        .on_reply(|v, printed| v.code = Some(printed.code))
        .build()
}

/// The service.
pub struct Cinema;

#[service("cinema", crate = ::redress)]
impl Cinema {
    #[action]
    async fn hold(&self, tx: &mut Tx<'_>, hold: HoldSeat) -> Answer<()> {
        let insert = sqlx::query("INSERT INTO held (ticket, seat) VALUES ($1, $2)");
        insert.bind(hold.ticket).bind(hold.seat).execute(tx).await?;
        done(())
    }

    #[compensation(of = hold)]
    async fn release(&self, tx: &mut Tx<'_>, release: ReleaseSeat) -> Undone<()> {
        sqlx::query("DELETE FROM held WHERE ticket = $1").bind(release.ticket).execute(tx).await?;
        Ok(())
    }

    #[action(no_compensation)]
    async fn print(&self, _: &mut Tx<'_>, print: PrintTicket) -> Answer<Printed> {
        match print.paid {
            paid if paid < 1_000 => reject("not-paid", format!("{paid} cents are too few")),
            _ => done(Printed { code: print.ticket.to_string() }),
        }
    }
}
