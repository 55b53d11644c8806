//! The point at which a test lets a coordinator or a service die.

use std::str::FromStr;

use redress_coordinator::crash::{CrashHook, CrashPoint};
use redress_core::{IdempotencyKey, Name, Phase};
use redress_participant::{EXIT_CODE_OF_INJECTED_CRASH, crash};

/// A point `P` in the work on a command. Of a coordinator: in the unit of work that takes the reply to it, as
/// `after-commit:ship-order:action`, or that sends it, as `before-sending:ship-order:action`. Of a service:
/// `after-call:charge-card:action`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CrashAt<P = CrashPoint> {
    point: P,
    step: Name,
    phase: Phase,
}

impl<P: FromStr<Err = String>> FromStr for CrashAt<P> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let [point, step, phase] = text.split(':').collect::<Vec<_>>()[..] else {
            return Err(format!("`{text}` is not of the form <point>:<step>:<phase>"));
        };
        Ok(Self {
            point: point.parse()?,
            step: Name::new(step).map_err(|error| error.to_string())?,
            phase: phase.parse().map_err(|error| format!("{error}"))?,
        })
    }
}

impl<P: PartialEq> CrashAt<P> {
    /// Ends the process if this is the place.
    fn pass(&self, point: &P, word: &str, key: &IdempotencyKey) {
        if *point == self.point && key.step == self.step && key.phase == self.phase {
            eprintln!("injected crash {word} {} {}", key.step, key.phase);
            std::process::exit(EXIT_CODE_OF_INJECTED_CRASH);
        }
    }
}

impl CrashAt {
    pub(crate) fn hook(self) -> CrashHook {
        CrashHook::new(move |point, key| self.pass(&point, point.as_str(), key))
    }
}

impl CrashAt<crash::CrashPoint> {
    pub(crate) fn hook(self) -> crash::CrashHook {
        crash::CrashHook::new(move |point, key| self.pass(&point, point.as_str(), key))
    }
}
