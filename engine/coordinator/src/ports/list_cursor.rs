//! Where a list of sagas goes on.

use std::fmt;
use std::str::FromStr;

use redress_core::SagaId;
use thiserror::Error;

/// The cursor of the second part of a search, with the id behind it if there is one.
const INPUTS: &str = "inputs";
const INPUTS_AFTER: &str = "inputs.";

/// Where a list goes on: what a page gives as `next`.
///
/// A search has two parts, each newest first: the sagas whose id, key or label the text is, and then those that have it
/// somewhere in their inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListCursor {
    /// After this saga.
    After(SagaId),
    /// With the second part of a search: from its beginning, or after this saga.
    Inputs(Option<SagaId>),
}

impl ListCursor {
    /// The saga after which it goes on, unless it begins anew.
    pub fn saga(self) -> Option<SagaId> {
        match self {
            Self::After(id) | Self::Inputs(Some(id)) => Some(id),
            Self::Inputs(None) => None,
        }
    }
}

impl fmt::Display for ListCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(id) => id.fmt(f),
            Self::Inputs(None) => f.write_str(INPUTS),
            Self::Inputs(Some(id)) => write!(f, "{INPUTS_AFTER}{id}"),
        }
    }
}

/// The text is no cursor of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the cursor is not one that a list gave")]
pub struct InvalidListCursor;

impl FromStr for ListCursor {
    type Err = InvalidListCursor;

    fn from_str(text: &str) -> Result<Self, InvalidListCursor> {
        let id = |text: &str| text.parse().map_err(|_| InvalidListCursor);
        match text.strip_prefix(INPUTS_AFTER) {
            _ if text == INPUTS => Ok(Self::Inputs(None)),
            Some(after) => Ok(Self::Inputs(Some(id(after)?))),
            None => Ok(Self::After(id(text)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn list_cursor_is_read_as_it_was_written() {
        let id = SagaId(Uuid::from_u128(7));
        for cursor in [ListCursor::After(id), ListCursor::Inputs(None), ListCursor::Inputs(Some(id))] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "inputs.", "inputs.x", "7", "input"] {
            assert_eq!(text.parse::<ListCursor>(), Err(InvalidListCursor), "{text}");
        }
    }
}
