//! The inventory service keeps stock and reservations.

use redress_macros::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// So many of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockLine {
    /// The thing.
    pub sku: String,
    /// How many.
    pub quantity: i64,
}

/// Sets stock aside.
///
/// Rejected as `unknown-sku`, `out-of-stock`, `invalid-quantity` or `reservation-exists`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "inventory", name = "reserve")]
pub struct ReserveInventory {
    /// The reservation.
    pub reservation: Uuid,
    /// The stock to set aside.
    pub lines: Vec<StockLine>,
}

/// Puts a reservation back into the stock.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "inventory", name = "release", compensates = ReserveInventory)]
pub struct ReleaseInventory {
    /// The reservation.
    pub reservation: Uuid,
}
