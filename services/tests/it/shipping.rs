//! Shipments: to every address but those where the carrier does not go.

use redress_contracts::ShipOrder;
use redress_participant::testing::ServiceTest;

use crate::bench::{id, lines, read, tested};

const SHIPMENTS: &str = "SELECT address FROM shipments ORDER BY id";

fn ship(shipment: u128, address: &str) -> ShipOrder {
    ShipOrder { shipment: id(shipment), address: address.to_owned() }
}

async fn shipping() -> ServiceTest {
    tested("shipping").await
}

#[tokio::test(flavor = "multi_thread")]
async fn deliverable_order_is_shipped_and_the_rest_rejected() {
    let test = shipping().await;
    let addresses = [
        "1 Harbour Street, Reykjavik",
        "3 Coral Reef, Atlantis",
        "3 CORAL REEF, ATLANTIS",
        " ",
        "2 Mill Lane, Bree",
    ];
    let mut orders: Vec<_> =
        (1..).zip(addresses).map(|(saga, address)| test.step(ship(saga, address))).collect();
    // An id that is taken already.
    orders.push(test.step(ship(1, "5 High Street, Bree")));
    let outcomes = test.run_together(&orders).await.unwrap();
    insta::assert_snapshot!(lines(&outcomes), @r#"
    done {"tracking":"track-0190163d-8694-739b-aea5-000000000001"}
    rejected address-undeliverable: the carrier does not deliver to `3 Coral Reef, Atlantis`
    rejected address-undeliverable: the carrier does not deliver to `3 CORAL REEF, ATLANTIS`
    rejected address-undeliverable: the carrier does not deliver to ` `
    done {"tracking":"track-0190163d-8694-739b-aea5-000000000005"}
    rejected shipment-exists: shipment 0190163d-8694-739b-aea5-000000000001 belongs to another saga
    "#);
    insta::assert_snapshot!(read(&test, SHIPMENTS).await, @"
    1 Harbour Street, Reykjavik
    2 Mill Lane, Bree
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn parcel_is_sent_once_however_often_the_command_comes() {
    let test = shipping().await;
    let order = test.step(ship(1, "2 Mill Lane, Bree"));
    let first = order.run().await.unwrap();
    assert!(first.is_done(), "{first}");
    assert_eq!(order.run().await.unwrap().to_string(), first.to_string());
    assert_eq!(read(&test, SHIPMENTS).await, "2 Mill Lane, Bree");
}
