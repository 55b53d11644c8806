#[path = "support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action(no_compensation)]
    async fn charge(&self, _: &mut Tx<'_>, _: ChargePayment) -> Answer<PaymentCharged> {
        reject("closed", "no money today")
    }

    #[compensation]
    async fn refund(&self, _: &mut Tx<'_>, _: RefundPayment) -> Undone<()> {
        Ok(())
    }
}

fn main() {}
