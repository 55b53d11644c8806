//! The auditor: do the books of the four services agree with each other and with themselves?
//!
//! Checked with SQL on the tables as they are; nothing is changed. Every end-to-end test ends with it.

use sqlx::{PgPool, Row};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The databases of the four services.
#[derive(Clone, Debug)]
pub struct Books {
    /// Of the order service.
    pub order: PgPool,
    /// Of the payment service.
    pub payment: PgPool,
    /// Of the inventory service.
    pub inventory: PgPool,
    /// Of the shipping service.
    pub shipping: PgPool,
}

/// What a service says about a saga.
type Says = BTreeMap<Uuid, String>;

/// Checks the books once no saga is open; gives one sentence for each thing that is wrong.
///
/// `ended` says of each saga whether it ended `completed` or `compensated`; sagas without an order (trips) are checked
/// by their payment, reservation and shipment alone.
///
/// # Errors
/// If a database does not answer.
pub async fn check(books: &Books, ended: &BTreeMap<Uuid, String>) -> Result<Vec<String>, sqlx::Error> {
    let mut wrong = check_money(&books.payment).await?;
    wrong.extend(check_stock(&books.inventory).await?);
    wrong.extend(check_inboxes(books).await?);
    let orders = says(&books.order, "SELECT saga_id, status FROM orders").await?;
    let payments = says(&books.payment, "SELECT saga_id, status FROM payments").await?;
    let reservations = says(&books.inventory, "SELECT saga_id, status FROM reservations").await?;
    let shipments = says(&books.shipping, "SELECT saga_id, 'shipped' AS status FROM shipments").await?;
    let all = [&orders, &payments, &reservations, &shipments];
    let sagas: BTreeSet<Uuid> =
        all.iter().flat_map(|says| says.keys().copied()).chain(ended.keys().copied()).collect();
    for saga in sagas {
        let end = ended.get(&saga).map_or("nothing known", String::as_str);
        let said = all.map(|says| says.get(&saga).map_or("none", String::as_str));
        let fits = matches!(
            (end, said),
            ("completed", ["confirmed" | "none", "charged", "held", "shipped"])
                | ("compensated", ["cancelled" | "none", "refunded" | "none", "released" | "none", "none"])
        );
        if !fits {
            let [order, payment, reservation, shipment] = said;
            wrong.push(format!(
                "saga {saga} ended {end}, but order {order}, payment {payment}, reservation {reservation}, \
                 shipment {shipment}"
            ));
        }
    }
    Ok(wrong)
}

async fn says(pool: &PgPool, sql: &'static str) -> Result<Says, sqlx::Error> {
    sqlx::query(sql)
        .fetch_all(pool)
        .await?
        .iter()
        .map(|row| Ok((row.try_get("saga_id")?, row.try_get("status")?)))
        .collect()
}

/// Each row of this statement is something wrong.
async fn findings(pool: &PgPool, sql: &'static str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(sql).fetch_all(pool).await
}

async fn check_money(payment: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    let mut wrong = findings(
        payment,
        "SELECT 'posting ' || key || ' does not sum to zero' FROM ledger GROUP BY key HAVING sum(amount) <> 0",
    )
    .await?;
    wrong.extend(
        findings(
            payment,
            "SELECT 'account ' || a.customer || ' holds ' || a.balance || ', its ledger says ' || \
             coalesce(sum(l.amount), 0) FROM accounts a LEFT JOIN ledger l ON l.account = a.customer \
             WHERE a.customer <> 'house' GROUP BY a.customer HAVING a.balance <> coalesce(sum(l.amount), 0)",
        )
        .await?,
    );
    wrong.extend(
        findings(
            payment,
            "SELECT 'payment ' || p.id || ' is ' || p.status || ', but its saga posted ' || coalesce(sum(l.amount), 0) \
             FROM payments p LEFT JOIN ledger l ON l.account = p.customer AND l.key LIKE p.saga_id || '/%' \
             GROUP BY p.id HAVING coalesce(sum(l.amount), 0) <> CASE p.status WHEN 'charged' THEN -p.amount ELSE 0 END",
        )
        .await?,
    );
    Ok(wrong)
}

async fn check_stock(inventory: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    findings(
        inventory,
        "SELECT 'stock of ' || s.sku || ' has ' || s.reserved || ' reserved, its reservations say ' || \
         coalesce(sum(l.quantity) FILTER (WHERE r.status = 'held'), 0) FROM stock s \
         LEFT JOIN reservation_lines l ON l.sku = s.sku LEFT JOIN reservations r ON r.id = l.reservation \
         GROUP BY s.sku HAVING s.reserved <> coalesce(sum(l.quantity) FILTER (WHERE r.status = 'held'), 0)",
    )
    .await
}

/// No claim without an answer was ever committed, and no action is done while its undo has nothing to undo.
async fn check_inboxes(books: &Books) -> Result<Vec<String>, sqlx::Error> {
    let mut wrong = Vec::new();
    for pool in [&books.order, &books.payment, &books.inventory, &books.shipping] {
        wrong.extend(
            findings(pool, "SELECT 'the claim ' || key || ' was committed without an answer' FROM inbox WHERE outcome = 'claimed'")
                .await?,
        );
    }
    Ok(wrong)
}
