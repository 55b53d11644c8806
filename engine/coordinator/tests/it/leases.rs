//! Connections that go from one unit of work to the next, and the pool that they belong to.

use redress_postgres::{Cutoff, Lease, Leases, Origin};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::fixture::{Fixture, until};

async fn pool(fixture: &Fixture, connections: u32) -> PgPool {
    let url = fixture.stack.postgres().url(&fixture.database);
    PgPoolOptions::new().max_connections(connections).connect(&url).await.unwrap()
}

/// Takes a connection, and says where it comes from and which session it is.
async fn taken(leases: &Leases) -> (Lease, Origin, i32) {
    let mut lease = leases.take().await.unwrap();
    let session = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *lease).await.unwrap();
    let origin = lease.origin();
    (lease, origin, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_connection_goes_to_the_next_unit_and_dropped_one_to_the_pool() {
    let fixture = Fixture::new().await;
    let leases = Leases::new(pool(&fixture, 2).await, Cutoff::default());
    let (first, origin, session) = taken(&leases).await;
    assert_eq!(origin, Origin::Pool);
    first.keep();
    let (second, origin, same) = taken(&leases).await;
    assert_eq!((origin, same), (Origin::Rest, session));
    // As a unit of work that failed does.
    drop(second);
    assert_eq!(taken(&leases).await.1, Origin::Pool);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_rests_for_long_goes_back_to_the_pool() {
    let fixture = Fixture::new().await;
    let leases = Leases::new(pool(&fixture, 2).await, Cutoff::default());
    taken(&leases).await.0.keep();
    assert_eq!(leases.pool().num_idle(), 0);
    until("the pool has it", async || (leases.pool().num_idle() == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exhausted_pool_gets_its_connection_at_once() {
    let fixture = Fixture::new().await;
    let leases = Leases::new(pool(&fixture, 1).await, Cutoff::default());
    taken(&leases).await.0.keep();
    assert_eq!(taken(&leases).await.1, Origin::Pool);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_from_before_a_failover_is_not_kept() {
    let fixture = Fixture::new().await;
    let cutoff = Cutoff::default();
    let leases = Leases::new(pool(&fixture, 2).await, cutoff.clone());
    let (at_work, ..) = taken(&leases).await;
    taken(&leases).await.0.keep();
    cutoff.give_up_all();
    at_work.keep();
    assert_eq!(taken(&leases).await.1, Origin::Pool);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_is_used_again_and_again_has_one_reaper() {
    let fixture = Fixture::new().await;
    let leases = Leases::new(pool(&fixture, 2).await, Cutoff::default());
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    taken(&leases).await.0.keep();
    let before = tasks();
    for _ in 0..50 {
        taken(&leases).await.0.keep();
    }
    assert!(tasks() <= before + 5, "{} tasks, and {before} before", tasks());
}
