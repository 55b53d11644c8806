//! Orders: pending, then confirmed or cancelled.

use redress_contracts::{CancelOrder, ConfirmOrder, CreateOrder};
use redress_core::Rejection;
use redress_macros::service;
use redress_participant::{HandlerError, HandlerOutcome, Keyed, Service, Tx};
use uuid::Uuid;

use crate::taken::taken;

const BUYER: &str = "SELECT saga_id FROM orders WHERE id = $1";

/// The order service.
pub(crate) fn service() -> Service {
    Service::of(Orders, || crate::with_own_table(sqlx::migrate!("../migrations/order"), "_order_migrations"))
}

#[derive(Clone)]
struct Orders;

/// The total of the order, or the reason why it cannot be taken.
fn total(order: &CreateOrder) -> Result<i64, Rejection> {
    if order.lines.is_empty() {
        return Err(Rejection::new("empty-order", "an order needs at least one line"));
    }
    if let Some(line) = order.lines.iter().find(|line| line.quantity <= 0) {
        let message = format!("the quantity of `{}` is {}, and must be above zero", line.sku, line.quantity);
        return Err(Rejection::new("invalid-quantity", message));
    }
    order
        .lines
        .iter()
        .try_fold(0_i64, |sum, line| sum.checked_add(line.price()?))
        .filter(|&total| total > 0 && order.lines.iter().all(|line| line.unit_price >= 0))
        .ok_or_else(|| Rejection::new("invalid-price", "the prices must add up to an amount above zero"))
}

#[service("order")]
impl Orders {
    #[actions]
    async fn create(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<CreateOrder>>,
    ) -> Result<Vec<HandlerOutcome<()>>, HandlerError> {
        let (mut ids, mut sagas, mut customers) = (Vec::new(), Vec::new(), Vec::new());
        let (mut totals, mut lines) = (Vec::new(), Vec::new());
        let mut outcomes = Vec::with_capacity(commands.len());
        for Keyed { key, command } in commands {
            match total(&command) {
                Err(rejection) => outcomes.push(HandlerOutcome::Rejected(rejection)),
                Ok(total) => {
                    ids.push(command.order);
                    sagas.push(key.saga_id.0);
                    lines.push(serde_json::to_value(&command.lines)?);
                    customers.push(command.customer);
                    totals.push(total);
                    outcomes.push(HandlerOutcome::Done(()));
                }
            }
        }
        if ids.is_empty() {
            return Ok(outcomes);
        }
        let written = sqlx::query(
            "INSERT INTO orders (id, saga_id, customer, status, total, lines) \
             SELECT id, saga_id, customer, 'pending', total, lines \
             FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::jsonb[]) \
                  AS new (id, saga_id, customer, total, lines) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&ids)
        .bind(&sagas)
        .bind(customers)
        .bind(totals)
        .bind(lines)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if written == ids.len() as u64 {
            return Ok(outcomes);
        }
        taken(tx, "order", BUYER, &ids, &sagas, outcomes.len()).await
    }

    #[compensations(of = create)]
    async fn cancel(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<CancelOrder>>,
    ) -> Result<Vec<()>, HandlerError> {
        let orders: Vec<Uuid> = commands.iter().map(|keyed| keyed.command.order).collect();
        move_all(tx, &orders, "cancelled").await?;
        Ok(orders.iter().map(|_| ()).collect())
    }

    #[actions(no_compensation)]
    async fn confirm(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<ConfirmOrder>>,
    ) -> Result<Vec<HandlerOutcome<()>>, HandlerError> {
        let orders: Vec<Uuid> = commands.iter().map(|keyed| keyed.command.order).collect();
        move_all(tx, &orders, "confirmed").await?;
        Ok(orders.iter().map(|_| HandlerOutcome::Done(())).collect())
    }
}

/// Moves pending orders on; one that is not pending is an error, because its saga says that it must be.
async fn move_all(tx: &mut Tx<'_>, orders: &[Uuid], status: &str) -> Result<(), HandlerError> {
    let moved = sqlx::query("UPDATE orders SET status = $2 WHERE id = ANY($1) AND status = 'pending'")
        .bind(orders)
        .bind(status)
        .execute(tx)
        .await?
        .rows_affected();
    if moved == orders.len() as u64 {
        Ok(())
    } else {
        Err(format!("only {moved} of {} orders are pending and can be {status}", orders.len()).into())
    }
}
