//! Runs messages through the inbox of the service under test, and carries out what a participant would do after a failure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use redress_core::{Command, CommandMessage, IdempotencyKey, JsonText, Name, Outcome, Phase, Timestamp};
use sqlx::PgPool;
use tokio::sync::OnceCell;

use super::error::ServiceTestError;
use crate::config::ParticipantConfig;
use crate::dispatch::truncate_message;
use crate::execute::{AfterCall, Executes};
use crate::member::Verdict;
use crate::recovery::{Recovery, after_failure};
use crate::serve_error::ServeError;
use crate::service::Service;
use crate::unit_error::{Disposition, UnitError};

/// How often commands are run again that another transaction is at work on: it ends with its handler.
const ELSEWHERE_MAX: u32 = 100;

pub(super) struct Bench {
    pub(super) service: Service,
    pub(super) pool: PgPool,
    pub(super) config: ParticipantConfig,
    inbox: Box<dyn Executes>,
}

/// The parts of a message that a step keeps from one attempt to the next.
pub(super) struct Sent<'a> {
    pub(super) key: IdempotencyKey,
    pub(super) attempt: u32,
    pub(super) action_sent_at: &'a OnceCell<Timestamp>,
    /// How long ago, in seconds.
    pub(super) age_s: f64,
}

impl Bench {
    pub(super) fn new(
        service: Service,
        pool: PgPool,
        config: ParticipantConfig,
    ) -> Result<Self, ServiceTestError> {
        let inbox = service.runs.inbox(pool.clone(), config.clone())?;
        Ok(Self { service, pool, config, inbox })
    }

    /// The message that carries a command.
    pub(super) async fn message<C: Command>(
        &self,
        payload: JsonText,
        sent: Sent<'_>,
    ) -> Result<CommandMessage, ServiceTestError> {
        let service = self.service.name();
        if C::SERVICE != service {
            return Err(ServiceTestError::OtherService { command: C::NAME, of: C::SERVICE, service });
        }
        payload.check_sendable().map_err(|unfit| unsendable::<C>(unfit))?;
        let action_sent_at = sent.action_sent_at.get_or_try_init(async || self.ago(sent.age_s).await).await?;
        Ok(CommandMessage {
            key: sent.key,
            attempt: sent.attempt,
            saga: name("test")?,
            version: 1,
            service: name(C::SERVICE)?,
            command: name(C::NAME)?,
            action_sent_at: *action_sent_at,
            fault: None,
            traceparent: None,
            payload,
        })
    }

    /// The time of the database, so many seconds ago.
    async fn ago(&self, age_s: f64) -> Result<Timestamp, UnitError> {
        let ago = sqlx::query_scalar("SELECT clock_timestamp() - make_interval(secs => $1)").bind(age_s);
        Ok(ago.fetch_one(&self.pool).await?)
    }

    /// The outcome of each message; they come in one batch, as far as it holds together.
    pub(super) async fn settle(&self, messages: &[CommandMessage]) -> Result<Vec<Outcome>, ServiceTestError> {
        let mut outcomes = BTreeMap::new();
        let mut known = Vec::with_capacity(messages.len());
        for (place, message) in messages.iter().enumerate() {
            match self.unknown(message) {
                Some(reason) => drop(outcomes.insert(place, Outcome::Refused { reason })),
                None => known.push(place),
            }
        }
        let (mut waiting, mut elsewhere) = (VecDeque::from([known]), 0);
        while let Some(places) = waiting.pop_front() {
            if places.is_empty() {
                continue;
            }
            let batch: Arc<[CommandMessage]> = places.iter().map(|&place| messages[place].clone()).collect();
            let error = match self.inbox.execute(batch, self.config.lock_wait_max).await {
                Ok(verdicts) => {
                    let Unruled { left, apart, later } = ruled(places, verdicts, &mut outcomes);
                    waiting.push_front(left);
                    apart.into_iter().rev().for_each(|place| waiting.push_front(vec![place]));
                    if let Some(pause) = later.iter().map(|(_, pause)| *pause).max() {
                        tokio::time::sleep(pause).await;
                    }
                    waiting.extend(later.into_iter().map(|(place, _)| vec![place]));
                    continue;
                }
                Err(error) => error,
            };
            match after_failure(&error, places.len(), error.is_unreachable()) {
                Recovery::RunWithout([key]) => {
                    let is_overdue = |place: &usize| messages[*place].key == *key;
                    let (overdue, others): (Vec<usize>, Vec<usize>) =
                        places.into_iter().partition(is_overdue);
                    outcomes.extend(overdue.into_iter().map(|place| (place, failed(&error))));
                    waiting.push_front(others);
                }
                Recovery::RunWithout(_) | Recovery::RunOneByOne => {
                    places.into_iter().rev().for_each(|place| waiting.push_front(vec![place]));
                }
                Recovery::Fail => outcomes.extend(places.into_iter().map(|place| (place, failed(&error)))),
                Recovery::PutBack
                    if error.disposition() == Disposition::Elsewhere && elsewhere < ELSEWHERE_MAX =>
                {
                    elsewhere += 1;
                    waiting.push_back(places);
                }
                Recovery::PutBack | Recovery::WaitForDatabase => return Err(error.into()),
            }
        }
        Ok(outcomes.into_values().collect())
    }

    /// Has an instance die that runs this command, between the call to a third party and its conclusion, and lets the
    /// time pass in which nobody calls again.
    pub(super) async fn die_after_call(&self, message: CommandMessage) -> Result<(), ServiceTestError> {
        let (command, lock_wait) = (message.command.to_string(), self.config.lock_wait_max);
        if self.unknown(&message).is_none()
            && self.inbox.die_after_call(message, lock_wait).await? == AfterCall::Died
        {
            return Ok(());
        }
        Err(ServiceTestError::NotCalled { command })
    }

    /// The reason why no instance of this program can use the message, if there is one.
    fn unknown(&self, message: &CommandMessage) -> Option<String> {
        let (phase, command) = (message.key.phase, &message.command);
        // The inbox alone answers a settlement.
        let is_known = phase == Phase::Settlement || self.service.handles(phase, command.as_str());
        (!is_known).then(|| format!("service `{}` knows no {phase} `{command}`", message.service))
    }
}

/// Places of messages without a ruling.
#[derive(Default)]
struct Unruled {
    /// For the next batch.
    left: Vec<usize>,
    /// Each for a batch of its own.
    apart: Vec<usize>,
    /// After a pause.
    later: Vec<(usize, Duration)>,
}

/// Notes the outcomes of a batch, and gives back the places that were not ruled on.
fn ruled(places: Vec<usize>, verdicts: Vec<Verdict>, outcomes: &mut BTreeMap<usize, Outcome>) -> Unruled {
    let mut unruled = Unruled::default();
    for (place, verdict) in places.into_iter().zip(verdicts) {
        match verdict {
            Verdict::Answered(outcome) => drop(outcomes.insert(place, outcome)),
            Verdict::Poison { code: _, reason } => drop(outcomes.insert(place, Outcome::Refused { reason })),
            Verdict::Left => unruled.left.push(place),
            Verdict::Apart => unruled.apart.push(place),
            Verdict::Later(pause) => unruled.later.push((place, pause)),
            // Carried out before it comes here.
            Verdict::Calls(_) => {}
        }
    }
    unruled
}

fn failed(error: &UnitError) -> Outcome {
    Outcome::Failed { message: truncate_message(&error.chain()) }
}

fn name(text: &str) -> Result<Name, ServeError> {
    Ok(Name::new(text)?)
}

/// The error of a command that no coordinator could send.
pub(super) fn unsendable<C: Command>(
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ServiceTestError {
    ServiceTestError::Command { command: C::NAME, source: source.into() }
}
