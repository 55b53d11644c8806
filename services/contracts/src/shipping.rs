//! The shipping service hands goods to the carrier: what is on the truck does not come back.

use redress_core::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Hands a shipment to the carrier. There is no compensation.
///
/// Rejected as `address-undeliverable` or `shipment-exists`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShipOrder {
    /// The shipment.
    pub shipment: Uuid,
    /// Where it goes.
    pub address: String,
}

/// The carrier has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shipped {
    /// What the customer can look up.
    pub tracking: String,
}

impl Command for ShipOrder {
    const SERVICE: &'static str = "shipping";
    const NAME: &'static str = "ship";
    type Reply = Shipped;
}
