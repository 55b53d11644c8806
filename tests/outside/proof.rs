//! The proofs of the crate outside: without servers, and on real ones.

use outside::{Cinema, VISIT, Visit, visit};
use redress::devstack::shared;
use redress::sqlx::PgPool;
use redress::{
    CancellationToken, Config, Engine, Generated, Participant, SagaEnd, ServiceHandlers, Topology, Wire,
    WireConfig, coordinator, inbox_migrator, sqlx,
};

#[test]
fn visit_holds_or_is_made_good() {
    redress_testkit::unwind_matrix(visit());
}

fn of(seat: &str, paid: i64) -> Visit {
    Visit { seat: seat.to_owned(), paid, ticket: Generated::default(), code: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visit_is_started_and_ends_with_its_own_data() -> Result<(), Box<dyn std::error::Error>> {
    let stack = shared().await;
    let [journal, cinema] = ["outside_journal", "outside_cinema"].map(|name| stack.postgres().url(name));
    for url in [&journal, &cinema] {
        coordinator::journal::ensure_database(url).await?;
    }
    let pool = PgPool::connect(&cinema).await?;
    inbox_migrator().run(&pool).await?;
    sqlx::query("CREATE TABLE held (ticket uuid PRIMARY KEY, seat text)").execute(&pool).await?;
    let wire = Wire::connect(&stack.nats().url(), Topology::new("outside")?, WireConfig::for_tests()).await?;
    let participant = Cinema::register(Participant::new(Cinema::SERVICE));
    tokio::spawn(participant.serve(Cinema, pool.clone(), wire.clone(), std::future::pending()));

    let definition = visit();
    let engine = Engine::open(Config::new(journal), vec![definition.clone()], wire).await?;
    let (running, shutdown) = (engine.clone(), CancellationToken::new());
    tokio::spawn(async move { running.run(shutdown).await });

    let paid = engine.start(&definition, &of("A1", 1_200)).key("visit-1").tag("hall", "great").await?;
    let ended = paid.ended().await?;
    assert_eq!(ended.end, SagaEnd::Completed);
    assert_eq!(ended.data.code, Some(ended.data.ticket.to_string()));

    let unpaid = engine.start(&VISIT, &of("A2", 5)).await?.ended().await?;
    assert_eq!(unpaid.cause().map(|cause| cause.code.as_str()), Some("not-paid"));
    let held = sqlx::query_scalar::<_, String>("SELECT seat FROM held").fetch_all(&pool).await?;
    assert_eq!(held, ["A1"]);
    Ok(())
}
