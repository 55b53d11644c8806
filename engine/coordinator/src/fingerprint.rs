//! The fingerprint of a start: two starts are the same if the canonical bodies of their requests are.

use redress_core::digest::canonical;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ports::Fingerprint;
use crate::requests::StartRequest;

/// The fingerprint of a start.
pub(crate) fn of(request: &StartRequest) -> Fingerprint {
    match request.given_faults() {
        Some(faults) => Fingerprint::new(hash(request, faults)),
        None => Fingerprint::new(hash(request, &Value::Null))
            .also_spelled(hash(request, &Value::Array(Vec::new()))),
    }
}

fn hash(request: &StartRequest, faults: &Value) -> [u8; 32] {
    let body = json!({
        "saga": request.saga,
        "version": request.version,
        "input": request.input,
        "faults": faults,
        "tags": request.tags,
    });
    Sha256::digest(canonical(&body).as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_same_for_empty_and_absent_faults() {
        let none = StartRequest { saga: "sell".to_owned(), ..StartRequest::default() };
        let empty = StartRequest { faults: Some(json!([])), ..none.clone() };
        let some = StartRequest { faults: Some(json!([{ "step": "ship" }])), ..none.clone() };
        assert_eq!(of(&none), of(&empty));
        assert!(of(&none).is_of(&hash(&none, &json!([]))), "as version 0.1 stored it");
        assert!(!of(&none).is_of(of(&some).as_bytes()));
        assert!(!of(&some).is_of(of(&none).as_bytes()));
    }
}
