//! The data on which the closures of a definition are tried when a program starts.

use super::Builder;
use crate::contract::SagaData;
use crate::definition::Examples;
use crate::json::JsonText;

impl<D: SagaData, P, L> Builder<D, P, L> {
    /// Adds data on which the closures are [tried](crate::behaviour) when the program starts, besides generated ones:
    /// for conditions and validations that no generated data meet.
    pub fn example(mut self, data: D) -> Self {
        match JsonText::of(&data) {
            Ok(data) => self.examples.given.push(data),
            Err(problem) => self.bad_example = Some(problem.to_string()),
        }
        self
    }

    /// Has the closures tried on these data only; on none at all if there are none, and then a closure may change under
    /// its version unnoticed.
    pub fn examples(mut self, data: impl IntoIterator<Item = D>) -> Self {
        self.examples = Examples { given: Vec::new(), generated: false };
        data.into_iter().fold(self, Self::example)
    }
}
