//! The key by which the commands of a step are ordered.
//!
//! A key is made once, of the data of the start, and kept with the place that it takes. The scope of an order is the service
//! and the command of the step: all sagas that send this command stand in one order for each key, whatever their
//! definition and version, since what must not overlap is the work on something of that service. Two commands that share
//! a key text do not wait for each other.

use serde::de::Error as _;

use crate::definition::{ClosureError, InvalidInput, SagaDefinition, Step, guarded};
use crate::json::JsonText;

/// Length of the key of an order, in bytes, at most: an entry of an index holds about 2,700, and it is shown to people.
pub const ORDER_KEY_BYTES_MAX: usize = 512;

impl Step {
    /// Returns true if its commands are ordered by a key.
    pub const fn is_ordered(&self) -> bool {
        self.order.is_some()
    }

    /// The scope of its order: service and command, as one word.
    pub fn order_scope(&self) -> String {
        format!("{}.{}", self.service, self.command)
    }

    /// The key of its order for the data of a start; `None` if it is not ordered.
    ///
    /// # Errors
    /// [`ClosureError`] if the closure panics, or makes a key that is too long or holds a NUL character.
    pub fn order_key(&self, data: &JsonText) -> Result<Option<String>, ClosureError> {
        let Some(order) = &self.order else { return Ok(None) };
        let checked = || {
            let key = order(data)?;
            if key.len() > ORDER_KEY_BYTES_MAX {
                let (length, max) = (key.len(), ORDER_KEY_BYTES_MAX);
                let problem = format!("the key has {length} bytes, and may have {max}; take a digest of it");
                return Err(serde_json::Error::custom(problem));
            }
            if key.contains('\0') {
                return Err(serde_json::Error::custom(
                    "the key holds a NUL character, which no journal can store",
                ));
            }
            Ok(key)
        };
        guarded(&self.name, "ordered_by", checked).map(Some)
    }
}

impl SagaDefinition {
    /// Checks that the keys of all orders can be made of the data of a start.
    pub(crate) fn check_order_keys(&self, data: &JsonText) -> Result<(), InvalidInput> {
        for step in &self.steps {
            step.order_key(data)
                .map_err(|error| InvalidInput { at: String::from("/"), problem: error.to_string() })?;
        }
        Ok(())
    }
}
