//! Definitions as users write them, and what the decisions make of them.

mod behaviour;
mod definition;
mod ordered;
#[path = "../support/mod.rs"]
mod support;
mod waiting;
