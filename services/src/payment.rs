//! Money: accounts with balances and a double-entry ledger.

use std::collections::BTreeMap;

use redress_contracts::{ChargePayment, PaymentCharged, RefundPayment};
use redress_core::Rejection;
use redress_participant::{CompensateAll, HandleAll, HandlerError, Keyed, Outcome, Service, Tx};
use sqlx::Row;
use uuid::Uuid;

/// The other side of every posting.
const HOUSE: &str = "house";

/// The payment service.
pub(crate) fn service() -> Service {
    Service::new(
        "payment",
        || crate::with_own_table(sqlx::migrate!("../migrations/payment"), "_payment_migrations"),
        |participant| participant.handle_all::<ChargePayment>().compensate_all::<RefundPayment>(),
        Payments,
    )
}

#[derive(Clone)]
struct Payments;

struct Account {
    currency: String,
    balance: i64,
}

/// Locks accounts in the order of their names: two batches never wait for each other in a circle.
async fn lock(tx: &mut Tx<'_>, customers: Vec<String>) -> Result<BTreeMap<String, Account>, HandlerError> {
    let rows = sqlx::query(
        "SELECT customer, currency, balance FROM accounts WHERE customer = ANY($1) ORDER BY customer FOR UPDATE",
    )
    .bind(customers)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .map(|row| {
            let account = Account { currency: row.try_get("currency")?, balance: row.try_get("balance")? };
            Ok((row.try_get("customer")?, account))
        })
        .collect()
}

/// Why the charge cannot be made, if it cannot.
fn refusal(charge: &ChargePayment, account: Option<&Account>) -> Option<Rejection> {
    let customer = &charge.customer;
    let Some(account) = account.filter(|_| customer != HOUSE) else {
        return Some(Rejection::new("unknown-account", format!("`{customer}` has no account")));
    };
    if charge.amount <= 0 {
        return Some(Rejection::new("invalid-amount", format!("{} is no amount to charge", charge.amount)));
    }
    if charge.currency != account.currency {
        let message = format!("the account is in {}, not in {}", account.currency, charge.currency);
        return Some(Rejection::new("currency-mismatch", message));
    }
    if charge.amount > account.balance {
        let short_by = charge.amount - account.balance;
        let message = format!("{short_by} minor units short of {} {}", charge.amount, charge.currency);
        return Some(Rejection::new("insufficient-funds", message));
    }
    None
}

impl HandleAll<ChargePayment> for Payments {
    async fn handle_all(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<ChargePayment>>,
    ) -> Result<Vec<Outcome<PaymentCharged>>, HandlerError> {
        let customers = commands.iter().map(|keyed| keyed.command.customer.clone()).collect();
        let mut accounts = lock(tx, customers).await?;
        let mut postings = Postings::default();
        let (mut ids, mut sagas) = (Vec::new(), Vec::new());
        let mut outcomes = Vec::with_capacity(commands.len());
        for Keyed { key, command } in commands {
            let account = accounts.get_mut(&command.customer);
            if let Some(rejection) = refusal(&command, account.as_deref()) {
                outcomes.push(Outcome::Rejected(rejection));
                continue;
            }
            if let Some(account) = account {
                account.balance -= command.amount;
            }
            ids.push(command.payment);
            sagas.push(key.saga_id.0);
            postings.post(key.to_string(), command.customer, -command.amount);
            outcomes.push(Outcome::Done(PaymentCharged { receipt: format!("receipt-{}", command.payment) }));
        }
        sqlx::query(
            "INSERT INTO payments (id, saga_id, customer, amount, status) \
             SELECT id, saga_id, customer, -amount, 'charged' \
             FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) AS new (id, saga_id, customer, amount)",
        )
        .bind(ids)
        .bind(sagas)
        .bind(&postings.customers)
        .bind(&postings.amounts)
        .execute(&mut **tx)
        .await?;
        postings.write(tx).await?;
        Ok(outcomes)
    }
}

impl CompensateAll<RefundPayment> for Payments {
    async fn compensate_all(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<RefundPayment>>,
    ) -> Result<Vec<()>, HandlerError> {
        let ids: Vec<Uuid> = commands.iter().map(|keyed| keyed.command.payment).collect();
        let rows = sqlx::query(
            "UPDATE payments SET status = 'refunded' WHERE id = ANY($1) AND status = 'charged' \
             RETURNING id, customer, amount",
        )
        .bind(&ids)
        .fetch_all(&mut **tx)
        .await?;
        let mut refunded: BTreeMap<Uuid, (String, i64)> = BTreeMap::new();
        for row in rows {
            refunded.insert(row.try_get("id")?, (row.try_get("customer")?, row.try_get("amount")?));
        }
        let mut postings = Postings::default();
        for Keyed { key, command } in &commands {
            let (customer, amount) = refunded.remove(&command.payment).ok_or_else(|| {
                format!("payment {} is not charged and cannot be refunded", command.payment)
            })?;
            postings.post(key.to_string(), customer, amount);
        }
        lock(tx, postings.customers.clone()).await?;
        postings.write(tx).await?;
        Ok(commands.iter().map(|_| ()).collect())
    }
}

/// What is posted, one line per command; the house takes the other side.
#[derive(Default)]
struct Postings {
    keys: Vec<String>,
    customers: Vec<String>,
    /// Above zero: the customer gets it.
    amounts: Vec<i64>,
}

impl Postings {
    fn post(&mut self, key: String, customer: String, amount: i64) {
        self.keys.push(key);
        self.customers.push(customer);
        self.amounts.push(amount);
    }

    /// Both legs into the ledger, and the sums into the balances. The house's own balance is the ledger's to tell:
    /// a row that every payment changes would be the slowest row of all.
    async fn write(self, tx: &mut Tx<'_>) -> Result<(), HandlerError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "WITH new AS (SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) AS new (key, customer, amount)), \
             legs AS ( \
                 INSERT INTO ledger (key, account, amount) \
                 SELECT key, customer, amount FROM new UNION ALL SELECT key, 'house', -amount FROM new \
             ) \
             UPDATE accounts SET balance = balance + sums.amount \
             FROM (SELECT customer, sum(amount)::bigint AS amount FROM new GROUP BY customer) AS sums \
             WHERE accounts.customer = sums.customer",
        )
        .bind(self.keys)
        .bind(self.customers)
        .bind(self.amounts)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}
