//! The account of a guarantee in Postgres: the tables that a service would have.
//!
//! A row of a charge and the balance are changed by one statement, so that the books never contradict themselves. Nothing
//! in the tables recognises a duplicate, as a unique number would: the guarantees are what the lab is about.

use redress_participant::sqlx::postgres::PgPoolOptions;
use redress_participant::sqlx::{self, PgExecutor, PgPool};

use super::books::{Books, CHARGE_CENTS, OPENING_CENTS};

/// Connections of the account: a handler that writes in a transaction of its own takes one.
const CONNECTIONS_MAX: u32 = 16;

/// An account.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pool: PgPool,
}

impl Ledger {
    /// Opens the account in a new database.
    ///
    /// # Errors
    /// That of the database.
    pub(super) async fn open(database_url: &str) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect(database_url).await?;
        let tables = "CREATE TABLE account (balance_cents bigint NOT NULL);
                      CREATE TABLE charges (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number integer NOT NULL)";
        sqlx::raw_sql(tables).execute(&pool).await?;
        let open = sqlx::query("INSERT INTO account VALUES ($1)").bind(OPENING_CENTS);
        open.execute(&pool).await?;
        Ok(Self { pool })
    }

    /// Makes a charge in a transaction of its own.
    ///
    /// # Errors
    /// That of the database.
    pub(super) async fn charge_alone(&self, number: u32) -> anyhow::Result<()> {
        charge(&self.pool, number).await
    }

    /// Reads the books.
    ///
    /// # Errors
    /// That of the database.
    pub(super) async fn books(&self, charges: u32) -> anyhow::Result<Books> {
        let rows: Vec<i32> = sqlx::query_scalar("SELECT number FROM charges").fetch_all(&self.pool).await?;
        let balance = sqlx::query_scalar("SELECT balance_cents FROM account").fetch_one(&self.pool).await?;
        let rows = rows.into_iter().map(u32::try_from).collect::<Result<Vec<u32>, _>>()?;
        Ok(Books::new(charges, rows, balance))
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Makes a charge, in the transaction of whoever executes it.
///
/// # Errors
/// That of the database.
pub(super) async fn charge<'e>(executor: impl PgExecutor<'e>, number: u32) -> anyhow::Result<()> {
    let charge = sqlx::query(
        "WITH row AS (INSERT INTO charges (number) VALUES ($1)) UPDATE account SET balance_cents = balance_cents - $2",
    );
    charge.bind(i32::try_from(number)?).bind(CHARGE_CENTS).execute(executor).await?;
    Ok(())
}
