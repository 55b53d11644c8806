#[path = "support/mod.rs"]
mod support;

use redress_macros::service;
use support::participant::*;
use support::*;

struct Payments;

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, redress_macros::Command)]
#[command(service = "payment", name = "report")]
pub struct ReportAgain {}

#[service("payment", crate = crate::support::participant)]
impl Payments {
    #[action(no_compensation)]
    async fn report(&self, _: &mut Tx<'_>, _: ReportPayments) -> Answer<()> {
        done(())
    }

    #[action(no_compensation)]
    async fn tell(&self, _: &mut Tx<'_>, _: ReportAgain) -> Answer<()> {
        done(())
    }
}

fn main() {}
