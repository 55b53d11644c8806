//! CPU time and memory of the processes of a bench, as the kernel counts them.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

/// The processes.
pub(super) struct Machine {
    pub(super) coordinator: u32,
    pub(super) participants: u32,
    pub(super) postgres: u32,
    pub(super) nats: u32,
}

/// CPU time and memory that the processes have used so far.
pub(super) struct Reading {
    cpu_seconds: BTreeMap<&'static str, f64>,
    rss_mib: BTreeMap<&'static str, f64>,
}

impl Machine {
    /// Reads the counters; a process that cannot be read counts nothing.
    pub(super) fn read(&self) -> Reading {
        let groups = [
            ("coordinator", vec![self.coordinator]),
            ("participants", vec![self.participants]),
            ("postgres", with_children(self.postgres)),
            ("nats", vec![self.nats]),
        ];
        let mut reading = Reading { cpu_seconds: BTreeMap::new(), rss_mib: BTreeMap::new() };
        for (name, pids) in groups {
            reading.cpu_seconds.insert(name, pids.iter().map(|&pid| cpu_seconds(pid)).sum());
            reading.rss_mib.insert(name, pids.iter().map(|&pid| pss_mib(pid)).sum());
        }
        reading
    }
}

impl Reading {
    pub(super) fn since(mut self, before: &Self) -> Self {
        for (name, seconds) in &mut self.cpu_seconds {
            *seconds -= before.cpu_seconds.get(name).copied().unwrap_or_default();
        }
        self
    }

    pub(super) fn add_to(&self, report: &mut Value, sagas: u64) {
        let per_thousand = |seconds: f64| round(seconds * 1_000.0 / sagas as f64, 3);
        let mut cpu: BTreeMap<&str, f64> =
            self.cpu_seconds.iter().map(|(name, seconds)| (*name, per_thousand(*seconds))).collect();
        cpu.insert("total", per_thousand(self.cpu_seconds.values().sum()));
        report["cpu_seconds_per_1000_sagas"] = json!(cpu);
        let rss: BTreeMap<&str, f64> =
            self.rss_mib.iter().map(|(name, mib)| (*name, round(*mib, 0))).collect();
        report["rss_mib"] = json!(rss);
    }
}

pub(crate) fn round(number: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (number * factor).round() / factor
}

/// The fields of `/proc/PID/stat` after the command's name.
fn stat(pid: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name.split_whitespace().map(str::to_owned).collect()
}

/// Own time and that of children that have ended, in user and system mode.
fn cpu_seconds(pid: u32) -> f64 {
    // The kernel reports hundredths of a second to programs, independent of its own tick.
    const TICKS_PER_SECOND: f64 = 100.0;
    let fields = stat(pid);
    let ticks: f64 = (11..15).filter_map(|field| fields.get(field)?.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SECOND
}

/// Memory, with shared pages divided among the processes that share them.
fn pss_mib(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1_024.0
}

fn with_children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| stat(*pid).get(1).is_some_and(|ppid| *ppid == parent.to_string());
    std::iter::once(parent).chain(pids.filter(is_child)).collect()
}
