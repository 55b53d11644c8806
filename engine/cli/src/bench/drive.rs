//! The loop of a bench: starts sagas at a pace, so many in flight at the most, and measures until each has ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::latencies::Latencies;
use super::pace::Pace;
use super::pacer::Pacer;

/// How long the bench goes on without the end of any saga before it gives up; in an open loop, one interval more.
const PATIENCE: Duration = Duration::from_secs(120);

/// The end of a saga, as its caller learns of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SagaEnd {
    /// `completed`, `compensated` or `parked`.
    pub(crate) status: &'static str,
    pub(crate) at: Instant,
}

/// What is to be run.
pub(crate) struct Drive {
    pub(crate) pace: Pace,
    /// How many sagas, at least one.
    pub(crate) sagas: u64,
    /// How many are in flight at the most, at least one.
    pub(crate) concurrency: usize,
    pub(crate) progress: ProgressBar,
}

/// The measured values.
pub(crate) struct Measured {
    pub(super) seconds: f64,
    pub(super) latencies: Latencies,
    /// How many sagas ended in each status.
    pub(super) ends: HashMap<&'static str, u64>,
}

/// A saga that was played, in times after the beginning.
struct Played {
    number: u64,
    started: Duration,
    ended: Duration,
    status: &'static str,
}

impl Drive {
    /// Runs the sagas. `play` is called with the number of each, from 0, right before its start; its future starts the
    /// saga and waits for its end.
    ///
    /// # Errors
    /// The first one of `play`; or nothing has ended for two minutes.
    pub(crate) async fn run<F>(self, play: impl Fn(u64) -> F) -> anyhow::Result<Measured>
    where
        F: Future<Output = anyhow::Result<SagaEnd>> + Send + 'static,
    {
        let slots = Arc::new(Semaphore::new(self.concurrency));
        // Bounded by the slots, which come back with what was played.
        let (sender, played) = mpsc::unbounded_channel();
        let begin = Instant::now();
        let mut pacer = Pacer::begin(self.pace, self.sagas, begin)?;
        let starting = async {
            for number in 0..self.sagas {
                pacer.due().await;
                let slot = slots.clone().acquire_owned().await?;
                let (started, playing, sender) = (begin.elapsed(), play(number), sender.clone());
                tokio::spawn(async move {
                    let played = playing.await.map(|end| Played {
                        number,
                        started,
                        ended: end.at.saturating_duration_since(begin),
                        status: end.status,
                    });
                    // A bench that has given up takes none any more.
                    let _ = sender.send((played, slot));
                });
            }
            Ok::<_, anyhow::Error>(())
        };
        let ((), mut measured) = tokio::try_join!(starting, self.collect(played))?;
        measured.seconds = begin.elapsed().as_secs_f64();
        self.progress.finish_and_clear();
        Ok(measured)
    }

    async fn collect(
        &self,
        mut played: mpsc::UnboundedReceiver<(anyhow::Result<Played>, OwnedSemaphorePermit)>,
    ) -> anyhow::Result<Measured> {
        let mut measured = Measured { seconds: 0.0, latencies: Latencies::new(), ends: HashMap::new() };
        let patience = PATIENCE + self.pace.interval();
        while measured.latencies.count() < self.sagas {
            let next = tokio::time::timeout(patience, played.recv()).await;
            let Ok(Some((saga, slot))) = next else {
                let open = self.sagas - measured.latencies.count();
                anyhow::bail!(
                    "nothing has ended for {} s; {open} sagas are open or not started",
                    patience.as_secs()
                );
            };
            let saga = saga?;
            measured.latencies.record(self.pace.latency(saga.number, saga.started, saga.ended));
            *measured.ends.entry(saga.status).or_default() += 1;
            self.progress.inc(1);
            drop(slot);
        }
        Ok(measured)
    }
}

impl Measured {
    /// From the first start to the last end.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }
}

/// A bar on the terminal, with the title before it.
pub(crate) fn progress_bar(sagas: u64, title: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix}{bar:40} {pos}/{len} sagas, {per_sec}");
    let bar = ProgressBar::new(sagas).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if title.is_empty() { bar } else { bar.with_prefix(format!("{title:14}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the first saga takes.
    const STALL: Duration = Duration::from_millis(200);

    /// Twenty sagas, one in flight; the first one stalls, the others end at once.
    async fn stalled(pace: Pace) -> Measured {
        let drive = Drive { pace, sagas: 20, concurrency: 1, progress: ProgressBar::hidden() };
        let play = |number| async move {
            if number == 0 {
                tokio::time::sleep(STALL).await;
            }
            Ok(SagaEnd { status: "completed", at: Instant::now() })
        };
        drive.run(play).await.unwrap()
    }

    #[tokio::test]
    async fn open_loop_measures_from_the_intended_start() {
        let measured = stalled(Pace::Open { rate: 100.0 }).await;
        assert_eq!((measured.latencies.count(), measured.ends["completed"]), (20, 20));
        // The tenth was to be started 100 ms after the first, and could not before 200 ms.
        assert!(measured.latencies.ms(0.5) >= 90.0, "{}", measured.latencies.ms(0.5));
    }

    #[tokio::test]
    async fn closed_loop_measures_from_the_start() {
        let measured = stalled(Pace::Closed).await;
        assert!(measured.latencies.ms(1.0) >= 200.0 && measured.seconds() >= 0.2);
        assert!(measured.latencies.ms(0.5) < 90.0, "{}", measured.latencies.ms(0.5));
    }

    #[tokio::test]
    async fn first_saga_that_cannot_be_played_ends_the_loop() {
        let drive = Drive { pace: Pace::Closed, sagas: 20, concurrency: 2, progress: ProgressBar::hidden() };
        let play = |number| async move {
            anyhow::ensure!(number < 3, "saga {number} was refused");
            Ok(SagaEnd { status: "completed", at: Instant::now() })
        };
        let error = drive.run(play).await.err().expect("it was refused");
        assert!(error.to_string().ends_with("was refused"), "{error}");
    }
}
