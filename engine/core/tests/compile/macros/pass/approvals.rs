#[path = "../support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action(later, give_up = withdraw, concurrency = 2)]
    async fn charge(&self, _: &mut Tx<'_>, _: ChargePayment) -> AnswerOrLater<PaymentCharged> {
        later()
    }

    async fn withdraw(
        &self,
        _: &mut Tx<'_>,
        key: &IdempotencyKey,
    ) -> Result<GiveUp<PaymentCharged>, HandlerError> {
        if key.generation > 1 { Ok(GiveUp::No) } else { Ok(GiveUp::Fenced) }
    }

    #[compensation(of = charge, later)]
    async fn refund(&self, _: &mut Tx<'_>, _: RefundPayment) -> UndoneOrLater<()> {
        later()
    }
}

fn main() {
    Payments::register(Participant::new());
}
