//! Commands that run alone, because they have come again and again.
//!
//! One of them may be the cause that ends the process, or its connection, each time it runs; the others in its batch
//! are lost with it and come again as well. So from the third delivery on each runs in a transaction of its own, behind
//! the rest, and leaves an attempt marker before it does ([`store::leave_attempt_marker`]). A command is given up when
//! its own attempt marker has stood too often; how often it was delivered says nothing about it.
//!
//! Only those whose handler must run are run alone: a command that the inbox can answer does no harm, however often it
//! came.

use std::collections::HashSet;
use std::sync::Arc;

use redress_core::Phase;

use crate::member::{CountsAsAttempt, End, Member};
use crate::store;
use crate::unit_error::UnitError;
use crate::worker::Worker;

/// Deliveries after which a command may still run with others: its first, and one more for an instance that went away.
const TRUSTED_DELIVERIES: u64 = 2;

impl<S: Send + Sync + 'static> Worker<S> {
    /// The trusted ones together, then the others one by one.
    pub(crate) async fn run_all(self: &Arc<Self>, members: Vec<Member>) {
        let (mut suspects, mut trusted): (Vec<Member>, Vec<Member>) =
            members.into_iter().partition(|member| member.deliveries > TRUSTED_DELIVERIES);
        if !suspects.is_empty() {
            let answered = match self.answered_before(&suspects).await {
                Ok(answered) => answered,
                Err(error) => {
                    trusted.extend(suspects);
                    self.wait_for_database(trusted, &error).await;
                    return;
                }
            };
            let is_harmless = |member: &Member| {
                let key = &member.command.key;
                key.phase == Phase::Settlement || answered.contains(&key.to_string())
            };
            let (harmless, rest): (Vec<Member>, Vec<Member>) = suspects.into_iter().partition(is_harmless);
            trusted.extend(harmless);
            suspects = rest;
        }
        let end = if trusted.is_empty() { End::Settled } else { self.run(trusted).await };
        match end {
            End::Settled | End::PutBack(_) => {
                self.run_one_by_one(suspects).await;
            }
            End::DatabaseDown(_) => self.put_back(suspects).await,
        }
    }

    /// The keys of members that need no handler, because the answer is there already: after a stall these are many, and
    /// a transaction for each would take so long that they come again meanwhile.
    async fn answered_before(&self, members: &[Member]) -> Result<HashSet<String>, UnitError> {
        let keys: Vec<String> = members.iter().map(|member| member.command.key.to_string()).collect();
        self.inbox
            .on_connection(|connection| {
                Box::pin(async move { store::answered_keys(connection, &keys).await })
            })
            .await
    }

    /// Each member in a transaction of its own, settled before the next one begins.
    pub(crate) async fn run_one_by_one(self: &Arc<Self>, members: Vec<Member>) -> End {
        let mut members = members.into_iter();
        while let Some(member) = members.next() {
            match Box::pin(self.run_one(member)).await {
                End::Settled | End::PutBack(_) => {}
                end @ End::DatabaseDown(_) => {
                    self.put_back(members.collect()).await;
                    return end;
                }
            }
        }
        End::Settled
    }

    async fn run_one(self: &Arc<Self>, member: Member) -> End {
        if member.deliveries <= TRUSTED_DELIVERIES {
            return self.run_alone(member).await;
        }
        let key = member.command.key.to_string();
        let attempt_marker = key.clone();
        let begun = self.inbox.on_connection(|connection| {
            Box::pin(async move { store::leave_attempt_marker(connection, &attempt_marker).await })
        });
        let tries = match begun.await {
            Ok(tries) => tries,
            Err(error) => return self.wait_for_database(vec![member], &error).await,
        };
        let earlier = tries.saturating_sub(1);
        if earlier >= self.inbox.config.tries_max {
            let reason = format!("it was run {earlier} times and never settled");
            self.dead_letter(vec![(self.poison(&member.command, reason), member.ack)]).await;
            return End::Settled;
        }
        let end = self.run_alone(member).await;
        match end {
            End::Settled | End::PutBack(CountsAsAttempt::No) | End::DatabaseDown(CountsAsAttempt::No) => {
                self.remove_attempt_marker(key).await;
            }
            End::PutBack(CountsAsAttempt::Yes) | End::DatabaseDown(CountsAsAttempt::Yes) => {}
        }
        end
    }

    async fn remove_attempt_marker(&self, key: String) {
        let of = key.clone();
        let ended = self.inbox.on_connection(|connection| {
            Box::pin(async move { store::remove_attempt_marker(connection, &of).await })
        });
        if let Err(error) = ended.await {
            let error = error.chain();
            tracing::debug!(service = %self.service, error, key, "attempt marker not removed");
        }
    }
}
