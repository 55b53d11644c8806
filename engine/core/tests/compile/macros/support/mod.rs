//! Contracts that the tests share.
#![allow(dead_code, unused_imports)]

pub(crate) mod participant;

use redress_macros::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "payment", name = "charge", reply = PaymentCharged)]
pub(crate) struct ChargePayment {
    pub(crate) amount: i64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct PaymentCharged {
    pub(crate) receipt: String,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "payment", name = "refund", compensates = ChargePayment)]
pub(crate) struct RefundPayment {
    pub(crate) amount: i64,
}

/// Undoes nothing.
#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "payment", name = "report")]
pub(crate) struct ReportPayments {}

/// Of another service.
#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "shipping", name = "ship")]
pub(crate) struct ShipOrder {}
