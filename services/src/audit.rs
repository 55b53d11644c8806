//! The auditor: checks that the books of the four services agree with each other and with themselves.
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

/// The entry of a saga in a service's books.
struct Entry {
    status: String,
    /// In minor units, where money is the matter.
    amount: Option<i64>,
    /// Things and how many, in the order of the things, where goods are the matter.
    goods: Option<String>,
}

type Entries = BTreeMap<Uuid, Entry>;

const ORDERS: &str = "SELECT saga_id, status, total AS amount, \
    (SELECT string_agg(sku || ' ' || quantity, ', ' ORDER BY sku COLLATE \"C\") FROM \
        (SELECT line ->> 'sku' AS sku, sum((line ->> 'quantity')::bigint) AS quantity \
         FROM jsonb_array_elements(lines) AS line GROUP BY 1) AS sums) AS goods FROM orders";

const PAYMENTS: &str = "SELECT saga_id, status, amount, NULL::text AS goods FROM payments";

const RESERVATIONS: &str = "SELECT saga_id, status, NULL::bigint AS amount, \
    (SELECT string_agg(sku || ' ' || quantity, ', ' ORDER BY sku COLLATE \"C\") \
     FROM reservation_lines WHERE reservation = reservations.id) AS goods FROM reservations";

const SHIPMENTS: &str =
    "SELECT saga_id, 'shipped' AS status, NULL::bigint AS amount, NULL::text AS goods FROM shipments";

/// Checks the books once no saga is open; gives one sentence for each thing that is wrong.
///
/// `ended` says of each saga whether it ended `completed`, `compensated` or `closed`; sagas without an order (trips)
/// are checked by their payment, reservation and shipment alone. The operator who closes a saga decides which of its
/// effects stand; its money and its goods must add up all the same, and nothing may have been done twice.
///
/// # Errors
/// If a database does not answer.
pub async fn check(books: &Books, ended: &BTreeMap<Uuid, String>) -> Result<Vec<String>, sqlx::Error> {
    let mut wrong = check_money(&books.payment).await?;
    wrong.extend(check_stock(&books.inventory).await?);
    wrong.extend(check_inboxes(books).await?);
    let books = [
        entries(&books.order, ORDERS).await?,
        entries(&books.payment, PAYMENTS).await?,
        entries(&books.inventory, RESERVATIONS).await?,
        entries(&books.shipping, SHIPMENTS).await?,
    ];
    let in_books = books.iter().flat_map(|entries| entries.keys().copied());
    let sagas: BTreeSet<Uuid> = in_books.chain(ended.keys().copied()).collect();
    for saga in sagas {
        let end = ended.get(&saga).map_or("nothing known", String::as_str);
        wrong.extend(check_saga(saga, end, books.each_ref().map(|entries| entries.get(&saga))));
    }
    Ok(wrong)
}

/// Checks that the services agree with each other and with the journal about one saga.
fn check_saga(saga: Uuid, end: &str, entries: [Option<&Entry>; 4]) -> Vec<String> {
    let mut wrong = Vec::new();
    let said = entries.map(|entry| entry.map_or("none", |entry| entry.status.as_str()));
    let fits = matches!(
        (end, said),
        ("completed", ["confirmed" | "none", "charged", "held", "shipped"])
            | ("compensated", ["cancelled" | "none", "refunded" | "none", "released" | "none", "none"])
            | ("closed", _)
    );
    if !fits {
        let [order, payment, reservation, shipment] = said;
        wrong.push(format!(
            "saga {saga} ended {end}, but order {order}, payment {payment}, reservation {reservation}, \
             shipment {shipment}"
        ));
    }
    let [order, payment, reservation, _] = entries;
    if let (Some(order), Some(payment)) = (order, payment)
        && order.amount != payment.amount
    {
        wrong.push(format!("saga {saga} ordered for {:?} and paid {:?}", order.amount, payment.amount));
    }
    if let (Some(order), Some(reservation)) = (order, reservation)
        && order.goods != reservation.goods
    {
        wrong.push(format!("saga {saga} ordered {:?} and reserved {:?}", order.goods, reservation.goods));
    }
    wrong
}

async fn entries(pool: &PgPool, sql: &'static str) -> Result<Entries, sqlx::Error> {
    let rows = sqlx::query(sql).fetch_all(pool).await?;
    let entry = |row: &sqlx::postgres::PgRow| {
        let (status, amount, goods) = (row.try_get("status")?, row.try_get("amount")?, row.try_get("goods")?);
        Ok((row.try_get("saga_id")?, Entry { status, amount, goods }))
    };
    rows.iter().map(entry).collect()
}

/// Each row of this statement is something wrong.
async fn findings(pool: &PgPool, sql: &'static str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(sql).fetch_all(pool).await
}

async fn all_findings(pool: &PgPool, statements: &[&'static str]) -> Result<Vec<String>, sqlx::Error> {
    let mut wrong = Vec::new();
    for sql in statements {
        wrong.extend(findings(pool, sql).await?);
    }
    Ok(wrong)
}

/// No money was made or lost, and every posting is explained by a payment.
async fn check_money(payment: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    all_findings(
        payment,
        &[
            "SELECT 'posting ' || key || ' does not sum to zero' FROM ledger GROUP BY key HAVING sum(amount) <> 0",
            "SELECT 'account ' || a.customer || ' holds ' || a.balance || ', its ledger says ' || \
                 coalesce(sum(l.amount), 0) FROM accounts a LEFT JOIN ledger l ON l.account = a.customer \
             WHERE a.balance IS NOT NULL GROUP BY a.customer HAVING a.balance <> coalesce(sum(l.amount), 0)",
            "SELECT 'payment ' || p.id || ' is ' || p.status || ', but its saga posted ' || coalesce(l.amount, 0) \
             FROM payments p LEFT JOIN (SELECT split_part(key, '/', 1) AS saga, account, sum(amount) AS amount \
                 FROM ledger GROUP BY 1, 2) AS l ON l.saga = p.saga_id::text AND l.account = p.customer \
             WHERE coalesce(l.amount, 0) <> CASE p.status WHEN 'charged' THEN -p.amount ELSE 0 END",
            "SELECT 'posting ' || key || ' belongs to no payment' FROM ledger \
             WHERE amount < 0 AND split_part(key, '/', 1) <> 'opening' \
             AND NOT EXISTS (SELECT FROM payments WHERE saga_id::text = split_part(key, '/', 1))",
            "SELECT 'the inbox says that ' || i.key || ' is done, but nothing was posted' FROM inbox i \
             JOIN inbox a ON a.key = concat_ws('/', split_part(i.key, '/', 1), split_part(i.key, '/', 2), 'action', \
                 split_part(i.key, '/', 4)) \
             WHERE i.outcome = 'done' AND a.outcome = 'done' \
             AND NOT EXISTS (SELECT FROM ledger WHERE ledger.key = i.key)",
        ],
    )
    .await
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

/// Every claim has its answer, every undo its fence, and every action that is done its effect.
async fn check_inboxes(books: &Books) -> Result<Vec<String>, sqlx::Error> {
    let mut wrong = Vec::new();
    let effects = [
        (&books.order, "SELECT saga_id FROM orders"),
        (&books.payment, "SELECT saga_id FROM payments"),
        (&books.inventory, "SELECT saga_id FROM reservations"),
        (&books.shipping, "SELECT saga_id FROM shipments"),
    ];
    for (pool, effects) in effects {
        wrong.extend(
            all_findings(
                pool,
                &[
                    "SELECT 'the claim ' || key || ' was committed without an answer' FROM inbox \
                     WHERE outcome = 'claimed'",
                    "SELECT 'the undo ' || u.key || ' has left no fence' FROM inbox u \
                     LEFT JOIN inbox a ON a.key = concat_ws('/', split_part(u.key, '/', 1), split_part(u.key, '/', 2), \
                         'action', split_part(u.key, '/', 4)) \
                     WHERE split_part(u.key, '/', 3) = 'compensation' AND a.key IS NULL",
                ],
            )
            .await?,
        );
        let known: BTreeSet<Uuid> = sqlx::query_scalar(effects).fetch_all(pool).await?.into_iter().collect();
        let done = "SELECT split_part(key, '/', 1)::uuid AS saga_id, key FROM inbox \
                    WHERE outcome = 'done' AND split_part(key, '/', 3) = 'action'";
        for (saga, key) in sqlx::query_as::<_, (Uuid, String)>(done).fetch_all(pool).await? {
            if !known.contains(&saga) {
                wrong.push(format!("the inbox says that {key} is done, but its effect is missing"));
            }
        }
    }
    Ok(wrong)
}
