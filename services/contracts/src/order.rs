//! The order service keeps orders: pending, then confirmed or cancelled.

use redress_core::{Command, Compensates};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderLine {
    /// What is ordered.
    pub sku: String,
    /// How many.
    pub quantity: i64,
    /// What one costs, in minor units.
    pub unit_price: i64,
}

impl OrderLine {
    /// What the line costs, in minor units; nothing if the numbers are out of range.
    pub fn price(&self) -> Option<i64> {
        self.quantity.checked_mul(self.unit_price)
    }
}

/// Puts a pending order into the books.
///
/// Rejected as `empty-order`, `invalid-quantity`, `invalid-price` or `order-exists`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CreateOrder {
    /// The order.
    pub order: Uuid,
    /// Who orders.
    pub customer: String,
    /// What is ordered.
    pub lines: Vec<OrderLine>,
}

impl Command for CreateOrder {
    const SERVICE: &'static str = "order";
    const NAME: &'static str = "create";
    type Reply = ();
}

/// Cancels a pending order.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CancelOrder {
    /// The order.
    pub order: Uuid,
}

impl Command for CancelOrder {
    const SERVICE: &'static str = "order";
    const NAME: &'static str = "cancel";
    type Reply = ();
}

impl Compensates<CreateOrder> for CancelOrder {}

/// Confirms a pending order.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmOrder {
    /// The order.
    pub order: Uuid,
}

impl Command for ConfirmOrder {
    const SERVICE: &'static str = "order";
    const NAME: &'static str = "confirm";
    type Reply = ();
}
