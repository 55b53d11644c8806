#[path = "support/mod.rs"]
mod support;

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, redress_macros::Command)]
#[command(service = "payment", name = "return", compensates = support::ShipOrder)]
pub struct Return {}

fn main() {}
