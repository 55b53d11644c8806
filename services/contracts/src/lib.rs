//! Commands and replies of the demo services.
//!
//! Both sides depend on this crate: sagas build the commands, services handle them. Money is whole minor units
//! (cents) with a currency code; ids are made by the saga before they are used, so that a compensation never needs the
//! reply of the action that it undoes.

pub mod card;
pub mod inventory;
pub mod office;
pub mod order;
pub mod payment;
pub mod shipping;

pub use card::{CardCharged, ChargeCard, RefundCard};
pub use inventory::{ReleaseInventory, ReserveInventory, StockLine};
pub use office::{Approve, Approved, BookExpense, ExpenseBooked, WithdrawApproval};
pub use order::{CancelOrder, ConfirmOrder, CreateOrder, OrderLine};
pub use payment::{ChargePayment, PaymentCharged, RefundPayment};
pub use shipping::{ShipOrder, Shipped};
