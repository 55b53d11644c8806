//! A start in a transaction of one's own: the program's row and the saga are written together, or neither is.
//!
//! ```sh
//! cargo run -p redress --example start_in_transaction
//! ```
//!
//! The row and the journal share a database. The saga exists once the transaction commits; a program that dies before
//! leaves neither. The first command is sent by the coordinator's timer, up to 250 ms after the commit.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;
use std::time::Duration;

use redress::sqlx::{self, AssertSqlSafe, Connection, PgConnection, PgPool};
use redress::{
    Answer, Command, Config, Engine, SagaDefinition, Service, ServiceConfig, StartRequest, Topology, Tx,
    Wire, WireConfig, devstack, done, saga, service,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "mail", name = "welcome", crate = ::redress)]
struct Welcome {
    customer: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Registration {
    customer: String,
}

fn register() -> SagaDefinition {
    saga::<Registration>("register", 1).pivot("welcome", |r| Welcome { customer: r.customer.clone() }).build()
}

#[derive(Clone)]
struct Mail;

#[service("mail", crate = ::redress)]
impl Mail {
    #[action(no_compensation)]
    async fn welcome(&self, _tx: &mut Tx<'_>, _command: Welcome) -> Answer<()> {
        done(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = devstack::shared().await;
    let mut admin = PgConnection::connect(&servers.postgres().admin_url()).await?;
    for database in ["shop", "mail"] {
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut admin).await?;
    }
    let wire = Wire::connect(&servers.nats().url(), Topology::new("shop")?, WireConfig::default()).await?;
    let shutdown = CancellationToken::new();

    let (mail, config) = (Service::of(Mail, || None), ServiceConfig::default());
    let pool = mail.open(&servers.postgres().url("mail"), &config).await?;
    let (_, serving) = mail.start(pool, wire.clone(), config.participant, shutdown.clone());
    let serving = tokio::spawn(serving);

    // The journal lies in the shop's own database.
    let shop = PgPool::connect(&servers.postgres().url("shop")).await?;
    sqlx::query("CREATE TABLE customers (name text PRIMARY KEY)").execute(&shop).await?;
    let engine = Engine::open(Config::new(servers.postgres().url("shop")), vec![register()], wire).await?;
    let coordinator = engine.clone();
    let until = shutdown.clone();
    let running = tokio::spawn(async move { coordinator.run(until).await });

    let start = |customer: &str| StartRequest {
        saga: "register".to_owned(),
        key: format!("register-{customer}"),
        input: json!({ "customer": customer }),
        ..StartRequest::default()
    };
    let insert = "INSERT INTO customers (name) VALUES ($1)";

    let mut transaction = shop.begin().await?;
    sqlx::query(insert).bind("alice").execute(&mut *transaction).await?;
    let alice = engine.start_in(&mut transaction, start("alice")).await?;
    transaction.commit().await?;

    let mut transaction = shop.begin().await?;
    sqlx::query(insert).bind("bob").execute(&mut *transaction).await?;
    let bob = engine.start_in(&mut transaction, start("bob")).await?;
    transaction.rollback().await?;

    let ended = engine.wait_ended(alice.id, Duration::from_secs(60)).await?;
    let status = ended.map_or("unknown", |saga| saga.status);
    let is_there = engine.saga(bob.id).await?.is_some();
    let customers: Vec<String> = sqlx::query_scalar("SELECT name FROM customers").fetch_all(&shop).await?;
    println!("alice's saga is {status}; bob's saga {}", if is_there { "exists" } else { "does not exist" });
    println!("customers: {}", customers.join(", "));

    shutdown.cancel();
    running.await?;
    serving.await??;
    Ok(())
}
