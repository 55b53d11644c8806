//! JSON Schemas that are the same in every process.
//!
//! A default that a function makes (an id, a time) is written into the schema as the value that it happened to have.
//! Such a value belongs to no definition: it would give every process another digest. So the schema is made twice, and
//! a `default` that differs is left out.

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

/// The schema of `T`, without defaults that are made anew each time.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let mut schema = schema_for!(T).to_value();
    drop_made_defaults(&mut schema, &schema_for!(T).to_value());
    schema
}

fn drop_made_defaults(schema: &mut Value, again: &Value) {
    match (schema, again) {
        (Value::Object(fields), Value::Object(again)) => {
            if fields.get("default") != again.get("default") {
                fields.remove("default");
            }
            for (name, value) in fields {
                if let Some(again) = again.get(name) {
                    drop_made_defaults(value, again);
                }
            }
        }
        (Value::Array(items), Value::Array(again)) => {
            items.iter_mut().zip(again).for_each(|(item, again)| drop_made_defaults(item, again));
        }
        (_, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde::Deserialize;
    use serde::Serialize;

    fn made() -> u32 {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        COUNT.fetch_add(1, Ordering::Relaxed)
    }

    fn fixed() -> u32 {
        7
    }

    #[derive(Serialize, Deserialize, schemars::JsonSchema)]
    struct Data {
        #[serde(default = "made")]
        id: u32,
        #[serde(default = "fixed")]
        size: u32,
    }

    #[test]
    fn default_made_anew_is_left_out_of_the_schema() {
        let schema = super::of::<Data>();
        assert_eq!(schema["properties"]["id"].get("default"), None);
        assert_eq!(schema["properties"]["size"]["default"], 7);
    }
}
