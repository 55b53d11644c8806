//! Commands that run alone, because they have come again and again.
//!
//! One of them may be what ends the process, or its connection, each time it runs; the others in its batch are lost with
//! it and come again as well. So from the third delivery on each runs in a transaction of its own, behind the rest, and
//! leaves last words before it does ([`store::begin_alone`]). A command is given up when its own last words have stood
//! too often; how often it was delivered says nothing about it.

use std::sync::Arc;

use crate::retryable::answered;
use crate::store;
use crate::worker::{End, Member, Worker};

/// Deliveries after which a command may still run with others: its first, and one more because somebody went away.
const TRUSTED_DELIVERIES: u64 = 2;

impl<S: Send + Sync + 'static> Worker<S> {
    /// The trusted ones together, then the others one by one.
    pub(crate) async fn run_all(self: &Arc<Self>, members: Vec<Member>) {
        let (suspects, trusted): (Vec<Member>, Vec<Member>) =
            members.into_iter().partition(|member| member.deliveries > TRUSTED_DELIVERIES);
        let end = if trusted.is_empty() { End::Settled } else { self.run(trusted).await };
        match end {
            End::Settled | End::PutBack => {
                self.run_alone(suspects).await;
            }
            End::DatabaseDown => self.put_back(suspects).await,
        }
    }

    /// Each member in a transaction of its own, settled before the next one begins.
    pub(crate) async fn run_alone(self: &Arc<Self>, members: Vec<Member>) -> End {
        let mut members = members.into_iter();
        while let Some(member) = members.next() {
            match Box::pin(self.run_one(member)).await {
                End::Settled | End::PutBack => {}
                End::DatabaseDown => {
                    self.put_back(members.collect()).await;
                    return End::DatabaseDown;
                }
            }
        }
        End::Settled
    }

    async fn run_one(self: &Arc<Self>, member: Member) -> End {
        if member.deliveries <= TRUSTED_DELIVERIES {
            return self.run(vec![member]).await;
        }
        let (key, limit) = (member.command.key.to_string(), self.settings.silence_max);
        let tries = match answered(limit, store::begin_alone(&self.pool, &key)).await {
            Ok(tries) => tries,
            Err(error) => return self.wait_for_database(vec![member], &error).await,
        };
        let earlier = tries.saturating_sub(1);
        if earlier >= self.settings.tries_max {
            let reason = format!("it was run {earlier} times and never settled");
            self.bury(vec![(self.poison(&member.command, reason), member.ack)]).await;
            return End::Settled;
        }
        let end = self.run(vec![member]).await;
        match end {
            End::Settled => {
                if let Err(error) = answered(limit, store::end_alone(&self.pool, &key)).await {
                    tracing::debug!(service = %self.service, %error, key, "last words not taken back");
                }
            }
            End::PutBack | End::DatabaseDown => {}
        }
        end
    }
}
