//! The service under test: it charges cards at the provider, and keeps books of its own.

use std::sync::Arc;

use redress_core::CommandMessage;
use redress_core::{Command, Compensates, IdempotencyKey, Phase};
use redress_participant::{
    Answer, CallOut, Compensate, CompensateLater, HandlerError, Inquiry, Participant, Prepared, PreparedUndo,
    Purpose, Service, Tx, UndoByCall, Undone, UndoneOrLater, done, later, reject,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::Semaphore;

use super::provider::{ChargeRequest, Provider, RefundRequest};
use crate::fixture::command;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChargeCard {
    pub(crate) amount: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RefundCard {}

impl Command for ChargeCard {
    const SERVICE: &'static str = "till";
    const NAME: &'static str = "charge-card";
    type Reply = i64;
}

impl Command for RefundCard {
    const SERVICE: &'static str = "till";
    const NAME: &'static str = "refund-card";
    type Reply = i64;
}

impl Compensates<ChargeCard> for RefundCard {}

pub(crate) fn charge(saga: u128, amount: i64) -> CommandMessage {
    command(saga, Phase::Action, ChargeCard::NAME, &ChargeCard { amount })
}

pub(crate) fn settle(saga: u128) -> CommandMessage {
    command(saga, Phase::Settlement, ChargeCard::NAME, &())
}

pub(crate) fn refund(saga: u128) -> CommandMessage {
    command(saga, Phase::Compensation, RefundCard::NAME, &RefundCard {})
}

/// Whether the provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    Yes,
    No,
}

#[derive(Clone)]
pub(crate) struct Payments {
    provider: Provider,
    http: reqwest::Client,
    asks: Asks,
    /// One permit for each conclusion that waits for the test.
    pub(crate) entered: Arc<Semaphore>,
    /// One permit lets one go on.
    pub(crate) gate: Arc<Semaphore>,
}

impl Payments {
    pub(crate) fn new(provider: &Provider, asks: Asks) -> Self {
        let entered = Arc::new(Semaphore::new(0));
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { provider: provider.clone(), http, asks, entered, gate }
    }

    /// Its conclusions wait for the test.
    pub(crate) fn concludes_when_told(self) -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), ..self }
    }

    pub(crate) async fn create_tables(pool: &PgPool) {
        sqlx::raw_sql("CREATE TABLE book (saga text, entry text, amount bigint)")
            .execute(pool)
            .await
            .unwrap();
    }

    /// What cardholders have paid, by the service's own books.
    pub(crate) async fn paid(pool: &PgPool) -> i64 {
        let paid = sqlx::query_scalar("SELECT coalesce(sum(amount), 0)::bigint FROM book");
        paid.fetch_one(pool).await.unwrap()
    }

    pub(crate) fn service(self) -> Service {
        Service::new("till", || None, Self::register, self)
    }

    fn register(participant: Participant<Self>) -> Participant<Self> {
        participant.call_out::<ChargeCard>().undo_by_call::<RefundCard>()
    }

    /// The same, and refunds are only written down, for somebody who carries them out.
    pub(crate) fn with_plain_refund(self) -> Service {
        let register = |it: Participant<Self>| it.call_out::<ChargeCard>().compensate::<RefundCard>();
        Service::new("till", || None, register, self)
    }

    /// The same, and the answer to a refund comes later.
    pub(crate) fn with_later_refund(self) -> Service {
        let register = |it: Participant<Self>| it.call_out::<ChargeCard>().compensate_later::<RefundCard>();
        Service::new("till", || None, register, self)
    }

    async fn post<A: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<A, HandlerError> {
        let request = self.http.post(format!("{}{path}", self.provider.url)).json(body);
        let answer = request.header("connection", "close").send().await?;
        match answer.status().as_u16() {
            200 => Ok(answer.json().await?),
            status => Err(format!("the provider answered {status}").into()),
        }
    }
}

async fn enter(tx: &mut Tx<'_>, key: &IdempotencyKey, entry: &str, amount: i64) -> Result<(), sqlx::Error> {
    let entered = sqlx::query("INSERT INTO book VALUES ($1, $2, $3)");
    entered.bind(key.saga_id.to_string()).bind(entry).bind(amount).execute(tx).await.map(drop)
}

impl CallOut<ChargeCard> for Payments {
    type Request = ChargeRequest;
    type Response = bool;

    async fn prepare(
        &self,
        tx: &mut Tx<'_>,
        command: ChargeCard,
    ) -> Result<Prepared<ChargeRequest, i64>, HandlerError> {
        let key = tx.idempotency_key().clone();
        Ok(match command.amount {
            0 => Prepared::Done(0),
            ..0 => {
                enter(tx, &key, "never to be seen", command.amount).await?;
                Prepared::Rejected(redress_core::Rejection::new(
                    "negative",
                    "no card is charged less than nothing",
                ))
            }
            amount => Prepared::Call(ChargeRequest { key: key.to_string(), amount }),
        })
    }

    async fn call(&self, key: &IdempotencyKey, request: &ChargeRequest) -> Result<bool, HandlerError> {
        assert_eq!(key.to_string(), request.key, "the key is the command's own");
        assert_ne!(request.amount, 13, "thirteen is not charged");
        self.post("/charges", request).await
    }

    async fn inquire(
        &self,
        key: &IdempotencyKey,
        _: &ChargeRequest,
        purpose: Purpose,
    ) -> Result<Inquiry<bool>, HandlerError> {
        if self.asks == Asks::No {
            return Ok(Inquiry::Unknown);
        }
        let url = format!("{}/charges/{}", self.provider.url, key.to_string().replace('/', "%2F"));
        if purpose == Purpose::Settle {
            self.http.delete(&url).header("connection", "close").send().await?;
        }
        let charge: Option<bool> =
            self.http.get(&url).header("connection", "close").send().await?.json().await?;
        Ok(charge.map_or(Inquiry::NeverHappened, Inquiry::Answered))
    }

    async fn conclude(&self, tx: &mut Tx<'_>, request: &ChargeRequest, charged: &bool) -> Answer<i64> {
        self.entered.add_permits(1);
        self.gate.acquire().await?.forget();
        if !charged {
            return reject("declined", "the card was declined");
        }
        let key = tx.idempotency_key().clone();
        assert_eq!(key.to_string(), request.key, "also of a settlement");
        enter(tx, &key, "charged", request.amount).await?;
        done(request.amount)
    }
}

impl UndoByCall<RefundCard> for Payments {
    type Request = RefundRequest;
    /// The amount that was refunded.
    type Response = i64;

    async fn prepare(
        &self,
        tx: &mut Tx<'_>,
        _: RefundCard,
    ) -> Result<PreparedUndo<RefundRequest, i64>, HandlerError> {
        let (key, action) = (tx.idempotency_key().clone(), tx.idempotency_key().of_action());
        if let Some(doubt) = tx.in_doubt() {
            // As if it had happened: the books have the charge that is to be refunded.
            let request: ChargeRequest = doubt.request()?;
            assert_eq!((&request.key, doubt.idempotency_key()), (&action.to_string(), &action));
        }
        Ok(PreparedUndo::Call(RefundRequest { key: key.to_string(), charge: action.to_string() }))
    }

    async fn call(&self, _: &IdempotencyKey, request: &RefundRequest) -> Result<i64, HandlerError> {
        self.post("/refunds", request).await
    }

    async fn conclude(&self, tx: &mut Tx<'_>, _: &RefundRequest, refunded: &i64) -> Undone<i64> {
        let key = tx.idempotency_key().clone();
        let booked = sqlx::query_scalar("SELECT coalesce(sum(amount), 0)::bigint FROM book WHERE saga = $1");
        let booked: i64 = booked.bind(key.saga_id.to_string()).fetch_one(&mut *tx).await?;
        enter(tx, &key, "refunded", -booked).await?;
        Ok(*refunded)
    }
}

impl CompensateLater<RefundCard> for Payments {
    async fn compensate_later(&self, _: &mut Tx<'_>, _: RefundCard) -> UndoneOrLater<i64> {
        later()
    }
}

impl Compensate<RefundCard> for Payments {
    async fn compensate(&self, tx: &mut Tx<'_>, _: RefundCard) -> Undone<i64> {
        let key = tx.idempotency_key().clone();
        let doubtful = match tx.in_doubt() {
            Some(doubt) => Some(doubt.request::<ChargeRequest>()?.amount),
            None => None,
        };
        enter(tx, &key, if doubtful.is_some() { "to be looked at" } else { "to be refunded" }, 0).await?;
        Ok(doubtful.unwrap_or(0))
    }
}
