//! The guard: stops the servers when we are gone, however we went.
//!
//! A small `/bin/sh` in a process group of its own reads a pipe. We hold the only write end (close-on-exec,
//! so no other child inherits it); when we end, even by `kill -9`, the guard reads the end of file and acts.
//! A shell, and not our own binary with a hidden argument, because test binaries have no such argument.
//! (`PDEATHSIG` is no substitute: it fires when the *thread* that spawned the child ends.)
//!
//! A server announces **itself** over the pipe before it becomes the server, and closes the pipe by doing so:
//! there is no moment at which it runs and the guard could not know. The guard holds the lock of the data
//! directory too (as its standard output), so no program opens data whose servers are still being stopped.
//!
//! Its verdict on "the same process" is id and start time; zombies are dead.

use std::ffi::OsString;
use std::fs::File;
use std::io::{PipeWriter, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::environment;
use crate::error::DevstackError;
use crate::process::Process;
use crate::run_as::RunAs;
use crate::trust;

/// The file that marks a directory as made by us, and thereby as removable.
pub(crate) const MARKER: &str = "redress-devstack";

const SHELL: &str = "/bin/sh";
const GUARD: &str = concat!(include_str!("start_time.sh"), include_str!("guard.sh"));
const ANNOUNCE: &str = concat!(include_str!("start_time.sh"), include_str!("announce.sh"));

/// How often a guard that is finishing is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A running guard. Dropping it makes it act, and waits for it.
#[derive(Debug)]
pub(crate) struct Guard {
    orders: Mutex<Option<PipeWriter>>,
    shell: Mutex<Child>,
}

/// A child to be started under the guard.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) run_as: Option<&'a RunAs>,
    /// Standard output and error are appended to this file.
    pub(crate) log: &'a Path,
    /// The signal that the guard sends first.
    pub(crate) stop_signal: Signal,
}

impl Guard {
    /// Starts a guard, which holds `lock` as long as it lives.
    pub(crate) fn start(lock: Option<File>) -> Result<Guard, DevstackError> {
        let (orders, pipe) = pipe()?;
        let mut shell = Command::new(SHELL);
        environment::of_server(&mut shell, None);
        let shell = shell
            .args(["-c", GUARD, "redress-guard", MARKER])
            .stdin(orders)
            .stdout(lock.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .map_err(DevstackError::io("start", SHELL))?;
        Ok(Guard { orders: Mutex::new(Some(pipe)), shell: Mutex::new(shell) })
    }

    /// Has `dir` removed at the end, if it holds the marker file (or nothing).
    pub(crate) fn remove_at_the_end(&self, dir: &Path) -> Result<(), DevstackError> {
        let mut order = b"remove ".to_vec();
        order.extend_from_slice(dir.as_os_str().as_encoded_bytes());
        order.push(b'\n');
        self.writer()?.write_all(&order).map_err(DevstackError::io("write to the guard of", dir))
    }

    /// Starts a child that stops when we are gone.
    pub(crate) fn launch(&self, launch: &Launch<'_>) -> Result<Process, DevstackError> {
        let log = trust::open(File::options().append(true).create(true), launch.log)
            .map_err(DevstackError::io("open", launch.log))?;
        let errors = log.try_clone().map_err(DevstackError::io("open", launch.log))?;
        let mut command = Command::new(SHELL);
        command
            .args(["-c", ANNOUNCE, "redress-announce", signal_name(launch.stop_signal)])
            .arg(launch.program)
            .args(&launch.arguments)
            .stdin(self.writer()?)
            .stdout(log)
            .stderr(errors)
            .current_dir("/")
            .process_group(0);
        environment::of_server(&mut command, launch.run_as.map(|user| user.home.as_path()));
        if let Some(user) = launch.run_as {
            user.apply(&mut command);
        }
        match command.spawn() {
            Ok(child) => Ok(Process::new(child)),
            Err(source) => Err(match launch.run_as {
                Some(user) => user.refused(source, launch.program),
                None => DevstackError::io("start", launch.program)(source),
            }),
        }
    }

    /// Makes the guard act (stop the servers that still run, remove an ephemeral directory) and waits for it.
    ///
    /// It ends by itself within some nine seconds, so this blocks no longer than that.
    pub(crate) fn finish(&self) {
        drop(self.orders.lock().expect("no panic while holding the pipe").take());
        loop {
            match self.shell.lock().expect("no panic while holding the guard").try_wait() {
                Ok(None) => thread::sleep(POLL),
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }

    fn writer(&self) -> Result<PipeWriter, DevstackError> {
        let orders = self.orders.lock().expect("no panic while holding the pipe");
        let pipe =
            orders.as_ref().expect("the guard is only finished by stop and drop, which take the stack");
        pipe.try_clone().map_err(DevstackError::io("duplicate", "the guard's pipe"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.finish();
    }
}

fn pipe() -> Result<(std::io::PipeReader, PipeWriter), DevstackError> {
    std::io::pipe().map_err(DevstackError::io("make", "a pipe"))
}

/// The name that the shell's `kill -s` understands.
fn signal_name(signal: Signal) -> &'static str {
    signal.as_str().strip_prefix("SIG").unwrap_or(signal.as_str())
}
