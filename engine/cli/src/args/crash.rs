//! The point at which a test lets a coordinator die.

use std::str::FromStr;

use redress_coordinator::crash::{CrashHook, CrashPoint};
use redress_core::{Name, Phase};
use redress_participant::EXIT_CODE_OF_INJECTED_CRASH;

/// A point of the unit of work that takes the reply to a command, as `after-commit:ship-order:action`, or that sends
/// the command, as `before-sending:ship-order:action`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CrashAt {
    point: CrashPoint,
    step: Name,
    phase: Phase,
}

impl FromStr for CrashAt {
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

impl CrashAt {
    pub(crate) fn hook(self) -> CrashHook {
        CrashHook::new(move |point, key| {
            if point == self.point && key.step == self.step && key.phase == self.phase {
                eprintln!("injected crash {} {} {}", point.as_str(), key.step, key.phase);
                std::process::exit(EXIT_CODE_OF_INJECTED_CRASH);
            }
        })
    }
}
