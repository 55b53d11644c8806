#[path = "support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action]
    async fn charge(&self, _: &mut Tx<'_>, _: ChargePayment) -> Answer<PaymentCharged> {
        reject("closed", "no money today")
    }

    #[action(no_compensation)]
    async fn report(&self, _: &mut Tx<'_>, _: ReportPayments) -> Answer<()> {
        done(())
    }
}

fn main() {}
