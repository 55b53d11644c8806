#[path = "../support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action(at_least_once, concurrency = 4)]
    async fn report(&self, _: &Received, _: ReportPayments) -> Answer<()> {
        done(())
    }
}

fn main() {
    Payments::register(Participant::new());
}
