//! The paths by which the generated code finds the engine.

use syn::{Path, parse_quote};

/// Where the generated code finds the engine.
pub(crate) struct Roots {
    pub(crate) core: Path,
    pub(crate) participant: Path,
}

impl From<Option<Path>> for Roots {
    fn from(facade: Option<Path>) -> Self {
        match facade {
            Some(root) => Self { core: root.clone(), participant: root },
            None => {
                Self { core: parse_quote!(::redress_core), participant: parse_quote!(::redress_participant) }
            }
        }
    }
}
