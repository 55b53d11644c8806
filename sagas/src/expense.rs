//! Pays what an employee spends for the company: a person approves it, a card provider pays, the office books.

use redress::{Generated, InDoubt, SagaDefinition, saga};
use redress_contracts::{Approve, BookExpense, ChargeCard, ExpenseBooked, RefundCard, WithdrawApproval};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The expense as the employee hands it in, and the fields that the saga adds to it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Expense {
    /// The employee who spends the money.
    pub employee: String,
    /// What it is for, in a few words.
    pub purpose: String,
    /// The part of the company that bears it.
    pub cost_centre: String,
    /// The number of the company's card that is charged.
    pub card: String,
    /// The amount, in minor units.
    pub amount: i64,
    /// The currency of the amount, as in ISO 4217.
    pub currency: String,
    /// Made by the saga.
    #[serde(default)]
    pub expense: Generated<Uuid>,
    /// Learnt from the person who approved it.
    #[serde(default)]
    pub approved_by: Option<String>,
    /// Learnt from the card service.
    #[serde(default)]
    pub receipt: Option<String>,
}

/// Pays and books an expense that was approved, or gives the money back.
#[rustfmt::skip] // A saga reads as a table.
pub fn expense() -> SagaDefinition {
    saga::<Expense>("expense", 1)
        .step("approve-expense", |e| Approve       { purpose: e.purpose.clone(), amount: e.amount, currency: e.currency.clone() })
            .people_may_answer()
            .on_reply(           |e, approved| e.approved_by = Some(approved.by))
            .compensate(         |_| WithdrawApproval {})
        .step("pay-expense",     |e| ChargeCard    { card: e.card.clone(), amount: e.amount, currency: e.currency.clone() })
            .on_reply(           |e, charged| e.receipt = Some(charged.receipt))
            .compensate(         |_| RefundCard    {})
            .in_doubt(InDoubt::Undo)
        .pivot("book-expense",   |e| BookExpense   { expense: *e.expense, employee: e.employee.clone(), cost_centre: e.cost_centre.clone(), amount: e.amount })
        .notify("tell-employee", |e| ExpenseBooked { expense: *e.expense, employee: e.employee.clone() })
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_that_of_the_deployed_definition() {
        insta::assert_snapshot!(expense().digest,
            @"ba87a33070f498c0fc63461154e541cee08bca000dc3e930720d4d6c18d206eb"
        );
    }
}
