//! Stock: available or reserved.

use std::collections::BTreeMap;

use redress_contracts::{ReleaseInventory, ReserveInventory};
use redress_core::Rejection;
use redress_participant::{CompensateAll, HandleAll, HandlerError, Keyed, Outcome, Service, Tx};
use sqlx::Row;
use uuid::Uuid;

/// The inventory service.
pub(crate) fn service() -> Service {
    Service::new(
        "inventory",
        || crate::with_own_table(sqlx::migrate!("../migrations/inventory"), "_inventory_migrations"),
        |participant| participant.handle_all::<ReserveInventory>().compensate_all::<ReleaseInventory>(),
        Inventory,
    )
}

#[derive(Clone)]
struct Inventory;

/// Locks stock in the order of the SKUs: two batches never wait for each other in a circle.
async fn lock(tx: &mut Tx<'_>, skus: Vec<String>) -> Result<BTreeMap<String, i64>, HandlerError> {
    let rows = sqlx::query("SELECT sku, available FROM stock WHERE sku = ANY($1) ORDER BY sku FOR UPDATE")
        .bind(skus)
        .fetch_all(&mut **tx)
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

/// Why it cannot be set aside, if it cannot.
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

impl HandleAll<ReserveInventory> for Inventory {
    async fn handle_all(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<ReserveInventory>>,
    ) -> Result<Vec<Outcome<()>>, HandlerError> {
        let skus =
            commands.iter().flat_map(|keyed| &keyed.command.lines).map(|line| line.sku.clone()).collect();
        let mut available = lock(tx, skus).await?;
        let (mut ids, mut sagas) = (Vec::new(), Vec::new());
        let (mut reservations, mut skus, mut quantities) = (Vec::new(), Vec::new(), Vec::new());
        let mut outcomes = Vec::with_capacity(commands.len());
        for Keyed { key, command } in &commands {
            let decided = wanted(command).and_then(|wanted| match refusal(&wanted, &available) {
                Some(rejection) => Err(rejection),
                None => Ok(wanted),
            });
            let wanted = match decided {
                Ok(wanted) => wanted,
                Err(rejection) => {
                    outcomes.push(Outcome::Rejected(rejection));
                    continue;
                }
            };
            ids.push(command.reservation);
            sagas.push(key.saga_id.0);
            for (sku, quantity) in wanted {
                if let Some(left) = available.get_mut(sku) {
                    *left -= quantity;
                }
                reservations.push(command.reservation);
                skus.push(sku.to_owned());
                quantities.push(quantity);
            }
            outcomes.push(Outcome::Done(()));
        }
        sqlx::query(
            "INSERT INTO reservations (id, saga_id, status) \
             SELECT id, saga_id, 'held' FROM unnest($1::uuid[], $2::uuid[]) AS new (id, saga_id)",
        )
        .bind(ids)
        .bind(sagas)
        .execute(&mut **tx)
        .await?;
        sqlx::query(
            "WITH new AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS new (reservation, sku, quantity)), \
             lines AS (INSERT INTO reservation_lines (reservation, sku, quantity) SELECT * FROM new) \
             UPDATE stock SET available = available - sums.quantity, reserved = reserved + sums.quantity \
             FROM (SELECT sku, sum(quantity)::bigint AS quantity FROM new GROUP BY sku) AS sums \
             WHERE stock.sku = sums.sku",
        )
        .bind(reservations)
        .bind(skus)
        .bind(quantities)
        .execute(&mut **tx)
        .await?;
        Ok(outcomes)
    }
}

impl CompensateAll<ReleaseInventory> for Inventory {
    async fn compensate_all(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<ReleaseInventory>>,
    ) -> Result<Vec<()>, HandlerError> {
        let ids: Vec<Uuid> = commands.iter().map(|keyed| keyed.command.reservation).collect();
        let skus =
            sqlx::query_scalar("SELECT DISTINCT sku FROM reservation_lines WHERE reservation = ANY($1)")
                .bind(&ids)
                .fetch_all(&mut **tx)
                .await?;
        lock(tx, skus).await?;
        let released =
            sqlx::query("UPDATE reservations SET status = 'released' WHERE id = ANY($1) AND status = 'held'")
                .bind(&ids)
                .execute(&mut **tx)
                .await?
                .rows_affected();
        if released != ids.len() as u64 {
            return Err(format!(
                "only {released} of {} reservations are held and can be released",
                ids.len()
            )
            .into());
        }
        sqlx::query(
            "UPDATE stock SET available = available + sums.quantity, reserved = reserved - sums.quantity \
             FROM (SELECT sku, sum(quantity)::bigint AS quantity FROM reservation_lines \
                   WHERE reservation = ANY($1) GROUP BY sku) AS sums \
             WHERE stock.sku = sums.sku",
        )
        .bind(&ids)
        .execute(&mut **tx)
        .await?;
        Ok(ids.iter().map(|_| ()).collect())
    }
}
