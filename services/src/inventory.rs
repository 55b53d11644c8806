//! Stock: available or reserved.

use std::collections::BTreeMap;

use redress_contracts::{ReleaseInventory, ReserveInventory};
use redress_core::Rejection;
use redress_macros::service;
use redress_participant::{HandlerError, HandlerOutcome, Keyed, Service, Tx};
use sqlx::Row;
use uuid::Uuid;

use crate::taken::taken;

const HOLDER: &str = "SELECT saga_id FROM reservations WHERE id = $1";

/// The inventory service.
pub(crate) fn service() -> Service {
    Service::of(Inventory, || {
        crate::with_own_table(sqlx::migrate!("../migrations/inventory"), "_inventory_migrations")
    })
}

#[derive(Clone)]
struct Inventory;

/// Locks stock in the order of the SKUs: two batches never wait for each other in a circle.
async fn lock(tx: &mut Tx<'_>, skus: Vec<String>) -> Result<BTreeMap<String, i64>, HandlerError> {
    let rows =
        sqlx::query("SELECT sku, available FROM stock WHERE sku = ANY($1) ORDER BY sku FOR NO KEY UPDATE")
            .bind(skus)
            .fetch_all(tx)
            .await?;
    rows.iter().map(|row| Ok((row.try_get("sku")?, row.try_get("available")?))).collect()
}

/// How many of each thing, or why the order makes no sense.
fn wanted(command: &ReserveInventory) -> Result<BTreeMap<&str, i64>, Rejection> {
    let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
    for line in &command.lines {
        let sum = wanted.entry(&line.sku).or_default();
        *sum = sum.checked_add(line.quantity).filter(|_| line.quantity > 0).ok_or_else(|| {
            let message = format!("{} is no quantity of `{}` to reserve", line.quantity, line.sku);
            Rejection::new("invalid-quantity", message)
        })?;
    }
    Ok(wanted)
}

/// The reason why it cannot be set aside, if it cannot.
fn refusal(wanted: &BTreeMap<&str, i64>, available: &BTreeMap<String, i64>) -> Option<Rejection> {
    wanted.iter().find_map(|(sku, quantity)| match available.get(*sku) {
        None => Some(Rejection::new("unknown-sku", format!("there is no `{sku}`"))),
        Some(left) if left < quantity => Some(Rejection::new(
            "out-of-stock",
            format!("{quantity} of `{sku}` are wanted and {left} are left"),
        )),
        Some(_) => None,
    })
}

#[service("inventory")]
impl Inventory {
    #[actions]
    async fn reserve(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<ReserveInventory>>,
    ) -> Result<Vec<HandlerOutcome<()>>, HandlerError> {
        let skus =
            commands.iter().flat_map(|keyed| &keyed.command.lines).map(|line| line.sku.clone()).collect();
        let mut available = lock(tx, skus).await?;
        let mut holds = Holds::default();
        let mut outcomes = Vec::with_capacity(commands.len());
        for Keyed { key, command } in &commands {
            let decided = wanted(command).and_then(|wanted| match refusal(&wanted, &available) {
                Some(rejection) => Err(rejection),
                None => Ok(wanted),
            });
            match decided {
                Err(rejection) => outcomes.push(HandlerOutcome::Rejected(rejection)),
                Ok(wanted) => {
                    for (sku, quantity) in &wanted {
                        // The next member finds what this one leaves.
                        if let Some(left) = available.get_mut(*sku) {
                            *left -= quantity;
                        }
                    }
                    holds.add(key.saga_id.0, command.reservation, wanted);
                    outcomes.push(HandlerOutcome::Done(()));
                }
            }
        }
        match holds.write(tx).await? {
            true => Ok(outcomes),
            false => taken(tx, "reservation", HOLDER, &holds.ids, &holds.sagas, outcomes.len()).await,
        }
    }

    #[compensations(of = reserve)]
    async fn release(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<ReleaseInventory>>,
    ) -> Result<Vec<()>, HandlerError> {
        let ids: Vec<Uuid> = commands.iter().map(|keyed| keyed.command.reservation).collect();
        let skus =
            sqlx::query_scalar("SELECT DISTINCT sku FROM reservation_lines WHERE reservation = ANY($1)")
                .bind(&ids)
                .fetch_all(&mut *tx)
                .await?;
        lock(tx, skus).await?;
        let released: i64 = sqlx::query_scalar(
            "WITH released AS ( \
                 UPDATE reservations SET status = 'released' WHERE id = ANY($1) AND status = 'held' RETURNING id \
             ), shelves AS ( \
                 UPDATE stock SET available = available + sums.quantity, reserved = reserved - sums.quantity \
                 FROM (SELECT sku, sum(quantity)::bigint AS quantity FROM released \
                       JOIN reservation_lines ON reservation = released.id GROUP BY sku) AS sums \
                 WHERE stock.sku = sums.sku \
             ) SELECT count(*) FROM released",
        )
        .bind(&ids)
        .fetch_one(tx)
        .await?;
        if usize::try_from(released).ok() != Some(ids.len()) {
            let message =
                format!("only {released} of {} reservations are held and can be released", ids.len());
            return Err(message.into());
        }
        Ok(ids.iter().map(|_| ()).collect())
    }
}

/// The stock that is set aside, one member after the other, and the lines of all of them.
#[derive(Default)]
struct Holds {
    ids: Vec<Uuid>,
    sagas: Vec<Uuid>,
    /// Of each line, its reservation.
    reservations: Vec<Uuid>,
    skus: Vec<String>,
    quantities: Vec<i64>,
}

impl Holds {
    fn add(&mut self, saga: Uuid, reservation: Uuid, wanted: BTreeMap<&str, i64>) {
        self.ids.push(reservation);
        self.sagas.push(saga);
        for (sku, quantity) in wanted {
            self.reservations.push(reservation);
            self.skus.push(sku.to_owned());
            self.quantities.push(quantity);
        }
    }

    /// Reservations and their lines, and the sums off the shelf; `false` if an id is taken.
    async fn write(&self, tx: &mut Tx<'_>) -> Result<bool, HandlerError> {
        if self.ids.is_empty() {
            return Ok(true);
        }
        let written: i64 = sqlx::query_scalar(
            "WITH held AS ( \
                 INSERT INTO reservations (id, saga_id, status) \
                 SELECT id, saga_id, 'held' FROM unnest($1::uuid[], $2::uuid[]) AS new (id, saga_id) \
                 ON CONFLICT (id) DO NOTHING RETURNING 1 \
             ), new AS ( \
                 SELECT * FROM unnest($3::uuid[], $4::text[], $5::bigint[]) AS new (reservation, sku, quantity) \
             ), lines AS ( \
                 INSERT INTO reservation_lines (reservation, sku, quantity) \
                 SELECT * FROM new ON CONFLICT DO NOTHING \
             ), shelves AS ( \
                 UPDATE stock SET available = available - sums.quantity, reserved = reserved + sums.quantity \
                 FROM (SELECT sku, sum(quantity)::bigint AS quantity FROM new GROUP BY sku) AS sums \
                 WHERE stock.sku = sums.sku \
             ) SELECT count(*) FROM held",
        )
        .bind(&self.ids)
        .bind(&self.sagas)
        .bind(&self.reservations)
        .bind(&self.skus)
        .bind(&self.quantities)
        .fetch_one(tx)
        .await?;
        Ok(usize::try_from(written).ok() == Some(self.ids.len()))
    }
}
