//! The commands of the warehouse: the contract between its service and the sagas that use it.

use redress::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Sets goods aside. Rejected as `out-of-stock`.
#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "warehouse", name = "reserve", reply = Reserved, crate = ::redress)]
pub struct Reserve {
    /// The reservation: the saga makes the id, so that the same command is the same reservation.
    pub reservation: Uuid,
    pub sku: String,
    /// In pieces.
    pub quantity: i64,
}

/// The goods are set aside.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Reserved {
    /// The pieces that are left in stock.
    pub left: i64,
}

/// Puts the goods back: undoes [`Reserve`].
#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "warehouse", name = "release", compensates = Reserve, crate = ::redress)]
pub struct Release {
    pub reservation: Uuid,
}

/// Hands the parcel to the carrier, who does not give it back. Rejected as `no-address`.
#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "warehouse", name = "ship", reply = Shipped, crate = ::redress)]
pub struct Ship {
    pub reservation: Uuid,
    pub address: String,
}

/// The carrier has the parcel.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Shipped {
    /// The number that the customer can look up.
    pub tracking: String,
}
