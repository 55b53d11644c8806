//! Checks that a process is back at its level: pure arithmetic on the readings of `/proc`.

use std::collections::BTreeMap;

/// The growth of memory, in bytes, that is allowed beside [`MEMORY_FACTOR`]: an allocator keeps the memory that a
/// backlog of some thousand sagas once needed.
const MEMORY_SLACK: u64 = 96 << 20;
/// The limit of memory, as a multiple of the level after the warm-up.
const MEMORY_FACTOR: f64 = 1.5;
/// The most memory that one process of ours may ever take, in bytes: the limits by bytes exist for that.
const MEMORY_MAX: u64 = 768 << 20;
/// The descriptors that may be open beside the level after the warm-up: pools of connections open the last of theirs
/// late.
const DESCRIPTORS_SLACK: u64 = 24;

/// One look at one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Resident memory, in bytes.
    pub(crate) memory: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
}

/// The looks at all processes, by the names of their roles.
pub(crate) type Looks = BTreeMap<String, Look>;

/// The most that each process ever took.
pub(crate) fn highest(peaks: &mut Looks, now: &Looks) {
    for (role, look) in now {
        let peak = peaks.entry(role.clone()).or_default();
        peak.memory = peak.memory.max(look.memory);
        peak.descriptors = peak.descriptors.max(look.descriptors);
    }
}

/// The processes that take more memory than any may ever take, a sentence each.
pub(crate) fn too_large(now: &Looks) -> Vec<String> {
    let large = now.iter().filter(|(_, look)| look.memory > MEMORY_MAX);
    large.map(|(role, look)| format!("{role} holds {} MiB", look.memory >> 20)).collect()
}

/// The processes that are not back at their level, a sentence each.
pub(crate) fn not_back(before: &Looks, after: &Looks) -> Vec<String> {
    let mut wrong = Vec::new();
    for (role, level) in before {
        let Some(now) = after.get(role) else {
            wrong.push(format!("{role} does not run any more"));
            continue;
        };
        let memory_max = (level.memory as f64 * MEMORY_FACTOR) as u64 + MEMORY_SLACK;
        if now.memory > memory_max {
            wrong.push(format!(
                "{role} holds {} MiB; its level after the warm-up was {} MiB, so {} MiB are the most",
                now.memory >> 20,
                level.memory >> 20,
                memory_max >> 20
            ));
        }
        if now.descriptors > level.descriptors + DESCRIPTORS_SLACK {
            wrong.push(format!(
                "{role} has {} descriptors open; its level after the warm-up was {}",
                now.descriptors, level.descriptors
            ));
        }
    }
    wrong
}
