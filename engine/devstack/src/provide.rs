//! Finds a server, or installs it.
//!
//! Every server that is skipped or installed is reported through the notice, one line each.

use std::fmt::Write as _;
use std::path::Path;

use crate::cache;
use crate::discover::{Binary, Search, Subject, Verdict, search};
use crate::error::DevstackError;
use crate::install;
use crate::probe::version_of;
use crate::run_as::RunAs;
use crate::server::Server;
use crate::version::Version;

/// A usable binary of `server`; of major version `wanted`, when kept data ask for it.
pub(crate) fn provide(
    server: Server,
    wanted: Option<(u32, &Path)>,
    run_as: Option<&RunAs>,
    notice: &dyn Fn(&str),
) -> Result<Binary, DevstackError> {
    let cache = cache::directory();
    let mut search = search(server, run_as, cache.as_deref().map_err(String::as_str));
    announce_skipped(server, &search, notice);

    let fits = |version: Version| wanted.is_none_or(|(major, _)| version.major == major);
    let found = search.usable.iter().find(|binary| fits(binary.version)).cloned();
    let pinned = Version::parse(install::pin(server).version).expect("pins are versions");
    match (found, wanted, search.usable.first()) {
        (Some(binary), ..) => Ok(binary),
        (None, Some((data, dir)), Some(other)) if data != pinned.major => {
            Err(DevstackError::WrongMajor { dir: dir.to_owned(), data, found: other.version })
        }
        _ => {
            let binary = install(server, cache, run_as, notice).map_err(|(place, reason)| {
                search.note(server, place, Verdict::Broken, &reason);
                let looked_at = looked_at(&search);
                DevstackError::NoServer { server, looked_at, fix: server.fix() }
            })?;
            match wanted {
                Some((data, dir)) if data != binary.version.major => {
                    Err(DevstackError::WrongMajor { dir: dir.to_owned(), data, found: binary.version })
                }
                _ => Ok(binary),
            }
        }
    }
}

/// The error is a place and a reason.
fn install(
    server: Server,
    cache: Result<std::path::PathBuf, String>,
    run_as: Option<&RunAs>,
    notice: &dyn Fn(&str),
) -> Result<Binary, (String, String)> {
    let installation = || "installation".to_owned();
    let cache = cache.map_err(|reason| (installation(), reason))?;
    let path = install::install(server, &cache, notice).map_err(|reason| (installation(), reason))?;
    let run_as = run_as.filter(|_| server == Server::Postgres);
    match version_of(server, &path, run_as) {
        Ok(version) => Ok(Binary { path, version }),
        Err(reason) => {
            let advice =
                format!("{reason}; set {} to a directory that every user can enter", cache::VARIABLE);
            Err((path.display().to_string(), advice))
        }
    }
}

/// A server that is there and is not used deserves a word: the user put it there.
fn announce_skipped(server: Server, search: &Search, notice: &dyn Fn(&str)) {
    for finding in &search.findings {
        match finding.verdict {
            Verdict::Used => break,
            Verdict::TooOld | Verdict::Broken => {
                notice(&format!("Skipping {server} at {}: {}", finding.place, finding.detail));
            }
            Verdict::Spare | Verdict::Absent => {}
        }
    }
}

fn looked_at(search: &Search) -> String {
    let mut text = String::new();
    for finding in &search.findings {
        debug_assert!(matches!(finding.subject, Subject::Server(_)));
        let separator = if text.is_empty() { "" } else { "\n" };
        let detail = finding.detail.replace('\n', "\n      ");
        write!(text, "{separator}    {}: {detail}", finding.place).expect("writing to a string");
    }
    text
}
