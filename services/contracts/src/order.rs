//! The order service keeps orders: pending, then confirmed or cancelled.

use redress_macros::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderLine {
    /// The thing that is ordered.
    pub sku: String,
    /// How many.
    pub quantity: i64,
    /// The price of one, in minor units.
    pub unit_price: i64,
}

impl OrderLine {
    /// The price of the line, in minor units; nothing if the numbers are out of range.
    pub fn price(&self) -> Option<i64> {
        self.quantity.checked_mul(self.unit_price)
    }
}

/// Puts a pending order into the books.
///
/// Rejected as `empty-order`, `invalid-quantity`, `invalid-price` or `order-exists`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "order", name = "create")]
pub struct CreateOrder {
    /// The order.
    pub order: Uuid,
    /// The customer who orders.
    pub customer: String,
    /// The lines of the order.
    pub lines: Vec<OrderLine>,
}

/// Cancels a pending order.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "order", name = "cancel", compensates = CreateOrder)]
pub struct CancelOrder {
    /// The order.
    pub order: Uuid,
}

/// Confirms a pending order.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "order", name = "confirm")]
pub struct ConfirmOrder {
    /// The order.
    pub order: Uuid,
}
