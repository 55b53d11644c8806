//! Tables that are missing or forbidden, and the settings of the planner.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redress_participant::ParticipantConfig;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::fixture::{Fixture, told_in_order, until};
use crate::till::{How, pile, put, take_back};

fn impatient() -> ParticipantConfig {
    ParticipantConfig {
        database_down_pause: Duration::from_millis(50),
        tries_max: 2,
        ..ParticipantConfig::default()
    }
}

/// Has the service connect as a role of its own, which may read and write rows and nothing else.
async fn as_a_role_without_rights(fixture: &mut Fixture) -> String {
    let role = format!("role_of_{}", fixture.database());
    let grants = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'secret'; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    );
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(&fixture.pool).await.unwrap();
    let (_, at) = fixture.database_url.split_once('@').unwrap();
    fixture.database_url = format!("postgres://{role}:secret@{at}");
    role
}

/// How many transactions of this database have failed; counted with a second's delay.
async fn failures(fixture: &Fixture) -> i64 {
    let failed = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(failed).fetch_one(&fixture.pool).await.unwrap()
}

/// The program is deployed before the tables are, or the role has not all its rights yet.
#[tokio::test(flavor = "multi_thread")]
async fn missing_or_forbidden_inbox_fails_no_command() {
    for (away, back, answered) in [
        ("ALTER TABLE inbox RENAME TO inbox_of_old", "ALTER TABLE inbox_of_old RENAME TO inbox", ""),
        ("REVOKE INSERT ON inbox FROM ROLE", "GRANT INSERT ON inbox TO ROLE", ""),
        // What needs no handler is inserted at once; the others are the first of their kind, and claimed.
        ("REVOKE UPDATE ON inbox FROM ROLE", "GRANT UPDATE ON inbox TO ROLE", "null_compensations 1"),
        (
            "DROP FUNCTION inbox_known CASCADE; ALTER FUNCTION inbox_answer RENAME TO other",
            "ALTER FUNCTION other RENAME TO inbox_answer",
            "",
        ),
    ] {
        let mut fixture = Fixture::new().await;
        let role = as_a_role_without_rights(&mut fixture).await;
        let execute = async |sql: &str| {
            let sql = AssertSqlSafe(sql.replace("ROLE", &role));
            sqlx::raw_sql(sql).execute(&fixture.pool).await.unwrap();
        };
        let known: String = sqlx::query_scalar("SELECT pg_get_functiondef('inbox_known'::regproc)")
            .fetch_one(&fixture.pool)
            .await
            .unwrap();
        execute(away).await;
        let before = failures(&fixture).await;
        fixture.send(&[put(1, How::Done), pile(2, How::Done), take_back(3, How::Done)]).await;
        let till = fixture.till_with(impatient()).await;
        until("it was tried more often than a command may be", async || {
            failures(&fixture).await >= before + 6
        })
        .await;
        assert_eq!(till.counted(), answered, "{away}");
        execute(back).await;
        if away.contains("DROP") {
            execute(&known).await;
        }
        let told = told_in_order(fixture.replies(3).await);
        insta::allow_duplicates!(insta::assert_snapshot!(told, @r#"
        done {"slot":1,"note":"done"}
        done {"slot":2,"note":"piled"}
        done null
        "#));
        assert_eq!(till.count("failed") + till.count("dead_letters"), 0, "{away}");
        fixture.stop(till).await;
        forget(role, fixture).await;
    }
}

async fn forget(role: String, fixture: Fixture) {
    let admin_url = fixture.admin_url().to_owned();
    fixture.leave([]).await;
    let mut admin = PgConnection::connect(&admin_url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("DROP ROLE {role}"))).execute(&mut admin).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn command_whose_own_table_is_missing_waits_alone() {
    let mut fixture = Fixture::new().await;
    sqlx::raw_sql("ALTER TABLE drawer RENAME TO drawer_of_old").execute(&fixture.pool).await.unwrap();
    fixture.send(&[put(1, How::Done), put(2, How::Drawer), pile(3, How::Done)]).await;
    let till = fixture.till_with(impatient()).await;
    insta::assert_snapshot!(told_in_order(fixture.replies(2).await), @r#"
    done {"slot":1,"note":"done"}
    done {"slot":3,"note":"piled"}
    "#);
    let redeliveries = || fixture.wire.stats().redeliveries.load(Ordering::Relaxed);
    until("it has come more often than it may be tried", async || redeliveries() >= 5).await;
    assert_eq!(fixture.ask(put(4, How::Done)).await, r#"done {"slot":4,"note":"done"}"#, "others run on");
    sqlx::raw_sql("ALTER TABLE drawer_of_old RENAME TO drawer").execute(&fixture.pool).await.unwrap();
    let told = told_in_order(fixture.replies(1).await);
    assert_eq!(told, r#"done {"slot":2,"note":"out of the drawer"}"#);
    assert_eq!(till.count("failed") + till.count("dead_letters"), 0);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_runs_with_the_planner_settings_of_the_server() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    // The second one runs on a connection on which a batch was written before.
    for saga in 1..=2 {
        let told = fixture.ask(put(saga, How::Planner)).await;
        assert_eq!(told, format!(r#"done {{"slot":{saga},"note":"as ever"}}"#));
    }
    fixture.leave([till]).await;
}

/// The plan is made while the inbox is empty, and no ANALYZE tells the planner that it has grown.
#[tokio::test(flavor = "multi_thread")]
async fn inbox_is_never_read_as_a_whole_however_it_grows() {
    let fixture = Fixture::new().await;
    let mut connection = fixture.pool.acquire().await.unwrap();
    sqlx::raw_sql("ALTER TABLE inbox SET (autovacuum_enabled = off)")
        .execute(&mut *connection)
        .await
        .unwrap();
    for round in 0..10 {
        // At first there is nothing, then 20,000 rows.
        if round == 7 {
            sqlx::raw_sql("INSERT INTO inbox (key, outcome) SELECT 'old' || n, 'fenced' FROM generate_series(1, 20000) n")
                .execute(&mut *connection)
                .await
                .unwrap();
        }
        let mut transaction = connection.begin().await.unwrap();
        let keys: Vec<String> = (0..50).map(|key| format!("{round}-{key}")).collect();
        sqlx::query("INSERT INTO inbox (key) SELECT unnest($1::text[])")
            .bind(&keys)
            .execute(&mut *transaction)
            .await
            .unwrap();
        let answers = sqlx::query_scalar::<_, i64>("SELECT inbox_answer($1, $2, $3, $4)")
            .bind(&keys)
            .bind(vec![None::<Vec<u8>>; 50])
            .bind(vec!["fenced"; 50])
            .bind(vec![None::<Vec<u8>>; 50]);
        assert_eq!(answers.fetch_one(&mut *transaction).await.unwrap(), 50);
        let known = sqlx::query("SELECT key FROM inbox_known($1)").bind(&keys);
        assert_eq!(known.fetch_all(&mut *transaction).await.unwrap().len(), 50);
        sqlx::query("SELECT inbox_give_back($1)").bind(&keys).execute(&mut *transaction).await.unwrap();
        let read = "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'inbox'";
        let read: i64 = sqlx::query_scalar(read).fetch_one(&mut *transaction).await.unwrap();
        assert_eq!(read, 0, "round {round}: the whole inbox was read");
        transaction.commit().await.unwrap();
    }
    drop(connection);
    fixture.leave([]).await;
}
