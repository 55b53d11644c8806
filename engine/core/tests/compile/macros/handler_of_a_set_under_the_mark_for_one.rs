#[path = "support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action(no_compensation)]
    async fn report(&self, _: &mut Tx<'_>, _: Vec<Keyed<ReportPayments>>) -> Answer<()> {
        done(())
    }

    #[compensations(of = report)]
    async fn refund(&self, _: &mut Tx<'_>, _: RefundPayment) -> Undone<()> {
        Ok(())
    }
}

fn main() {}
