//! The payment service keeps accounts and a double-entry ledger.

use redress_macros::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Takes money from a customer's account.
///
/// Rejected as `unknown-account`, `insufficient-funds`, `currency-mismatch`, `invalid-amount` or `payment-exists`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "payment", name = "charge", reply = PaymentCharged)]
pub struct ChargePayment {
    /// The payment.
    pub payment: Uuid,
    /// The customer whose account is charged.
    pub customer: String,
    /// The amount, in minor units.
    pub amount: i64,
    /// The currency of the amount, as in ISO 4217.
    pub currency: String,
}

/// The money was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCharged {
    /// The receipt that the customer can show.
    pub receipt: String,
}

/// Gives the money back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "payment", name = "refund", compensates = ChargePayment)]
pub struct RefundPayment {
    /// The payment.
    pub payment: Uuid,
}
