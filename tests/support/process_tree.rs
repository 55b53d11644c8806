//! Finds the processes that a process has started, and their remains on this machine when it has gone.
//!
//! Processes are told by their descent and their birth, never by their names: others run servers here too.

use std::fs;
use std::path::{Path, PathBuf};

use super::until;

/// A process that cannot be taken for a later one of the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeProcess {
    pid: u32,
    /// When it began, in ticks since the machine did.
    born: String,
    /// Its arguments, separated by spaces.
    pub(crate) says: String,
}

/// The fields of `/proc/PID/stat` after the command's name: state, parent, and so on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// All descendants of a process.
pub(crate) fn of(ancestor: u32) -> Vec<TreeProcess> {
    let pids = fs::read_dir("/proc").expect("a system with /proc").flatten();
    let all: Vec<(u32, Vec<String>)> = pids
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    let (mut family, mut parents) = (Vec::new(), vec![ancestor]);
    while let Some(parent) = parents.pop() {
        for (pid, fields) in all.iter().filter(|(_, fields)| fields[1] == parent.to_string()) {
            let says = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            family.push(TreeProcess { pid: *pid, born: fields[19].clone(), says: says.replace('\0', " ") });
            parents.push(*pid);
        }
    }
    family
}

impl TreeProcess {
    /// Returns true if it runs; one that has ended and was not reaped does not.
    pub(crate) fn lives(&self) -> bool {
        stat(self.pid).is_some_and(|fields| fields[19] == self.born && fields[0] != "Z")
    }
}

/// The directories of the private servers of a process.
pub(crate) fn directories(of: u32) -> Vec<PathBuf> {
    let mut bases = vec![std::env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
    bases.sort();
    bases.dedup();
    let prefix = format!("redress-{of}-");
    let is_of =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    let entries = bases.into_iter().filter_map(|base| fs::read_dir(base).ok()).flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| is_of(path)).collect()
}

/// Waits until nothing is left: no process, no directory.
pub(crate) async fn gone(family: &[TreeProcess], pid: u32) {
    until("the end of all that it started", async || {
        (!family.iter().any(TreeProcess::lives) && directories(pid).is_empty()).then_some(())
    })
    .await;
}
