//! Shipments: what is on the truck does not come back.

use redress_contracts::{ShipOrder, Shipped};
use redress_core::Rejection;
use redress_participant::{HandleAll, HandlerError, Keyed, Outcome, Service, Tx};

use crate::taken::taken;

const SENDER: &str = "SELECT saga_id FROM shipments WHERE id = $1";

/// The shipping service.
pub(crate) fn service() -> Service {
    Service::new(
        "shipping",
        || crate::with_own_table(sqlx::migrate!("../migrations/shipping"), "_shipping_migrations"),
        |participant| participant.handle_all::<ShipOrder>(),
        Shipping,
    )
}

#[derive(Clone)]
struct Shipping;

impl HandleAll<ShipOrder> for Shipping {
    async fn handle_all(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<ShipOrder>>,
    ) -> Result<Vec<Outcome<Shipped>>, HandlerError> {
        let regions: Vec<String> =
            sqlx::query_scalar("SELECT region FROM undeliverable_regions").fetch_all(&mut **tx).await?;
        let regions: Vec<String> = regions.iter().map(|region| region.to_lowercase()).collect();
        let (mut ids, mut sagas, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        let mut outcomes = Vec::with_capacity(commands.len());
        for Keyed { key, command } in commands {
            let address = command.address.to_lowercase();
            let unreachable = regions.iter().any(|region| address.contains(region.as_str()));
            if unreachable || address.trim().is_empty() {
                let message = format!("the carrier does not deliver to `{}`", command.address);
                outcomes.push(Outcome::Rejected(Rejection::new("address-undeliverable", message)));
                continue;
            }
            ids.push(command.shipment);
            sagas.push(key.saga_id.0);
            addresses.push(command.address);
            outcomes.push(Outcome::Done(Shipped { tracking: format!("track-{}", command.shipment) }));
        }
        if ids.is_empty() {
            return Ok(outcomes);
        }
        let written = sqlx::query(
            "INSERT INTO shipments (id, saga_id, address) \
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[]) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&ids)
        .bind(&sagas)
        .bind(addresses)
        .execute(&mut **tx)
        .await?
        .rows_affected();
        if written == ids.len() as u64 {
            return Ok(outcomes);
        }
        taken(tx, "shipment", SENDER, &ids, &sagas, outcomes.len()).await
    }
}
