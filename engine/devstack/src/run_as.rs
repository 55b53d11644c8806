//! The user who runs Postgres when we are root.
//!
//! Postgres refuses to run as root, so it is given to `postgres` or else to `nobody`: users that have an
//! entry in the user database, because initdb looks its user up there. The reach of that user is found out from the
//! operating system, by trying it as that user: mode bits do not tell (mounts, ACLs, security modules).

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User, geteuid};

use crate::environment;
use crate::error::DevstackError;

/// An unprivileged user to run a child as.
#[derive(Clone, Debug)]
pub(crate) struct RunAs {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    uid: Uid,
    gid: Gid,
}

/// Returns true if this process is root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// The user who has to run Postgres; `None` when that is us.
pub(crate) fn unprivileged() -> Result<Option<RunAs>, DevstackError> {
    if !is_root() {
        return Ok(None);
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map(|user| Some(RunAs { name: user.name, home: user.dir, uid: user.uid, gid: user.gid }))
        .ok_or(DevstackError::NoUnprivilegedUser)
}

impl RunAs {
    /// Makes `command` run as this user (without supplementary groups: std drops them for root).
    pub(crate) fn apply(&self, command: &mut Command) {
        command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
    }

    /// Hands a file or a directory to this user.
    pub(crate) fn own(&self, path: &Path) -> Result<(), DevstackError> {
        std::os::unix::fs::chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
            .map_err(DevstackError::io("change the owner of", path))
    }

    /// Returns true if this user can enter `dir`.
    pub(crate) fn can_enter(&self, dir: &Path) -> Result<bool, DevstackError> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"cd -- "$0""#]).arg(dir).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        environment::of_server(&mut command, Some(&self.home));
        self.apply(&mut command);
        let status = command.status().map_err(|source| self.refused(source, "/bin/sh"))?;
        Ok(status.success())
    }

    /// Tells a forbidden change of user from any other failure to start `program`.
    pub(crate) fn refused(&self, source: std::io::Error, program: impl AsRef<Path>) -> DevstackError {
        match source.raw_os_error() {
            Some(code) if code == nix::errno::Errno::EPERM as i32 => {
                DevstackError::CannotDropRoot { user: self.name.clone(), source }
            }
            _ => DevstackError::io("start", program.as_ref())(source),
        }
    }
}
