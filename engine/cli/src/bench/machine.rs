//! CPU time and memory of the processes of a bench, as the kernel counts them.
//!
//! A client that runs on threads of its own in the coordinator's process is told apart: its CPU time is that of threads with
//! its name, and not the coordinator's. Its memory cannot be told apart.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;

use serde_json::{Value, json};

/// The processes.
pub(super) struct Machine {
    pub(super) coordinator: u32,
    pub(super) participants: u32,
    pub(super) postgres: u32,
    pub(super) nats: u32,
    /// The name of the client's threads in the coordinator's process, if it has some.
    pub(super) client: Option<&'static str>,
}

/// CPU time and memory that the processes have used so far.
pub(super) struct Reading {
    pub(super) cpu_seconds: BTreeMap<&'static str, f64>,
    /// That of the client, if it can be told apart.
    pub(super) client_cpu_seconds: Option<f64>,
    pub(super) rss_mib: BTreeMap<&'static str, f64>,
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
        let client_cpu_seconds = self.client.map(|name| cpu_seconds_of_threads(self.coordinator, name));
        let mut reading =
            Reading { cpu_seconds: BTreeMap::new(), client_cpu_seconds, rss_mib: BTreeMap::new() };
        for (name, pids) in groups {
            reading.cpu_seconds.insert(name, pids.iter().map(|&pid| cpu_seconds(pid)).sum());
            reading.rss_mib.insert(name, pids.iter().map(|&pid| pss_mib(pid)).sum());
        }
        if let Some(coordinator) = reading.cpu_seconds.get_mut("coordinator") {
            *coordinator -= client_cpu_seconds.unwrap_or_default();
        }
        reading
    }
}

impl Reading {
    /// The difference to an earlier reading; memory as it is now.
    pub(super) fn since(mut self, before: &Self) -> Self {
        for (name, seconds) in &mut self.cpu_seconds {
            *seconds -= before.cpu_seconds.get(name).copied().unwrap_or_default();
        }
        self.client_cpu_seconds =
            self.client_cpu_seconds.map(|seconds| seconds - before.client_cpu_seconds.unwrap_or_default());
        self
    }

    /// Adds itself to the report of a run of so many sagas. The total is that of the system; a client that is told apart is
    /// none of it.
    pub(super) fn add_to(&self, report: &mut Value, sagas: u64) {
        let per_thousand = |seconds: f64| round(seconds * 1_000.0 / sagas as f64, 3);
        let mut cpu: BTreeMap<&str, f64> =
            self.cpu_seconds.iter().map(|(name, seconds)| (*name, per_thousand(*seconds))).collect();
        cpu.insert("total", per_thousand(self.cpu_seconds.values().sum()));
        report["cpu_seconds_per_1000_sagas"] = json!(cpu);
        report["client_cpu_seconds_per_1000_sagas"] = json!(self.client_cpu_seconds.map(per_thousand));
        let rss: BTreeMap<&str, f64> =
            self.rss_mib.iter().map(|(name, mib)| (*name, round(*mib, 0))).collect();
        report["rss_mib"] = json!(rss);
    }
}

pub(crate) fn round(number: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (number * factor).round() / factor
}

/// The fields of a file `stat` of a process or a thread after its name; none if it is gone.
fn stat(of: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{of}/stat")).unwrap_or_default();
    let after_name = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name.split_whitespace().map(str::to_owned).collect()
}

/// The sum of these fields, which are times.
fn seconds_in(fields: &[String], range: Range<usize>) -> f64 {
    // The kernel reports hundredths of a second to programs, independent of its own tick.
    const TICKS_PER_SECOND: f64 = 100.0;
    let ticks: f64 = range.filter_map(|field| fields.get(field)?.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SECOND
}

/// Own time and that of children that have ended, in user and system mode.
fn cpu_seconds(pid: u32) -> f64 {
    seconds_in(&stat(&pid.to_string()), 11..15)
}

/// The time of the threads with this name, in user and system mode. (The children in the file of a thread are those of its
/// process.)
fn cpu_seconds_of_threads(pid: u32, name: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let threads = threads.filter_map(|entry| entry.file_name().to_str().map(str::to_owned));
    let of_thread = |thread: String| {
        let thread = format!("{pid}/task/{thread}");
        let called = fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
        if called.trim_end() == name { seconds_in(&stat(&thread), 11..13) } else { 0.0 }
    };
    threads.map(of_thread).sum()
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
    let is_child = |pid: &u32| stat(&pid.to_string()).get(1).is_some_and(|ppid| *ppid == parent.to_string());
    std::iter::once(parent).chain(pids.filter(is_child)).collect()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// As much as a thread works in the test: twenty ticks of the kernel's counters.
    const WORK_SECONDS: f64 = 0.2;

    #[cfg(target_os = "linux")]
    #[test]
    fn client_on_threads_of_its_own_is_not_counted_as_coordinator() {
        let (own, client) = (std::process::id(), "bench-test");
        let machine =
            Machine { coordinator: own, participants: 0, postgres: 0, nats: 0, client: Some(client) };
        let before = machine.read();
        let ((worked, has_worked), (leave, may_leave)) = (mpsc::channel(), mpsc::channel::<()>());
        let work = move || {
            let mut number = 1_u64;
            while cpu_seconds_of_threads(own, client) < WORK_SECONDS {
                (0..1_000_000).for_each(|it| number = black_box(number.wrapping_mul(31) + it));
            }
            worked.send(()).unwrap();
            // The counters of a thread go with it.
            may_leave.recv().unwrap_err();
        };
        let thread = thread::Builder::new().name(client.to_owned()).spawn(work).unwrap();
        has_worked.recv().unwrap();
        let reading = machine.read();
        let all = cpu_seconds(own);
        drop(leave);
        thread.join().unwrap();
        let of_client = reading.client_cpu_seconds.unwrap();
        assert!(of_client >= WORK_SECONDS, "{of_client}");
        assert!(
            reading.cpu_seconds["coordinator"] + of_client <= all + 1e-9,
            "{:?} of {all}",
            reading.cpu_seconds
        );
        assert!(reading.since(&before).client_cpu_seconds.unwrap() >= WORK_SECONDS);
    }
}
