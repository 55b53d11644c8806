//! Macros for contracts and services: they write the impls that follow from what a user has said already.
//!
//! The trait form is what the macros write: `Command`, `Compensates`, `Handle`, `Compensate`, `HandleAll` and
//! `CompensateAll` by hand are the same thing, may stand beside the macros, and are what to read to understand them.
//! The macros add checks: names are names, a compensation is of the service of its action, every action has a
//! compensation or says that it has none. A mistake is an error at the word that is to be mended.
//!
//! The first page of the facade, `redress`, shows contracts under `#[derive(Command)]`, and the docs of
//! `redress_participant::ServiceHandlers` show a service under `#[service("payment")]`, both compiled. (A crate of macros
//! that depended on the core for its own examples would have all of it built a second time, for the compiler.)
//!
//! The generated code says `::redress_core` and `::redress_participant`. A crate that depends on the facade alone writes
//! `crate = ::redress` into both attributes.

mod command;
mod keys;
mod name;
mod service;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Writes `impl Command`, and `impl Compensates` for a compensation.
///
/// `#[command(..)]` takes, each at most once and in any order:
///
/// | key | meaning |
/// |---|---|
/// | `service = "payment"` | the service that handles the command; a name |
/// | `name = "charge"` | the command's name within the service; a name |
/// | `reply = PaymentCharged` | the type of the answer; `()` without it |
/// | `compensates = ChargePayment` | the action that this command undoes, of the same service |
/// | `crate = ::redress` | the crate that has `Command` and `Compensates`; `::redress_core` without it |
///
/// A name is a lowercase letter and up to 62 lowercase letters, digits and hyphens. A command that
/// undoes several actions names the others by hand: `impl Compensates<Other> for Refund {}`. A command has no type
/// parameters, since its name stands for one payload.
#[proc_macro_derive(Command, attributes(command))]
pub fn command(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    command::expand(&item).into()
}

/// Makes the marked methods of an `impl` the handlers of a service.
///
/// `#[service("payment")]` names the service; `#[service("payment", crate = ::redress)]` is for crates that depend on the
/// facade. Methods that have no mark stay what they are. A handler is an `async fn` that takes `&self`, `tx: &mut Tx<'_>`
/// and a command `C` with the reply `R`, or a set of them:
///
/// | mark | takes | answers | trait |
/// |---|---|---|---|
/// | `#[action]` | `C` | `Answer<R>` | `Handle<C>` |
/// | `#[actions]` | `Vec<Keyed<C>>` | `Result<Vec<HandlerOutcome<R>>, HandlerError>` | `HandleAll<C>` |
/// | `#[action(later, give_up = ..)]` | `C` | `AnswerOrLater<R>` | `HandleLater<C>` |
/// | `#[action(at_least_once)]` | `C` | `Answer<R>` | `HandleAtLeastOnce<C>` |
/// | `#[compensation(of = ..)]` | `C` | `Undone<R>` | `Compensate<C>` |
/// | `#[compensation(of = .., later)]` | `C` | `UndoneOrLater<R>` | `CompensateLater<C>` |
/// | `#[compensations(of = ..)]` | `Vec<Keyed<C>>` | `Result<Vec<R>, HandlerError>` | `CompensateAll<C>` |
///
/// `of` names the method of the action that is undone, or several: `of = [charge, charge_card]`. An action that nothing
/// undoes is marked `#[action(no_compensation)]` or `#[actions(no_compensation)]`; without that word it needs a
/// compensation in the same `impl`. The command of a compensation must be declared as that of the action
/// (`Compensates`), and all commands must be of this service and have different names.
///
/// `later` says that the answer may come later. `give_up` of an action names the method that gives its open question up:
/// `async fn withdraw(&self, tx: &mut Tx<'_>, key: &IdempotencyKey) -> Result<GiveUp<R>, HandlerError>`.
///
/// `at_least_once` says that the handler may run again, without an inbox and without a database: it takes
/// `received: &Received` instead of the transaction, and nothing undoes it. A service whose handlers are all of that kind
/// is served without a database.
///
/// Every mark takes the limits of its command, instead of those of the service: `concurrency = 4` is how many of it run at
/// the same time if its handler takes long, `time_max_s = 120` is how many seconds one call may take. Both are whole numbers
/// from 1 on.
///
/// A handler that calls a third party is an `impl CallOut<C>` or `impl UndoByCall<C>` of its own; the service names its
/// command: `#[service("payment", calls(ChargeCard), undoes_by_call(RefundCard))]`. A compensation that is marked names such
/// an action by its type, `of = ChargeCard`.
///
/// Besides the traits, the macro writes `ServiceHandlers` with the service's name and the registration of every handler,
/// so that `Service::of(Payments, migrator)` is the whole service. One `impl` holds all handlers of a type. Listeners have
/// no mark: a service that also listens is
/// `Service::new(Payments::SERVICE, migrator, |p| Payments::register(p).listen::<Told>(), Payments)`.
#[proc_macro_attribute]
pub fn service(arguments: TokenStream, item: TokenStream) -> TokenStream {
    service::expand(arguments.into(), item.into()).into()
}
