//! Servers that are paused, and go on.

use std::time::{Duration, Instant};

use redress_devstack::{PAUSE_MAX, Stack, StackConfig, StopMode};

use crate::{number, until};

/// The state letters of a process and its children.
fn states(pid: u32) -> String {
    let output = std::process::Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let fields = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_ours = |fields: &Vec<&str>| fields[..2].contains(&pid.to_string().as_str());
    let states = fields.filter(is_ours).filter_map(|fields| fields[2].chars().next());
    // One that has ended is reaped when its parent goes on.
    states.filter(|state| *state != 'Z').collect()
}

fn are_paused(pid: u32) -> bool {
    let states = states(pid);
    !states.is_empty() && states.chars().all(|state| state == 'T')
}

fn are_going(pid: u32) -> bool {
    !states(pid).contains('T')
}

#[tokio::test]
async fn paused_server_goes_on_after_its_time_or_when_it_is_dropped() {
    let stack = Stack::start(StackConfig::default(), &|_| {}).await.unwrap();
    let (postgres, nats) = (stack.postgres(), stack.nats());
    let begun = Instant::now();
    let short = nats.pause(Duration::from_millis(500)).await.unwrap();
    short.over().await;
    assert!(begun.elapsed() >= Duration::from_millis(500));
    until("NATS goes on", || are_going(nats.pid())).await;

    // A connection of its own for each backend, which is a process of its own.
    let url = postgres.admin_url();
    assert_eq!(number(&url, "SELECT 1").await.unwrap(), 1);
    let long = nats.pause(PAUSE_MAX).await.unwrap();
    until("NATS is stopped", || are_paused(nats.pid())).await;
    drop(long);
    until("NATS goes on again", || are_going(nats.pid())).await;
    let long = postgres.pause(PAUSE_MAX).await.unwrap();
    until("Postgres is stopped", || are_paused(postgres.pid())).await;
    let asked = tokio::spawn(async move { number(&url, "SELECT 2").await });
    drop(long);
    until("Postgres goes on", || are_going(postgres.pid())).await;
    assert_eq!(asked.await.unwrap().unwrap(), 2);
    stack.stop().await;
}

#[tokio::test]
async fn paused_server_is_killed_and_stopped_like_another() {
    let stack = Stack::start(StackConfig::default(), &|_| {}).await.unwrap();
    let (postgres, nats) = (stack.postgres().pid(), stack.nats().pid());
    let pauses =
        (stack.postgres().pause(PAUSE_MAX).await.unwrap(), stack.nats().pause(PAUSE_MAX).await.unwrap());
    stack.nats().restart(StopMode::Kill).await.unwrap();
    assert_ne!(stack.nats().pid(), nats);
    assert_eq!(stack.nats().pause(Duration::ZERO).await.map(drop).map_err(|error| error.to_string()), Ok(()));
    drop(pauses);
    stack.stop().await;
    until("all are gone", || states(postgres).is_empty() && states(nats).is_empty()).await;
}
