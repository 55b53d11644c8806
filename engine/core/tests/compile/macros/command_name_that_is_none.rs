#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, redress_macros::Command)]
#[command(service = "Payment", name = "charge_card")]
pub struct Charge {}

fn main() {}
