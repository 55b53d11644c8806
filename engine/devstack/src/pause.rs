//! Pauses a process and its children for a bounded time.
//!
//! The pause is made, and ended, by a small `/bin/sh` in a process group of its own, which is authoritative: it lets the
//! processes go on after the time that it was given, and at once if our program is gone, however it went. So nothing
//! stays stopped because we died.
//!
//! A process is known by its id and its start time. The caller keeps it from being reaped until the pause has begun, so
//! that the id belongs to no other process by then.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::environment;
use crate::error::DevstackError;

const SHELL: &str = "/bin/sh";
const PAUSE: &str = concat!(include_str!("start_time.sh"), include_str!("pause.sh"));
const OWN_START: &str = concat!(include_str!("start_time.sh"), "start_time \"$1\"\n");
/// The steps in which a pause is counted, in milliseconds.
const TURN_MS: u128 = 100;
/// How often a pause is looked at.
const POLL: Duration = Duration::from_millis(20);

/// The longest pause: longer than any timeout that a demo or a test waits for.
pub const PAUSE_MAX: Duration = Duration::from_secs(600);

/// A process that is paused, with its children. Dropping it lets them go on.
#[derive(Debug)]
pub struct Pause {
    shell: Child,
}

impl Pause {
    /// Pauses a child of this process, and its children, for at most this time, [`PAUSE_MAX`] at the most.
    ///
    /// The child must not have been waited for: then its id could be another's.
    ///
    /// # Errors
    /// [`DevstackError`] if it has ended, or no shell can be started.
    pub fn of_child(pid: u32, at_most: Duration) -> Result<Self, DevstackError> {
        let turns = (at_most.min(PAUSE_MAX).as_millis() / TURN_MS).max(1).to_string();
        let owner = std::process::id().to_string();
        let start = shell(OWN_START, "redress-start-time", &[&owner]).output();
        let start = start.map_err(DevstackError::io("start", SHELL))?.stdout;
        let start = String::from_utf8_lossy(&start);
        let mut shell = shell(PAUSE, "redress-pause", &[&pid.to_string(), &turns, &owner, start.trim()])
            .process_group(0)
            .spawn()
            .map_err(DevstackError::io("start", SHELL))?;
        let said = shell.stdout.take().map(|said| BufReader::new(said).lines().next());
        match said {
            Some(Some(Ok(line))) if line == "paused" => Ok(Self { shell }),
            _ => {
                // It has ended, or ends.
                let _ = shell.wait();
                Err(DevstackError::NotPaused { pid })
            }
        }
    }

    /// Waits until the processes go on, which they do after their time.
    pub async fn over(mut self) {
        while self.ended().is_none() {
            tokio::time::sleep(POLL).await;
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().ok().flatten()
    }
}

impl Drop for Pause {
    /// Returns when they go on, after a tenth of a second or so.
    fn drop(&mut self) {
        while self.ended().is_none() {
            if let Ok(pid) = self.shell.id().try_into() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            thread::sleep(POLL);
        }
    }
}

fn shell(script: &str, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(SHELL);
    environment::of_server(&mut command, None);
    command.args(["-c", script, name]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).current_dir("/");
    command
}
