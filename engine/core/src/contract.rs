//! Commands and what compensates them.
//!
//! A contract is written once, beside the two commands that it joins, and both sides depend on it: sagas build
//! commands, participants handle them. A contract knows no saga and no service code.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message that asks a service to do one thing.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use schemars::JsonSchema;
/// use redress_core::Command;
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct ChargePayment { payment: u64, amount: i64 }
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct PaymentCharged { receipt: String }
///
/// impl Command for ChargePayment {
///     const SERVICE: &'static str = "payment";
///     const NAME: &'static str = "charge";
///     type Reply = PaymentCharged;
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no command",
    label = "this builder must return a command",
    note = "write `impl Command for {Self}` in the contracts of the service that handles it"
)]
pub trait Command: Serialize + DeserializeOwned + JsonSchema + Send + 'static {
    /// The service that handles it; a [`Name`](crate::Name).
    const SERVICE: &'static str;
    /// Its name within the service; a [`Name`](crate::Name).
    const NAME: &'static str;
    /// The service's reply when it is done.
    type Reply: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
}

/// Says that this command undoes the command `A`.
///
/// Stands once, beside the two commands, and the builder accepts no other compensation for `A`. Both must be
/// commands of the same service: a fence in another database is none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not compensate `{A}`",
    label = "not the compensation of `{A}`",
    note = "if it does, say so once beside the two commands: `impl Compensates<{A}> for {Self} {{}}`"
)]
pub trait Compensates<A: Command>: Command {}

/// The data of a saga: one struct that the user owns.
///
/// Implemented for every type that can be stored, described and shared.
pub trait SagaData: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static> SagaData for T {}
