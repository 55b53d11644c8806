//! The card service charges cards at a card provider: another company, over HTTP.

use redress_macros::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Charges a card.
///
/// Rejected as `card-declined` or `invalid-amount`. The provider may have charged although no answer came; then the step is
/// asked for, and in doubt if the provider does not tell.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "card", name = "charge-card", reply = CardCharged)]
pub struct ChargeCard {
    /// The number of the card.
    pub card: String,
    /// The amount, in minor units.
    pub amount: i64,
    /// The currency of the amount, as in ISO 4217.
    pub currency: String,
}

/// The card was charged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardCharged {
    /// The provider's receipt.
    pub receipt: String,
}

/// Gives back what was charged, if anything was: the charge is known by the key of its action.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "card", name = "refund-card", compensates = ChargeCard)]
pub struct RefundCard {}
