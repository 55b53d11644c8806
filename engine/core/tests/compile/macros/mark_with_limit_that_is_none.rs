#[path = "support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action(concurrency = 0)]
    async fn charge(&self, _: &mut Tx<'_>, _: ChargePayment) -> Answer<PaymentCharged> {
        reject("closed", "no money today")
    }

    #[compensation(of = charge, time_max_s = "long")]
    async fn refund(&self, _: &mut Tx<'_>, _: RefundPayment) -> Undone<()> {
        Ok(())
    }
}

fn main() {}
