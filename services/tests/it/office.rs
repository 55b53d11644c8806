//! The office: approvals that are answered once, withdrawn, and forgotten never; expenses that are booked once.

use redress_contracts::{Approve, BookExpense, WithdrawApproval};
use redress_core::Rejection;
use redress_participant::testing::ServiceTest;
use redress_participant::{AnswerError, Given};
use redress_services::office::answer_approval;

use crate::bench::{id, lines, read, tested};

const APPROVALS: &str = "SELECT purpose || ' ' || amount || ' ' || state || coalesce(' by ' || by, '') FROM approvals ORDER BY key";
const EXPENSES: &str = "SELECT employee || ' ' || cost_centre || ' ' || amount FROM expenses ORDER BY id";

fn approve() -> Approve {
    Approve { purpose: "a train".to_owned(), amount: 4_200, currency: "EUR".to_owned() }
}

fn book(expense: u128, cost_centre: &str) -> BookExpense {
    BookExpense {
        expense: id(expense),
        employee: "ann".to_owned(),
        cost_centre: cost_centre.to_owned(),
        amount: 4_200,
    }
}

async fn answered(
    test: &ServiceTest,
    key: &redress_core::IdempotencyKey,
    refused: Option<Rejection>,
) -> Result<Given, AnswerError> {
    let mut connection = test.pool().acquire().await.unwrap();
    answer_approval(&mut connection, key, "carol", refused).await
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_is_given_once_and_may_be_withdrawn() {
    let test = tested("office").await;
    let step = test.step(approve());
    assert_eq!(step.run().await.unwrap().to_string(), "accepted");
    assert_eq!(answered(&test, step.key(), None).await.unwrap(), Given::Now);
    let no = Rejection::new("too-dear", "not this year");
    assert!(matches!(answered(&test, step.key(), Some(no)).await.unwrap(), Given::Before(_)));
    insta::assert_snapshot!(step.run().await.unwrap(), @r#"done {"by":"carol"}"#);
    insta::assert_snapshot!(read(&test, APPROVALS).await, @"a train 4200 approved by carol");
    assert!(step.undo(&WithdrawApproval {}).await.unwrap().is_done());
    insta::assert_snapshot!(read(&test, APPROVALS).await, @"a train 4200 withdrawn by carol");
}

#[tokio::test(flavor = "multi_thread")]
async fn question_that_is_given_up_is_withdrawn_and_its_answer_refused() {
    let test = tested("office").await;
    let step = test.step(approve());
    assert_eq!(step.run().await.unwrap().to_string(), "accepted");
    assert_eq!(step.settle().await.unwrap().to_string(), "fenced");
    assert!(matches!(answered(&test, step.key(), None).await, Err(AnswerError::Fenced { .. })));
    insta::assert_snapshot!(read(&test, APPROVALS).await, @"a train 4200 withdrawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn expense_is_booked_once_where_somebody_bears_it() {
    let test = tested("office").await;
    let expenses = [test.step(book(1, "travel")), test.step(book(2, "moon")), test.step(book(1, "books"))];
    insta::assert_snapshot!(lines(&test.run_together(&expenses).await.unwrap()), @"
    done null
    rejected unknown-cost-centre: there is no cost centre `moon`
    rejected expense-exists: expense 0190163d-8694-739b-aea5-000000000001 belongs to another saga
    ");
    insta::assert_snapshot!(read(&test, EXPENSES).await, @"ann travel 4200");
}
