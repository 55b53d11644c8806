//! Tests of the life of a stack: start, restart, wipe.

use redress_devstack::{Data, Durability, Stack, StackConfig, StopMode, shared};

use crate::{connect, execute, jetstream, messages, number, runs, store_message};

fn relaxed() -> StackConfig {
    StackConfig { durability: Durability::Relaxed, data: Data::Ephemeral, ..StackConfig::default() }
}

async fn start(options: StackConfig) -> Stack {
    Stack::start(options, &|line| eprintln!("{line}")).await.unwrap()
}

#[tokio::test]
async fn both_servers_serve_and_leave_nothing_behind() {
    let stack = start(StackConfig::default()).await;
    let (postgres, nats) = (stack.postgres(), stack.nats());
    assert_eq!(number(&postgres.admin_url(), "SELECT 41 + 1").await.unwrap(), 42);
    assert_eq!(
        number(&postgres.admin_url(), "SELECT (current_setting('fsync') = 'on')::int").await.unwrap(),
        1
    );
    let encoding = "SELECT (current_setting('server_encoding') = 'UTF8')::int";
    assert_eq!(number(&postgres.admin_url(), encoding).await.unwrap(), 1);
    store_message(&nats.url(), "hello").await;
    assert_eq!(messages(&nats.url(), "hello").await, Some(1));

    let dir = stack.dir().to_owned();
    let pids = [postgres.pid(), nats.pid()];
    assert!(dir.exists() && pids.into_iter().all(runs));
    stack.stop().await;
    assert!(!dir.exists());
    assert!(!pids.into_iter().any(runs));
}

#[tokio::test]
async fn strangers_without_the_password_are_refused() {
    let stack = shared().await;
    let port = stack.postgres().port();
    let wrong = format!("postgres://redress:wrong@127.0.0.1:{port}/postgres");
    assert!(number(&wrong, "SELECT 1").await.is_err());
    let port = stack.nats().port();
    assert!(async_nats::connect(format!("nats://127.0.0.1:{port}")).await.is_err());
}

#[tokio::test]
async fn dropped_stack_is_stopped() {
    let stack = start(relaxed()).await;
    let dir = stack.dir().to_owned();
    let pids = [stack.postgres().pid(), stack.nats().pid()];
    drop(stack);
    assert!(!dir.exists());
    assert!(!pids.into_iter().any(runs));
}

#[tokio::test]
async fn stack_without_postgres_starts_nats_only() {
    let stack = start(StackConfig { postgres: false, ..relaxed() }).await;
    jetstream(&stack.nats().url()).await.query_account().await.unwrap();
    assert!(!stack.dir().join("postgres").exists());
    stack.stop().await;
}

#[tokio::test]
async fn postgres_comes_back_on_its_port_with_its_data() {
    let stack = start(relaxed()).await;
    let postgres = stack.postgres();
    let url = postgres.admin_url();
    execute(&url, "CREATE TABLE kept (number int)").await;
    for (round, mode) in [StopMode::Fast, StopMode::Immediate, StopMode::Kill].into_iter().enumerate() {
        execute(&url, "INSERT INTO kept VALUES (1)").await;
        let before = postgres.pid();
        postgres.restart(mode).await.unwrap();
        assert_ne!(postgres.pid(), before);
        assert_eq!(postgres.admin_url(), url);
        let count = number(&url, "SELECT count(*)::int FROM kept").await.unwrap();
        assert_eq!(count, i32::try_from(round).unwrap() + 1, "{mode:?}");
    }
    postgres.stop(StopMode::Fast).await.unwrap();
    assert!(number(&url, "SELECT 1").await.is_err());
    postgres.stop(StopMode::Fast).await.unwrap();
    postgres.start().await.unwrap();
    postgres.start().await.unwrap();
    assert_eq!(number(&url, "SELECT count(*)::int FROM kept").await.unwrap(), 3);
    stack.stop().await;
}

#[tokio::test]
async fn nats_client_reconnects_after_every_restart() {
    let stack = start(StackConfig { postgres: false, ..relaxed() }).await;
    let nats = stack.nats();
    let url = nats.url();
    store_message(&url, "kept").await;
    let client = connect(&url).await;
    for mode in [StopMode::Fast, StopMode::Immediate, StopMode::Kill] {
        let before = nats.pid();
        nats.restart(mode).await.unwrap();
        assert_ne!(nats.pid(), before);
        assert_eq!(nats.url(), url);
        assert_eq!(messages(&url, "kept").await, Some(1), "{mode:?}");
        client.flush().await.unwrap();
    }
    stack.stop().await;
}

#[tokio::test]
async fn wiped_store_has_no_streams() {
    let stack = start(StackConfig { postgres: false, ..relaxed() }).await;
    let url = stack.nats().url();
    store_message(&url, "wiped").await;
    stack.nats().wipe_store().await.unwrap();
    assert_eq!(stack.nats().url(), url);
    assert_eq!(messages(&url, "wiped").await, None);
    store_message(&url, "wiped").await;
    stack.stop().await;
}

#[tokio::test]
async fn server_killed_from_outside_can_be_started_again() {
    let stack = start(relaxed()).await;
    for pid in [stack.postgres().pid(), stack.nats().pid()] {
        let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    crate::until("both are gone", || ![stack.postgres().pid(), stack.nats().pid()].into_iter().any(runs))
        .await;
    stack.postgres().start().await.unwrap();
    stack.nats().start().await.unwrap();
    assert_eq!(number(&stack.postgres().admin_url(), "SELECT 1").await.unwrap(), 1);
    jetstream(&stack.nats().url()).await.query_account().await.unwrap();
    stack.stop().await;
}

#[test]
fn shared_stack_outlives_runtime_that_started_it() {
    let in_a_runtime_of_its_own = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stack = shared().await;
            assert_eq!(number(&stack.postgres().admin_url(), "SELECT 1").await.unwrap(), 1);
            jetstream(&stack.nats().url()).await.query_account().await.unwrap();
            stack.postgres().pid()
        })
    };
    assert_eq!(in_a_runtime_of_its_own(), in_a_runtime_of_its_own());
}
