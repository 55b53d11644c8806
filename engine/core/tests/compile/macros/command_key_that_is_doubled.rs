#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, redress_macros::Command)]
#[command(service = "payment", name = "charge")]
#[command(service = "payments")]
pub struct Charge {}

fn main() {}
