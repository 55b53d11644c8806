//! Stories of what operators, conditions, stages, children and late answers do to a saga.

#![expect(clippy::unwrap_used, reason = "in a test, a broken expectation is the finding")]

mod at_least_once;
mod awaiting;
mod doubt;
mod finality;
mod operators;
mod patience;
mod plans;
mod reasons;
mod retries;
mod sale;
mod shop;
mod steps;
mod unsent;
mod waiting;
