//! A process of the demo binary, which ends when the test does.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

pub(crate) struct Process {
    child: Child,
    /// Held open: the process ends when it closes, and waiting for the process would close it.
    _stdin: Option<ChildStdin>,
    /// The first line that it printed: it is ready.
    pub(crate) says: String,
}

impl Process {
    pub(crate) async fn start(arguments: &[&str], environment: &[(&'static str, String)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redress"));
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the demo binary starts");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("its output is piped");
        let says = BufReader::new(stdout).lines().next_line().await.expect("its output is text");
        let says =
            says.unwrap_or_else(|| panic!("`redress {}` ended before it was ready", arguments.join(" ")));
        Self { child, _stdin: stdin, says }
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.start_kill().expect("it can be killed");
        let status = self.child.wait().await.expect("it can be waited for");
        assert_eq!(status.signal(), Some(9), "it lived until it was killed: {status}");
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = self.child.id().expect("it has not been waited for");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid is a small number"));
        nix::sys::signal::kill(pid, signal).expect("it lives");
    }

    /// Waits until it has ended by itself and gives its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(super::PATIENCE, self.child.wait()).await;
        ended.expect("it ends in time").expect("it can be waited for").code()
    }
}
