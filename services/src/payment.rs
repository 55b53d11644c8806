//! Money: accounts with balances and a double-entry ledger.

use std::collections::BTreeMap;

use redress_contracts::{ChargePayment, PaymentCharged, RefundPayment};
use redress_core::Rejection;
use redress_macros::service;
use redress_participant::{HandlerError, HandlerOutcome, Keyed, Service, Tx};
use sqlx::Row;
use uuid::Uuid;

use crate::taken::taken;

/// The other side of every posting.
const HOUSE: &str = "house";

const PAYER: &str = "SELECT saga_id FROM payments WHERE id = $1";

/// The payment service.
pub(crate) fn service() -> Service {
    Service::of(Payments, || {
        crate::with_own_table(sqlx::migrate!("../migrations/payment"), "_payment_migrations")
    })
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
        "SELECT customer, currency, balance FROM accounts WHERE customer = ANY($1) ORDER BY customer \
         FOR NO KEY UPDATE",
    )
    .bind(customers)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            let account = Account { currency: row.try_get("currency")?, balance: row.try_get("balance")? };
            Ok((row.try_get("customer")?, account))
        })
        .collect()
}

/// The reason why the charge cannot be made, if it cannot.
fn refusal(charge: &ChargePayment, account: Option<&Account>) -> Option<Rejection> {
    let customer = &charge.customer;
    let Some(account) = account else {
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

#[service("payment")]
impl Payments {
    #[actions]
    async fn charge(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<ChargePayment>>,
    ) -> Result<Vec<HandlerOutcome<PaymentCharged>>, HandlerError> {
        // The house is no customer.
        let customers = commands.iter().map(|keyed| &keyed.command.customer).filter(|name| *name != HOUSE);
        let mut accounts = lock(tx, customers.cloned().collect()).await?;
        let mut charges = Charges::default();
        let mut outcomes = Vec::with_capacity(commands.len());
        for Keyed { key, command } in commands {
            let account = accounts.get_mut(&command.customer);
            if let Some(rejection) = refusal(&command, account.as_deref()) {
                outcomes.push(HandlerOutcome::Rejected(rejection));
                continue;
            }
            // The next member finds what this one leaves.
            if let Some(account) = account {
                account.balance -= command.amount;
            }
            outcomes.push(HandlerOutcome::Done(PaymentCharged {
                receipt: format!("receipt-{}", command.payment),
            }));
            charges.ids.push(command.payment);
            charges.sagas.push(key.saga_id.0);
            charges.keys.push(key.to_string());
            charges.customers.push(command.customer);
            charges.amounts.push(command.amount);
        }
        match charges.write(tx).await? {
            true => Ok(outcomes),
            false => taken(tx, "payment", PAYER, &charges.ids, &charges.sagas, outcomes.len()).await,
        }
    }

    #[compensations(of = charge)]
    async fn refund(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<RefundPayment>>,
    ) -> Result<Vec<()>, HandlerError> {
        let ids: Vec<Uuid> = commands.iter().map(|keyed| keyed.command.payment).collect();
        let keys: Vec<String> = commands.iter().map(|keyed| keyed.key.to_string()).collect();
        let customers = sqlx::query_scalar("SELECT DISTINCT customer FROM payments WHERE id = ANY($1)")
            .bind(&ids)
            .fetch_all(&mut *tx)
            .await?;
        lock(tx, customers).await?;
        let refunded: i64 = sqlx::query_scalar(
            "WITH refunded AS ( \
                 UPDATE payments SET status = 'refunded' FROM unnest($1::uuid[], $2::text[]) AS asked (id, key) \
                 WHERE payments.id = asked.id AND payments.status = 'charged' \
                 RETURNING asked.key, payments.customer, payments.amount \
             ), legs AS ( \
                 INSERT INTO ledger (key, account, amount) \
                 SELECT key, customer, amount FROM refunded UNION ALL SELECT key, $3, -amount FROM refunded \
             ), balances AS ( \
                 UPDATE accounts SET balance = balance + sums.amount \
                 FROM (SELECT customer, sum(amount)::bigint AS amount FROM refunded GROUP BY customer) AS sums \
                 WHERE accounts.customer = sums.customer \
             ) SELECT count(*) FROM refunded",
        )
        .bind(&ids)
        .bind(keys)
        .bind(HOUSE)
        .fetch_one(tx)
        .await?;
        if usize::try_from(refunded).ok() != Some(ids.len()) {
            return Err(
                format!("only {refunded} of {} payments are charged and can be refunded", ids.len()).into()
            );
        }
        Ok(ids.iter().map(|_| ()).collect())
    }
}

/// The charges that are made, one member after the other.
#[derive(Default)]
struct Charges {
    ids: Vec<Uuid>,
    sagas: Vec<Uuid>,
    keys: Vec<String>,
    customers: Vec<String>,
    amounts: Vec<i64>,
}

impl Charges {
    /// Payments, both legs of each, and the sums into the balances; `false` if an id is taken.
    async fn write(&self, tx: &mut Tx<'_>) -> Result<bool, HandlerError> {
        if self.ids.is_empty() {
            return Ok(true);
        }
        let written: i64 = sqlx::query_scalar(
            "WITH new AS ( \
                 SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[]) \
                     AS new (id, saga_id, key, customer, amount) \
             ), paid AS ( \
                 INSERT INTO payments (id, saga_id, customer, amount, status) \
                 SELECT id, saga_id, customer, amount, 'charged' FROM new ON CONFLICT (id) DO NOTHING RETURNING 1 \
             ), legs AS ( \
                 INSERT INTO ledger (key, account, amount) \
                 SELECT key, customer, -amount FROM new UNION ALL SELECT key, $6, amount FROM new \
             ), balances AS ( \
                 UPDATE accounts SET balance = balance - sums.amount \
                 FROM (SELECT customer, sum(amount)::bigint AS amount FROM new GROUP BY customer) AS sums \
                 WHERE accounts.customer = sums.customer \
             ) SELECT count(*) FROM paid",
        )
        .bind(&self.ids)
        .bind(&self.sagas)
        .bind(&self.keys)
        .bind(&self.customers)
        .bind(&self.amounts)
        .bind(HOUSE)
        .fetch_one(tx)
        .await?;
        Ok(usize::try_from(written).ok() == Some(self.ids.len()))
    }
}
