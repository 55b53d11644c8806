//! The services of the lab, one for each guarantee: each handler charges the account, and does it where its guarantee
//! has the effect.
//!
//! | guarantee | handler | transaction of the effect |
//! |---|---|---|
//! | at most once | listener without a database | the account's own |
//! | at least once | handler that may run again, without a database | the account's own |
//! | exactly once | handler behind the inbox | that of the inbox |

use std::sync::Arc;

use redress_participant::{
    Answer, Handle, HandleAtLeastOnce, HandlerError, ListenWithoutDatabase, Received, Service, Tx, done,
};

use super::contracts::{ChargeAtLeastOnce, ChargeAtMostOnce, ChargeExactlyOnce};
use super::guarantee::Guarantee;
use super::ledger::{Ledger, charge};
use super::timings::Timings;

/// The handlers of a service.
#[derive(Clone)]
pub(super) struct Charging {
    pub(super) ledger: Ledger,
    pub(super) timings: Arc<Timings>,
    /// Charges with a higher number are knocks: they show that the service hears, and charge nothing.
    pub(super) charges: u32,
}

impl Charging {
    /// The service of a guarantee.
    pub(super) fn service(self, guarantee: Guarantee) -> Service {
        let name = guarantee.name();
        match guarantee {
            Guarantee::AtMostOnce => {
                Service::new(name, || None, |it| it.listen_without_database::<ChargeAtMostOnce>(), self)
            }
            Guarantee::AtLeastOnce => {
                Service::new(name, || None, |it| it.handle_at_least_once::<ChargeAtLeastOnce>(), self)
            }
            Guarantee::ExactlyOnce => {
                Service::new(name, || None, |it| it.handle::<ChargeExactlyOnce>(), self)
            }
        }
    }

    /// Charges, unless it is a knock, and notes when.
    async fn charge(
        &self,
        number: u32,
        effect: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let charged = match number <= self.charges {
            true => effect.await.inspect(|()| self.timings.charged(number)),
            false => Ok(()),
        };
        self.timings.handled(number);
        charged
    }
}

impl ListenWithoutDatabase<ChargeAtMostOnce> for Charging {
    async fn listen_without_database(
        &self,
        _: &Received,
        told: ChargeAtMostOnce,
    ) -> Result<(), HandlerError> {
        let number = told.0.number;
        Ok(self.charge(number, self.ledger.charge_alone(number)).await?)
    }
}

impl HandleAtLeastOnce<ChargeAtLeastOnce> for Charging {
    async fn handle_at_least_once(&self, _: &Received, command: ChargeAtLeastOnce) -> Answer<u32> {
        let number = command.0.number;
        self.charge(number, self.ledger.charge_alone(number)).await?;
        done(number)
    }
}

impl Handle<ChargeExactlyOnce> for Charging {
    async fn handle(&self, tx: &mut Tx<'_>, command: ChargeExactlyOnce) -> Answer<u32> {
        let number = command.0.number;
        self.charge(number, charge(tx, number)).await?;
        done(number)
    }
}
