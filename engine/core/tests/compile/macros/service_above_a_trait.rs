use redress_macros::service;

struct Payments;

#[service("payment", crate = crate::support::participant)]
impl Clone for Payments {
    fn clone(&self) -> Self {
        Payments
    }
}

fn main() {}
