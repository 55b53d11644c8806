//! The tables of the inbox.

use sqlx::{AssertSqlSafe, Error, PgConnection};

/// The tables of the inbox, to be created in each participant's database.
pub fn inbox_migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name("_redress_participant_migrations");
    migrator
}

/// Makes the schema that the database URL names, as in `?options=-csearch_path%3Dprices`, if it is missing: so services that
/// own no tables can have their inboxes in one database.
pub(crate) async fn ensure_schema(connection: &mut PgConnection) -> Result<(), Error> {
    let is_missing =
        sqlx::query_scalar("SELECT current_schema() IS NULL").fetch_one(&mut *connection).await?;
    if is_missing {
        let first = "trim(BOTH '\" ' FROM split_part(current_setting('search_path'), ',', 1))";
        let create = format!("DO $$ BEGIN EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', {first}); END $$");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(connection).await?;
    }
    Ok(())
}
