//! The invariants of expenses: the provider's books, the services' tables and the ends of the sagas agree.
//!
//! | a saga that | at the provider | in the card service | in the office |
//! |---|---|---|---|
//! | completed | one charge, which stands | the same | one expense of that amount; the approval stands |
//! | was compensated | no charge, or one that was refunded | the same | no expense; the approval was withdrawn or refused |
//! | has not ended | | | that is wrong by itself |

use std::collections::{BTreeMap, BTreeSet};

use redress_services::card_provider::Entry;
use sqlx::PgPool;

/// A charge, by its key: the amount, and whether it was given back.
type Charges = BTreeMap<String, (i64, bool)>;

/// All that is written anywhere about one saga.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    /// Its status in the journal.
    end: Option<String>,
    at_provider: Charges,
    in_service: Charges,
    expenses: Vec<i64>,
    approvals: Vec<String>,
}

/// Everything that is written, by saga.
pub(crate) type Books = BTreeMap<String, Written>;

/// Reads all books once no saga is open.
pub(crate) async fn read(journal: &PgPool, card: &PgPool, office: &PgPool, provider: &[Entry]) -> Books {
    let mut books = Books::new();
    let sagas = "SELECT id::text, status FROM sagas";
    for (saga, status) in rows::<(String, String)>(journal, sagas).await {
        books.entry(saga).or_default().end = Some(status);
    }
    for entry in provider {
        let of_saga = books.entry(saga_of(&entry.key)).or_default();
        of_saga.at_provider.insert(entry.key.clone(), (entry.amount, entry.is_refunded));
    }
    let charges = "SELECT key, amount, status = 'refunded' FROM charges";
    for (key, amount, is_refunded) in rows::<(String, i64, bool)>(card, charges).await {
        books.entry(saga_of(&key)).or_default().in_service.insert(key, (amount, is_refunded));
    }
    let expenses = "SELECT saga_id::text, amount FROM expenses";
    for (saga, amount) in rows::<(String, i64)>(office, expenses).await {
        books.entry(saga).or_default().expenses.push(amount);
    }
    for (key, state) in rows::<(String, String)>(office, "SELECT key, state FROM approvals").await {
        books.entry(saga_of(&key)).or_default().approvals.push(state);
    }
    books
}

async fn rows<R>(pool: &PgPool, sql: &'static str) -> Vec<R>
where
    R: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    sqlx::query_as(sql).fetch_all(pool).await.expect("the books can be read")
}

fn saga_of(key: &str) -> String {
    key.split('/').next().unwrap_or_default().to_owned()
}

/// A sentence for each thing that is wrong.
pub(crate) fn check(books: &Books) -> Vec<String> {
    books.iter().flat_map(|(saga, written)| check_saga(saga, written)).collect()
}

fn check_saga(saga: &str, written: &Written) -> Vec<String> {
    let Written { end, at_provider, in_service, expenses, approvals } = written;
    let mut wrong = Vec::new();
    if at_provider != in_service {
        wrong.push(format!("{saga}: the provider has {at_provider:?}, the card service {in_service:?}"));
    }
    let standing: Vec<i64> =
        at_provider.values().filter(|(_, back)| !back).map(|(amount, _)| *amount).collect();
    let states: BTreeSet<&str> = approvals.iter().map(String::as_str).collect();
    match end.as_deref() {
        Some("completed") => {
            if at_provider.len() != 1 || standing.len() != 1 {
                wrong.push(format!("{saga} completed, and its card was not charged once: {at_provider:?}"));
            }
            if *expenses != standing {
                wrong.push(format!("{saga} completed, was charged {standing:?}, and {expenses:?} is booked"));
            }
            if states.contains("withdrawn") || states.contains("refused") {
                wrong.push(format!("{saga} completed without its approval: {states:?}"));
            }
        }
        Some("compensated") => {
            if !standing.is_empty() {
                wrong.push(format!("{saga} was compensated, and a charge stands: {at_provider:?}"));
            }
            if at_provider.len() > 1 || !expenses.is_empty() {
                wrong.push(format!("{saga} was compensated: charges {at_provider:?}, booked {expenses:?}"));
            }
            if states.contains("approved") {
                wrong.push(format!("{saga} was compensated, and its approval stands"));
            }
        }
        Some(other) => wrong.push(format!("{saga} is {other}")),
        None => wrong.push(format!("{saga} is in the books, and not in the journal: {written:?}")),
    }
    wrong
}

fn written(end: &str, charge: Option<(i64, bool)>, expenses: &[i64], approval: &str) -> Written {
    let charges: Charges = charge.into_iter().map(|charge| ("s/pay/action/1".to_owned(), charge)).collect();
    Written {
        end: Some(end.to_owned()),
        in_service: charges.clone(),
        at_provider: charges,
        expenses: expenses.to_vec(),
        approvals: vec![approval.to_owned()],
    }
}

fn problems(written: Written) -> usize {
    check(&BTreeMap::from([("s".to_owned(), written)])).len()
}

#[test]
fn books_that_disagree_are_found() {
    let fine = written("completed", Some((30, false)), &[30], "approved");
    let undone = written("compensated", Some((30, true)), &[], "withdrawn");
    let nothing = written("compensated", None, &[], "refused");
    for sound in [&fine, &undone, &nothing] {
        assert_eq!(problems(sound.clone()), 0, "{sound:?}");
    }
    let twice = BTreeMap::from([
        ("s/pay/action/1".to_owned(), (30, false)),
        ("s/pay/action/2".to_owned(), (30, false)),
    ]);
    for unsound in [
        // The finding: never happened, it says, and the card was charged.
        written("compensated", Some((30, false)), &[], "withdrawn"),
        Written { in_service: Charges::new(), ..undone.clone() },
        Written { at_provider: Charges::new(), ..undone.clone() },
        Written { expenses: vec![30], ..undone.clone() },
        Written { approvals: vec!["approved".to_owned()], ..undone },
        written("completed", Some((30, true)), &[], "approved"),
        written("completed", None, &[], "approved"),
        Written { at_provider: twice.clone(), in_service: twice, ..fine.clone() },
        Written { expenses: vec![], ..fine.clone() },
        Written { expenses: vec![30, 30], ..fine.clone() },
        Written { expenses: vec![31], ..fine.clone() },
        Written { approvals: vec!["withdrawn".to_owned()], ..fine.clone() },
        Written { end: Some("parked".to_owned()), ..fine.clone() },
        Written { end: None, ..fine },
    ] {
        assert_ne!(problems(unsound.clone()), 0, "{unsound:?}");
    }
}
