//! The inventory service keeps stock and reservations.

use redress_core::{Command, Compensates};
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
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReserveInventory {
    /// The reservation.
    pub reservation: Uuid,
    /// What is set aside.
    pub lines: Vec<StockLine>,
}

impl Command for ReserveInventory {
    const SERVICE: &'static str = "inventory";
    const NAME: &'static str = "reserve";
    type Reply = ();
}

/// Puts a reservation back into the stock.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseInventory {
    /// The reservation.
    pub reservation: Uuid,
}

impl Command for ReleaseInventory {
    const SERVICE: &'static str = "inventory";
    const NAME: &'static str = "release";
    type Reply = ();
}

impl Compensates<ReserveInventory> for ReleaseInventory {}
