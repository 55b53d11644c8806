//! The shipping service hands goods to the carrier, which does not give them back.

use redress_macros::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Hands a shipment to the carrier. There is no compensation.
///
/// Rejected as `address-undeliverable` or `shipment-exists`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "shipping", name = "ship", reply = Shipped)]
pub struct ShipOrder {
    /// The shipment.
    pub shipment: Uuid,
    /// The address to which it goes.
    pub address: String,
}

/// The carrier has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shipped {
    /// The number that the customer can look up.
    pub tracking: String,
}
