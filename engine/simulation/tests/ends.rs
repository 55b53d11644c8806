//! The bus in memory hands on of which ends coordinators tell each other.

use std::pin::pin;

use redress_coordinator::SystemClock;
use redress_coordinator::ports::Bus;
use redress_core::SagaId;
use redress_simulation::memory::MemoryBus;
use uuid::Uuid;

#[tokio::test]
async fn ends_are_heard_by_each_that_listens_and_lost_before() {
    let bus = MemoryBus::new(SystemClock);
    let saga = |number| SagaId(Uuid::from_u128(number));
    bus.tell_ended(&[saga(1)]).await;
    let (mut one, mut other) = (Vec::new(), Vec::new());
    {
        let both = async {
            tokio::join!(bus.hear_ended(|sagas| one.push(sagas)), bus.hear_ended(|sagas| other.push(sagas)))
        };
        let telling = async {
            // Once both listen.
            tokio::task::yield_now().await;
            bus.tell_ended(&[saga(2), saga(3)]).await;
            tokio::task::yield_now().await;
        };
        tokio::select! {
            biased;
            _ = pin!(both) => unreachable!("a bus that lives is heard on"),
            () = telling => {}
        }
    }
    assert_eq!((one, other), (vec![vec![saga(2), saga(3)]], vec![vec![saga(2), saga(3)]]));
}
