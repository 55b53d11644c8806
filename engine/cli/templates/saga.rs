//! The saga: sets goods aside and ships them, or puts them back.

use redress::{Generated, SagaDefinition, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contracts::{Release, Reserve, Ship};

/// The parcel as the customer orders it, and the fields that the saga adds to it.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct SendParcel {
    pub sku: String,
    /// In pieces.
    pub quantity: i64,
    pub address: String,
    /// Made when the saga starts.
    #[serde(default)]
    pub reservation: Generated<Uuid>,
    /// Learnt from the warehouse.
    #[serde(default)]
    pub tracking: Option<String>,
}

pub fn send_parcel() -> SagaDefinition {
    saga::<SendParcel>("send-parcel", 1)
        .step("reserve-goods", |parcel| Reserve {
            reservation: *parcel.reservation,
            sku: parcel.sku.clone(),
            quantity: parcel.quantity,
        })
        .compensate(|parcel| Release {
            reservation: *parcel.reservation,
        })
        // The pivot: once it is done, the saga no longer turns back.
        .pivot("ship-parcel", |parcel| Ship {
            reservation: *parcel.reservation,
            address: parcel.address.clone(),
        })
        .on_reply(|parcel, shipped| parcel.tracking = Some(shipped.tracking))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every step × phase × fault, in virtual time.
    #[test]
    fn parcel_is_sent_or_goods_are_put_back() {
        redress_testkit::unwind_matrix(send_parcel());
    }
}
