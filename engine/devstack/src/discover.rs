//! Searches this machine for usable server binaries.
//!
//! Looked at in this order: our environment variable, PATH, the usual places (highest version first), our
//! cache. The first one that is new enough wins; the others are reported with the reason, never silently
//! passed over. A Postgres must also start as the user who will run it.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::install;
use crate::probe::version_of;
use crate::run_as::RunAs;
use crate::server::Server;
use crate::version::Version;

/// Directories that package managers put Postgres into; `*` stands for any name.
const USUAL_POSTGRES: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];
/// Directories that package managers put NATS into and that PATH often lacks.
const USUAL_NATS: &[&str] =
    &["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"];

/// A place that was looked at, and the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// The subject of the search.
    pub subject: Subject,
    /// A path, a variable or a command.
    pub place: String,
    /// The verdict on the place.
    pub verdict: Verdict,
    /// The version that was found, or the reason why it does not serve.
    pub detail: String,
}

/// The subject of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A server binary.
    Server(Server),
    /// The directory for servers that are installed by us.
    Cache,
    /// Python's pip, which installs them.
    Installer,
    /// The user who runs Postgres.
    User,
}

/// The verdict on a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what will be used.
    Used,
    /// It would do, but another one comes first.
    Spare,
    /// It is there, but older than the oldest version that is used.
    TooOld,
    /// It is there, or was named by a variable, and does not work.
    Broken,
    /// It is not there.
    Absent,
}

/// A usable server binary.
#[derive(Clone, Debug)]
pub(crate) struct Binary {
    pub(crate) path: PathBuf,
    pub(crate) version: Version,
}

/// All usable binaries, best first, and everything that was looked at.
#[derive(Debug, Default)]
pub(crate) struct Search {
    pub(crate) usable: Vec<Binary>,
    pub(crate) findings: Vec<CheckResult>,
}

/// Looks for a server everywhere.
pub(crate) fn search(server: Server, run_as: Option<&RunAs>, cache: Result<&Path, &str>) -> Search {
    let mut search = Search::default();
    let mut seen = HashSet::new();
    let mut look = |search: &mut Search, path: PathBuf| {
        if path.exists() && seen.insert(fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
            search.judge(server, path, run_as);
        }
    };

    match env::var_os(server.variable()).filter(|value| !value.is_empty()) {
        Some(named) => {
            let path = named_binary(server, Path::new(&named));
            if path.exists() {
                look(&mut search, path);
            } else {
                search.note(server, path.display().to_string(), Verdict::Broken, "named, but not there");
            }
        }
        None => search.note(server, server.variable().to_owned(), Verdict::Absent, "not set"),
    }
    let nothing = format!("no {}", server.executable());
    let before = search.findings.len();
    for dir in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        look(&mut search, dir.join(server.executable()));
    }
    if search.findings.len() == before {
        search.note(server, "PATH".to_owned(), Verdict::Absent, &nothing);
    }
    let usual = usual_places(server);
    let mut found: Vec<PathBuf> = usual.iter().flat_map(|pattern| expand(pattern)).collect();
    found.sort_by_key(|dir| std::cmp::Reverse(Version::parse(&digits(dir))));
    let before = search.findings.len();
    for dir in found {
        look(&mut search, dir.join(server.executable()));
    }
    if search.findings.len() == before {
        search.note(server, usual.join(", "), Verdict::Absent, &nothing);
    }
    match cache {
        Ok(cache) => match install::installed(server, cache) {
            Ok(Some(path)) => look(&mut search, path),
            Ok(None) => search.note(server, cache.display().to_string(), Verdict::Absent, "not installed"),
            Err(reason) => search.note(server, cache.display().to_string(), Verdict::Broken, &reason),
        },
        Err(reason) => search.note(server, "cache".to_owned(), Verdict::Absent, reason),
    }
    search
}

impl Search {
    fn judge(&mut self, server: Server, path: PathBuf, run_as: Option<&RunAs>) {
        let run_as = run_as.filter(|_| server == Server::Postgres);
        let place = path.display().to_string();
        match version_of(server, &path, run_as) {
            Ok(version) if version < server.minimum() => {
                let needed = format!("version {version} is older than {}", server.minimum());
                self.note(server, place, Verdict::TooOld, &needed);
            }
            Ok(version) => {
                let verdict = if self.usable.is_empty() { Verdict::Used } else { Verdict::Spare };
                self.note(server, place, verdict, &format!("version {version}"));
                self.usable.push(Binary { path, version });
            }
            Err(reason) => self.note(server, place, Verdict::Broken, &reason),
        }
    }

    pub(crate) fn note(&mut self, server: Server, place: String, verdict: Verdict, detail: &str) {
        let subject = Subject::Server(server);
        self.findings.push(CheckResult { subject, place, verdict, detail: detail.to_owned() });
    }
}

/// `REDRESS_PG_BIN` is a directory, `REDRESS_NATS_BIN` a file; either is understood for both.
fn named_binary(server: Server, named: &Path) -> PathBuf {
    let path = std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
    if path.is_dir() { path.join(server.executable()) } else { path }
}

fn usual_places(server: Server) -> &'static [&'static str] {
    match server {
        Server::Postgres => USUAL_POSTGRES,
        Server::Nats => USUAL_NATS,
    }
}

/// The existing directories of a pattern with at most one `*`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return Some(PathBuf::from(pattern)).filter(|dir| dir.is_dir()).into_iter().collect();
    };
    let (parent, prefix) = before.rsplit_once('/').expect("patterns are absolute");
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .map(|name| PathBuf::from(format!("{parent}/{name}{after}")))
        .filter(|dir| dir.is_dir())
        .collect()
}

/// The version in a path such as `/usr/lib/postgresql/15/bin`, as text for [`Version::parse`].
fn digits(path: &Path) -> String {
    path.to_string_lossy().replace(|c: char| !c.is_ascii_digit() && c != '.', " ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn fake(dir: &Path, name: &str, prints: &str) {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\necho '{prints}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn server_binary_is_judged_too_old_or_used_or_broken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nats-server");
        let mut verdicts = Vec::new();
        for prints in ["nats-server: v2.9.10", "nats-server: v2.10.0", "I am something else"] {
            fake(dir.path(), "nats-server", prints);
            let mut search = Search::default();
            search.judge(Server::Nats, path.clone(), None);
            let finding = search.findings.pop().unwrap();
            verdicts.push(format!(
                "{:?}: {}, {} usable",
                finding.verdict,
                finding.detail,
                search.usable.len()
            ));
        }
        insta::assert_snapshot!(verdicts.join("\n"), @r#"
        TooOld: version 2.9.10 is older than 2.10, 0 usable
        Used: version 2.10, 1 usable
        Broken: --version says "I am something else" (), 0 usable
        "#);
    }

    #[test]
    fn postgres_without_initdb_is_not_usable() {
        let dir = tempfile::tempdir().unwrap();
        fake(dir.path(), "postgres", "postgres (PostgreSQL) 16.1");
        let mut search = Search::default();
        search.judge(Server::Postgres, dir.path().join("postgres"), None);
        assert_eq!(search.findings[0].verdict, Verdict::Broken);
        assert!(search.findings[0].detail.contains("initdb"), "{}", search.findings[0].detail);
    }

    #[test]
    fn path_pattern_lists_highest_version_first() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9.6", "15", "14", "17"] {
            fs::create_dir_all(root.path().join(version).join("bin")).unwrap();
        }
        let mut dirs = expand(&format!("{}/*/bin", root.path().display()));
        assert_eq!(dirs.len(), 4);
        dirs.sort_by_key(|dir| {
            std::cmp::Reverse(Version::parse(&digits(dir.strip_prefix(root.path()).unwrap())))
        });
        let names: Vec<_> =
            dirs.iter().map(|dir| dir.parent().unwrap().file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["17", "15", "14", "9.6"]);
    }
}
