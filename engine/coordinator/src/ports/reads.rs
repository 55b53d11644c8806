//! Sagas as people read them.

use std::time::Duration;

use redress_core::history::HistoryEntry;
use redress_core::state::{ParkCode, SagaState};
use redress_core::{JsonText, SagaId, Timestamp};

use super::list_cursor::ListCursor;

/// A saga as it is stored.
#[derive(Debug)]
pub struct SagaRow {
    /// The saga.
    pub id: SagaId,
    /// Its definition's name.
    pub saga: String,
    /// Its definition's version.
    pub version: u32,
    /// The number of its moves.
    pub revision: i64,
    /// Its state.
    pub state: SagaState,
    /// The input as it was given.
    pub input: JsonText,
    /// Labels.
    pub tags: serde_json::Value,
    /// The replies to its actions, by step.
    pub replies: Vec<(String, Replied)>,
    /// The parts of it that were read.
    pub include: Include,
}

/// A reply to an action.
#[derive(Clone, Debug)]
pub enum Replied {
    /// As it was given.
    Said(JsonText),
    /// Left out, as those before it are large enough together.
    LeftOut,
}

/// The parts of a saga that are read beside its state: each may be a quarter of a megabyte, replies many times so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Include {
    /// The input as it was given.
    pub input: bool,
    /// Its data now.
    pub data: bool,
    /// The replies to its actions.
    pub replies: bool,
}

impl Include {
    /// Everything.
    pub const ALL: Self = Self { input: true, data: true, replies: true };
}

/// Rows of a page.
#[derive(Debug)]
pub struct Rows<T> {
    /// As many as fit.
    pub rows: Vec<T>,
    /// True if there are more after them.
    pub more: bool,
}

/// Sagas that one page looks at, at the most: 25 times as many as the largest page shows, read in some 20 ms if they lie in
/// memory.
pub const LOOKED_AT_MAX: usize = 5_000;

/// A page of a list of sagas.
#[derive(Debug)]
pub struct Listed {
    /// The sagas on it, newest first; of one that cannot be read, the id.
    pub rows: Vec<Result<SagaRow, SagaId>>,
    /// What comes after them.
    pub rest: Rest,
}

/// What comes after a page of sagas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing: all sagas were looked at.
    Nothing,
    /// The page is full, and more sagas may come from here on.
    More(ListCursor),
    /// The page has looked at [`LOOKED_AT_MAX`] sagas, or has searched as much as one page may: what comes from here on was
    /// not looked at.
    Unsearched(ListCursor),
}

impl Rest {
    /// Where the next page begins, if there is one.
    pub fn next(self) -> Option<ListCursor> {
        match self {
            Self::Nothing => None,
            Self::More(next) | Self::Unsearched(next) => Some(next),
        }
    }
}

/// Which sagas to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Only of this status.
    pub status: Option<String>,
    /// Only parked with this code as the first reason.
    pub code: Option<String>,
    /// Only of this definition.
    pub saga: Option<String>,
    /// Only those whose id begins so, whose key or the value of a label it is; and after these, those with this text
    /// in the id or the input, in whichever case.
    pub text: Option<String>,
    /// Only with this label.
    pub tag: Option<(String, String)>,
    /// Only started at or after.
    pub since: Option<Timestamp>,
    /// Only started before.
    pub until: Option<Timestamp>,
    /// Only those that come from here on.
    pub after: Option<ListCursor>,
    /// At most so many.
    pub limit: i64,
    /// Only those that go on by themselves, but for longer than they should.
    pub stalled: bool,
    /// Since when they should not; the engine fills it in.
    pub stalled_before: Option<Timestamp>,
    /// The parts that are shown of each.
    pub include: Include,
}

/// A saga that has not ended, and the version of its definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSaga {
    /// The saga.
    pub id: SagaId,
    /// Its definition's name.
    pub saga: String,
    /// Its definition's version.
    pub version: u32,
}

/// A row of history with its saga.
pub type HistoryRow = HistoryEntry;

/// Open sagas of one version of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSagas {
    /// The definition's name.
    pub saga: String,
    /// Its version.
    pub version: u32,
    /// The number of those that have not ended.
    pub count: i64,
}

/// Sagas that rest or lag, for the gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The age of the oldest saga of each definition that has sagas which have not ended.
    pub oldest: Vec<(String, Duration)>,
    /// The number of parked sagas of each definition, by the code of their first reason.
    pub parked: Vec<(String, ParkCode, i64)>,
}

/// The sagas under way at a draining coordinator: those that keep it, and those that it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Sagas that go on by themselves, and will end; and those that were closed while the outcome of a step is still
    /// being verified.
    pub going: i64,
    /// Sagas that are parked or paused, until an operator says more.
    pub resting: i64,
}
