//! The office: approvals by people, and the books of expenses.
//!
//! An approval is answered later: its handler notes the question, and a person answers in a transaction of the office's
//! own ([`answer_approval`]), or over the coordinator where the saga allows it. A question that its saga does not want
//! answered any more is withdrawn.

use redress_contracts::{Approve, Approved, BookExpense, ExpenseBooked, WithdrawApproval};
use redress_core::{IdempotencyKey, Rejection};
use redress_macros::service;
use redress_participant::{
    Answer, AnswerError, AnswerOrLater, GiveUp, Given, HandlerError, HandlerOutcome, Listen, Participant,
    Service, ServiceHandlers, Tx, Undone, answer, done, later, reject,
};
use sqlx::PgConnection;

use crate::taken::owned;

const BOOKER: &str = "SELECT saga_id FROM expenses WHERE id = $1";

/// The office service.
pub(crate) fn service() -> Service {
    let migrator = || crate::with_own_table(sqlx::migrate!("../migrations/office"), "_office_migrations");
    let register = |it: Participant<Office>| Office::register(it).listen::<ExpenseBooked>();
    Service::new(Office::SERVICE, migrator, register, Office)
}

#[derive(Clone)]
struct Office;

#[service("office")]
impl Office {
    #[action(later, give_up = give_up)]
    async fn approve(&self, tx: &mut Tx<'_>, command: Approve) -> AnswerOrLater<Approved> {
        let asked =
            "INSERT INTO approvals (key, purpose, amount, currency, state) VALUES ($1, $2, $3, $4, 'asked')";
        let asked = sqlx::query(asked).bind(tx.idempotency_key().to_string()).bind(command.purpose);
        asked.bind(command.amount).bind(command.currency).execute(tx).await?;
        later()
    }

    async fn give_up(&self, tx: &mut Tx<'_>, key: &IdempotencyKey) -> Result<GiveUp<Approved>, HandlerError> {
        withdraw(tx, key).await?;
        Ok(GiveUp::Fenced)
    }

    #[compensation(of = approve)]
    async fn withdraw_approval(&self, tx: &mut Tx<'_>, _: WithdrawApproval) -> Undone<()> {
        let key = tx.idempotency_key().of_action();
        withdraw(tx, &key).await?;
        Ok(())
    }

    #[action(no_compensation)]
    async fn book(&self, tx: &mut Tx<'_>, command: BookExpense) -> Answer<()> {
        let BookExpense { expense, employee, cost_centre, amount } = command;
        let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM cost_centres WHERE name = $1)")
            .bind(&cost_centre)
            .fetch_one(&mut *tx)
            .await?;
        if !known {
            return reject("unknown-cost-centre", format!("there is no cost centre `{cost_centre}`"));
        }
        let saga = tx.idempotency_key().saga_id.0;
        let booked = "INSERT INTO expenses (id, saga_id, employee, cost_centre, amount) VALUES ($1, $2, $3, $4, $5) \
                      ON CONFLICT (id) DO NOTHING";
        let booked =
            sqlx::query(booked).bind(expense).bind(saga).bind(employee).bind(cost_centre).bind(amount);
        match booked.execute(&mut *tx).await?.rows_affected() {
            1 => done(()),
            _ => owned(tx, "expense", BOOKER, expense, saga).await,
        }
    }
}

async fn withdraw(tx: &mut Tx<'_>, key: &IdempotencyKey) -> Result<(), sqlx::Error> {
    let withdrawn = "UPDATE approvals SET state = 'withdrawn' WHERE key = $1";
    sqlx::query(withdrawn).bind(key.to_string()).execute(tx).await.map(drop)
}

impl Listen<ExpenseBooked> for Office {
    async fn listen(&self, tx: &mut Tx<'_>, told: ExpenseBooked) -> Result<(), HandlerError> {
        let letter = "INSERT INTO letters (expense, employee) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(letter).bind(told.expense).bind(told.employee).execute(tx).await?;
        Ok(())
    }
}

/// A person's answer to an approval, as the office's own web pages would give it: in one transaction of the caller with the
/// office's table. Nothing is committed here. An answer that comes after another one changes nothing, and tells the first.
///
/// # Errors
/// [`AnswerError`]: the question was withdrawn, or is not known.
pub async fn answer_approval(
    transaction: &mut PgConnection,
    key: &IdempotencyKey,
    by: &str,
    refused: Option<Rejection>,
) -> Result<Given, AnswerError> {
    let (state, outcome) = match refused {
        None => ("approved", HandlerOutcome::Done(Approved { by: by.to_owned() })),
        Some(rejection) => ("refused", HandlerOutcome::Rejected(rejection)),
    };
    let given = answer::<Approve>(transaction, key, outcome).await?;
    if given == Given::Now {
        let noted = sqlx::query("UPDATE approvals SET state = $2, by = $3 WHERE key = $1");
        noted.bind(key.to_string()).bind(state).bind(by).execute(transaction).await?;
    }
    Ok(given)
}
