//! Shipments: what is on the truck does not come back.
//!
//! A plain service, to begin with: one handler, one command at a time. The other three work on sets.

use redress_contracts::{ShipOrder, Shipped};
use redress_macros::service;
use redress_participant::{Answer, HandlerError, Service, Tx, done, reject};

use crate::taken::owned;

const SENDER: &str = "SELECT saga_id FROM shipments WHERE id = $1";

/// The shipping service.
pub(crate) fn service() -> Service {
    Service::of(Shipping, || {
        crate::with_own_table(sqlx::migrate!("../migrations/shipping"), "_shipping_migrations")
    })
}

#[derive(Clone)]
struct Shipping;

#[service("shipping")]
impl Shipping {
    #[action(no_compensation)]
    async fn ship(&self, tx: &mut Tx<'_>, ShipOrder { shipment, address }: ShipOrder) -> Answer<Shipped> {
        if !is_deliverable(tx, &address).await? {
            return reject("address-undeliverable", format!("the carrier does not deliver to `{address}`"));
        }
        let saga = tx.idempotency_key().saga_id.0;
        let new =
            "INSERT INTO shipments (id, saga_id, address) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
        let written = sqlx::query(new).bind(shipment).bind(saga).bind(address).execute(&mut *tx).await?;
        match written.rows_affected() {
            1 => done(Shipped { tracking: format!("track-{shipment}") }),
            _ => owned(tx, "shipment", SENDER, shipment, saga).await,
        }
    }
}

async fn is_deliverable(tx: &mut Tx<'_>, address: &str) -> Result<bool, HandlerError> {
    let regions: Vec<String> =
        sqlx::query_scalar("SELECT region FROM undeliverable_regions").fetch_all(tx).await?;
    let address = address.to_lowercase();
    Ok(!address.trim().is_empty() && !regions.iter().any(|region| address.contains(&region.to_lowercase())))
}
