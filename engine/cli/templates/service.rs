//! The warehouse: a service with a database of its own.

use redress::{Answer, Service, Tx, Undone, done, reject, service};

use crate::contracts::{Release, Reserve, Reserved, Ship, Shipped};

#[derive(Clone)]
struct Warehouse;

/// The service, with the tables of `migrations/`.
pub fn service() -> Service {
    Service::of(Warehouse, || Some(sqlx::migrate!()))
}

#[service("warehouse", crate = ::redress)]
impl Warehouse {
    /// Runs inside the inbox transaction: effect and stored reply commit together.
    #[action]
    async fn reserve(&self, tx: &mut Tx<'_>, command: Reserve) -> Answer<Reserved> {
        let left: Option<i64> = sqlx::query_scalar(
            "UPDATE stock SET available = available - $2 \
             WHERE sku = $1 AND available >= $2 AND $2 > 0 RETURNING available",
        )
        .bind(&command.sku)
        .bind(command.quantity)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(left) = left else {
            return reject(
                "out-of-stock",
                format!("there is not enough of `{}`", command.sku),
            );
        };
        sqlx::query("INSERT INTO reservations (id, sku, quantity) VALUES ($1, $2, $3)")
            .bind(command.reservation)
            .bind(&command.sku)
            .bind(command.quantity)
            .execute(tx)
            .await?;
        done(Reserved { left })
    }

    /// Runs only if the goods were reserved.
    #[compensation(of = reserve)]
    async fn release(&self, tx: &mut Tx<'_>, command: Release) -> Undone<()> {
        sqlx::query(
            "WITH gone AS (DELETE FROM reservations WHERE id = $1 RETURNING sku, quantity) \
             UPDATE stock SET available = available + gone.quantity FROM gone WHERE stock.sku = gone.sku",
        )
        .bind(command.reservation)
        .execute(tx)
        .await?;
        Ok(())
    }

    #[action(no_compensation)]
    async fn ship(&self, tx: &mut Tx<'_>, command: Ship) -> Answer<Shipped> {
        if command.address.trim().is_empty() {
            return reject("no-address", "a parcel without an address cannot be sent");
        }
        sqlx::query("INSERT INTO parcels (id, address) VALUES ($1, $2)")
            .bind(command.reservation)
            .bind(&command.address)
            .execute(tx)
            .await?;
        done(Shipped {
            tracking: format!("track-{}", command.reservation),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redress::devstack;
    use redress::{
        CancellationToken, Config, Engine, SagaView, ServiceConfig, StartRequest, Topology, Wire,
        WireConfig,
    };
    use serde_json::json;
    use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

    use super::*;
    use crate::saga::send_parcel;

    /// Longer than a saga takes when all is well.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A coordinator and the warehouse with databases of their own, on servers that end with the tests.
    async fn open(name: &str) -> (Engine, PgPool) {
        let servers = devstack::shared().await;
        let (journal, warehouse) = (format!("{name}_journal"), format!("{name}_warehouse"));
        let admin = servers.postgres().admin_url();
        let mut admin = PgConnection::connect(&admin).await.unwrap();
        for database in [&journal, &warehouse] {
            let create = AssertSqlSafe(format!("CREATE DATABASE {database}"));
            sqlx::query(create).execute(&mut admin).await.unwrap();
        }
        let (nats, topology) = (servers.nats().url(), Topology::new(name).unwrap());
        let wire = Wire::connect(&nats, topology, WireConfig::default());
        let wire = wire.await.unwrap();

        let (service, config) = (service(), ServiceConfig::default());
        let warehouse = servers.postgres().url(&warehouse);
        let pool = service.open(&warehouse, &config).await.unwrap();
        let never = CancellationToken::new();
        let (_, serving) = service.start(pool.clone(), wire.clone(), config.participant, never);
        tokio::spawn(serving);

        let config = Config::new(servers.postgres().url(&journal));
        let engine = Engine::open(config, vec![send_parcel()], wire);
        let engine = engine.await.unwrap();
        let coordinator = engine.clone();
        tokio::spawn(async move { coordinator.run(CancellationToken::new()).await });
        (engine, pool)
    }

    /// Sends two books and waits for the end of the saga.
    async fn send(engine: &Engine, key: &str, address: &str) -> SagaView {
        let request = StartRequest {
            saga: "send-parcel".to_owned(),
            key: key.to_owned(),
            input: json!({ "sku": "book", "quantity": 2, "address": address }),
            ..StartRequest::default()
        };
        let id = engine.start_request(request).await.unwrap().id;
        engine.wait_ended(id, PATIENCE).await.unwrap().unwrap()
    }

    async fn books(pool: &PgPool) -> i64 {
        let available = sqlx::query_scalar("SELECT available FROM stock WHERE sku = 'book'");
        available.fetch_one(pool).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn parcel_takes_goods_from_stock() {
        let (engine, pool) = open("sent").await;
        let saga = send(&engine, "parcel-1", "1 Harbour Street, Reykjavik").await;
        assert_eq!((saga.status, books(&pool).await), ("completed", 8));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn parcel_without_address_leaves_stock_as_it_was() {
        let (engine, pool) = open("returned").await;
        let saga = send(&engine, "parcel-2", "").await;
        assert_eq!(saga.cause.unwrap().code, "no-address");
        assert_eq!((saga.status, books(&pool).await), ("compensated", 10));
    }
}
