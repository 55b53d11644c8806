//! Sells the goods in the basket to customers who pay by card; a large order waits for a person.

use redress::{Generated, InDoubt, SagaDefinition, saga};
use redress_contracts::{
    Approve, CancelOrder, ChargeCard, ConfirmOrder, CreateOrder, OrderLine, RefundCard, ReleaseInventory,
    ReserveInventory, ShipOrder, StockLine, WithdrawApproval,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Orders of more than this need an approval, in minor units.
const APPROVED_ABOVE: i64 = 50_000;

/// The order as the customer sends it, and the fields that the saga adds to it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OrderByCard {
    /// The customer who buys.
    pub customer: String,
    /// The number of the card that is charged.
    pub card: String,
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
    pub reservation: Generated<Uuid>,
    /// Made by the saga.
    #[serde(default)]
    pub shipment: Generated<Uuid>,
    /// Learnt from the person who approved it.
    #[serde(default)]
    pub approved_by: Option<String>,
    /// Learnt from the card service.
    #[serde(default)]
    pub receipt: Option<String>,
    /// Learnt from the shipping service.
    #[serde(default)]
    pub tracking: Option<String>,
}

impl OrderByCard {
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

/// Sells the goods in the basket, or leaves no trace of having tried. A charge of which the provider does not tell is undone
/// as if it had been made: the provider refunds what there is.
#[rustfmt::skip] // A saga reads as a table.
pub fn order_by_card() -> SagaDefinition {
    saga::<OrderByCard>("order-by-card", 1)
        .step("create-order",       |o| CreateOrder      { order: *o.order, customer: o.customer.clone(), lines: o.lines.clone() })
            .compensate(            |o| CancelOrder      { order: *o.order })
        .step("approve-order",      |o| Approve          { purpose: format!("an order of {}", o.customer), amount: o.total(), currency: o.currency.clone() })
            .when(                  |o| o.total() > APPROVED_ABOVE)
            .people_may_answer()
            .on_reply(              |o, approved| o.approved_by = Some(approved.by))
            .compensate(            |_| WithdrawApproval {})
        .step("charge-card",        |o| ChargeCard       { card: o.card.clone(), amount: o.total(), currency: o.currency.clone() })
            .on_reply(              |o, charged| o.receipt = Some(charged.receipt))
            .compensate(            |_| RefundCard       {})
            .in_doubt(InDoubt::Undo)
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

    #[test]
    fn digest_is_that_of_the_deployed_definition() {
        insta::assert_snapshot!(order_by_card().digest,
            @"2464a880cd8134883aa2b8a7408598975519797d68bfc501286a615bb9f18593"
        );
    }
}
