//! Sells the goods in the basket.

use redress::{Generated, SagaDefinition, saga};
use redress_contracts::{
    CancelOrder, ChargePayment, ConfirmOrder, CreateOrder, OrderLine, RefundPayment, ReleaseInventory,
    ReserveInventory, ShipOrder, StockLine,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The order as the customer sends it, and the fields that the saga adds to it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlaceOrder {
    /// The customer who buys.
    pub customer: String,
    /// The currency of the prices, as in ISO 4217.
    pub currency: String,
    /// The address to which the goods go.
    pub address: String,
    /// The lines of the order.
    pub lines: Vec<OrderLine>,
    /// Made by the saga.
    #[serde(default)]
    pub order: Generated<Uuid>,
    /// Made by the saga.
    #[serde(default)]
    pub payment: Generated<Uuid>,
    /// Made by the saga.
    #[serde(default)]
    pub reservation: Generated<Uuid>,
    /// Made by the saga.
    #[serde(default)]
    pub shipment: Generated<Uuid>,
    /// Learnt from the payment service.
    #[serde(default)]
    pub receipt: Option<String>,
    /// Learnt from the shipping service.
    #[serde(default)]
    pub tracking: Option<String>,
}

impl PlaceOrder {
    /// The price of all lines together, in minor units. The order service has refused lines that do not add up.
    pub fn total(&self) -> i64 {
        self.lines
            .iter()
            .fold(0, |sum, line| sum.saturating_add(line.quantity.saturating_mul(line.unit_price)))
    }

    fn stock(&self) -> Vec<StockLine> {
        self.lines.iter().map(|l| StockLine { sku: l.sku.clone(), quantity: l.quantity }).collect()
    }
}

/// Sells the goods in the basket, or leaves no trace of having tried.
#[rustfmt::skip] // A saga reads as a table.
pub fn place_order() -> SagaDefinition {
    saga::<PlaceOrder>("place-order", 1)
        .step("create-order",       |o| CreateOrder      { order: *o.order, customer: o.customer.clone(), lines: o.lines.clone() })
            .compensate(            |o| CancelOrder      { order: *o.order })
        .step("charge-payment",     |o| ChargePayment    { payment: *o.payment, customer: o.customer.clone(), amount: o.total(), currency: o.currency.clone() })
            .on_reply(              |o, charged| o.receipt = Some(charged.receipt))
            .compensate(            |o| RefundPayment    { payment: *o.payment })
        .step("reserve-inventory",  |o| ReserveInventory { reservation: *o.reservation, lines: o.stock() })
            .compensate(            |o| ReleaseInventory { reservation: *o.reservation })
        .pivot("ship-order",        |o| ShipOrder        { shipment: *o.shipment, address: o.address.clone() })
            .on_reply(              |o, shipped| o.tracking = Some(shipped.tracking))
        .retriable("confirm-order", |o| ConfirmOrder     { order: *o.order })
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn input() -> serde_json::Value {
        json!({
            "customer": "alice", "currency": "EUR", "address": "1 Harbour Street, Reykjavik",
            "lines": [{ "sku": "book", "quantity": 2, "unit_price": 1500 }],
        })
    }

    #[test]
    fn digest_is_that_of_the_deployed_definition() {
        let digest = place_order().digest;
        insta::assert_snapshot!(digest, @"085db94b642b2f7acd0c134f89d7592546c3c4e74a2b3f4bbeaf9d02b14e84e4");
    }

    #[test]
    fn ids_are_made_once() {
        let data = place_order().read_input(&input()).unwrap();
        let data: PlaceOrder = data.read().unwrap();
        assert_eq!(data.total(), 3_000);
        assert_ne!(data.order, data.payment);
    }

    #[test]
    fn misspelt_input_is_refused() {
        let mut misspelt = input();
        misspelt["adress"] = json!("x");
        insta::assert_snapshot!(place_order().read_input(&misspelt).unwrap_err(), @"the input does not fit: at `/adress`, this field is unknown");
        let mut mistyped = input();
        mistyped["lines"][0]["quantity"] = json!("two");
        insta::assert_snapshot!(
            place_order().read_input(&mistyped).unwrap_err(),
            @r#"the input does not fit: at `/lines/0/quantity`, invalid type: string "two", expected i64"#
        );
    }
}
