//! Tests of foreign things: the environment of the caller, directories of other users, and links.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::{User, chown, geteuid};
use redress_devstack::{Data, DevstackError, Durability, Stack, StackConfig};

use crate::held::{hold, holder_command};
use crate::number;

const HOSTILE: &[(&str, &str)] = &[
    ("PGSSLMODE", "verify-full"),
    ("PGSSLROOTCERT", "/nowhere/root.crt"),
    ("PGHOST", "203.0.113.1"),
    ("PGHOSTADDR", "203.0.113.1"),
    ("PGPORT", "1"),
    ("PGUSER", "mallory"),
    ("PGPASSWORD", "wrong"),
    ("PGDATABASE", "nowhere"),
    ("PGDATA", "/nowhere"),
    ("PGSERVICE", "nowhere"),
    ("PGAPPNAME", "mallory"),
    ("DATABASE_URL", "postgres://mallory:secret-of-the-caller@203.0.113.1/nowhere"),
    ("REDRESS_TOKEN", "secret-of-the-caller"),
    ("AWS_SECRET_ACCESS_KEY", "secret-of-the-caller"),
    ("LC_ALL", "tlh_KLINGON"),
];

/// The names in the environment of a process, and all of it as text; nothing if it has ended.
#[cfg(target_os = "linux")]
fn environment_of(pid: u32) -> Option<(Vec<String>, String)> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = text.split('\0').filter(|entry| !entry.is_empty()).map(name).collect();
    names.sort();
    Some((names, text))
}

/// The processes whose command line holds a word.
#[cfg(target_os = "linux")]
fn children_of(parent: u32) -> Vec<u32> {
    let stat = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent_of = |pid: u32| stat(pid).rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok();
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn servers_inherit_nothing_of_callers_environment() {
    let mut command = holder_command("ephemeral");
    command.envs(HOSTILE.iter().copied());
    let held = hold(command).await;
    assert_eq!(held.error, None);
    assert_eq!(number(&held.postgres.1, "SELECT 1").await.unwrap(), 1);
    let children = children_of(held.pid());
    // Both servers, and the guard.
    assert!(children.contains(&held.postgres.0) && children.contains(&held.nats.0) && children.len() == 3);
    let mut read = 0;
    for pid in children.into_iter().chain(children_of(held.postgres.0)) {
        // Postgres has workers that live for a moment.
        let Some((names, text)) = environment_of(pid) else { continue };
        read += 1;
        let passed = [
            "HOME",
            "LC_ALL",
            "PATH",
            "TZ",
            "LD_LIBRARY_PATH",
            "PWD",
            "OLDPWD",
            "SHLVL",
            "_",
            // Postgres itself sets this for its children.
            "PGLOCALEDIR",
            "PGSYSCONFDIR",
            "PG_GRANDPARENT_PID",
        ];
        let strange: Vec<&String> = names.iter().filter(|name| !passed.contains(&name.as_str())).collect();
        assert!(strange.is_empty() || strange.iter().all(|name| name.starts_with("LC_")), "{strange:?}");
        assert!(!text.contains("secret-of-the-caller") && !text.contains("KLINGON"), "{text}");
        if geteuid().is_root() && pid == held.postgres.0 {
            assert!(!text.contains("HOME=/root"), "{text}");
        }
    }
    assert!(read > 3, "the servers, the guard and what Postgres keeps running: {read}");
    held.release().await;
}

#[tokio::test]
async fn pip_inherits_proxies_and_indexes_only() {
    let place = place();
    let (bin, heard) = (place.path().join("bin"), place.path().join("heard"));
    fs::create_dir(&bin).unwrap();
    let python = bin.join("python3");
    fs::write(&python, format!("#!/bin/sh\n/usr/bin/env >{}\nexit 1\n", heard.display())).unwrap();
    fs::set_permissions(&python, Permissions::from_mode(0o755)).unwrap();
    let mut command = holder_command("ephemeral");
    command.envs(HOSTILE.iter().copied()).env("PATH", &bin).env_remove("REDRESS_NATS_BIN");
    command.env("REDRESS_CACHE", place.path().join("cache"));
    command.env("HTTPS_PROXY", "http://proxy:3128").env("PIP_INDEX_URL", "http://index/simple");
    hold(command).await;
    let Ok(heard) = fs::read_to_string(&heard) else {
        eprintln!("skipped: NATS is installed on this machine");
        return;
    };
    for told in ["HTTPS_PROXY=http://proxy:3128\n", "PIP_INDEX_URL=http://index/simple\n"] {
        assert!(heard.contains(told), "{heard}");
    }
    assert!(!heard.contains("secret-of-the-caller") && !heard.contains("PGHOST"), "{heard}");
}

/// The other side of the next test: this program connects in the environment that it was given.
#[tokio::test]
async fn connector() {
    let Ok(url) = std::env::var("REDRESS_TEST_CONNECT") else { return };
    assert_eq!(number(&url, "SELECT 41 + 1").await.unwrap(), 42);
    let name = "SELECT (current_setting('application_name') = 'redress')::int";
    assert_eq!(number(&url, name).await.unwrap(), 1);
}

#[tokio::test]
async fn private_server_url_overrides_postgres_environment() {
    let stack = redress_devstack::shared().await;
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "strangers::connector"]).envs(HOSTILE.iter().copied());
    let output = command.env("REDRESS_TEST_CONNECT", stack.postgres().admin_url()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn pgoptions_in_environment_is_reported() {
    let mut command = holder_command("ephemeral");
    command.env("PGOPTIONS", "-c default_transaction_read_only=on");
    let held = hold(command).await;
    assert!(held.notices.iter().any(|line| line.starts_with("PGOPTIONS is set")), "{:?}", held.notices);
    held.release().await;
}

fn at(dir: &Path) -> StackConfig {
    let data = Data::Kept { dir: dir.to_owned(), fresh: false };
    StackConfig { durability: Durability::Relaxed, data, ..StackConfig::default() }
}

/// Starts there, and gives the reason for which it was refused.
async fn refusal(dir: &Path) -> String {
    match Stack::start(at(dir), &|line| eprintln!("{line}")).await {
        Err(DevstackError::Untrusted { reason, .. }) => reason,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("{} was taken", dir.display()),
    }
}

/// A place that the user of Postgres can enter.
fn place() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("redress-strange-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir()
        .unwrap()
}

/// A directory with data of ours, closed.
async fn kept_at(dir: PathBuf) -> PathBuf {
    Stack::start(at(&dir), &|line| eprintln!("{line}")).await.unwrap().stop().await;
    dir
}

#[tokio::test]
async fn data_directory_writable_by_others_is_refused() {
    let place = place();
    let dir = kept_at(place.path().join("data")).await;
    let mode = fs::metadata(&dir).unwrap().permissions().mode() & 0o7777;
    for loose in [0o777, 0o731, 0o713] {
        fs::set_permissions(&dir, Permissions::from_mode(loose)).unwrap();
        let reason = refusal(&dir).await;
        assert!(reason.contains("others may write to it"), "{reason}");
    }
    fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
    kept_at(dir.clone()).await;

    let link = place.path().join("link");
    symlink(&dir, &link).unwrap();
    let reason = refusal(&link).await;
    assert!(reason.contains("it is a link") && reason.contains(dir.to_str().unwrap()), "{reason}");
    let dangling = place.path().join("dangling");
    symlink(place.path().join("not there"), &dangling).unwrap();
    assert!(refusal(&dangling).await.contains("it is a link"));
    // An empty one is taken over, and closed.
    let empty = place.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, Permissions::from_mode(0o777)).unwrap();
    kept_at(empty.clone()).await;
    assert_eq!(fs::metadata(&empty).unwrap().permissions().mode() & 0o022, 0);
}

#[tokio::test]
async fn data_directory_of_another_user_is_refused() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can make a directory of another user");
        return;
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let place = place();
    let dir = kept_at(place.path().join("data")).await;
    chown(&dir, Some(nobody.uid), Some(nobody.gid)).unwrap();
    let reason = refusal(&dir).await;
    assert_eq!(reason, format!("it belongs to user {}, and we are user 0", nobody.uid));
    let empty = place.path().join("empty");
    fs::create_dir(&empty).unwrap();
    chown(&empty, Some(nobody.uid), Some(nobody.gid)).unwrap();
    assert!(refusal(&empty).await.contains("it belongs to user"));
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);

    // A link to a directory of ours, made by another user where all users may write.
    chown(&dir, Some(geteuid()), None).unwrap();
    let open = place.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
    symlink(place.path(), open.join("way")).unwrap();
    std::os::unix::fs::lchown(open.join("way"), Some(nobody.uid.as_raw()), None).unwrap();
    let way = open.join("way/data");
    // Where the kernel itself does not follow it, it is refused all the same.
    match Stack::start(at(&way), &|line| eprintln!("{line}")).await {
        Err(DevstackError::Untrusted { reason, .. }) => assert!(reason.contains("the way to it"), "{reason}"),
        Err(DevstackError::Io { .. }) => {}
        other => panic!("{:?}", other.map(drop)),
    }
}

#[tokio::test]
async fn link_in_data_directory_is_not_written_through() {
    let place = place();
    let dir = kept_at(place.path().join("data")).await;
    let precious = place.path().join("precious");
    fs::write(&precious, "ten years of work").unwrap();
    for name in ["postgres.log", "nats.log", "lock", "redress-devstack"] {
        let path = dir.join(name);
        let before = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&precious, &path).unwrap();
        let taken = Stack::start(at(&dir), &|line| eprintln!("{line}")).await;
        // The marker is only looked at.
        assert_eq!(taken.is_ok(), name == "redress-devstack", "{name}");
        drop(taken);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "ten years of work", "{name}");
        fs::remove_file(&path).unwrap();
        fs::write(&path, before).unwrap();
    }
}

#[tokio::test]
async fn cache_writable_by_others_is_not_run_from() {
    let found = redress_devstack::inspect();
    let nats = found
        .iter()
        .find(|finding| finding.detail.starts_with("version") && finding.place.contains("nats-server"));
    let Some(nats) = nats else { return };
    let cache = place();
    // The content there looks like an installation of ours.
    let installed = PathBuf::from(&nats.place);
    let real = found.iter().find(|finding| finding.subject == redress_devstack::Subject::Cache).unwrap();
    let Ok(inner) = installed.strip_prefix(&real.place) else {
        eprintln!("skipped: NATS is not from the cache here");
        return;
    };
    let copy = cache.path().join(inner);
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    fs::copy(&installed, &copy).unwrap();
    let used = |cache: &Path| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "strangers::inspector", "--nocapture"]).env("REDRESS_TEST_INSPECT", "1");
        let output = command.env("REDRESS_CACHE", cache).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(used(cache.path()).contains(copy.to_str().unwrap()), "{}", used(cache.path()));
    for path in [copy.as_path(), copy.parent().unwrap(), cache.path()] {
        let mode = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, Permissions::from_mode(0o757)).unwrap();
        let told = used(cache.path());
        assert!(told.contains("others may write to it"), "{told}");
        assert!(!told.lines().any(|line| line.starts_with("Used") && line.contains(copy.to_str().unwrap())));
        fs::set_permissions(path, mode).unwrap();
    }
}

/// The other side of the test before: prints what is found in the environment that it was given.
#[test]
fn inspector() {
    if std::env::var_os("REDRESS_TEST_INSPECT").is_none() {
        return;
    }
    for finding in redress_devstack::inspect() {
        println!("{:?} {} {}", finding.verdict, finding.place, finding.detail);
    }
}
