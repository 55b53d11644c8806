//! The payment service keeps accounts and a double-entry ledger.

use redress_core::{Command, Compensates};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Takes money from a customer's account.
///
/// Rejected as `unknown-account`, `insufficient-funds`, `currency-mismatch`, `invalid-amount` or `payment-exists`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChargePayment {
    /// The payment.
    pub payment: Uuid,
    /// Whose account.
    pub customer: String,
    /// How much, in minor units.
    pub amount: i64,
    /// Of which currency, as in ISO 4217.
    pub currency: String,
}

/// The money was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCharged {
    /// What the customer can show.
    pub receipt: String,
}

impl Command for ChargePayment {
    const SERVICE: &'static str = "payment";
    const NAME: &'static str = "charge";
    type Reply = PaymentCharged;
}

/// Gives the money back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RefundPayment {
    /// The payment.
    pub payment: Uuid,
}

impl Command for RefundPayment {
    const SERVICE: &'static str = "payment";
    const NAME: &'static str = "refund";
    type Reply = ();
}

impl Compensates<ChargePayment> for RefundPayment {}
