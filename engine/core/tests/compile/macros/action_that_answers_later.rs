#[path = "support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action(later)]
    async fn charge(&self, _: &mut Tx<'_>, _: ChargePayment) -> AnswerOrLater<PaymentCharged> {
        later()
    }

    #[compensation(of = report, give_up = withdraw)]
    async fn refund(&self, _: &mut Tx<'_>, _: RefundPayment) -> Undone<()> {
        Ok(())
    }

    #[action(no_compensation, give_up = withdraw)]
    async fn report(&self, _: &mut Tx<'_>, _: ReportPayments) -> Answer<()> {
        done(())
    }
}

fn main() {}
