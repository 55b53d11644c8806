//! Checks that a directory is ours alone.
//!
//! We run, overwrite or delete the content of a directory, perhaps as root. So it must belong to us, no other user may
//! write to it, and the way to it must not be a link that another user has put into a place where all users may write.
//! Files in it are opened as what they are, never through a link.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

/// Mode bits that let the group, or all users, write.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// The mode of directories that others may look into.
const OPEN_MODE: u32 = 0o755;

/// Makes a directory and those above it; others may at most look into them, whatever the umask.
pub(crate) fn make(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(OPEN_MODE).create(dir)
}

/// Makes one directory that is closed to all others.
pub(crate) fn make_closed(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(dir)
}

/// Why `dir` is not for us to keep data in, if it is not; others may write to it only if that is asked for.
pub(crate) fn against_keeping(dir: &Path) -> io::Result<Option<String>> {
    if let Some(reason) = against_way(dir)? {
        return Ok(Some(reason));
    }
    let metadata = fs::symlink_metadata(dir)?;
    if metadata.is_symlink() {
        let target = fs::read_link(dir)?;
        return Ok(Some(format!("it is a link; name the directory itself ({})", target.display())));
    }
    Ok(against_owner(&metadata, &[geteuid().as_raw()]))
}

/// Why others may change the content of a directory, if they may.
pub(crate) fn against_mode(dir: &Path) -> io::Result<Option<String>> {
    let metadata = fs::symlink_metadata(dir)?;
    let writes = metadata.mode() & (GROUP_WRITES | OTHERS_WRITE) != 0;
    Ok(writes.then(|| others_write(&metadata)))
}

/// Why a file or directory must not be run, if so: it may belong to root or to us, and no other user may change it.
pub(crate) fn against_running(path: &Path) -> io::Result<Option<String>> {
    let metadata = fs::metadata(path)?;
    let owner = against_owner(&metadata, &[0, geteuid().as_raw()]);
    Ok(owner.or_else(|| is_changed_by_others(&metadata).then(|| others_write(&metadata))))
}

/// Returns true if others may write. A group with the number of its user is that user's alone, as many systems set it
/// up.
fn is_changed_by_others(metadata: &Metadata) -> bool {
    let by_group = metadata.mode() & GROUP_WRITES != 0 && metadata.gid() != metadata.uid();
    by_group || metadata.mode() & OTHERS_WRITE != 0
}

/// Takes the right to write from all others.
pub(crate) fn close_to_writers(dir: &Path) -> io::Result<()> {
    let mode = fs::metadata(dir)?.mode() & !(GROUP_WRITES | OTHERS_WRITE);
    fs::set_permissions(dir, fs::Permissions::from_mode(mode & 0o7777))
}

/// Opens a file that is a file, and not a link to one.
pub(crate) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

fn others_write(metadata: &Metadata) -> String {
    format!("others may write to it (mode {:04o}); chmod go-w it if they have not", metadata.mode() & 0o7777)
}

fn against_owner(metadata: &Metadata, trusted: &[u32]) -> Option<String> {
    let is_trusted = trusted.contains(&metadata.uid());
    (!is_trusted).then(|| format!("it belongs to user {}, and we are user {}", metadata.uid(), geteuid()))
}

/// Links above `dir` that lie where all users may write, and are neither ours, nor root's, nor the directory owner's.
fn against_way(dir: &Path) -> io::Result<Option<String>> {
    for part in dir.ancestors().skip(1) {
        let (Some(above), Ok(metadata)) = (part.parent(), fs::symlink_metadata(part)) else { continue };
        let place = fs::metadata(above)?;
        let trusted = [0, geteuid().as_raw(), place.uid()];
        if metadata.is_symlink()
            && place.mode() & OTHERS_WRITE != 0
            && against_owner(&metadata, &trusted).is_some()
        {
            let owner = metadata.uid();
            return Ok(Some(format!("the way to it is a link of user {owner}: {}", part.display())));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn file_is_not_opened_through_link() {
        let dir = tempfile::tempdir().unwrap();
        let (precious, link) = (dir.path().join("precious"), dir.path().join("link"));
        fs::write(&precious, "kept").unwrap();
        symlink(&precious, &link).unwrap();
        for options in [File::options().append(true).create(true), File::options().read(true)] {
            assert!(open(options, &link).is_err());
            assert!(open(options, &precious).is_ok());
        }
        assert_eq!(fs::read_to_string(&precious).unwrap(), "kept");
    }

    #[test]
    fn file_writable_by_others_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("postgres");
        fs::write(&file, "").unwrap();
        let told = |mode| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            against_running(&file).unwrap()
        };
        assert_eq!(told(0o755), None);
        assert!(told(0o757).unwrap().contains("others may write"));
        close_to_writers(&file).unwrap();
        assert_eq!(against_running(&file).unwrap(), None);
    }
}
