#[path = "../support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

#[derive(Clone)]
struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action]
    async fn charge(&self, _: &mut Tx<'_>, _: ChargePayment) -> Answer<PaymentCharged> {
        reject("closed", "no money today")
    }

    #[compensation(of = charge, concurrency = 2)]
    async fn refund(&self, _: &mut Tx<'_>, _: RefundPayment) -> Undone<()> {
        Ok(())
    }

    #[action(no_compensation, concurrency = 4, time_max_s = 120)]
    async fn report(&self, _: &mut Tx<'_>, _: ReportPayments) -> Answer<()> {
        done(())
    }
}

fn main() {
    assert_eq!(Payments::SERVICE, "payment");
    Payments::register(Participant::new());
}
