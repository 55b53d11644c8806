//! The tables of the inbox.

/// The tables of the inbox, to be created in each participant's database.
pub fn inbox_migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name("_redress_participant_migrations");
    migrator
}
