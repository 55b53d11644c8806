//! Operators who cancel, pause, resume and retry, at random moments and in no good order.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Played;
use crate::clients::Clients;
use crate::rest;
use crate::support::orders::Order;

/// Orders that are cancelled, or paused, in one disruption.
const CHOSEN: usize = 20;
/// Orders that park in one disruption.
const PARKED: usize = 3;
/// How often an operator checks if a saga has parked, and tries a verb again that no coordinator answered.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often at most: several minutes.
const LOOKS_MAX: u32 = 1_200;

/// Gives an operator command until a coordinator has answered it; returns the status of the answer.
pub(crate) async fn verb(clients: &Clients, saga: Uuid, verb: &str) -> Result<StatusCode, String> {
    for _ in 0..LOOKS_MAX {
        let body = json!({ "actor": "the monkey", "reason": "to see what happens" });
        if let Some(url) = clients.url(&format!("/v1/sagas/{saga}/{verb}"))
            && let Ok(answer) = clients.http.post(url).header("If-Match", "*").json(&body).send().await
            && answer.status() != StatusCode::SERVICE_UNAVAILABLE
        {
            let status = answer.status();
            return match status.as_u16() {
                202 | 409 | 412 => Ok(status),
                other => Err(format!("{verb} of {saga} was answered {other}")),
            };
        }
        rest(LOOK_EVERY).await;
    }
    Err(format!("{verb} of {saga} was never answered"))
}

/// The status of a saga, if a coordinator reports it.
async fn status(clients: &Clients, saga: Uuid) -> Option<String> {
    let url = clients.url(&format!("/v1/sagas/{saga}"))?;
    let saga: Value = clients.http.get(url).send().await.ok()?.json().await.ok()?;
    saga["status"].as_str().map(str::to_owned)
}

/// Cancels orders that have just been placed: some in time, some too late.
pub(super) async fn cancel(clients: &Clients, mut chance: fastrand::Rng) -> Played {
    let mut in_time = 0;
    for saga in clients.book.draw(&mut chance, CHOSEN) {
        clients.book.may_turn_back(saga);
        in_time += u64::from(verb(clients, saga, "cancel").await? == StatusCode::ACCEPTED);
    }
    // And one that is cancelled in time for sure: its first step takes a while.
    let body = json!({
        "saga": "place-order", "input": Order::Fine.input(),
        "faults": [{ "step": "create-order", "kind": "delay", "ms": 2_000 }],
    });
    let saga = clients.place(&format!("soak-cancel-{}", clients.number()), Order::Fine, &body).await?;
    clients.book.may_turn_back(saga);
    in_time += u64::from(verb(clients, saga, "cancel").await? == StatusCode::ACCEPTED);
    Ok(in_time)
}

/// Pauses orders, and resumes them later.
pub(super) async fn pause_and_resume(
    clients: &Clients,
    length: Duration,
    mut chance: fastrand::Rng,
) -> Played {
    let mut paused = Vec::new();
    let mut chosen = clients.book.draw(&mut chance, CHOSEN);
    let body = json!({
        "saga": "place-order", "input": Order::Fine.input(),
        "faults": [{ "step": "charge-payment", "kind": "delay", "ms": 2_000 }],
    });
    chosen.push(clients.place(&format!("soak-pause-{}", clients.number()), Order::Fine, &body).await?);
    for saga in chosen {
        if verb(clients, saga, "pause").await? == StatusCode::ACCEPTED {
            paused.push(saga);
        }
    }
    rest(length).await;
    for saga in &paused {
        verb(clients, *saga, "resume").await?;
    }
    Ok(paused.len() as u64)
}

/// Orders whose last step is refused park, until an operator retries it.
pub(super) async fn park_and_retry(clients: &Clients) -> Played {
    let body = json!({
        "saga": "place-order", "input": Order::Fine.input(),
        "faults": [{ "step": "confirm-order", "kind": "reject", "code": "soak-closed" }],
    });
    let mut sagas = Vec::new();
    for _ in 0..PARKED {
        let key = format!("soak-park-{}", clients.number());
        sagas.push(clients.place(&key, Order::Fine, &body).await?);
    }
    let mut retried = 0;
    for saga in sagas {
        for _ in 0..LOOKS_MAX {
            if status(clients, saga).await.as_deref() == Some("parked") {
                retried += u64::from(verb(clients, saga, "retry").await? == StatusCode::ACCEPTED);
                break;
            }
            rest(LOOK_EVERY).await;
        }
    }
    Ok(retried)
}
