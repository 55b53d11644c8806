//! Books seats and nights: no order, other steps in another order, and no step after the pivot.

use redress::{Generated, SagaDefinition, saga};
use redress_contracts::{
    ChargePayment, RefundPayment, ReleaseInventory, ReserveInventory, ShipOrder, StockLine,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The price of one seat, in minor units.
const SEAT_PRICE: i64 = 25_000;
/// The price of one night, in minor units.
const NIGHT_PRICE: i64 = 12_000;

/// The trip as the client orders it, and the ids that the saga adds to it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BookTrip {
    /// The customer who pays.
    pub traveller: String,
    /// The address to which the tickets go.
    pub address: String,
    /// Seats on the plane.
    pub seats: u16,
    /// Nights at the hotel.
    pub nights: u16,
    /// Made by the saga.
    #[serde(default)]
    pub reservation: Generated<Uuid>,
    /// Made by the saga.
    #[serde(default)]
    pub payment: Generated<Uuid>,
    /// Made by the saga.
    #[serde(default)]
    pub shipment: Generated<Uuid>,
}

impl BookTrip {
    fn price(&self) -> i64 {
        i64::from(self.seats) * SEAT_PRICE + i64::from(self.nights) * NIGHT_PRICE
    }

    fn places(&self) -> Vec<StockLine> {
        let lines = [("flight-seat", self.seats), ("hotel-night", self.nights)];
        let wanted = lines.into_iter().filter(|(_, quantity)| *quantity > 0);
        wanted.map(|(sku, quantity)| StockLine { sku: sku.to_owned(), quantity: quantity.into() }).collect()
    }
}

/// Holds the places first, then takes the money; once the tickets are in the post the trip is booked.
#[rustfmt::skip] // A saga reads as a table.
pub fn book_trip() -> SagaDefinition {
    saga::<BookTrip>("book-trip", 1)
        .step("hold-places",    |t| ReserveInventory { reservation: *t.reservation, lines: t.places() })
            .compensate(        |t| ReleaseInventory { reservation: *t.reservation })
        .step("take-payment",   |t| ChargePayment    { payment: *t.payment, customer: t.traveller.clone(), amount: t.price(), currency: "EUR".to_owned() })
            .compensate(        |t| RefundPayment    { payment: *t.payment })
        .pivot("post-tickets",  |t| ShipOrder        { shipment: *t.shipment, address: t.address.clone() })
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_that_of_the_deployed_definition() {
        insta::assert_snapshot!(
            book_trip().digest,
            @"489a246187dec7c9655892329c51904b11a5fd9fcd9dcac8cc98303e007d14a0"
        );
    }
}
