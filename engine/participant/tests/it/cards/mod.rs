//! Calls to a card provider: a real HTTP server that loses answers, and the service that charges cards there. At the end
//! of each test the books of both are compared.

mod calls;
mod crashes;
mod doubt;
mod faults;
mod limits;
mod payments;
mod provider;
#[cfg(feature = "testing")]
mod testing;

use std::time::Duration;

use redress_core::CommandMessage;
use redress_participant::{ParticipantConfig, Service};

use self::payments::{Asks, Payments};
use self::provider::{Keys, Provider};
use crate::fixture::{Fixture, Instance};
use crate::till::Till;

/// How long a call may take here, where the gateway hangs: longer than one that is not held back, on a busy machine.
const CALL_TIME_MAX: Duration = Duration::from_millis(600);

struct Shop {
    fixture: Fixture,
    provider: Provider,
    payments: Payments,
}

impl Shop {
    /// A provider that honours keys.
    async fn new(asks: Asks) -> Self {
        Self::at(Keys::Honoured, asks).await
    }

    async fn at(keys: Keys, asks: Asks) -> Self {
        let fixture = Fixture::new().await;
        Payments::create_tables(&fixture.pool).await;
        let provider = Provider::start(keys).await;
        let payments = Payments::new(&provider, asks);
        Self { fixture, provider, payments }
    }

    async fn serve(&self) -> Instance {
        self.serve_as(self.payments.clone().service(), config()).await
    }

    async fn serve_as(&self, service: Service, config: ParticipantConfig) -> Instance {
        self.fixture.serve(service, Till::default(), config).await
    }

    async fn ask(&mut self, command: CommandMessage) -> String {
        self.fixture.ask(command).await
    }

    /// As if so much time had passed that no call is under way any more.
    async fn time_passes(&self) {
        let lapsed = sqlx::query("UPDATE inbox SET called_until = now() WHERE outcome = 'prepared'");
        lapsed.execute(&self.fixture.pool).await.unwrap();
    }

    /// The provider's books, once they agree with the service's own.
    async fn books(&self) -> String {
        assert_eq!(
            self.provider.paid(),
            Payments::paid(&self.fixture.pool).await,
            "{}",
            self.provider.books()
        );
        self.provider.books()
    }
}

fn config() -> ParticipantConfig {
    ParticipantConfig { call_time_max: CALL_TIME_MAX, ..ParticipantConfig::default() }
}

/// The same command, sent again.
fn again(command: &CommandMessage) -> CommandMessage {
    CommandMessage { attempt: command.attempt + 1, ..command.clone() }
}
