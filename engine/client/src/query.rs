//! What sagas are looked for.

use redress_core::Timestamp;

use crate::view::SagaStatus;

/// Conditions that a saga must meet, all of them, and the page of those that do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SagaQuery {
    /// Of this status.
    pub status: Option<SagaStatus>,
    /// Parked for a reason of this code, such as `compensation-failed`.
    pub code: Option<String>,
    /// Of this definition.
    pub saga: Option<String>,
    /// Those whose id begins so, or whose key or the value of a label it is; after these, those with this text in the id or
    /// the input. 200 characters at the most.
    pub text: Option<String>,
    /// With this label, as `name:value`.
    pub tag: Option<String>,
    /// Started at or after this time.
    pub since: Option<Timestamp>,
    /// Started before this time.
    pub until: Option<Timestamp>,
    /// Only those that go on by themselves, but for longer than they should.
    pub stalled: bool,
    /// At most so many, 1 to 200; 50 if nothing is said.
    pub limit: Option<u32>,
    /// Where the page before ended: its `next`.
    pub cursor: Option<String>,
    /// What is shown of each beside its state.
    pub include: Include,
}

/// Parts of a saga that a list shows only if they are asked for: each may be large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Include {
    /// The input as it was given.
    pub input: bool,
    /// Its data now.
    pub data: bool,
    /// The replies to its actions.
    pub replies: bool,
}

impl SagaQuery {
    /// As the API takes them.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_rfc3339());
        let parts =
            [("input", self.include.input), ("data", self.include.data), ("replies", self.include.replies)];
        let parts: Vec<&str> = parts.iter().filter(|(_, wanted)| *wanted).map(|(part, _)| *part).collect();
        let all = [
            ("status", self.status.as_ref().map(ToString::to_string)),
            ("code", self.code.clone()),
            ("saga", self.saga.clone()),
            ("q", self.text.clone()),
            ("tag", self.tag.clone()),
            ("since", time(self.since)),
            ("until", time(self.until)),
            ("stalled", self.stalled.then(|| "true".to_owned())),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor.clone()),
            ("include", (!parts.is_empty()).then(|| parts.join(","))),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
