#[path = "support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action(at_least_once)]
    async fn report(&self, _: &mut Tx<'_>, _: ReportPayments) -> Answer<()> {
        done(())
    }
}

struct Charges;

#[service("payment", crate = crate::support::participant)]
impl Charges {
    #[action(at_least_once)]
    async fn charge(&self, _: &Received, _: ChargePayment) -> Answer<PaymentCharged> {
        reject("closed", "no money today")
    }

    #[compensation(of = charge)]
    async fn refund(&self, _: &mut Tx<'_>, _: RefundPayment) -> Undone<()> {
        Ok(())
    }
}

fn main() {}
