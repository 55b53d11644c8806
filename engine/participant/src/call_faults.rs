//! Injected failures of a call to a third party, where failures are obeyed.
//!
//! Whatever is played here, the third party sees at most calls with the command's own key, and the service learns no more
//! than it would in earnest: that no answer came. So what follows is what follows a real failure.
//!
//! | fault | the third party | the service |
//! |---|---|---|
//! | `call-lost` | hears nothing | waits for the time of a call, and hears nothing |
//! | `call-late` | does it | waits for the time of a call, and hears nothing |
//! | `call-twice` | is called twice, one after the other | hears the second answer |
//! | `call-failed` | does it | hears an error |

use std::future::{Future, pending};

use redress_core::CommandMessage;
use redress_core::fault::FaultKind;

use crate::call_dispatch::Response;
use crate::config::{FaultMode, count};
use crate::handler::HandlerError;
use crate::inbox::Inbox;

const FAILED: &str = "injected failure: the third party was called, and its answer is thrown away";

/// A failure of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallFault {
    Lost,
    Late,
    Twice,
    Failed,
}

impl CallFault {
    /// The failure to play, if one was ordered and is obeyed.
    pub(crate) fn ordered<S>(inbox: &Inbox<S>, command: &CommandMessage) -> Option<Self> {
        let fault = match command.fault.as_ref()? {
            _ if inbox.config.faults == FaultMode::Refused => return None,
            FaultKind::CallLost => Self::Lost,
            FaultKind::CallLate => Self::Late,
            FaultKind::CallTwice => Self::Twice,
            FaultKind::CallFailed => Self::Failed,
            FaultKind::Reject { .. }
            | FaultKind::Fail
            | FaultKind::Delay { .. }
            | FaultKind::DropCommand
            | FaultKind::DropReply
            | FaultKind::DelayReply { .. }
            | FaultKind::Duplicate
            | FaultKind::CrashBeforeCommit
            | FaultKind::CrashAfterCommit
            | FaultKind::CrashAfterReply => return None,
        };
        count(&inbox.stats.injected);
        Some(fault)
    }

    /// How many calls the third party sees.
    pub(crate) const fn calls(fault: Option<Self>) -> u32 {
        match fault {
            Some(Self::Lost) => 0,
            Some(Self::Late | Self::Failed) | None => 1,
            Some(Self::Twice) => 2,
        }
    }

    /// Makes the call, as the fault has it. What never ends is ended by the time limit of the call.
    pub(crate) async fn play<F>(fault: Option<Self>, call: impl Fn() -> F) -> Result<Response, HandlerError>
    where
        F: Future<Output = Result<Response, HandlerError>>,
    {
        match fault {
            None => call().await,
            Some(Self::Lost) => pending().await,
            Some(Self::Late) => {
                drop(call().await);
                pending().await
            }
            Some(Self::Twice) => {
                drop(call().await);
                call().await
            }
            Some(Self::Failed) => {
                drop(call().await?);
                Err(FAILED.into())
            }
        }
    }
}
