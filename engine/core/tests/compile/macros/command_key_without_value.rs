#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, redress_macros::Command)]
#[command(service, name = "charge")]
pub struct Charge {}

fn main() {}
