//! Why a disruption is not carried out, and what to do about it.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A disruption that is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    message: String,
    remedy: Option<String>,
    exit_code: u8,
}

impl Refusal {
    /// It makes no sense here.
    pub(crate) fn usage(message: impl Into<String>, remedy: &str) -> Self {
        Self { message: message.into(), remedy: Some(remedy.to_owned()), exit_code: 2 }
    }

    /// It was tried, and failed.
    pub(crate) fn failed(error: impl Into<anyhow::Error>) -> Self {
        let message = error.into().chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Self { message, remedy: None, exit_code: 1 }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let failure = Self::new(refusal.exit_code, anyhow::anyhow!("{}", refusal.message));
        match refusal.remedy {
            Some(remedy) => failure.remedy(remedy),
            None => failure,
        }
    }
}
