//! Making a database that is missing.
//!
//! The database itself is tried first: a user that may use it needs no right on the server as a whole, and no other
//! database to connect to. Only one that does not exist is made, as UTF8 whatever the cluster was made with.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::error::{DatabaseError, Fault};
use crate::target::Target;

/// The databases from which another one can be made; the first is there unless it was dropped.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];
/// Replacements for the locale of the cluster, in order: it may go with no encoding but its own.
const LOCALES: [&str; 3] = ["", " LOCALE 'C.UTF-8'", " LOCALE 'C'"];

/// Creates the database of this URL if it does not exist.
///
/// # Errors
/// [`DatabaseError`] if it cannot be used, or made.
pub async fn ensure_database(url: &str) -> Result<(), DatabaseError> {
    let target = Target::parse(url)?;
    match target.inspect().await {
        Err(error) if matches!(error.fault(), Fault::Missing(_)) => {}
        looked => return looked.map(drop),
    }
    create(&target).await?;
    target.inspect().await.map(drop)
}

async fn create(target: &Target) -> Result<(), DatabaseError> {
    let mut why = Vec::new();
    for name in MAINTENANCE {
        let (mut connection, _) = match target.beside(name).connect().await {
            Ok(connected) => connected,
            Err(error) if error.is_unavailable() => return Err(error),
            Err(error) => {
                why.push(match std::error::Error::source(&error) {
                    Some(source) => format!("database `{name}`: {source}"),
                    None => error.to_string(),
                });
                continue;
            }
        };
        let made = create_on(&mut connection, target.location().database()).await;
        let _ = connection.close().await;
        return made.map_err(|error| {
            let why =
                error.as_database_error().map_or_else(|| error.to_string(), |it| it.message().to_owned());
            DatabaseError::new(Fault::Missing(Some(why)), target.location(), Some(error))
        });
    }
    Err(DatabaseError::new(Fault::Missing(Some(why.join("; "))), target.location(), None))
}

async fn create_on(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    let quoted = name.replace('"', "\"\"");
    let mut last = None;
    for locale in LOCALES {
        // `template1` may hold text in another encoding; `template0` holds nothing, and no client is connected to it.
        let sql = format!("CREATE DATABASE \"{quoted}\" TEMPLATE template0 ENCODING 'UTF8'{locale}");
        match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await {
            Ok(_) => return Ok(()),
            Err(error) => {
                let code = error.as_database_error().and_then(|error| error.code());
                match code.as_deref() {
                    // Another process was faster.
                    Some("42P04" | "23505") => return Ok(()),
                    // The locale goes with another encoding, or is not known.
                    Some("22023" | "42809") => last = Some(error),
                    _ => return Err(error),
                }
            }
        }
    }
    last.map_or(Ok(()), Err)
}
