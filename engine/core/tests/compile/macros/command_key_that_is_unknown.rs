#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, redress_macros::Command)]
#[command(service = "payment", name = "charge", repyl = ())]
pub struct Charge {}

fn main() {}
