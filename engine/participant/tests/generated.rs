//! The generated impls do what the same impls by hand would do.

// `cfg(test)` tells the lints that this module is a test as a whole.
#[cfg(test)]
mod support;

use redress_core::{Command, Compensates, IdempotencyKey, Phase};
use redress_macros::{Command, service};
use redress_participant::{
    Answer, CallOut, Compensate, CompensateAll, Handle, HandleAll, HandlerError, HandlerOutcome, Keyed,
    Participant, Prepared, Service, ServiceHandlers, Tx, Undone, done,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use support::{ChargePayment, PaymentCharged, RefundPayment, ReportPayments};

fn compensates<K: Compensates<A>, A: Command>() -> (&'static str, &'static str) {
    (K::NAME, A::NAME)
}

#[test]
fn contract_says_what_the_attribute_says() {
    assert_eq!((ChargePayment::SERVICE, ChargePayment::NAME), ("payment", "charge"));
    assert_eq!(compensates::<RefundPayment, ChargePayment>(), ("refund", "charge"));
    let _: Option<<ChargePayment as Command>::Reply> = None::<PaymentCharged>;
    let _: Option<<RefundPayment as Command>::Reply> = None::<()>;
}

/// Keys in several attributes, and literals that come out of a macro.
macro_rules! commands {
    ($($name:ident = $command:literal -> $reply:ty),+) => {$(
        #[derive(Serialize, Deserialize, JsonSchema, Command)]
        #[command(service = "payment", name = $command)]
        #[command(reply = $reply, crate = redress_core)]
        enum $name { Card, Cash }
    )+};
}

commands!(Open = "open-2" -> Vec<String>, Close = "close" -> ());

#[test]
fn contract_may_come_out_of_a_macro() {
    assert_eq!((Open::NAME, Close::NAME), ("open-2", "close"));
    let _: Option<<Open as Command>::Reply> = None::<Vec<String>>;
}

#[derive(Clone)]
struct Payments;

#[service("payment")]
impl Payments {
    #[action]
    async fn charge(&self, tx: &mut Tx<'_>, command: ChargePayment) -> Answer<PaymentCharged> {
        let receipt = format!("{} for {}", tx.idempotency_key(), Self::amount(command.amount));
        done(PaymentCharged { receipt })
    }

    /// A helper: no mark, no handler.
    fn amount(amount: i64) -> String {
        format!("{amount} cents")
    }

    #[compensation(of = charge)]
    async fn refund(&self, _: &mut Tx<'_>, _: RefundPayment) -> Undone<()> {
        Ok(())
    }

    #[action(no_compensation)]
    async fn report(&self, _: &mut Tx<'_>, _: ReportPayments) -> Answer<()> {
        done(())
    }
}

/// With a parameter, as for what a test replaces.
#[derive(Clone)]
struct Sets<G> {
    gateway: G,
}

#[service("payment")]
impl<G: Clone + Fn(i64) -> String + Send + Sync + 'static> Sets<G> {
    #[actions]
    async fn charge(
        &self,
        _: &mut Tx<'_>,
        commands: Vec<Keyed<ChargePayment>>,
    ) -> Result<Vec<HandlerOutcome<PaymentCharged>>, HandlerError> {
        let receipts = commands.iter().map(|keyed| (self.gateway)(keyed.command.amount));
        Ok(receipts.map(|receipt| HandlerOutcome::Done(PaymentCharged { receipt })).collect())
    }

    #[compensations(of = [charge])]
    async fn refund<'t>(
        &self,
        _: &mut Tx<'t>,
        commands: Vec<Keyed<RefundPayment>>,
    ) -> Result<Vec<()>, HandlerError> {
        Ok(commands.iter().map(|_| ()).collect())
    }
}

fn one<S: Handle<ChargePayment> + Compensate<RefundPayment> + Handle<ReportPayments>>(_: &S) {}
fn set<S: HandleAll<ChargePayment> + CompensateAll<RefundPayment>>(_: &S) {}

#[test]
fn service_has_a_trait_for_each_mark() {
    one(&Payments);
    set(&Sets { gateway: |amount: i64| amount.to_string() });
}

/// One handler calls a third party, and a plain one undoes it.
#[derive(Clone)]
struct ByCall;

#[service("payment", calls(ChargePayment))]
impl ByCall {
    #[compensation(of = ChargePayment)]
    async fn refund(&self, _: &mut Tx<'_>, _: RefundPayment) -> Undone<()> {
        Ok(())
    }
}

impl CallOut<ChargePayment> for ByCall {
    type Request = ();
    type Response = ();

    async fn prepare(
        &self,
        _: &mut Tx<'_>,
        _: ChargePayment,
    ) -> Result<Prepared<(), PaymentCharged>, HandlerError> {
        Ok(Prepared::Call(()))
    }

    async fn call(&self, _: &IdempotencyKey, (): &()) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn conclude(&self, _: &mut Tx<'_>, (): &(), (): &()) -> Answer<PaymentCharged> {
        done(PaymentCharged { receipt: String::new() })
    }
}

#[test]
fn service_registers_handlers_that_call_out() {
    let service = Service::of(ByCall, || None);
    assert!(service.handles(Phase::Action, "charge") && service.handles(Phase::Compensation, "refund"));
    assert!(!service.handles(Phase::Action, "report"));
}

/// The trait form, as the macro writes it.
#[derive(Clone)]
struct ByHand;

impl ServiceHandlers for ByHand {
    const SERVICE: &'static str = "payment";

    fn register(participant: Participant<Self>) -> Participant<Self> {
        participant.handle::<ReportPayments>()
    }
}

impl Handle<ReportPayments> for ByHand {
    async fn handle(&self, _: &mut Tx<'_>, _: ReportPayments) -> Answer<()> {
        done(())
    }
}

#[test]
fn service_has_the_name_of_its_handlers() {
    let gateway = |amount: i64| amount.to_string();
    let services = [
        Service::of(Payments, || None),
        Service::of(Sets { gateway }, || None),
        Service::of(ByHand, || None),
    ];
    assert!(services.iter().all(|service| service.name() == "payment"));
}
