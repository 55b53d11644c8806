//! Failures injected over the API.

use std::time::Duration;

use redress_core::fault::FaultKind;
use serde_json::{Value, json};

use super::Played;
use crate::clients::Clients;
use crate::rest;

/// Failures of each kind in one disruption.
const TIMES: u32 = 5;
/// How often a look checks if they have struck, and how many looks there are at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOOKS_MAX: u32 = 40;
/// The code of an injected refusal: an order that turns back may do so because of it.
pub(crate) const REFUSAL: &str = "soak-refuses";

const STEPS: [&str; 4] = ["create-order", "charge-payment", "reserve-inventory", "ship-order"];

/// The fault for the coordinators, by the name of its kind.
fn fault(kind: &str, chance: &mut fastrand::Rng) -> Value {
    let mut fault = json!({ "saga": "place-order", "kind": kind, "times": TIMES });
    let undoes = kind != "reject" && chance.u8(..4) == 0;
    if undoes {
        fault["phase"] = json!("compensation");
        fault["step"] = json!(STEPS[chance.usize(..3)]);
    } else {
        fault["step"] = json!(STEPS[chance.usize(..4)]);
    }
    match kind {
        "reject" => fault["code"] = json!(REFUSAL),
        "delay" | "delay-reply" => fault["ms"] = json!(chance.u32(500..3_000)),
        _ => {}
    }
    fault
}

/// Failures that leave the services running.
pub(super) async fn inject(clients: &Clients, mut chance: fastrand::Rng) -> Played {
    let kinds = ["reject", "fail", "delay", "drop-command", "drop-reply", "delay-reply", "duplicate"];
    let mut chosen = kinds;
    chance.shuffle(&mut chosen);
    play(clients, chosen[..4].iter().map(|kind| fault(kind, &mut chance)).collect()).await
}

/// A failure that kills a service at a chosen point, once.
pub(super) async fn inject_crashes(clients: &Clients, mut chance: fastrand::Rng) -> Played {
    let kinds = [FaultKind::CrashBeforeCommit, FaultKind::CrashAfterCommit, FaultKind::CrashAfterReply];
    let mut fault = fault(kinds[chance.usize(..kinds.len())].word(), &mut chance);
    fault["times"] = json!(1);
    play(clients, vec![fault]).await
}

/// Adds them, and gives how often they have struck in the time that they are given.
async fn play(clients: &Clients, faults: Vec<Value>) -> Played {
    let mut ids = Vec::new();
    for fault in &faults {
        for _ in 0..LOOKS_MAX {
            if let Some(url) = clients.url("/v1/faults")
                && let Ok(answer) = clients.http.post(url).json(fault).send().await
                && answer.status().as_u16() != 503
            {
                if answer.status().as_u16() != 201 {
                    return Err(format!("the fault {fault} was answered {}", answer.status()));
                }
                let added: Value = answer.json().await.unwrap_or_default();
                ids.extend(added["id"].as_i64());
                break;
            }
            rest(LOOK_EVERY).await;
        }
    }
    let wanted: i64 = faults.iter().filter_map(|fault| fault["times"].as_i64()).sum();
    let mut struck = 0;
    for _ in 0..LOOKS_MAX {
        // One that is used up may be gone already.
        let left = "SELECT coalesce(sum(remaining), 0) FROM faults WHERE id = ANY($1)";
        let left = sqlx::query_scalar(left).bind(&ids).fetch_one(&clients.yard.journal);
        if let Ok(left) = left.await {
            let left: i64 = left;
            struck = wanted - left;
        }
        if struck >= wanted {
            break;
        }
        rest(LOOK_EVERY).await;
    }
    Ok(u64::try_from(struck).unwrap_or_default())
}
