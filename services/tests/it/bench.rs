//! The setting of a test of one service: its handlers on a database of their own, without a broker.

use redress_participant::testing::{ServiceTest, TestOutcome};
use serde::Serialize;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

/// An id that saga `number` makes; the same number is the same thing.
pub(crate) fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0190163d_8694_739b_aea5_000000000000 + number)
}

/// The demo service of this name, under test.
pub(crate) async fn tested(service: &str) -> ServiceTest {
    let service = redress_services::all().into_iter().find(|it| it.name() == service);
    ServiceTest::of(service.expect("a service of the demo")).await.expect("a database for the test")
}

/// Outcomes in a line each.
pub(crate) fn lines<R: Serialize>(outcomes: &[TestOutcome<R>]) -> String {
    outcomes.iter().map(TestOutcome::to_string).collect::<Vec<_>>().join("\n")
}

/// A part of the service's books: rows of one text each, in a line each.
pub(crate) async fn read(test: &ServiceTest, sql: &'static str) -> String {
    let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(test.pool()).await.expect("rows");
    rows.join("\n")
}

/// The errors of the database at changes that it must refuse, in a line each.
pub(crate) async fn refusals(test: &ServiceTest, changes: &[&str]) -> String {
    let mut refusals = Vec::new();
    for change in changes {
        let refused = sqlx::raw_sql(AssertSqlSafe((*change).to_owned())).execute(test.pool()).await;
        let error = refused.expect_err(change);
        refusals.push(error.as_database_error().expect("an answer of the database").message().to_owned());
    }
    refusals.join("\n")
}
