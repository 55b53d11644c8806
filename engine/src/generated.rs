//! Values that a saga makes when it starts.
//!
//! The data of a saga hold ids that no client should have to send. A field of type [`Generated`] with `#[serde(default)]`
//! is made when the input is read, once, and stored with the saga; a client may still send one. On the wire, in the
//! schema and in the definition's digest it is the value itself.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A value whose default is a new one, and that is read and written as the value itself.
///
/// ```
/// use redress::Generated;
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
/// use uuid::Uuid;
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct Sale {
///     customer: String,
///     #[serde(default)]
///     payment: Generated<Uuid>,
/// }
///
/// let sale: Sale = serde_json::from_str(r#"{"customer":"alice"}"#)?;
/// let payment: Uuid = *sale.payment;
/// assert_eq!(payment.get_version_num(), 7);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generated<T>(T);

impl<T> Generated<T> {
    /// The value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// A new id, ordered by the time at which it is made.
impl Default for Generated<Uuid> {
    fn default() -> Self {
        Self(Uuid::now_v7())
    }
}

impl<T> Deref for Generated<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Generated<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl From<Generated<Self>> for Uuid {
    fn from(id: Generated<Self>) -> Self {
        id.0
    }
}

impl<T: fmt::Display> fmt::Display for Generated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The schema of `T`, in every respect.
impl<T: JsonSchema> JsonSchema for Generated<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use redress_core::behaviour::Behaviour;
    use redress_core::{SagaDefinition, saga};
    use redress_macros::Command;
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema, Command)]
    #[command(service = "payment", name = "charge", crate = crate)]
    struct Charge {
        payment: Uuid,
    }

    /// The id as it was made before.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[schemars(rename = "Sale")]
    struct Plain {
        #[serde(default = "Uuid::now_v7")]
        payment: Uuid,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[schemars(rename = "Sale")]
    struct Sale {
        #[serde(default)]
        payment: Generated<Uuid>,
    }

    fn sell() -> SagaDefinition {
        saga::<Sale>("sell", 1).pivot("charge", |sale| Charge { payment: *sale.payment }).build()
    }

    #[test]
    fn generated_id_leaves_definition_and_behaviour_as_they_are() {
        let plain = saga::<Plain>("sell", 1).pivot("charge", |sale| Charge { payment: sale.payment }).build();
        assert_eq!(sell().digest, plain.digest);
        assert_eq!(Behaviour::of(&sell()), Behaviour::of(&plain));
    }

    #[test]
    fn generated_id_is_made_once_and_may_be_sent() {
        let made = sell().read_input(&json!({})).unwrap();
        let (first, again): (Sale, Sale) = (made.read().unwrap(), made.read().unwrap());
        assert_eq!(first.payment, again.payment);
        assert_eq!(first.payment.get_version_num(), 7);
        let other: Sale = sell().read_input(&json!({})).unwrap().read().unwrap();
        assert_ne!(first.payment, other.payment);
        let sent = Uuid::from_u128(7);
        let kept: Sale = sell().read_input(&json!({ "payment": sent })).unwrap().read().unwrap();
        assert_eq!((*kept.payment, kept.payment.to_string()), (sent, sent.to_string()));
        assert_eq!(serde_json::to_value(kept.payment).unwrap(), json!(sent));
        assert_eq!(Uuid::from(kept.payment), Generated::from(sent).into_inner());
    }
}
