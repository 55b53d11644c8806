//! The labels of metrics. Their values come from definitions and from closed lists of words, never from a payload or an
//! id, so that the number of series is known before the first saga runs.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use redress_core::Name;

/// A name as the value of a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameLabel(pub Name);

impl EncodeLabelValue for NameLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.as_str().encode(encoder)
    }
}

impl From<&Name> for NameLabel {
    fn from(name: &Name) -> Self {
        Self(name.clone())
    }
}

/// Things of one kind that happened to the sagas of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    /// The saga definition's name.
    pub saga: NameLabel,
    /// The event, status or outcome that is counted.
    pub kind: &'static str,
}

/// A version of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Version {
    /// The saga definition's name.
    pub saga: String,
    /// Its version.
    pub version: u32,
    /// `true` if this coordinator knows it, `false` if not.
    pub known: &'static str,
}

/// Dead letters of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LetterKind {
    /// The service that gave the messages up, or `coordinator`.
    pub source: String,
    /// The kind of reason.
    pub code: &'static str,
}

/// The sagas of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfSaga {
    /// The saga definition's name.
    pub saga: String,
}

/// A definition in one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfVersion {
    /// The saga definition's name.
    pub saga: NameLabel,
    /// Its version.
    pub version: u32,
}

/// The sagas of a definition that ended with one status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfStatus {
    /// The saga definition's name.
    pub saga: NameLabel,
    /// The status with which they ended.
    pub status: &'static str,
}

/// The settlements of a definition that were answered in one way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfOutcome {
    /// The saga definition's name.
    pub saga: NameLabel,
    /// The answer.
    pub outcome: &'static str,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfStep {
    /// The saga definition's name.
    pub saga: NameLabel,
    /// The step.
    pub step: NameLabel,
}

/// The commands of a step in one phase.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfPhase {
    /// The saga definition's name.
    pub saga: NameLabel,
    /// The step.
    pub step: NameLabel,
    /// The phase.
    pub phase: &'static str,
}

/// Attempts at the commands of a step in one phase that failed in one way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfFailure {
    /// The saga definition's name.
    pub saga: NameLabel,
    /// The step.
    pub step: NameLabel,
    /// The phase.
    pub phase: &'static str,
    /// `failed` or `timed-out`.
    pub kind: &'static str,
}

/// The compensations of a step for one kind of reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfReason {
    /// The saga definition's name.
    pub saga: NameLabel,
    /// The step.
    pub step: NameLabel,
    /// The kind of reason for which the saga turned back.
    pub reason: &'static str,
}

/// The sagas of a definition that are parked with one code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfCode {
    /// The saga definition's name.
    pub saga: String,
    /// The code.
    pub code: &'static str,
}

/// A service, as definitions name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfService {
    /// The service.
    pub service: NameLabel,
}

/// This program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Build {
    /// The version of the coordinator.
    pub version: &'static str,
}
