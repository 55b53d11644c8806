#[path = "support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action(no_compensation, later, give_up = withdraw)]
    async fn charge(&self, _: &mut Tx<'_>, _: ChargePayment) -> AnswerOrLater<PaymentCharged> {
        later()
    }
}

fn main() {}
