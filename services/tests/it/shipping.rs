//! Shipments: to every address but those where the carrier does not go.

use redress_contracts::ShipOrder;

use crate::shop::{Shop, action, id};

const SHIPMENTS: &str = "SELECT address FROM shipments ORDER BY id";

fn ship(shipment: u128, address: &str) -> ShipOrder {
    ShipOrder { shipment: id(shipment), address: address.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_delivered_is_shipped_and_the_rest_rejected() {
    let mut shop = Shop::closed(&["shipping"]).await;
    let addresses = [
        "1 Harbour Street, Reykjavik",
        "3 Coral Reef, Atlantis",
        "3 CORAL REEF, ATLANTIS",
        " ",
        "2 Mill Lane, Bree",
    ];
    let mut orders: Vec<_> =
        (1..).zip(addresses).map(|(saga, address)| action(saga, &ship(saga, address))).collect();
    // An id that is taken already.
    orders.push(action(6, &ship(1, "5 High Street, Bree")));
    shop.send(&orders).await;
    shop.serve().await;
    insta::assert_snapshot!(shop.told(6).await, @r#"
    done {"tracking":"track-0190163d-8694-739b-aea5-000000000001"}
    rejected address-undeliverable: the carrier does not deliver to `3 Coral Reef, Atlantis`
    rejected address-undeliverable: the carrier does not deliver to `3 CORAL REEF, ATLANTIS`
    rejected address-undeliverable: the carrier does not deliver to ` `
    done {"tracking":"track-0190163d-8694-739b-aea5-000000000005"}
    rejected shipment-exists: shipment 0190163d-8694-739b-aea5-000000000001 belongs to another saga
    "#);
    insta::assert_snapshot!(shop.read("shipping", SHIPMENTS).await, @"
    1 Harbour Street, Reykjavik
    2 Mill Lane, Bree
    ");
}
