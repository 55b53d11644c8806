//! Tests that no server and no directory outlives the program.

use std::path::Path;
use std::time::Duration;

use crate::held::{begin, hold, holder_command};
use crate::{number, runs, until};

/// The ephemeral directories that a process made.
fn directories_of(pid: u32) -> Vec<String> {
    let prefix = format!("redress-{pid}-");
    let names = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

/// The processes whose command line names a directory of that process.
fn servers_of(pid: u32) -> Vec<String> {
    let needle = format!("redress-{pid}-");
    let output =
        std::process::Command::new("ps").args(["-A", "-ww", "-o", "pid=,stat=,args="]).output().unwrap();
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    listing.lines().filter(|line| line.contains(&needle)).map(str::to_owned).collect()
}

#[tokio::test]
async fn kill_9_leaves_no_server_and_no_directory() {
    let mut held = hold(holder_command("ephemeral")).await;
    assert_eq!(number(&held.postgres.1, "SELECT 1").await.unwrap(), 1);
    assert!(held.dir.exists());
    held.kill().await;
    let (postgres, nats) = (held.postgres.0, held.nats.0);
    until("the servers are gone", || !runs(postgres) && !runs(nats)).await;
    until("the directory is gone", || !held.dir.exists()).await;
}

#[tokio::test]
async fn kill_9_at_any_moment_of_a_start_leaves_nothing() {
    for delay_ms in [0, 3, 10, 30, 80, 160, 320, 480, 560, 640] {
        let mut held = begin(holder_command("ephemeral")).await;
        let pid = held.pid();
        // Not a wait for something to be done: the moment itself is what varies.
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        held.kill().await;
        until("the servers are gone", || servers_of(pid).is_empty()).await;
        until("the directory is gone", || directories_of(pid).is_empty()).await;
    }
}

#[tokio::test]
async fn servers_are_out_of_reach_of_a_terminals_ctrl_c() {
    use nix::unistd::{Pid, getpgid};
    let held = hold(holder_command("ephemeral")).await;
    let group = |pid: u32| getpgid(Some(Pid::from_raw(pid.try_into().unwrap()))).unwrap();
    let ours = group(held.pid());
    for server in [held.postgres.0, held.nats.0] {
        assert_ne!(group(server), ours);
    }
    // The whole group of the program is killed, as a terminal or a supervisor would do it.
    nix::sys::signal::killpg(ours, nix::sys::signal::Signal::SIGKILL).unwrap();
    until("the servers are gone", || !runs(held.postgres.0) && !runs(held.nats.0)).await;
    until("the directory is gone", || !held.dir.exists()).await;
}

#[tokio::test]
async fn orderly_end_leaves_no_server_and_no_directory() {
    let held = hold(holder_command("ephemeral")).await;
    let (postgres, nats, dir) = (held.postgres.0, held.nats.0, held.dir.clone());
    held.release().await;
    assert!(!runs(postgres) && !runs(nats));
    assert!(!Path::new(&dir).exists());
}

#[tokio::test]
async fn killed_program_leaves_servers_of_another_program_running() {
    let mut first = hold(holder_command("ephemeral")).await;
    let second = hold(holder_command("ephemeral")).await;
    first.kill().await;
    until("the first's servers are gone", || !runs(first.postgres.0) && !runs(first.nats.0)).await;
    assert_eq!(number(&second.postgres.1, "SELECT 1").await.unwrap(), 1);
    second.release().await;
}
