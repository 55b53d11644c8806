//! A child process that is signalled only while it is ours.
//!
//! The child is reaped in one place, under the lock that signals are sent under, so a signal never reaches a
//! later process with the same id. It is a `std` child and not a tokio one: a stack is used from several
//! runtimes (every test has its own) and must not depend on the one that started it.

use std::process::{Child, ExitStatus};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::DevstackError;
use crate::pause::Pause;

/// How often an ending child is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A child process. Dropping it leaves it alone: the guard stops it.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    child: Mutex<Child>,
}

/// One rung of stopping: a signal, and how long it is given.
pub(crate) type Rung = (Signal, Duration);

impl Process {
    pub(crate) fn new(child: Child) -> Process {
        Process { pid: child.id(), child: Mutex::new(child) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The exit status, once the process has ended.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().expect("no panic while holding a child");
        child.try_wait().expect("a child of ours can be waited for")
    }

    /// Waits for the end.
    pub(crate) async fn wait(&self) -> ExitStatus {
        loop {
            match self.ended() {
                Some(status) => return status,
                None => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Stops the process, rung by rung; `None` when it survives them all.
    pub(crate) async fn stop(&self, rungs: &[Rung]) -> Option<ExitStatus> {
        for (signal, patience) in rungs {
            self.signal(*signal);
            if let Ok(status) = tokio::time::timeout(*patience, self.wait()).await {
                return Some(status);
            }
        }
        None
    }

    /// Pauses the process and its children for at most this time.
    pub(crate) fn pause(&self, at_most: Duration) -> Result<Pause, DevstackError> {
        let mut child = self.child.lock().expect("no panic while holding a child");
        match child.try_wait() {
            Ok(None) => Pause::of_child(self.pid, at_most),
            Ok(Some(_)) | Err(_) => Err(DevstackError::NotPaused { pid: self.pid }),
        }
    }

    fn signal(&self, signal: Signal) {
        let mut child = self.child.lock().expect("no panic while holding a child");
        if matches!(child.try_wait(), Ok(None)) {
            let pid = Pid::from_raw(self.pid.try_into().expect("process ids are positive pid_t"));
            // The process may have become a zombie since: a signal to it is then without effect.
            let _ = kill(pid, signal);
            // One that is paused would hear of it only when it goes on.
            let _ = kill(pid, Signal::SIGCONT);
        }
    }
}
