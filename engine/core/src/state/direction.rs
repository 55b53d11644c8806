//! The way that a saga goes: forward, back, or nowhere any more.

use serde::{Deserialize, Serialize};

use crate::ids::Name;
use crate::json::JsonText;
use crate::state::cause::Cause;

/// The way that a saga goes, or will go once nothing [holds](crate::state::Hold) it up.
#[derive(Clone, Debug, PartialEq)]
pub enum Direction {
    /// Step after step, to the last.
    Forward,
    /// To where no effect that has a compensation stands.
    Back {
        /// Why it turned back.
        cause: Cause,
        /// How far the way back has come.
        unwinding: Unwinding,
    },
    /// It has ended, and no way leads out of an end.
    Ended(End),
}

/// How far the way back has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unwinding {
    /// Some step was sent and has no final answer yet: nothing is undone before it has.
    Settling,
    /// The plan is fixed.
    Frozen {
        /// In this order.
        plan: Vec<PlannedUndo>,
    },
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedUndo {
    /// The step to undo.
    pub step: Name,
    /// The compensation's payload, computed when the plan was frozen.
    pub payload: JsonText,
}

/// The end of a saga.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// Every awaited effect stands.
    Completed,
    /// No effect that has a compensation stands.
    Compensated {
        /// Why it went back.
        cause: Cause,
    },
    /// An operator ended it by hand: its remaining effects are that operator's to clear up.
    Closed {
        /// The operator.
        actor: String,
        /// Why.
        reason: String,
        /// Why it was going back, if it was.
        cause: Option<Cause>,
    },
}
