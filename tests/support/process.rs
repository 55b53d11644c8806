//! A process of the demo binary, which ends when the test does.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// The end of a process of the demo binary: its exit code and its output.
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the demo binary to its end, with these variables of ours and no others.
pub(crate) async fn run(arguments: &[&str], environment: &[(&'static str, String)]) -> CommandOutput {
    let mut command = bare();
    command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    let output = tokio::time::timeout(super::PATIENCE, command.stdin(Stdio::null()).output()).await;
    let output = output.expect("it ends in time").expect("the demo binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("its output is text");
    CommandOutput { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The demo binary in an environment that says nothing about servers.
pub(crate) fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redress"));
    let ours = |name: &str| name.starts_with("REDRESS_") || matches!(name, "DATABASE_URL" | "NATS_URL");
    // The places of servers and caches belong to the machine, and stay.
    let kept = |name: &str| matches!(name, "REDRESS_CACHE" | "REDRESS_PG_BIN" | "REDRESS_NATS_BIN");
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name) && !kept(name)) {
        command.env_remove(name);
    }
    command.kill_on_drop(true);
    command
}

impl CommandOutput {
    /// Standard output as one JSON value; the run must have gone well.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

pub(crate) struct Process {
    child: Child,
    /// Held open: the process ends when it closes, and waiting for the process would close it.
    _stdin: Option<ChildStdin>,
    /// The first line that it printed: it is ready.
    pub(crate) says: String,
}

impl Process {
    pub(crate) async fn start(arguments: &[&str], environment: &[(&'static str, String)]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_redress")), arguments, environment).await
    }

    /// One that is to die at a place, which work that others left may bring it to before it is ready: then it says nothing.
    pub(crate) async fn start_to_die(arguments: &[&str], environment: &[(&'static str, String)]) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_redress"));
        let (process, says) = Self::launch(command, arguments, environment).await;
        Self { says: says.unwrap_or_default(), ..process }
    }

    /// One whose standard error goes into a file.
    pub(crate) async fn start_with_log(
        log: &std::path::Path,
        arguments: &[&str],
        environment: &[(&'static str, String)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redress"));
        command.stderr(std::fs::File::create(log).expect("the log can be written"));
        Self::spawn(command, arguments, environment).await
    }

    /// One that gets no more than so many file descriptors of the system.
    pub(crate) async fn start_within(
        descriptors: u32,
        arguments: &[&str],
        environment: &[(&'static str, String)],
    ) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        shell.args(["-c", script.as_str(), env!("CARGO_BIN_EXE_redress")]);
        Self::spawn(shell, arguments, environment).await
    }

    async fn spawn(command: Command, arguments: &[&str], environment: &[(&'static str, String)]) -> Self {
        let (process, says) = Self::launch(command, arguments, environment).await;
        let says =
            says.unwrap_or_else(|| panic!("`redress {}` ended before it was ready", arguments.join(" ")));
        Self { says, ..process }
    }

    /// The process, and the first line that it printed, unless it has ended before.
    async fn launch(
        mut command: Command,
        arguments: &[&str],
        environment: &[(&'static str, String)],
    ) -> (Self, Option<String>) {
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the demo binary starts");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("its output is piped");
        let says = BufReader::new(stdout).lines().next_line().await.expect("its output is text");
        (Self { child, _stdin: stdin, says: String::new() }, says)
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.start_kill().expect("it can be killed");
        let status = self.child.wait().await.expect("it can be waited for");
        assert_eq!(status.signal(), Some(9), "it lived until it was killed: {status}");
    }

    /// Returns true if it has not ended.
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
