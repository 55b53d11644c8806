//! Tests of data that are kept from one start to the next.

use std::path::Path;
use std::sync::Mutex;

use redress_devstack::{Data, DevstackError, Durability, Stack, StackConfig};

use crate::held::{hold, holder_command};
use crate::{execute, messages, number, runs, store_message, until};

fn at(dir: &Path, fresh: bool) -> StackConfig {
    let data = Data::Kept { dir: dir.to_owned(), fresh };
    StackConfig { durability: Durability::Relaxed, data, ..StackConfig::default() }
}

async fn start(options: StackConfig) -> Result<Stack, DevstackError> {
    Stack::start(options, &|line| eprintln!("{line}")).await
}

/// A new directory; with 0755 the user of Postgres can enter it, also when the tests run as root.
fn directory(mode: u32) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(mode);
    tempfile::Builder::new().prefix("redress-kept-").permissions(permissions).tempdir().unwrap()
}

#[tokio::test]
async fn kept_data_stay_until_fresh_start_is_requested() {
    let base = directory(0o755);
    let dir = base.path().join("a/data directory");

    let stack = start(at(&dir, false)).await.unwrap();
    execute(&stack.postgres().admin_url(), "CREATE TABLE kept AS SELECT 7 AS number").await;
    store_message(&stack.nats().url(), "kept").await;
    stack.stop().await;

    let stack = start(at(&dir, false)).await.unwrap();
    assert_eq!(stack.dir(), dir);
    assert_eq!(number(&stack.postgres().admin_url(), "SELECT number FROM kept").await.unwrap(), 7);
    assert_eq!(messages(&stack.nats().url(), "kept").await, Some(1));
    stack.stop().await;

    let stack = start(at(&dir, true)).await.unwrap();
    assert!(number(&stack.postgres().admin_url(), "SELECT number FROM kept").await.is_err());
    assert_eq!(messages(&stack.nats().url(), "kept").await, None);
    stack.stop().await;
}

#[tokio::test]
async fn kept_directory_in_use_is_refused() {
    let base = directory(0o755);
    let dir = base.path().join("data");
    let stack = start(at(&dir, false)).await.unwrap();
    let refused = start(at(&dir, true)).await.unwrap_err();
    assert!(matches!(refused, DevstackError::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    assert_eq!(number(&stack.postgres().admin_url(), "SELECT 1").await.unwrap(), 1);
    stack.stop().await;
}

#[tokio::test]
async fn directory_with_foreign_files_is_left_alone() {
    let base = directory(0o755);
    std::fs::write(base.path().join("thesis.txt"), "ten years of work").unwrap();
    let refused = start(at(base.path(), true)).await.unwrap_err();
    assert!(matches!(refused, DevstackError::NotOurs { .. }), "{refused}");
    assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn data_without_their_password_are_refused() {
    let base = directory(0o755);
    let dir = base.path().join("data");
    start(at(&dir, false)).await.unwrap().stop().await;
    std::fs::remove_file(dir.join("postgres.password")).unwrap();
    let refused = start(at(&dir, false)).await.unwrap_err();
    assert!(matches!(refused, DevstackError::Unusable { .. }), "{refused}");
    start(at(&dir, true)).await.unwrap().stop().await;
}

#[tokio::test]
async fn data_of_another_major_version_are_refused() {
    let base = directory(0o755);
    let dir = base.path().join("data");
    start(at(&dir, false)).await.unwrap().stop().await;
    std::fs::write(dir.join("postgres/PG_VERSION"), "9\n").unwrap();
    let refused = start(at(&dir, false)).await.unwrap_err();
    assert!(matches!(refused, DevstackError::WrongMajor { data: 9, .. }), "{refused}");
}

#[tokio::test]
async fn next_program_waits_for_guard_after_kill_9() {
    let base = directory(0o755);
    let dir = base.path().join("data");
    let mut held = hold(holder_command(dir.to_str().unwrap())).await;
    execute(&held.postgres.1, "CREATE TABLE kept AS SELECT 7 AS number").await;
    held.kill().await;

    let stack = start(at(&dir, false)).await.unwrap();
    assert!(!runs(held.postgres.0) && !runs(held.nats.0));
    assert_eq!(number(&stack.postgres().admin_url(), "SELECT number FROM kept").await.unwrap(), 7);
    stack.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn orphaned_servers_are_stopped_by_next_program() {
    let base = directory(0o755);
    let dir = base.path().join("data");
    let mut held = hold(holder_command(dir.to_str().unwrap())).await;
    execute(&held.postgres.1, "CREATE TABLE kept AS SELECT 7 AS number").await;
    let guard = guard_of(held.pid());
    let guard_pid = nix::unistd::Pid::from_raw(guard.try_into().unwrap());
    nix::sys::signal::kill(guard_pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    until("the guard is gone", || !runs(guard)).await;
    held.kill().await;
    assert!(runs(held.postgres.0) && runs(held.nats.0), "nobody was left to stop them");

    let stack = start(at(&dir, false)).await.unwrap();
    assert!(!runs(held.postgres.0) && !runs(held.nats.0));
    assert_eq!(number(&stack.postgres().admin_url(), "SELECT number FROM kept").await.unwrap(), 7);
    stack.stop().await;
}

#[cfg(target_os = "linux")]
fn guard_of(parent: u32) -> u32 {
    let output = std::process::Command::new("ps")
        .args(["-o", "pid=,args=", "--ppid", &parent.to_string()])
        .output()
        .unwrap();
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let ppid: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        (ppid == parent && arguments.contains("\0redress-guard\0")).then_some(pid)
    });
    let found: Vec<u32> = children.collect();
    assert_eq!(found.len(), 1, "{listing}");
    found[0]
}

/// Postgres refuses to run as root: data in a directory closed to its user go to `/var/lib/redress`, and the notice
/// says so.
#[tokio::test]
async fn kept_data_of_root_go_where_postgres_user_can_enter() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    // As `mktemp -d` makes it.
    let closed = directory(0o700);
    let dir = closed.path().join("data");
    let notices = Mutex::new(Vec::new());
    let stack =
        Stack::start(at(&dir, false), &|line| notices.lock().unwrap().push(line.to_owned())).await.unwrap();
    assert_eq!(number(&stack.postgres().admin_url(), "SELECT 1").await.unwrap(), 1);
    let instead = stack.dir().to_owned();
    assert!(instead.starts_with("/var/lib/redress") && !dir.exists());
    let notices = notices.into_inner().unwrap();
    assert!(notices.iter().any(|line| line.contains("/var/lib/redress")), "{notices:?}");
    stack.stop().await;
    std::fs::remove_dir_all(&instead).unwrap();
    // Others may live there.
    let _ = std::fs::remove_dir(instead.parent().unwrap());
}
