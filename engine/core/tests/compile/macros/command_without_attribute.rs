#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, redress_macros::Command)]
pub struct Charge {}

fn main() {}
