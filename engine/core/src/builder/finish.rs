//! The end of a builder: the finished definition, or the mistake in it.

use crate::builder::draft::checked;
use crate::builder::phase::Resolved;
use crate::builder::{Builder, Part};
use crate::contract::SagaData;
use crate::data_type::DataType;
use crate::definition::{InvalidDefinition, SagaDefinition, Step};
use crate::{digest, input, schema};

impl<D: SagaData, P, L> Builder<D, P, L> {
    /// The finished definition.
    ///
    /// # Panics
    /// If it is [invalid](InvalidDefinition): a mistake in the program, found when it starts.
    #[track_caller]
    pub fn build(self) -> SagaDefinition
    where
        L: Resolved,
    {
        match self.try_build() {
            Ok(definition) => definition,
            Err(error) => panic!("{error}"),
        }
    }

    /// The finished definition, or the mistake in it.
    ///
    /// # Errors
    /// [`InvalidDefinition`], for names that are put together at run time.
    pub fn try_build(self) -> Result<SagaDefinition, InvalidDefinition>
    where
        L: Resolved,
    {
        let saga = self.name;
        let name = checked(&saga, &saga)?;
        if self.version == 0 {
            return Err(InvalidDefinition::Version { saga });
        }
        if self.parts.is_empty() {
            return Err(InvalidDefinition::NoStep { saga });
        }
        if let Some(problem) = self.bad_example {
            return Err(InvalidDefinition::Example { saga, problem });
        }
        if self.deadline_ms == Some(0) {
            return Err(InvalidDefinition::ZeroDeadline { saga });
        }
        let mut steps: Vec<Step> = Vec::with_capacity(self.parts.len());
        for part in self.parts {
            let more = match part {
                Part::Step(draft) => vec![draft.check(&saga)?],
                Part::Child(child) => child.steps(&saga)?,
            };
            for step in more {
                if steps.iter().any(|other| other.name == step.name) {
                    return Err(InvalidDefinition::DuplicateStep { saga, step: step.name.to_string() });
                }
                steps.push(step);
            }
        }
        let mut definition = SagaDefinition {
            name,
            version: self.version,
            steps,
            deadline_ms: self.deadline_ms,
            digest: String::new(),
            input_schema: schema::of::<D>(),
            data_type: DataType::of::<D>(),
            read_input: input::reader::<D>(),
            examples: self.examples,
        };
        definition.digest = digest::of(&definition.graph());
        Ok(definition)
    }
}
