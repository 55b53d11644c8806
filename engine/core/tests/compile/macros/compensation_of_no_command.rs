pub struct Amount;

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, redress_macros::Command)]
#[command(service = "payment", name = "refund", compensates = Amount)]
pub struct Refund {}

fn main() {}
