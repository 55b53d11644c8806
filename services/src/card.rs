//! Cards, charged at a provider that is another company.
//!
//! What was asked is kept before the provider is called, and its answer is written down after it; no transaction is open in
//! between. The provider honours keys, and usually tells what became of a charge, so that a lost answer is found again.
//! Where it does not tell, the charge is in doubt, and a refund settles it: the provider refunds what there is, and never
//! charges for that key afterwards.
//!
//! The provider is at `CARD_PROVIDER_URL`, or else the demo's own ([`card_provider`](crate::card_provider)).

use std::sync::LazyLock;
use std::time::Duration;

use redress_contracts::{CardCharged, ChargeCard, RefundCard};
use redress_core::{IdempotencyKey, Rejection};
use redress_macros::service;
use redress_participant::{
    Answer, CallOut, CommandLimits, HandlerError, Inquiry, Participant, Prepared, PreparedUndo, Purpose,
    Service, ServiceHandlers, Tx, UndoByCall, Undone, done, reject,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::card_provider::{CardProvider, Charge, Charged, Refund, Refunded};

/// How long the provider may take: it answers within milliseconds, and a call that is lost with its process holds its command
/// up for as long as it might still be under way.
const CALL_TIME_MAX: Duration = Duration::from_secs(2);

/// The card service.
pub(crate) fn service() -> Service {
    let migrator = || crate::with_own_table(sqlx::migrate!("../migrations/card"), "_card_migrations");
    let register = |it: Participant<Cards>| {
        let limits = CommandLimits { call_time_max: Some(CALL_TIME_MAX), ..CommandLimits::default() };
        Cards::register(it).limits::<ChargeCard>(limits).limits::<RefundCard>(limits)
    };
    Service::new(Cards::SERVICE, migrator, register, Cards)
}

/// Made when it is first used: it reads the machine's certificates, and most commands of the program call no provider.
static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    // No connection is kept: it would belong to the runtime that opened it.
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    client.build().expect("a client without a setting that could fail")
});

#[derive(Clone)]
struct Cards;

/// All that is needed of a command after its call.
#[derive(Clone, Serialize, Deserialize)]
struct AskedCharge {
    card: String,
    amount: i64,
    currency: String,
}

#[derive(Serialize, Deserialize)]
struct AskedRefund {
    /// The key of the charge.
    charge: String,
}

#[service("card", calls(ChargeCard), undoes_by_call(RefundCard))]
impl Cards {}

impl Cards {
    fn url(path: &str) -> String {
        let given = std::env::var("CARD_PROVIDER_URL");
        format!("{}{path}", given.unwrap_or_else(|_| CardProvider::of_the_demo().url().to_owned()))
    }

    fn url_of(key: &IdempotencyKey) -> String {
        Self::url(&format!("/charges/{}", key.to_string().replace('/', "%2F")))
    }

    async fn post<A: DeserializeOwned>(path: &str, body: &impl Serialize) -> Result<A, HandlerError> {
        let response = HTTP.post(Self::url(path)).json(body).send().await?;
        match response.status().as_u16() {
            200 => Ok(response.json().await?),
            status => Err(format!("the card provider answered {status}").into()),
        }
    }
}

impl CallOut<ChargeCard> for Cards {
    type Request = AskedCharge;
    type Response = Charged;

    async fn prepare(
        &self,
        _: &mut Tx<'_>,
        ChargeCard { card, amount, currency }: ChargeCard,
    ) -> Result<Prepared<AskedCharge, CardCharged>, HandlerError> {
        if amount <= 0 {
            let message = format!("{amount} is no amount to charge");
            return Ok(Prepared::Rejected(Rejection::new("invalid-amount", message)));
        }
        Ok(Prepared::Call(AskedCharge { card, amount, currency }))
    }

    async fn call(&self, key: &IdempotencyKey, request: &AskedCharge) -> Result<Charged, HandlerError> {
        let AskedCharge { card, amount, currency } = request.clone();
        let charge = Charge { key: key.to_string(), card, amount, currency };
        Self::post("/charges", &charge).await
    }

    async fn inquire(
        &self,
        key: &IdempotencyKey,
        _: &AskedCharge,
        purpose: Purpose,
    ) -> Result<Inquiry<Charged>, HandlerError> {
        let url = Self::url_of(key);
        let request = match purpose {
            Purpose::CallAgain => HTTP.get(url),
            // Gives the charge if there is one; from then on there will be none.
            Purpose::Settle => HTTP.delete(url),
        };
        let response = request.send().await?;
        match response.status().as_u16() {
            200 => Ok(Inquiry::Answered(response.json().await?)),
            404 => Ok(Inquiry::NeverHappened),
            501 => Ok(Inquiry::Unknown),
            status => Err(format!("the card provider answered {status} to an inquiry").into()),
        }
    }

    async fn conclude(
        &self,
        tx: &mut Tx<'_>,
        request: &AskedCharge,
        charged: &Charged,
    ) -> Answer<CardCharged> {
        let Charged::Charged { receipt } = charged else {
            return reject("card-declined", "the provider declined the card");
        };
        let written =
            "INSERT INTO charges (key, amount, currency, receipt, status) VALUES ($1, $2, $3, $4, 'charged')";
        let key = tx.idempotency_key().to_string();
        let written = sqlx::query(written).bind(key).bind(request.amount).bind(&request.currency);
        written.bind(receipt).execute(tx).await?;
        done(CardCharged { receipt: receipt.clone() })
    }
}

impl UndoByCall<RefundCard> for Cards {
    type Request = AskedRefund;
    type Response = Refunded;

    async fn prepare(
        &self,
        tx: &mut Tx<'_>,
        _: RefundCard,
    ) -> Result<PreparedUndo<AskedRefund, ()>, HandlerError> {
        Ok(PreparedUndo::Call(AskedRefund { charge: tx.idempotency_key().of_action().to_string() }))
    }

    async fn call(&self, _: &IdempotencyKey, request: &AskedRefund) -> Result<Refunded, HandlerError> {
        Self::post("/refunds", &Refund { charge: request.charge.clone() }).await
    }

    async fn conclude(&self, tx: &mut Tx<'_>, request: &AskedRefund, refunded: &Refunded) -> Undone<()> {
        // Nothing was charged, and nothing will be.
        let Refunded::Refunded { amount, currency } = refunded else { return Ok(()) };
        // A charge of which the service was never told is entered together with its refund.
        let written = "INSERT INTO charges (key, amount, currency, status) VALUES ($1, $2, $3, 'refunded') \
                       ON CONFLICT (key) DO UPDATE SET status = 'refunded' WHERE charges.status = 'charged'";
        sqlx::query(written).bind(&request.charge).bind(amount).bind(currency).execute(tx).await?;
        Ok(())
    }
}
