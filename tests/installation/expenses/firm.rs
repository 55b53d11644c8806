//! A firm that pays expenses: an installation with the services `card` and `office`, and a card provider that outlives
//! both, in the test's own process.

#![expect(clippy::unwrap_used, reason = "a test may panic; these helpers are not in a test function")]

use std::collections::BTreeMap;
use std::sync::Arc;

use redress::devstack::Stack;
use redress::{Given, IdempotencyKey, Rejection};
use redress_services::card_provider::CardProvider;
use redress_services::office::answer_approval;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::books;
use crate::support::check::Evidence;
use crate::support::process::Process;
use crate::support::{OFFICES, World, until};

/// Expenses, by the end that they must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fine,
    /// The provider charges, and its first answer is lost.
    AnswerLost,
    Declined,
    /// The office cannot book it once it is paid.
    Unbookable,
    /// The same, after the provider's first answer was lost.
    UnbookableAnswerLost,
    /// A person says no.
    Refused,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Fine,
        Self::AnswerLost,
        Self::Declined,
        Self::Unbookable,
        Self::UnbookableAnswerLost,
        Self::Refused,
    ];

    /// Half of them are fine.
    pub(crate) fn number(number: usize) -> Self {
        match number % 2 {
            0 => Self::Fine,
            _ => Self::ALL[number / 2 % Self::ALL.len()],
        }
    }

    fn input(self) -> Value {
        let card = match self {
            Self::Fine | Self::Unbookable | Self::Refused => "4000 0000 0000 1881",
            Self::AnswerLost | Self::UnbookableAnswerLost => "4000 0000 0000 0504",
            Self::Declined => "4000 0000 0000 0002",
        };
        let cost_centre = match self {
            Self::Unbookable | Self::UnbookableAnswerLost => "moon",
            Self::Fine | Self::AnswerLost | Self::Declined | Self::Refused => "travel",
        };
        json!({
            "employee": "ann", "purpose": "a train to Porto", "cost_centre": cost_centre, "card": card,
            "amount": 4_200, "currency": "EUR",
        })
    }

    /// Status and steps that are undone, in this order.
    pub(crate) const fn end(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Fine | Self::AnswerLost => ("completed", &[]),
            Self::Declined => ("compensated", &["approve-expense"]),
            Self::Unbookable | Self::UnbookableAnswerLost => {
                ("compensated", &["pay-expense", "approve-expense"])
            }
            Self::Refused => ("compensated", &[]),
        }
    }
}

/// The key of the question whether an expense is approved.
pub(crate) fn question(expense: Uuid) -> IdempotencyKey {
    format!("{expense}/approve-expense/action/1").parse().unwrap()
}

pub(crate) struct Firm {
    pub(crate) world: World,
    pub(crate) provider: CardProvider,
    pub(crate) office: PgPool,
    pub(crate) card: PgPool,
    /// The expenses that were handed in, by their saga.
    pub(crate) expenses: BTreeMap<Uuid, Kind>,
}

impl Firm {
    /// One coordinator, and one process for both services.
    pub(crate) async fn open() -> Self {
        Self::on(redress::devstack::shared().await, &OFFICES).await
    }

    /// One coordinator on these servers, and one process for these services.
    pub(crate) async fn on(stack: Arc<Stack>, services: &[&str]) -> Self {
        let mut world = World::with(stack, 1, &[]).await;
        let provider = CardProvider::start().unwrap();
        world.more.push(("CARD_PROVIDER_URL", provider.url().to_owned()));
        let (office, card) = (world.pool_of("office").await, world.pool_of("card").await);
        let processes = world.start_services(services).await;
        world.services.push(processes);
        Self { world, provider, office, card, expenses: BTreeMap::new() }
    }

    /// Both services, with more arguments.
    pub(crate) async fn start_services_to_die(&self, more: &[&str]) -> Process {
        let mut arguments = vec!["service", "--until-stdin-ends", "--allow-faults"];
        arguments.extend(more);
        arguments.extend(OFFICES);
        Process::start_to_die(&arguments, &self.world.environment()).await
    }

    /// Hands an expense in, again and again until it is accepted.
    pub(crate) async fn hand_in(&mut self, kind: Kind, faults: Value, key: &str) -> Uuid {
        let id = self.handing_in(kind, faults, key).await;
        self.expenses.insert(id, kind);
        id
    }

    /// The same, to be ended by the death of the coordinator; whoever calls it keeps the expense in mind.
    pub(crate) fn handing_in(
        &self,
        kind: Kind,
        faults: Value,
        key: &str,
    ) -> impl Future<Output = Uuid> + use<> {
        let (http, url, key) = (self.world.http.clone(), self.world.url("/v1/sagas"), key.to_owned());
        let body = json!({ "saga": "expense", "input": kind.input(), "faults": faults });
        async move {
            until(&format!("the acceptance of {key}"), async || {
                let request = http.post(&url).header("Idempotency-Key", &key).json(&body);
                let saga: Value = request.send().await.ok()?.json().await.ok()?;
                saga["id"].as_str()?.parse().ok()
            })
            .await
        }
    }

    /// A person decides on the expense as soon as the question has come; the same person twice, and the first word counts.
    pub(crate) fn decide(&self, id: Uuid, kind: Kind) -> impl Future<Output = ()> + use<> {
        let office = self.office.clone();
        async move {
            asked(&office, 1, Some(id)).await;
            assert_eq!(answer(&office, &[(id, kind)]).await, [Given::Now]);
            let again = answer(&office, &[(id, Kind::Refused)]).await;
            assert!(matches!(again[..], [Given::Before(_)]), "{again:?}");
        }
    }

    /// Waits until all expenses have ended, and checks everything: ends, what was undone, histories, and all books.
    pub(crate) async fn finish(&self) -> Evidence {
        self.world.wait_for(self.expenses.len() as i64).await;
        for (id, kind) in &self.expenses {
            let (status, undone) = kind.end();
            let found: String = sqlx::query_scalar("SELECT status FROM sagas WHERE id = $1")
                .bind(id)
                .fetch_one(self.world.journal())
                .await
                .unwrap();
            assert_eq!(
                (found.as_str(), self.world.undone_of(*id).await),
                (status, owned(undone)),
                "{kind:?} {id}"
            );
        }
        assert_eq!(self.wrong().await, Vec::<String>::new());
        self.world.sound_histories().await;
        Evidence {
            redelivered: self.world.observer.redelivered(),
            ..crate::support::check::evidence(self.world.journal()).await
        }
    }

    /// A sentence for each thing that is wrong in the books.
    pub(crate) async fn wrong(&self) -> Vec<String> {
        let entries = self.provider.entries();
        books::check(&books::read(self.world.journal(), &self.card, &self.office, &entries).await)
    }
}

fn owned(steps: &[&str]) -> Vec<String> {
    steps.iter().map(|step| (*step).to_owned()).collect()
}

/// Waits until so many questions have been asked, or the one of this expense.
pub(crate) async fn asked(office: &PgPool, count: i64, expense: Option<Uuid>) {
    let questions = "SELECT count(*) FROM approvals WHERE $1::text IS NULL OR key = $1";
    let key = expense.map(|id| question(id).to_string());
    until("the question whether it is approved", async || {
        let asked: i64 = sqlx::query_scalar(questions).bind(&key).fetch_one(office).await.ok()?;
        (asked >= count).then_some(())
    })
    .await;
}

/// A person's answers, all in one transaction.
pub(crate) async fn answer(office: &PgPool, expenses: &[(Uuid, Kind)]) -> Vec<Given> {
    let mut transaction = office.begin().await.unwrap();
    let mut given = Vec::with_capacity(expenses.len());
    for (id, kind) in expenses {
        let refused = (*kind == Kind::Refused).then(|| Rejection::new("too-dear", "not this year"));
        given.push(answer_approval(&mut transaction, &question(*id), "carol", refused).await.unwrap());
    }
    transaction.commit().await.unwrap();
    given
}
