//! Ends the process where an injected failure orders it.

use redress_core::Name;

/// Exit code of a process that obeys `crash-after-commit`.
pub const EXIT_CODE_OF_INJECTED_CRASH: i32 = 86;

/// Ends the process, as an injected failure orders it.
pub(crate) fn crash(service: &Name) -> ! {
    tracing::warn!(%service, "injected crash");
    std::process::exit(EXIT_CODE_OF_INJECTED_CRASH)
}
