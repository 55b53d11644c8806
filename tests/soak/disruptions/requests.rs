//! Starts of every kind: close to the limit, in no language, broken off, and doubled.

use serde_json::{Value, json};

use super::{Played, raw};
use crate::clients::Clients;
use crate::support::orders::Order;

/// Orders close to the limit in one disruption: together more than a batch should hold.
const HUGE: usize = 24;
/// Their size, in bytes: a little below the most that a payload may have.
const HUGE_BYTES: usize = 240 << 10;
/// Starts that are broken off in one disruption.
const HANG_UPS: usize = 20;
/// Starts that are made twice at once in one disruption.
const DOUBLED: usize = 10;

fn body(order: Order) -> Value {
    json!({ "saga": "place-order", "input": order.input() })
}

/// Orders with an address that fills the whole payload.
pub(super) async fn huge_inputs(clients: &Clients, mut chance: fastrand::Rng) -> Played {
    let placing = (0..HUGE).map(|_| {
        let (number, size) = (clients.number(), HUGE_BYTES - chance.usize(..HUGE_BYTES / 2));
        async move {
            let mut body = body(Order::Fine);
            body["input"]["address"] = json!(format!("1 Harbour Street, {}", "Reykjavik ".repeat(size / 10)));
            clients.place(&format!("soak-huge-{number}"), Order::Fine, &body).await
        }
    });
    let placed = futures_util::future::join_all(placing).await;
    placed.into_iter().collect::<Result<Vec<_>, _>>().map(|placed| placed.len() as u64)
}

/// Bodies that must be refused.
fn hostile_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let order = |more: &str| {
        let input = Order::Fine.input().to_string();
        format!(r#"{{"saga":"place-order","input":{input}{more}}}"#).into_bytes()
    };
    let in_customer = |text: &[u8]| {
        let mut body = br#"{"saga":"place-order","input":{"customer":""#.to_vec();
        body.extend_from_slice(text);
        body.extend_from_slice(br#"","currency":"EUR","address":"x","lines":[]}}"#);
        body
    };
    let deep = format!(r#"{{"saga":"place-order","input":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    vec![
        ("nothing", Vec::new()),
        ("no JSON", b"{".to_vec()),
        ("a number", b"7".to_vec()),
        ("two values", [order(""), order("")].concat()),
        ("a byte order mark", [b"\xef\xbb\xbf".as_slice(), &order("")].concat()),
        ("no UTF-8", in_customer(b"\xff\xfe")),
        ("half a surrogate pair", in_customer(br"\ud800")),
        ("a NUL", in_customer(br"\u0000")),
        ("a raw control character", in_customer(b"\x01")),
        ("far too deep", deep.into_bytes()),
        ("a number out of range", br#"{"saga":"place-order","input":{"customer":1e999}}"#.to_vec()),
        ("not a number", br#"{"saga":"place-order","input":NaN}"#.to_vec()),
        ("an unknown field", order(r#","colour":"red""#)),
        ("an unknown saga", br#"{"saga":"fly","input":{}}"#.to_vec()),
        ("a version that is none", order(r#","version":-1"#)),
        ("tags that are none", order(r#","tags":[1]"#)),
        ("a fault that is none", order(r#","faults":[{"kind":"explode"}]"#)),
        ("far too large", vec![b' '; 3 << 20]),
    ]
}

/// Each of them is refused with a reason, and never breaks anything.
pub(super) async fn hostile(clients: &Clients) -> Played {
    let mut refused = 0;
    for (name, body) in hostile_bodies() {
        let Some(url) = clients.url("/v1/sagas") else { continue };
        let key = format!("soak-hostile-{}", clients.number());
        let request = clients.http.post(url).header("Idempotency-Key", key);
        let request = request.header("Content-Type", "application/json").body(body);
        // A refusal may come before all was sent.
        let Ok(answer) = request.send().await else { continue };
        match answer.status().as_u16() {
            400..=499 => refused += 1,
            503 => {}
            status => return Err(format!("{name} was answered {status}")),
        }
    }
    Ok(refused)
}

/// Clients that leave in the middle of a start, and come back later with the same key.
pub(super) async fn hang_up(clients: &Clients, mut chance: fastrand::Rng) -> Played {
    let mut left = 0;
    let mut keys = Vec::new();
    for _ in 0..HANG_UPS {
        let key = format!("soak-hang-up-{}", clients.number());
        let bytes = raw::start(&key, &body(Order::Fine).to_string());
        // Half of them after the last byte: the start may happen, and no client hears of it.
        let said = if chance.bool() { bytes.len() } else { chance.usize(1..bytes.len()) };
        if let Some(port) = clients.yard.port(chance.usize(..2))
            && let Some(mut socket) = raw::connect(port).await
            && raw::say(&mut socket, &bytes[..said]).await
        {
            left += 1;
        }
        keys.push(key);
    }
    for key in keys {
        clients.place(&key, Order::Fine, &body(Order::Fine)).await?;
    }
    Ok(left)
}

/// The same start with the same key at both coordinators at once is one saga.
pub(super) async fn same_key_twice(clients: &Clients) -> Played {
    let mut twins = 0;
    for _ in 0..DOUBLED {
        let key = format!("soak-twins-{}", clients.number());
        let body = body(Order::Fine);
        let (one, other) =
            tokio::join!(clients.place(&key, Order::Fine, &body), clients.place(&key, Order::Fine, &body),);
        let (one, other) = (one?, other?);
        if one != other {
            return Err(format!("the key {key} is two sagas: {one} and {other}"));
        }
        twins += 1;
    }
    Ok(twins)
}
