//! The type of a definition's data, as it is known when the program runs.

use std::any::{TypeId, type_name};

/// A type, and its name for people.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataType {
    id: TypeId,
    /// The path of the type; it is shown and never compared.
    pub(crate) name: &'static str,
}

impl DataType {
    pub(crate) fn of<D: 'static>() -> Self {
        Self { id: TypeId::of::<D>(), name: type_name::<D>() }
    }
}
