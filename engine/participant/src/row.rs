//! A row of the inbox table and what it says.

use redress_core::inbox::{Fingerprint, Record, Recorded};
use redress_core::{JsonText, Rejection, Timestamp};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::unit_error::UnitError;

/// The record of a row of `inbox_known`.
pub(crate) fn record(row: &PgRow) -> Result<Record, UnitError> {
    let fingerprint: Option<Vec<u8>> = row.try_get("fingerprint")?;
    let recorded = recorded(row.try_get("outcome")?, row.try_get("reply")?, row.try_get("called_until")?)?;
    let fingerprint = match fingerprint {
        Some(bytes) => Some(Fingerprint(bytes.try_into().map_err(|_| unreadable("fingerprint"))?)),
        None => None,
    };
    Ok(Record { fingerprint, recorded })
}

/// What these columns say.
pub(crate) fn recorded(
    outcome: &str,
    reply: Option<Vec<u8>>,
    called_until: Option<Timestamp>,
) -> Result<Recorded, UnitError> {
    let reply = reply.unwrap_or_default();
    let json = |what| JsonText::parse(&reply).map_err(|_| unreadable(what));
    Ok(match outcome {
        "done" => Recorded::Done { reply: json("reply")? },
        "open" => Recorded::Open,
        "prepared" => Recorded::Prepared {
            request: json("request")?,
            called_until: called_until.ok_or_else(|| unreadable("time"))?,
        },
        "given-up" => Recorded::GivenUp { request: json("request")? },
        "rejected" => Recorded::Rejected(
            serde_json::from_slice::<Rejection>(&reply).map_err(|_| unreadable("rejection"))?,
        ),
        "fenced" => Recorded::Fenced,
        _ => return Err(unreadable("outcome")),
    })
}

fn unreadable(what: &str) -> UnitError {
    UnitError::Inbox(format!("a row holds an unreadable {what}"))
}

/// The columns `outcome` and `reply` that say this.
pub(crate) fn stored(recorded: &Recorded) -> (&'static str, Option<Vec<u8>>) {
    match recorded {
        Recorded::Done { reply } => ("done", Some(reply.as_bytes().to_vec())),
        Recorded::Rejected(rejection) => {
            ("rejected", Some(serde_json::to_vec(rejection).unwrap_or_default()))
        }
        Recorded::Fenced => ("fenced", None),
        Recorded::Open => ("open", None),
        Recorded::Prepared { request, .. } => ("prepared", Some(request.as_bytes().to_vec())),
        Recorded::GivenUp { request } => ("given-up", Some(request.as_bytes().to_vec())),
    }
}
