#[path = "support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action(no_compensation)]
    async fn report(&self, _: ReportPayments) -> Answer<()> {
        done(())
    }
}

fn main() {}
