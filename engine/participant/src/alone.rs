//! Commands that run alone, because they have come again and again.
//!
//! One of them may be what ends the process, or its connection, each time it runs; the others in its batch are lost with
//! it and come again as well. So from the third delivery on each runs in a transaction of its own, behind the rest, and
//! leaves last words before it does ([`store::begin_alone`]). A command is given up when its own last words have stood
//! too often; how often it was delivered says nothing about it.
//!
//! Alone run only those whose handler must run: what the inbox can answer harms nobody, however often it came.

use std::collections::HashSet;
use std::sync::Arc;

use redress_core::Phase;

use crate::connection::on_connection;
use crate::store;
use crate::worker::{Blame, End, Member, Worker};

/// Deliveries after which a command may still run with others: its first, and one more because somebody went away.
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
                    self.wait_for_database(trusted, &error, Blame::Nobody).await;
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

    /// Who needs no handler, because the answer is there already: after a stall these are many, and a transaction for each
    /// would take so long that they come again meanwhile.
    async fn answered_before(&self, members: &[Member]) -> Result<HashSet<String>, sqlx::Error> {
        let keys: Vec<String> = members.iter().map(|member| member.command.key.to_string()).collect();
        on_connection(&self.pool, self.settings.silence_max, |connection| {
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
        let (key, limit) = (member.command.key.to_string(), self.settings.silence_max);
        let last_words = key.clone();
        let begun = on_connection(&self.pool, limit, |connection| {
            Box::pin(async move { store::begin_alone(connection, &last_words).await })
        });
        let tries = match begun.await {
            Ok(tries) => tries,
            Err(error) => return self.wait_for_database(vec![member], &error, Blame::Nobody).await,
        };
        let earlier = tries.saturating_sub(1);
        if earlier >= self.settings.tries_max {
            let reason = format!("it was run {earlier} times and never settled");
            self.bury(vec![(self.poison(&member.command, reason), member.ack)]).await;
            return End::Settled;
        }
        let end = self.run_alone(member).await;
        match end {
            End::Settled | End::PutBack(Blame::Nobody) | End::DatabaseDown(Blame::Nobody) => {
                self.take_back_last_words(key).await;
            }
            End::PutBack(Blame::Perhaps) | End::DatabaseDown(Blame::Perhaps) => {}
        }
        end
    }

    async fn take_back_last_words(&self, key: String) {
        let of = key.clone();
        let ended = on_connection(&self.pool, self.settings.silence_max, |connection| {
            Box::pin(async move { store::end_alone(connection, &of).await })
        });
        if let Err(error) = ended.await {
            tracing::debug!(service = %self.service, %error, key, "last words not taken back");
        }
    }
}
