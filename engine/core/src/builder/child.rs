//! A saga inside another one.
//!
//! A child is a definition of its own, proven and tested by itself, and becomes a part of its parent when the parent is
//! built: its steps stand among the parent's under names of their own, and its data are a field of the parent's. So it
//! is compensated with its parent, in the one frozen plan and in exact reverse order; it is versioned with its parent,
//! whose digest covers it; it has no cancel, close or end of its own; and nothing has to travel between the two.
//!
//! A child has only steps that can be undone, notifications and waits: the pivot is the parent's. An event that it awaits
//! is given to the parent, under the name that its step has there.

use std::sync::Arc;

use crate::builder::draft::checked;
use crate::contract::SagaData;
use crate::definition::{
    Compensation, Fold, InvalidDefinition, Make, OrderKey, SagaDefinition, Step, StepKind, When,
};
use crate::json::JsonText;
use crate::schema;
use crate::waiting::Wait;

type Get = Arc<dyn Fn(&JsonText) -> Result<JsonText, serde_json::Error> + Send + Sync>;
type Set = Arc<dyn Fn(&JsonText, &JsonText) -> Result<JsonText, serde_json::Error> + Send + Sync>;

/// A child whose place has not been checked.
pub(super) struct Child {
    name: &'static str,
    /// The parent's stage in which its first one begins.
    stage: u32,
    definition: SagaDefinition,
    /// True if the field holds the data of this definition.
    fits: bool,
    get: Get,
    set: Set,
}

impl Child {
    pub(super) fn new<D: SagaData, C: SagaData>(
        name: &'static str,
        stage: u32,
        definition: SagaDefinition,
        field: impl for<'d> Fn(&'d mut D) -> &'d mut C + Send + Sync + 'static,
    ) -> Self {
        let field = Arc::new(field);
        let of_get = field.clone();
        Self {
            name,
            stage,
            fits: schema::of::<C>() == definition.input_schema,
            definition,
            get: Arc::new(move |data| JsonText::of(of_get(&mut data.read::<D>()?))),
            set: Arc::new(move |data, child| {
                let mut data: D = data.read()?;
                *field(&mut data) = child.read()?;
                JsonText::of(&data)
            }),
        }
    }

    /// How many stages it takes.
    pub(super) fn stages(&self) -> u32 {
        self.definition.steps.last().map_or(0, |step| step.stage + 1)
    }

    /// Its steps, as steps of the parent.
    pub(super) fn steps(self, saga: &str) -> Result<Vec<Step>, InvalidDefinition> {
        let (saga, child) = (saga.to_owned(), self.name.to_owned());
        if !self.fits {
            return Err(InvalidDefinition::ChildData { saga, child });
        }
        if self.definition.deadline_ms.is_some() {
            return Err(InvalidDefinition::ChildDeadline { saga, child });
        }
        let mut steps = Vec::with_capacity(self.definition.steps.len());
        for step in &self.definition.steps {
            let kind = match &step.kind {
                StepKind::Notification => StepKind::Notification,
                StepKind::Event(event) => StepKind::Event(event.clone()),
                StepKind::Wait(wait) => {
                    let get = self.get.clone();
                    StepKind::Wait(Wait { end: wait.end.of_part(move |data| get(data)) })
                }
                StepKind::Compensatable { compensation } => {
                    let compensation = compensation.as_ref();
                    StepKind::Compensatable { compensation: compensation.map(|c| self.compensation(c)) }
                }
                StepKind::Pivot | StepKind::Retriable => {
                    let step = step.name.to_string();
                    return Err(InvalidDefinition::ChildKind { saga, child, step });
                }
            };
            steps.push(Step {
                name: checked(&saga, &format!("{child}-{}", step.name))?,
                stage: self.stage + step.stage,
                kind,
                when: step.when.as_ref().map(|when| self.when(when)),
                make: self.make(&step.make),
                fold: step.fold.as_ref().map(|fold| self.fold(fold)),
                order: step.order.as_ref().map(|order| self.order(order)),
                ..step.clone()
            });
        }
        Ok(steps)
    }

    fn compensation(&self, compensation: &Compensation) -> Compensation {
        Compensation { make: self.make(&compensation.make), ..compensation.clone() }
    }

    fn make(&self, make: &Make) -> Make {
        let (get, make) = (self.get.clone(), make.clone());
        Arc::new(move |data| make(&get(data)?))
    }

    fn when(&self, when: &When) -> When {
        let (get, when) = (self.get.clone(), when.clone());
        Arc::new(move |data| when(&get(data)?))
    }

    fn order(&self, order: &OrderKey) -> OrderKey {
        let (get, order) = (self.get.clone(), order.clone());
        Arc::new(move |data| order(&get(data)?))
    }

    fn fold(&self, fold: &Fold) -> Fold {
        let (get, set, fold) = (self.get.clone(), self.set.clone(), fold.clone());
        Arc::new(move |data, reply| set(data, &fold(&get(data)?, reply)?))
    }
}
