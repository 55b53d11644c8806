//! The directory of a stack.
//!
//! Two kinds. An *ephemeral* one is known to the guard before it exists and goes with us. A *kept* one is
//! locked by our guard, which outlives us; it is only touched when it is ours alone, and empty or with our marker file.
//! As root it must be a place that the user of Postgres can enter: where the wished-for place is not, kept
//! data goes to `/var/lib/redress`, and that is said.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::DevstackError;
use crate::guard::{Guard, MARKER};
use crate::orphans;
use crate::run_as::{RunAs, is_root, unprivileged};
use crate::trust;

/// Where kept data of root goes when the wished-for place is closed to the user of Postgres.
const ROOT_HOME: &str = "/var/lib/redress";
/// How long the lock is waited for: a guard that stops servers holds it for a moment.
const LOCK_TRIES: u32 = 200;
/// The pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The directory of a stack.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
}

impl Home {
    /// Makes a directory that the returned guard removes.
    pub(crate) fn ephemeral(run_as: Option<&RunAs>) -> Result<(Home, Guard), DevstackError> {
        let base = temporary_base(run_as)?;
        let dir =
            base.join(format!("redress-{}-{}", std::process::id(), hex::encode(rand::random::<[u8; 6]>())));
        let guard = Guard::start(None)?;
        guard.remove_at_the_end(&dir)?;
        trust::make_closed(&dir).map_err(DevstackError::io("create", &dir))?;
        open_to_run_as(&dir)?;
        mark(&dir)?;
        Ok((Home { dir }, guard))
    }

    /// Opens or makes a directory that stays.
    pub(crate) fn kept(
        dir: &Path,
        fresh: bool,
        run_as: Option<&RunAs>,
        notice: &dyn Fn(&str),
    ) -> Result<(Home, Guard), DevstackError> {
        let dir = std::path::absolute(dir).map_err(DevstackError::io("find", dir))?;
        let dir = reachable(dir, run_as, notice)?;
        if fs::symlink_metadata(&dir).is_err() {
            trust::make(&dir).map_err(DevstackError::io("create", &dir))?;
        }
        // Also for a directory that we have just made: another user may have been faster.
        trusted(&dir, trust::against_keeping)?;
        if !dir.join(MARKER).exists() {
            if !is_empty(&dir)? {
                return Err(DevstackError::NotOurs { dir });
            }
            open_to_run_as(&dir)?;
            // No other user can put anything there any more; one may have before.
            if !is_empty(&dir)? {
                return Err(DevstackError::NotOurs { dir });
            }
            mark(&dir)?;
        }
        trusted(&dir, trust::against_mode)?;
        let lock = lock(&dir)?;
        let home = Home { dir };
        orphans::stop(&home.postgres_data().join("postmaster.pid"), &home.dir);
        orphans::stop(&home.nats_pid_file(), &home.dir);
        if fresh {
            home.empty()?;
        }
        Ok((home, Guard::start(Some(lock))?))
    }

    pub(crate) fn postgres_data(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.dir.join("postgres.password")
    }

    pub(crate) fn nats_store(&self) -> PathBuf {
        self.dir.join("nats")
    }

    pub(crate) fn nats_pid_file(&self) -> PathBuf {
        self.dir.join("nats.pid")
    }

    /// The major version that wrote the Postgres data, if there are any.
    pub(crate) fn data_major(&self) -> Option<u32> {
        fs::read_to_string(self.postgres_data().join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    /// Deletes everything but marker and lock.
    fn empty(&self) -> Result<(), DevstackError> {
        for entry in fs::read_dir(&self.dir).map_err(DevstackError::io("read", &self.dir))?.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            if name == MARKER || name == "lock" {
                continue;
            }
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(DevstackError::io("remove", &path))?;
        }
        Ok(())
    }
}

/// The places at which a program that was told this directory may keep its data: where it was told and, as root, where
/// the user of Postgres can enter.
///
/// # Errors
/// [`DevstackError`] if no such place can be named.
pub fn kept_places(dir: &Path) -> Result<Vec<PathBuf>, DevstackError> {
    let dir = std::path::absolute(dir).map_err(DevstackError::io("find", dir))?;
    let mut places = vec![dir.clone()];
    if is_root() {
        let instead = reachable(dir, unprivileged()?.as_ref(), &|_| {})?;
        if !places.contains(&instead) {
            places.push(instead);
        }
    }
    Ok(places)
}

/// A temporary directory that the user of Postgres can enter.
fn temporary_base(run_as: Option<&RunAs>) -> Result<PathBuf, DevstackError> {
    let wished = env::temp_dir();
    let Some(user) = run_as else { return Ok(wished) };
    for base in [wished.as_path(), Path::new("/tmp"), Path::new("/var/tmp")] {
        if user.can_enter(base)? {
            return Ok(base.to_owned());
        }
    }
    Err(DevstackError::Unreachable { user: user.name.clone(), dir: wished })
}

/// The wished-for directory, or as root one that the user of Postgres can enter.
fn reachable(dir: PathBuf, run_as: Option<&RunAs>, notice: &dyn Fn(&str)) -> Result<PathBuf, DevstackError> {
    let Some(user) = run_as else { return Ok(dir) };
    if user.can_enter(existing(&dir))? {
        return Ok(dir);
    }
    let name = &hex::encode(Sha256::digest(dir.as_os_str().as_encoded_bytes()))[..12];
    let instead = Path::new(ROOT_HOME).join(name);
    if !user.can_enter(existing(&instead))? {
        return Err(DevstackError::Unreachable { user: user.name.clone(), dir });
    }
    let (user, wished) = (&user.name, dir.display());
    notice(&format!(
        "Data goes to {} instead of {wished}: user {user}, who runs Postgres, cannot enter that.",
        instead.display()
    ));
    Ok(instead)
}

/// The deepest part of `path` that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|part| part.exists()).unwrap_or(Path::new("/"))
}

/// As root, the user of Postgres must get through; otherwise no other user has business here.
fn open_to_run_as(dir: &Path) -> Result<(), DevstackError> {
    let mode = if is_root() { 0o711 } else { 0o700 };
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))
        .map_err(DevstackError::io("change the mode of", dir))
}

/// Refuses a directory that another user could change.
fn trusted(
    dir: &Path,
    against: impl Fn(&Path) -> std::io::Result<Option<String>>,
) -> Result<(), DevstackError> {
    match against(dir).map_err(DevstackError::io("look at", dir))? {
        None => Ok(()),
        Some(reason) => Err(DevstackError::Untrusted { dir: dir.to_owned(), reason }),
    }
}

fn is_empty(dir: &Path) -> Result<bool, DevstackError> {
    Ok(fs::read_dir(dir).map_err(DevstackError::io("read", dir))?.next().is_none())
}

fn mark(dir: &Path) -> Result<(), DevstackError> {
    const TEXT: &[u8] =
        b"Private servers of redress: not for production, deleted when asked for fresh ones.\n";
    let marker = dir.join(MARKER);
    trust::open(File::options().write(true).create(true).truncate(true), &marker)
        .and_then(|mut file| file.write_all(TEXT))
        .map_err(DevstackError::io("write", &marker))
}

/// Locks a kept directory. The file names the holder, whose guard may still hold the lock after its end.
fn lock(dir: &Path) -> Result<File, DevstackError> {
    let path = dir.join("lock");
    let mut file = trust::open(File::options().read(true).write(true).create(true).truncate(false), &path)
        .map_err(DevstackError::io("open", &path))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => {
                let written = file
                    .set_len(0)
                    .and_then(|()| file.seek(SeekFrom::Start(0)))
                    .and_then(|_| write!(file, "{}", std::process::id()));
                written.map_err(DevstackError::io("write", &path))?;
                return Ok(file);
            }
            Err(fs::TryLockError::WouldBlock) if orphans::is_alive(holder(&mut file)) => break,
            Err(fs::TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(fs::TryLockError::Error(source)) => return Err(DevstackError::io("lock", &path)(source)),
        }
    }
    let holder = holder(&mut file).map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
    Err(DevstackError::Locked { dir: dir.to_owned(), holder })
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
