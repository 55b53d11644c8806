//! What makes two starts the same: the canonical body of the request.

use redress_core::digest::canonical;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::requests::StartRequest;

/// SHA-256 of what was asked for, whatever the order of the keys.
pub(crate) fn of(request: &StartRequest) -> [u8; 32] {
    let body = json!({
        "saga": request.saga,
        "version": request.version,
        "input": request.input,
        "faults": request.faults.clone().unwrap_or(Value::Null),
        "tags": request.tags,
    });
    Sha256::digest(canonical(&body).as_bytes()).into()
}
