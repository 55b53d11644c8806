//! A whole program: contracts, a service, a saga, and the command line that runs them.
//!
//! ```sh
//! cargo run -p redress --example hello_saga -- demo --exit
//! ```
//!
//! A card is written and posted. If it cannot be posted, the saga tears it up.

use std::process::ExitCode;

use redress::{
    Answer, Command, DemoStart, Generated, SagaDefinition, Service, Tx, Undone, done, reject, saga, service,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

// The contract, to which saga and service keep.

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "cards", name = "write", crate = ::redress)]
struct WriteCard {
    card: Uuid,
    text: String,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "cards", name = "tear-up", compensates = WriteCard, crate = ::redress)]
struct TearUpCard {
    card: Uuid,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "cards", name = "post", crate = ::redress)]
struct PostCard {
    card: Uuid,
    to: String,
}

// The saga.

#[derive(Serialize, Deserialize, JsonSchema)]
struct Greeting {
    name: String,
    address: String,
    /// Made when the saga starts.
    #[serde(default)]
    card: Generated<Uuid>,
}

fn greet() -> SagaDefinition {
    saga::<Greeting>("greet", 1)
        .step("write-card", |g| WriteCard { card: *g.card, text: format!("Hello, {}!", g.name) })
        .compensate(|g| TearUpCard { card: *g.card })
        .pivot("post-card", |g| PostCard { card: *g.card, to: g.address.clone() })
        .build()
}

// The service, with a database of its own.

#[derive(Clone)]
struct Cards;

#[service("cards", crate = ::redress)]
impl Cards {
    #[action]
    async fn write(&self, tx: &mut Tx<'_>, command: WriteCard) -> Answer<()> {
        let insert = sqlx::query("INSERT INTO cards (id, text) VALUES ($1, $2)");
        insert.bind(command.card).bind(command.text).execute(tx).await?;
        done(())
    }

    #[compensation(of = write)]
    async fn tear_up(&self, tx: &mut Tx<'_>, command: TearUpCard) -> Undone<()> {
        sqlx::query("DELETE FROM cards WHERE id = $1").bind(command.card).execute(tx).await?;
        Ok(())
    }

    #[action(no_compensation)]
    async fn post(&self, tx: &mut Tx<'_>, command: PostCard) -> Answer<()> {
        if command.to.is_empty() {
            return reject("no-address", "the card says nothing of where it goes");
        }
        let update = sqlx::query("UPDATE cards SET posted_to = $2 WHERE id = $1");
        update.bind(command.card).bind(command.to).execute(tx).await?;
        done(())
    }
}

// The program.

fn main() -> ExitCode {
    let cards = Service::of(Cards, || Some(sqlx::migrate!("examples/hello_saga/migrations")));
    let greeting = |title, address, expect, undone| DemoStart {
        title,
        saga: "greet",
        input: json!({ "name": "Alice", "address": address }),
        expect,
        undone,
        ..DemoStart::default()
    };
    let demo = [
        greeting("a card to Reykjavik", "1 Harbour Street, Reykjavik", ("completed", None), &[]),
        greeting("a card without an address", "", ("compensated", Some("no-address")), &["write-card"]),
    ];
    redress::app([greet()]).services([cards]).demo(demo).main()
}
