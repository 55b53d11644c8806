#[path = "support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action(no_compensation)]
    async fn report<C>(&self, _: &mut Tx<'_>, _: C) -> Answer<()> {
        done(())
    }
}

fn main() {}
