//! Sagas as those see them that start them: a name, a version, a type of data.
//!
//! The program that defines a saga has its [`SagaDefinition`], whose type says nothing of the data; it remembers which
//! type it was built for, and a start with another type is refused before anything is sent. Another program has no
//! definition. It depends on the crate of contracts, where a [`SagaContract`] stands beside the commands: with it the
//! type of the data is checked by the compiler. A program that has neither gives a bare name.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

use thiserror::Error;

use crate::builder::{BeforePivot, Builder, NoStep, saga};
use crate::contract::SagaData;
use crate::data_type::DataType;
use crate::definition::SagaDefinition;

/// A saga's name and version, bound to the type of its data.
///
/// ```
/// use redress_core::{Command, SagaContract, SagaDefinition};
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, JsonSchema)] struct Ship { address: String }
/// # impl Command for Ship { const SERVICE: &'static str = "shipping"; const NAME: &'static str = "ship"; type Reply = (); }
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// pub struct Sale { address: String }
///
/// /// In the crate of contracts, for all that start it.
/// pub const SELL: SagaContract<Sale> = SagaContract::new("sell", 1);
///
/// // In the program that runs it.
/// fn sell() -> SagaDefinition {
///     SELL.define().pivot("ship", |s| Ship { address: s.address.clone() }).build()
/// }
/// assert_eq!(sell().name, *SELL.name());
/// ```
pub struct SagaContract<D> {
    name: &'static str,
    version: u32,
    _data: PhantomData<fn() -> D>,
}

impl<D: SagaData> SagaContract<D> {
    /// A contract; `name` is a [`Name`](crate::Name), and `version` counts from 1. Neither is checked here: a definition
    /// checks them when it is built, and a start of what does not exist is refused.
    pub const fn new(name: &'static str, version: u32) -> Self {
        Self { name, version, _data: PhantomData }
    }

    /// Begins the definition of this saga, as [`saga`] does.
    pub fn define(&self) -> Builder<D, BeforePivot, NoStep> {
        saga(self.name, self.version)
    }
}

impl<D> SagaContract<D> {
    /// The definition's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The definition's version.
    pub const fn version(&self) -> u32 {
        self.version
    }
}

impl<D> Clone for SagaContract<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for SagaContract<D> {}

impl<D> fmt::Debug for SagaContract<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SagaContract({} v{}, {})", self.name, self.version, type_name::<D>())
    }
}

/// The saga that a start asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartTarget {
    /// The definition's name.
    pub saga: String,
    /// Its version; the newest one that the coordinator knows if not given.
    pub version: Option<u32>,
}

/// A way to name a saga that is started with data of type `D`: a definition, a contract, or its bare name, which stands
/// for the newest version.
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no saga with data of type `{D}`",
    note = "start with a `&SagaDefinition`, a `&SagaContract<{D}>`, or the saga's name as a `&str`"
)]
pub trait Startable<D> {
    /// The saga.
    ///
    /// # Errors
    /// [`WrongData`] if it is known to have data of another type.
    fn target(&self) -> Result<StartTarget, WrongData>;
}

impl<D: SagaData> Startable<D> for SagaDefinition {
    fn target(&self) -> Result<StartTarget, WrongData> {
        self.check_data::<D>()?;
        Ok(StartTarget { saga: self.name.to_string(), version: Some(self.version) })
    }
}

impl<D: SagaData> Startable<D> for SagaContract<D> {
    fn target(&self) -> Result<StartTarget, WrongData> {
        Ok(StartTarget { saga: self.name.to_owned(), version: Some(self.version) })
    }
}

impl<D> Startable<D> for str {
    fn target(&self) -> Result<StartTarget, WrongData> {
        Ok(StartTarget { saga: self.to_owned(), version: None })
    }
}

impl SagaDefinition {
    /// Checks that this is a saga with data of type `D`.
    ///
    /// # Errors
    /// [`WrongData`] if it was built for another type.
    pub fn check_data<D: SagaData>(&self) -> Result<(), WrongData> {
        let given = DataType::of::<D>();
        if self.data_type == given {
            return Ok(());
        }
        Err(WrongData { saga: self.name.to_string(), expected: self.data_type.name, given: given.name })
    }
}

/// A saga was given data of a type that is not its own.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("saga `{saga}` has data of type `{expected}`, and `{given}` was given: start it with its own type")]
pub struct WrongData {
    /// The definition's name.
    pub saga: String,
    /// The type for which it was built.
    pub expected: &'static str,
    /// The type that was given.
    pub given: &'static str,
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::contract::Command;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Ship {
        address: String,
    }

    impl Command for Ship {
        const SERVICE: &'static str = "shipping";
        const NAME: &'static str = "ship";
        type Reply = ();
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Sale {
        address: String,
    }

    /// Looks the same in JSON, and is another type.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Gift {
        address: String,
    }

    const SELL: SagaContract<Sale> = SagaContract::new("sell", 3);

    fn target_of<D, S: Startable<D> + ?Sized>(saga: &S, _: &D) -> Result<StartTarget, WrongData> {
        saga.target()
    }

    #[test]
    fn start_target_is_the_version_of_definition_and_contract_or_the_newest_of_a_name() {
        let (sale, sell) = (
            Sale { address: String::new() },
            SELL.define().pivot("ship", |s| Ship { address: s.address.clone() }).build(),
        );
        let target = |version| Ok(StartTarget { saga: "sell".to_owned(), version });
        assert_eq!(target_of(&sell, &sale), target(Some(3)));
        assert_eq!(target_of(&SELL, &sale), target(Some(3)));
        assert_eq!(target_of("sell", &sale), target(None));
    }

    #[test]
    fn definition_refuses_data_of_another_type_even_of_the_same_form() {
        let sell = SELL.define().pivot("ship", |s| Ship { address: s.address.clone() }).build();
        let refused = target_of(&sell, &Gift { address: String::new() }).unwrap_err();
        insta::assert_snapshot!(refused, @"saga `sell` has data of type `redress_core::saga_contract::tests::Sale`, and `redress_core::saga_contract::tests::Gift` was given: start it with its own type");
        let refused = target_of(&sell.clone(), &serde_json::json!({ "address": "" })).unwrap_err();
        assert_eq!(refused.given, "serde_json::value::Value");
    }
}
