//! Commands that run beside the batches, and those that wait to: who is next, as plain data.
//!
//! Each kind has a queue and a number of places of its own, so a kind that waits holds no place of another one. The
//! places of all are bounded by the connections there are; one of them is set aside for each kind, so that none waits
//! for another's long commands, and of those that are left the kind with the fewest under way gets the next.
//!
//! A command under way here is known by the key of its action. Another command about the same action would take a
//! connection only to wait for a row of the inbox; so it is put back, and its answer is there when it comes again.

use std::collections::{HashMap, VecDeque};

use redress_wire::delivery::AckHandle;

use crate::tempo::Tempo;

/// The most that the waiting commands of one kind hold, in bytes: as much as a batch takes.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// A command that is to run beside the batches.
pub(crate) struct Waiting<T> {
    /// Of its action.
    pub(crate) key: String,
    pub(crate) bytes: usize,
    /// To be kept alive.
    pub(crate) ack: Option<AckHandle>,
    pub(crate) item: T,
}

/// The reason why a command cannot wait here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another one about the same action is under way.
    UnderWay,
    /// As many wait as may.
    Full,
    /// The participant is about to stop.
    Closed,
}

/// Commands of one kind that begin now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Job<T> {
    /// The place of the handler among the handlers.
    pub(crate) handler: usize,
    pub(crate) keys: Vec<String>,
    pub(crate) items: Vec<T>,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<T> {
    Run(Job<T>),
    /// Their kind is short by now, or to be proven: they go back to the lane.
    Return(Vec<T>),
    Nothing,
}

/// How a handler runs beside the batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Calls beside each other, at most.
    pub(crate) concurrency: usize,
    /// Commands in one call, at most.
    pub(crate) set_max: usize,
}

struct Queue<T> {
    bounds: Bounds,
    running: usize,
    waiting: VecDeque<Waiting<T>>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    Open,
    Closed,
}

/// The commands beside the batches, by handler.
pub(crate) struct Beside<T> {
    places: usize,
    queues: Vec<Queue<T>>,
    /// By the key of the action.
    under_way: HashMap<String, Option<AckHandle>>,
    intake: Intake,
}

impl<T> Beside<T> {
    /// Nothing yet, with this many places for all.
    pub(crate) fn new(places: usize, handlers: impl Iterator<Item = Bounds>) -> Self {
        let queue = |bounds| Queue { bounds, running: 0, waiting: VecDeque::new(), bytes: 0 };
        Self {
            places,
            queues: handlers.map(queue).collect(),
            under_way: HashMap::new(),
            intake: Intake::Open,
        }
    }

    pub(crate) fn nothing_under_way(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Returns true if a command about this action waits or runs.
    pub(crate) fn is_under_way(&self, key: &str) -> bool {
        self.under_way.contains_key(key)
    }

    /// A command comes to wait for a place, at most `waiting_max` of its kind.
    pub(crate) fn offer(
        &mut self,
        handler: usize,
        waiting_max: usize,
        waiting: Waiting<T>,
    ) -> Result<(), (Refused, T)> {
        let queue = &mut self.queues[handler];
        let is_full = queue.waiting.len() >= waiting_max
            || (!queue.waiting.is_empty() && queue.bytes + waiting.bytes > WAITING_BYTES_MAX);
        let refused = match self.intake {
            Intake::Closed => Refused::Closed,
            Intake::Open if self.under_way.contains_key(&waiting.key) => Refused::UnderWay,
            Intake::Open if is_full => Refused::Full,
            Intake::Open => {
                self.under_way.insert(waiting.key.clone(), waiting.ack.clone());
                queue.bytes += waiting.bytes;
                queue.waiting.push_back(waiting);
                return Ok(());
            }
        };
        Err((refused, waiting.item))
    }

    /// A probe begins, unless others of its kind are under way.
    pub(crate) fn begin_probe(&mut self, handler: usize, waiting: Waiting<T>) -> Result<Job<T>, T> {
        let queue = &mut self.queues[handler];
        if queue.running > 0 || self.under_way.contains_key(&waiting.key) {
            return Err(waiting.item);
        }
        queue.running += 1;
        self.under_way.insert(waiting.key.clone(), waiting.ack);
        Ok(Job { handler, keys: vec![waiting.key], items: vec![waiting.item] })
    }

    /// The job of this handler with these keys has ended.
    pub(crate) fn ended(&mut self, handler: usize, keys: &[String]) {
        self.queues[handler].running -= 1;
        self.release(keys);
    }

    /// Commands of a batch that has given its lane back are under way.
    pub(crate) fn hold(&mut self, keys: &[String]) {
        self.under_way.extend(keys.iter().map(|key| (key.clone(), None)));
    }

    pub(crate) fn release(&mut self, keys: &[String]) {
        for key in keys {
            self.under_way.remove(key);
        }
    }

    /// What is to be done next; to be asked again until it is nothing.
    pub(crate) fn next(&mut self, tempo: impl Fn(usize) -> Tempo) -> Step<T> {
        let with_waiting = |handler: &usize| !self.queues[*handler].waiting.is_empty();
        let mut handlers: Vec<usize> = (0..self.queues.len()).filter(with_waiting).collect();
        handlers.sort_by_key(|&handler| self.queues[handler].running);
        for handler in handlers {
            match tempo(handler) {
                Tempo::Short => return Step::Return(self.take_waiting(handler)),
                Tempo::Unproven if self.queues[handler].running == 0 => {
                    return Step::Return(self.take_waiting(handler));
                }
                Tempo::Long if self.has_place(handler) => return Step::Run(self.begin(handler)),
                Tempo::Unproven | Tempo::Long => {}
            }
        }
        Step::Nothing
    }

    /// Takes all that wait, of every kind.
    pub(crate) fn take_all_waiting(&mut self) -> Vec<T> {
        (0..self.queues.len()).flat_map(|handler| self.take_waiting(handler)).collect()
    }

    /// Lets no others come to wait, and takes those that do.
    pub(crate) fn close(&mut self) -> Vec<T> {
        self.intake = Intake::Closed;
        self.take_all_waiting()
    }

    /// Of the commands that wait or run.
    pub(crate) fn acks(&self) -> Vec<AckHandle> {
        self.under_way.values().flatten().cloned().collect()
    }

    /// Commands that run, and commands that wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let waiting = self.queues.iter().map(|queue| queue.waiting.len()).sum();
        (self.queues.iter().map(|queue| queue.running).sum(), waiting)
    }

    /// Of each handler: calls that run, commands that wait, and calls that may run beside each other.
    pub(crate) fn loads(&self) -> Vec<(usize, usize, usize)> {
        let load = |queue: &Queue<T>| (queue.running, queue.waiting.len(), queue.bounds.concurrency);
        self.queues.iter().map(load).collect()
    }

    fn has_place(&self, handler: usize) -> bool {
        let Queue { bounds, running, .. } = &self.queues[handler];
        if *running >= bounds.concurrency {
            return false;
        }
        let all = |counted: fn(usize) -> usize| {
            self.queues.iter().map(|queue| counted(queue.running)).sum::<usize>()
        };
        match self.places.checked_sub(self.queues.len()) {
            // The first of each kind has a place of its own.
            Some(shared) => *running == 0 || all(|running| running.saturating_sub(1)) < shared,
            None => all(|running| running) < self.places,
        }
    }

    fn begin(&mut self, handler: usize) -> Job<T> {
        let queue = &mut self.queues[handler];
        queue.running += 1;
        let mut job = Job { handler, keys: Vec::new(), items: Vec::new() };
        for waiting in queue.waiting.drain(..queue.bounds.set_max.min(queue.waiting.len())) {
            queue.bytes -= waiting.bytes;
            job.keys.push(waiting.key);
            job.items.push(waiting.item);
        }
        job
    }

    fn take_waiting(&mut self, handler: usize) -> Vec<T> {
        let queue = &mut self.queues[handler];
        queue.bytes = 0;
        let waiting = std::mem::take(&mut queue.waiting);
        waiting
            .into_iter()
            .map(|waiting| {
                self.under_way.remove(&waiting.key);
                waiting.item
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(places: usize, concurrency: &[usize]) -> Beside<String> {
        let bounds = |&concurrency: &usize| Bounds { concurrency, set_max: 1 };
        Beside::new(places, concurrency.iter().map(bounds))
    }

    /// Commands `key` of kind `handler`, in this order.
    fn offer(beside: &mut Beside<String>, handler: usize, keys: &[&str]) -> Vec<Refused> {
        let keys = keys.iter().map(|key| (*key).to_owned());
        let waiting = keys.map(|key| Waiting { key: key.clone(), bytes: 1, ack: None, item: key });
        waiting
            .filter_map(|waiting| beside.offer(handler, 3, waiting).err())
            .map(|(refused, _)| refused)
            .collect()
    }

    /// The commands that begin if all kinds are long.
    fn begun(beside: &mut Beside<String>) -> Vec<String> {
        let mut begun = Vec::new();
        while let Step::Run(job) = beside.next(|_| Tempo::Long) {
            begun.extend(job.items);
        }
        begun
    }

    fn end(beside: &mut Beside<String>, handler: usize, key: &str) {
        beside.ended(handler, &[key.to_owned()]);
    }

    #[test]
    fn kind_that_waits_holds_no_place_of_another() {
        let mut beside = beside(10, &[2, 2]);
        assert_eq!(offer(&mut beside, 0, &["a", "b", "c"]), []);
        assert_eq!(begun(&mut beside), ["a", "b"]);
        assert_eq!(offer(&mut beside, 1, &["x", "y"]), []);
        assert_eq!(begun(&mut beside), ["x", "y"]);
        assert_eq!(beside.counts(), (4, 1));
        end(&mut beside, 0, "a");
        assert_eq!(begun(&mut beside), ["c"]);
    }

    #[test]
    fn each_kind_has_a_place_of_its_own_and_the_others_are_shared_evenly() {
        // Four for all: two of them are set aside.
        let mut beside = beside(4, &[9, 9]);
        offer(&mut beside, 0, &["a", "b", "c"]);
        offer(&mut beside, 0, &[]);
        assert_eq!(begun(&mut beside), ["a", "b", "c"]);
        offer(&mut beside, 0, &["d", "e"]);
        assert_eq!(begun(&mut beside), [""; 0]);
        offer(&mut beside, 1, &["x", "y"]);
        assert_eq!(begun(&mut beside), ["x"], "its own place");
        end(&mut beside, 0, "a");
        assert_eq!(begun(&mut beside), ["y"], "the one with fewer under way");
        end(&mut beside, 0, "b");
        assert_eq!(begun(&mut beside), ["d"]);
    }

    #[test]
    fn what_waits_is_bounded_and_a_twin_is_refused() {
        let mut beside = beside(10, &[1]);
        offer(&mut beside, 0, &["a"]);
        assert_eq!(begun(&mut beside), ["a"]);
        assert_eq!(offer(&mut beside, 0, &["a", "b", "c", "d", "e"]), [Refused::UnderWay, Refused::Full]);
        let large = Waiting { key: "f".into(), bytes: WAITING_BYTES_MAX, ack: None, item: "f".to_owned() };
        assert_eq!(beside.offer(0, 500, large).unwrap_err().0, Refused::Full);
        end(&mut beside, 0, "a");
        assert!(!beside.is_under_way("a"));
        assert_eq!(beside.close(), ["b", "c", "d"]);
        assert_eq!(offer(&mut beside, 0, &["a"]), [Refused::Closed]);
        assert!(beside.nothing_under_way());
    }

    #[test]
    fn waiting_commands_go_back_to_the_lane_once_they_are_short_or_to_be_proven() {
        let mut beside = beside(10, &[1]);
        offer(&mut beside, 0, &["a", "b", "c"]);
        let Step::Run(job) = beside.next(|_| Tempo::Long) else { panic!("it may begin") };
        assert_eq!(beside.next(|_| Tempo::Unproven), Step::Nothing, "first those under way end");
        beside.ended(0, &job.keys);
        assert_eq!(beside.next(|_| Tempo::Unproven), Step::Return(vec!["b".to_owned(), "c".to_owned()]));
        offer(&mut beside, 0, &["d"]);
        assert_eq!(beside.next(|_| Tempo::Short), Step::Return(vec!["d".to_owned()]));
        let probe = |key: &str| Waiting { key: key.to_owned(), bytes: 1, ack: None, item: key.to_owned() };
        assert!(beside.begin_probe(0, probe("e")).is_ok());
        assert_eq!(beside.begin_probe(0, probe("f")).unwrap_err(), "f", "one at a time");
    }

    #[test]
    fn set_takes_all_that_wait() {
        let bounds = Bounds { concurrency: 2, set_max: 2 };
        let mut beside = Beside::new(10, [bounds].into_iter());
        offer(&mut beside, 0, &["a", "b", "c"]);
        let Step::Run(job) = beside.next(|_| Tempo::Long) else { panic!("it may begin") };
        assert_eq!(job.items, ["a", "b"]);
        let Step::Run(job) = beside.next(|_| Tempo::Long) else { panic!("it may begin") };
        assert_eq!(job.items, ["c"]);
    }
}
