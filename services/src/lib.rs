//! The six demo services, each with its own database.
//!
//! Order keeps the orders, payment the money, inventory the stock, and shipping the trucks. Shipping is a plain service
//! and handles one command at a time. The handlers of the other three work on the whole set of their commands in a batch: a
//! few statements, rows locked in the order of their keys so that two batches never deadlock, and every rejection decided
//! before anything is written. [`audit`] checks the books of these four.
//!
//! Card charges cards at a provider that is another company ([`card_provider`]), and office has people approve expenditure,
//! whose answers come later.

pub mod audit;
mod card;
pub mod card_provider;
mod inventory;
pub mod office;
mod order;
mod payment;
mod shipping;
mod taken;

use redress_participant::Service;
use sqlx::migrate::Migrator;

/// The six services.
pub fn all() -> Vec<Service> {
    vec![
        order::service(),
        payment::service(),
        inventory::service(),
        shipping::service(),
        card::service(),
        office::service(),
    ]
}

/// A service's own tables keep to their own migrations table: the inbox shares the database.
fn with_own_table(mut migrator: Migrator, table: &'static str) -> Option<Migrator> {
    migrator.dangerous_set_table_name(table);
    Some(migrator)
}
