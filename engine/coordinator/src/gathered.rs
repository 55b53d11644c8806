//! Reads of single sagas, gathered: callers that ask while a query is under way are answered by the next one.
//!
//! Sagas end in batches, and each one that a caller waits for is read once more when it has ended: a query for each would
//! cost a tenth of the work that the saga is. No read shares a query that was sent before it was asked for, so that a
//! caller sees whatever was committed before its call. A query that fails is the failure of one saga at the most: its
//! callers then ask alone.
//!
//! The waiting callers are requests that the API has let in; one that goes away is not read for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use redress_core::SagaId;
use tokio::sync::{Semaphore, oneshot};

/// Queries under way: a large saga keeps the others waiting on one of them, not on both.
const LANES: usize = 2;
/// Sagas of one query: each may weigh megabytes.
const SAGAS_MAX: usize = 20;

/// The answer to a caller.
#[derive(Debug)]
enum Answer<V, E> {
    /// What was found of its saga; nothing if there is none.
    Found(Option<V>),
    /// Its query was its own, and failed.
    Failed(E),
    /// The query for it and others failed, perhaps by the fault of one of the others.
    AskAlone,
}

#[derive(Debug)]
struct Caller<V, E> {
    id: SagaId,
    answer: oneshot::Sender<Answer<V, E>>,
}

/// The callers that wait for a query, and the lanes that send them. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Gathered<V, E> {
    callers: Arc<Mutex<VecDeque<Caller<V, E>>>>,
    lanes: Arc<Semaphore>,
}

impl<V, E> Clone for Gathered<V, E> {
    fn clone(&self) -> Self {
        Self { callers: self.callers.clone(), lanes: self.lanes.clone() }
    }
}

impl<V, E> Default for Gathered<V, E> {
    fn default() -> Self {
        Self { callers: Arc::default(), lanes: Arc::new(Semaphore::new(LANES)) }
    }
}

impl<V, E> Gathered<V, E>
where
    V: Clone + Send + 'static,
    E: Send + 'static,
{
    /// What `query` finds of this saga, among others that are asked for at the same time: its callers must all mean the
    /// same by it. Nothing inside if there is no such saga; nothing at all if the query panicked.
    pub(crate) async fn ask<F>(
        &self,
        id: SagaId,
        query: impl Fn(Vec<SagaId>) -> F + Clone + Send + Sync + 'static,
    ) -> Option<Result<Option<V>, E>>
    where
        F: Future<Output = Result<HashMap<SagaId, V>, E>> + Send,
    {
        let (answer, answered) = oneshot::channel();
        self.callers().push_back(Caller { id, answer });
        if self.lanes.available_permits() > 0 {
            let (gathered, query) = (self.clone(), query.clone());
            tokio::spawn(async move { gathered.answer_callers(query).await });
        }
        match answered.await.ok()? {
            Answer::Found(found) => Some(Ok(found)),
            Answer::Failed(error) => Some(Err(error)),
            Answer::AskAlone => Some(query(vec![id]).await.map(|mut found| found.remove(&id))),
        }
    }

    /// Sends queries until no caller waits, unless all lanes are taken.
    async fn answer_callers<F>(self, query: impl Fn(Vec<SagaId>) -> F)
    where
        F: Future<Output = Result<HashMap<SagaId, V>, E>>,
    {
        while let Ok(lane) = self.lanes.clone().try_acquire_owned() {
            loop {
                // Callers that were woken together ask one after the other: the rest of them come first.
                tokio::task::yield_now().await;
                let callers = self.next();
                if callers.is_empty() {
                    break;
                }
                let mut ids: Vec<SagaId> = callers.iter().map(|caller| caller.id).collect();
                ids.sort_unstable();
                ids.dedup();
                answer(callers, query(ids).await);
            }
            drop(lane);
            // A caller that came before the lane was free has relied on it.
            if self.callers().is_empty() {
                return;
            }
        }
    }

    fn callers(&self) -> MutexGuard<'_, VecDeque<Caller<V, E>>> {
        self.callers.lock().expect("no thread panics while it holds the callers")
    }

    /// The callers of the next query.
    fn next(&self) -> Vec<Caller<V, E>> {
        let mut callers = self.callers();
        let mut next = Vec::with_capacity(callers.len().min(SAGAS_MAX));
        while next.len() < SAGAS_MAX {
            let Some(caller) = callers.pop_front() else { break };
            if !caller.answer.is_closed() {
                next.push(caller);
            }
        }
        next
    }
}

fn answer<V: Clone, E>(mut callers: Vec<Caller<V, E>>, found: Result<HashMap<SagaId, V>, E>) {
    // A caller that has gone away needs no answer.
    match found {
        Ok(found) => {
            for Caller { id, answer } in callers {
                let _ = answer.send(Answer::Found(found.get(&id).cloned()));
            }
        }
        Err(error) if callers.len() == 1 => {
            if let Some(Caller { answer, .. }) = callers.pop() {
                let _ = answer.send(Answer::Failed(error));
            }
        }
        Err(_) => {
            for Caller { answer, .. } in callers {
                let _ = answer.send(Answer::AskAlone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How long a query takes.
    const QUERY: Duration = Duration::from_secs(1);
    /// A saga for which every query fails.
    const BROKEN: u128 = 13;
    /// Sagas from this number on do not exist.
    const UNKNOWN: u128 = 1_000;

    /// The queries that were sent, as the numbers of their sagas.
    #[derive(Clone, Default)]
    struct Sent(Arc<Mutex<Vec<Vec<u128>>>>);

    impl Sent {
        async fn query(self, ids: Vec<SagaId>) -> Result<HashMap<SagaId, u128>, &'static str> {
            let numbers: Vec<u128> = ids.iter().map(|id| id.0.as_u128()).collect();
            self.0.lock().unwrap().push(numbers.clone());
            tokio::time::sleep(QUERY).await;
            if numbers.contains(&BROKEN) {
                return Err("broken");
            }
            Ok(ids.into_iter().zip(numbers).filter(|(_, number)| *number < UNKNOWN).collect())
        }

        fn all(&self) -> Vec<Vec<u128>> {
            self.0.lock().unwrap().clone()
        }
    }

    struct Reader {
        gathered: Gathered<u128, &'static str>,
        sent: Sent,
    }

    impl Reader {
        fn new() -> Self {
            Self { gathered: Gathered::default(), sent: Sent::default() }
        }

        /// Asks for a saga in a task of its own.
        fn ask(&self, number: u128) -> tokio::task::JoinHandle<Result<Option<u128>, &'static str>> {
            let (gathered, sent) = (self.gathered.clone(), self.sent.clone());
            tokio::spawn(async move {
                let id = SagaId(uuid::Uuid::from_u128(number));
                gathered.ask(id, move |ids| sent.clone().query(ids)).await.expect("no query panics")
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_ask_together_share_one_query_and_each_gets_its_own_saga() {
        let reader = Reader::new();
        let asked: Vec<_> = [3, 1, UNKNOWN, 1].into_iter().map(|number| reader.ask(number)).collect();
        let mut answers = Vec::new();
        for asked in asked {
            answers.push(asked.await.unwrap());
        }
        assert_eq!(answers, [Ok(Some(3)), Ok(Some(1)), Ok(None), Ok(Some(1))]);
        assert_eq!(reader.sent.all(), [vec![1, 3, UNKNOWN]]);
    }

    #[tokio::test(start_paused = true)]
    async fn query_that_is_under_way_is_not_shared() {
        let reader = Reader::new();
        let first = reader.ask(1);
        tokio::time::sleep(QUERY / 2).await;
        let second = reader.ask(1);
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(Some(1)), Ok(Some(1))));
        assert_eq!(reader.sent.all(), [[1], [1]]);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_callers_are_taken_in_turn_by_two_lanes() {
        let reader = Reader::new();
        let slow = [reader.ask(1), reader.ask(1)];
        tokio::time::sleep(QUERY / 2).await;
        // One lane is under way, the other one is free.
        let others: Vec<_> = (100..150).map(|number| reader.ask(number)).collect();
        tokio::time::sleep(QUERY / 4).await;
        let lengths = |sent: &Sent| sent.all().iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(&reader.sent), [1, SAGAS_MAX], "no third query is under way");
        for asked in slow.into_iter().chain(others) {
            assert!(asked.await.unwrap().is_ok());
        }
        assert_eq!(lengths(&reader.sent), [1, SAGAS_MAX, SAGAS_MAX, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn failure_is_that_of_one_saga() {
        let reader = Reader::new();
        let asked: Vec<_> = [1, BROKEN, 2].into_iter().map(|number| reader.ask(number)).collect();
        let mut answers = Vec::new();
        for asked in asked {
            answers.push(asked.await.unwrap());
        }
        assert_eq!(answers, [Ok(Some(1)), Err("broken"), Ok(Some(2))]);
        assert_eq!(reader.ask(BROKEN).await.unwrap(), Err("broken"));
    }

    #[tokio::test(start_paused = true)]
    async fn caller_that_goes_away_is_not_read_for() {
        let reader = Reader::new();
        let under_way = [reader.ask(1), reader.ask(1)];
        tokio::time::sleep(QUERY / 4).await;
        let also_under_way = reader.ask(2);
        tokio::time::sleep(QUERY / 4).await;
        let (gone, stays) = (reader.ask(3), reader.ask(4));
        tokio::time::sleep(QUERY / 4).await;
        gone.abort();
        assert_eq!(stays.await.unwrap(), Ok(Some(4)));
        for asked in under_way.into_iter().chain([also_under_way]) {
            assert!(asked.await.unwrap().is_ok());
        }
        assert_eq!(reader.sent.all(), [[1], [2], [4]]);
    }
}
