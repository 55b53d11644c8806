//! Servers that outlived both us and our guard.
//!
//! Only possible when both were killed. Their pid files lie in the data directory; since process ids are
//! used again, a process counts as ours only when its command line names that directory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How many times an orphaned server is looked at after each signal.
const POLLS: u32 = 100;
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Stops the server that `pid_file` names, if it still runs in `dir`.
pub(crate) fn stop(pid_file: &Path, dir: &Path) {
    let Ok(text) = fs::read_to_string(pid_file) else { return };
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else { return };
    // An in-order stop of either server: Postgres takes SIGINT as "fast", NATS as "end".
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL] {
        if !is_ours(pid, dir) {
            break;
        }
        if let Some(target) = target(pid) {
            // It may have ended since; the next look will tell.
            let _ = kill(target, signal);
        }
        for _ in 0..POLLS {
            if !is_ours(pid, dir) {
                break;
            }
            thread::sleep(PAUSE);
        }
    }
    if is_alive(Some(pid)) {
        // A stranger has that process id now. Postgres would take it for its former self and refuse to start.
        let _ = fs::remove_file(pid_file);
    }
}

/// Returns true if a process with that id exists.
pub(crate) fn is_alive(pid: Option<u32>) -> bool {
    pid.is_some_and(|pid| command_line(pid).is_some_and(|line| !line.is_empty()))
}

fn is_ours(pid: u32, dir: &Path) -> bool {
    let dir = dir.as_os_str().as_encoded_bytes();
    command_line(pid).is_some_and(|line| line.windows(dir.len()).any(|part| part == dir))
}

/// The arguments of a process; empty for a zombie.
fn command_line(pid: u32) -> Option<Vec<u8>> {
    if cfg!(target_os = "linux") {
        return fs::read(format!("/proc/{pid}/cmdline")).ok();
    }
    let output = Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn target(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).map(Pid::from_raw)
}
