//! Sells what is in the basket.

use redress_contracts::{
    CancelOrder, ChargePayment, ConfirmOrder, CreateOrder, OrderLine, RefundPayment, ReleaseInventory,
    ReserveInventory, ShipOrder, StockLine,
};
use redress_core::{SagaDefinition, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the customer sends, and what the saga adds to it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlaceOrder {
    /// Who buys.
    pub customer: String,
    /// In which currency the prices are, as in ISO 4217.
    pub currency: String,
    /// Where the goods go.
    pub address: String,
    /// What is bought.
    pub lines: Vec<OrderLine>,
    /// Made by the saga.
    #[serde(default = "Uuid::now_v7")]
    pub order: Uuid,
    /// Made by the saga.
    #[serde(default = "Uuid::now_v7")]
    pub payment: Uuid,
    /// Made by the saga.
    #[serde(default = "Uuid::now_v7")]
    pub reservation: Uuid,
    /// Made by the saga.
    #[serde(default = "Uuid::now_v7")]
    pub shipment: Uuid,
    /// Learnt from the payment service.
    #[serde(default)]
    pub receipt: Option<String>,
    /// Learnt from the shipping service.
    #[serde(default)]
    pub tracking: Option<String>,
}

impl PlaceOrder {
    /// What the lines cost together, in minor units. The order service has refused what does not add up.
    pub fn total(&self) -> i64 {
        self.lines
            .iter()
            .fold(0, |sum, line| sum.saturating_add(line.quantity.saturating_mul(line.unit_price)))
    }

    fn stock(&self) -> Vec<StockLine> {
        self.lines.iter().map(|l| StockLine { sku: l.sku.clone(), quantity: l.quantity }).collect()
    }
}

/// Sells what is in the basket, or leaves no trace of having tried.
#[rustfmt::skip] // A saga reads as a table.
pub fn place_order() -> SagaDefinition {
    saga::<PlaceOrder>("place-order", 1)
        .step("create-order",       |o| CreateOrder      { order: o.order, customer: o.customer.clone(), lines: o.lines.clone() })
            .compensate(            |o| CancelOrder      { order: o.order })
        .step("charge-payment",     |o| ChargePayment    { payment: o.payment, customer: o.customer.clone(), amount: o.total(), currency: o.currency.clone() })
            .on_reply(              |o, charged| o.receipt = Some(charged.receipt))
            .compensate(            |o| RefundPayment    { payment: o.payment })
        .step("reserve-inventory",  |o| ReserveInventory { reservation: o.reservation, lines: o.stock() })
            .compensate(            |o| ReleaseInventory { reservation: o.reservation })
        .pivot("ship-order",        |o| ShipOrder        { shipment: o.shipment, address: o.address.clone() })
            .on_reply(              |o, shipped| o.tracking = Some(shipped.tracking))
        .retriable("confirm-order", |o| ConfirmOrder     { order: o.order })
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
    fn the_definition_is_the_one_that_was_deployed() {
        let digest = place_order().digest;
        insta::assert_snapshot!(digest, @"13b62c686102576042b84b48165286be426554fa59d9ba9181605a8362757458");
    }

    #[test]
    fn ids_are_made_once() {
        let data = place_order().read_input(&input()).unwrap();
        let data: PlaceOrder = data.read().unwrap();
        assert_eq!(data.total(), 3_000);
        assert_ne!(data.order, data.payment);
    }

    #[test]
    fn a_misspelt_input_is_refused() {
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
