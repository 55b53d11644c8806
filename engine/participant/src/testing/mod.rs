//! Tests of a service's handlers on a real database, without a broker (feature `testing`).
//!
//! A [`ServiceTest`] runs commands as a participant does: claim, rule, handler under its savepoint, stored answer, commit.
//! Only the broker is left out. What cannot be seen in a handler alone can so be tested in one line each:
//!
//! | what happens to a step | here |
//! |---|---|
//! | its action is done | [`TestStep::run`] |
//! | a command comes again | [`TestStep::run`] once more: the same answer, and no second effect |
//! | the action is undone | [`TestStep::undo`] |
//! | the undo comes before the action | [`TestStep::undo`], then [`TestStep::run`]: [`TestOutcome::Fenced`] |
//! | both come at the same time | [`TestStep::race`] |
//! | the coordinator asks what became of it | [`TestStep::settle`] |
//! | the process dies after the call to a third party | [`TestStep::die_after_call`] |
//! | its answer comes later | [`TestStep::run`]: [`TestOutcome::Accepted`]; then [`TestStep::answer`] |
//! | the answer to its undo comes later | [`TestStep::undo`], then [`TestStep::answer_undo`] |
//! | a person answers | [`TestStep::answer_of_person`] |
//! | the answer is given up | [`TestStep::settle`]; together with an answer [`TestStep::race_answer`] |
//! | the command is older than the inbox remembers | [`TestStep::sent_ago`]: [`TestOutcome::Expired`] |
//! | many commands come at once | [`ServiceTest::run_together`], [`ServiceTest::undo_together`] |
//!
//! The tables are there to be looked at afterwards ([`ServiceTest::pool`]).
//!
//! ```no_run
//! # use redress_macros::{Command, service};
//! # use redress_participant::{Answer, Tx, Undone, done, reject};
//! # use schemars::JsonSchema;
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Clone, Serialize, Deserialize, JsonSchema, Command)]
//! # #[command(service = "payment", name = "charge", reply = PaymentCharged)]
//! # pub struct ChargePayment { account: i64, amount: i64 }
//! # #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
//! # pub struct PaymentCharged { left: i64 }
//! # #[derive(Clone, Serialize, Deserialize, JsonSchema, Command)]
//! # #[command(service = "payment", name = "refund", compensates = ChargePayment)]
//! # pub struct RefundPayment { account: i64, amount: i64 }
//! # #[derive(Clone)]
//! # struct Payments;
//! # #[service("payment")]
//! # impl Payments {
//! #     #[action]
//! #     async fn charge(&self, tx: &mut Tx<'_>, command: ChargePayment) -> Answer<PaymentCharged> {
//! #         done(PaymentCharged { left: 0 })
//! #     }
//! #     #[compensation(of = charge)]
//! #     async fn refund(&self, tx: &mut Tx<'_>, command: RefundPayment) -> Undone<()> {
//! #         Ok(())
//! #     }
//! # }
//! use redress_participant::testing::{ServiceTest, TestOutcome};
//! use redress_participant::{Service, sqlx};
//!
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! // A database of its own on a private server; `ServiceTest::at` takes one of yours.
//! let test = ServiceTest::of(Service::of(Payments, || None)).await?;
//! sqlx::query("CREATE TABLE account AS SELECT 1::bigint AS id, 100::bigint AS balance").execute(test.pool()).await?;
//!
//! let step = test.step(ChargePayment { account: 1, amount: 30 });
//! assert_eq!(step.run().await?, TestOutcome::Done(PaymentCharged { left: 70 }));
//! assert_eq!(step.run().await?, TestOutcome::Done(PaymentCharged { left: 70 }), "it came again");
//! assert_eq!(step.undo(&RefundPayment { account: 1, amount: 30 }).await?, TestOutcome::Done(()));
//!
//! let late = test.step(ChargePayment { account: 1, amount: 30 });
//! late.undo(&RefundPayment { account: 1, amount: 30 }).await?;
//! assert_eq!(late.run().await?, TestOutcome::Fenced);
//!
//! let balance: i64 = sqlx::query_scalar("SELECT balance FROM account").fetch_one(test.pool()).await?;
//! assert_eq!(balance, 100);
//! # Ok(())
//! # }
//! ```

mod bench;
mod error;
mod later;
mod outcome;
mod service_test;
mod step;

pub use error::ServiceTestError;
pub use outcome::TestOutcome;
pub use service_test::ServiceTest;
pub use step::TestStep;
