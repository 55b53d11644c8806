//! The office: people approve expenditure there, and the books of expenses are kept.

use redress_macros::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Asks a person to approve an expenditure; the answer comes later.
///
/// Rejected as the person says.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "office", name = "approve", reply = Approved)]
pub struct Approve {
    /// What the money is for, in a few words.
    pub purpose: String,
    /// The amount, in minor units.
    pub amount: i64,
    /// The currency of the amount, as in ISO 4217.
    pub currency: String,
}

/// It was approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approved {
    /// The person who approved it.
    pub by: String,
}

/// Takes an approval back: nothing is bought.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "office", name = "withdraw-approval", compensates = Approve)]
pub struct WithdrawApproval {}

/// Enters an expense that was paid into the books. There is no compensation.
///
/// Rejected as `unknown-cost-centre` or `expense-exists`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "office", name = "book-expense")]
pub struct BookExpense {
    /// The expense.
    pub expense: Uuid,
    /// The employee who spent the money.
    pub employee: String,
    /// The part of the company that bears it.
    pub cost_centre: String,
    /// The amount, in minor units.
    pub amount: i64,
}

/// Tells the employee that an expense was paid and booked: heard at most once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "office", name = "expense-booked")]
pub struct ExpenseBooked {
    /// The expense.
    pub expense: Uuid,
    /// The employee who is told.
    pub employee: String,
}
