//! The sagas of the lab, one for each guarantee: a single step, which charges the account.

use std::time::Duration;

use redress_core::definition::Delivery;
use redress_core::{Command, RetryPolicy, SagaDefinition, saga};
use redress_devstack::NatsFaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::guarantee::Guarantee;

/// The charge of this number; the data of the saga and the payload of its command.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Charge {
    pub(super) number: u32,
}

macro_rules! commands {
    ($($name:ident = $service:literal),+ $(,)?) => {$(
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        pub(super) struct $name(pub(super) Charge);

        impl Command for $name {
            const SERVICE: &'static str = $service;
            const NAME: &'static str = "charge";
            /// The number, so that the replies differ as the commands do.
            type Reply = u32;
        }
    )+};
}

commands! {
    ChargeAtMostOnce = "at-most-once",
    ChargeAtLeastOnce = "at-least-once",
    ChargeExactlyOnce = "exactly-once",
}

/// Pauses between attempts, first and longest, in milliseconds: short, so that losses are healed in seconds.
const BACKOFF_MS: (u64, u64) = (100, 500);

/// How long an attempt waits for its answer: there and back with the work between, and a margin for a busy machine.
pub(super) fn answer_timeout(faults: &NatsFaults) -> Duration {
    Duration::from_secs(1) + faults.latency * 6
}

/// The definition of a guarantee's saga, for a network with these faults.
pub(super) fn definition(guarantee: Guarantee, faults: &NatsFaults) -> SagaDefinition {
    let sagas = saga::<Charge>(guarantee.saga(), 1);
    let (timeout, retry) =
        (answer_timeout(faults), RetryPolicy::FOR_EVER.backoff(BACKOFF_MS.0, BACKOFF_MS.1));
    match guarantee {
        Guarantee::AtMostOnce => sagas.notify("charge", |charge| ChargeAtMostOnce(*charge)).build(),
        Guarantee::AtLeastOnce => sagas
            .step("charge", |charge| ChargeAtLeastOnce(*charge))
            .no_compensation()
            .delivery(Delivery::AtLeastOnce)
            .timeout(timeout)
            .retry(retry)
            .build(),
        Guarantee::ExactlyOnce => sagas
            .step("charge", |charge| ChargeExactlyOnce(*charge))
            .no_compensation()
            .timeout(timeout)
            .retry(retry)
            .build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_go_to_the_service_of_their_guarantee() {
        let faults = NatsFaults { seed: 1, loss: 0.1, duplication: 0.1, latency: Duration::from_millis(50) };
        for guarantee in Guarantee::ALL {
            let definition = definition(guarantee, &faults);
            assert_eq!(definition.steps[0].service.as_str(), guarantee.name());
            assert_eq!(definition.name.as_str(), guarantee.saga());
        }
    }
}
