//! A program of its own that holds a stack, so that it can be killed or run as another user.
//!
//! It is this test binary again, filtered to one test, which does nothing unless the environment says so.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;

use redress_devstack::{Data, Durability, Stack, StackConfig};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const ROLE: &str = "REDRESS_TEST_HOLD";

/// The other side: started by [`hold`].
#[tokio::test]
async fn holder() {
    let Ok(data) = std::env::var(ROLE) else { return };
    let data = match data.as_str() {
        "ephemeral" => Data::Ephemeral,
        dir => Data::Kept { dir: dir.into(), fresh: false },
    };
    let options = StackConfig { durability: Durability::Relaxed, data, ..StackConfig::default() };
    println!("\n@starting");
    let stack = match Stack::start(options, &|line| println!("\n@notice {line}")).await {
        Ok(stack) => stack,
        Err(error) => {
            println!("\n@error {}", error.to_string().replace('\n', "\\n"));
            return;
        }
    };
    println!("\n@pg {} {}", stack.postgres().pid(), stack.postgres().admin_url());
    println!("\n@nats {} {}", stack.nats().pid(), stack.nats().url());
    println!("\n@binaries {} {}", stack.postgres().binary().display(), stack.nats().binary().display());
    println!("\n@dir {}", stack.dir().display());
    println!("\n@ready");
    // Until our parent lets go.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    stack.stop().await;
}

pub(crate) struct Held {
    pub(crate) child: Child,
    pub(crate) notices: Vec<String>,
    pub(crate) error: Option<String>,
    pub(crate) postgres: (u32, String),
    pub(crate) nats: (u32, String),
    pub(crate) binaries: String,
    pub(crate) dir: PathBuf,
    lines: Lines<BufReader<ChildStdout>>,
}

/// A command that runs the holder; the caller may add to its environment.
pub(crate) fn holder_command(data: &str) -> std::process::Command {
    command(std::env::current_exe().unwrap(), data)
}

pub(crate) fn command(program: PathBuf, data: &str) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command.args(["--exact", "held::holder", "--nocapture"]).env(ROLE, data).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// Starts the holder and waits until it says that it starts.
pub(crate) async fn begin(command: std::process::Command) -> Held {
    let mut child = Command::from(command).kill_on_drop(true).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut held = Held {
        child,
        notices: Vec::new(),
        error: None,
        postgres: (0, String::new()),
        nats: (0, String::new()),
        binaries: String::new(),
        dir: PathBuf::new(),
        lines,
    };
    held.read_until("@starting").await;
    held
}

/// Starts the holder and waits until it is ready or has failed.
pub(crate) async fn hold(command: std::process::Command) -> Held {
    let mut held = begin(command).await;
    held.read_until("@ready").await;
    held
}

impl Held {
    async fn read_until(&mut self, word: &str) {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            let (key, value) = line.split_once(' ').unwrap_or((&line, ""));
            let server = || {
                let (pid, url) = value.split_once(' ').unwrap();
                (pid.parse().unwrap(), url.to_owned())
            };
            match key {
                "@notice" => self.notices.push(value.to_owned()),
                "@error" => self.error = Some(value.replace("\\n", "\n")),
                "@pg" => self.postgres = server(),
                "@nats" => self.nats = server(),
                "@binaries" => self.binaries = value.to_owned(),
                "@dir" => self.dir = value.into(),
                _ => {}
            }
            if key == word {
                return;
            }
        }
        assert!(self.error.is_some(), "the holder ended without a word");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the holder runs")
    }

    /// `kill -9`, and reaped.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Lets the holder stop its stack and end.
    pub(crate) async fn release(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().await.unwrap().success());
    }
}
