#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, redress_macros::Command)]
#[command(service = "payment")]
pub struct Charge {}

fn main() {}
