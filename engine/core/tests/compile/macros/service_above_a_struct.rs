#[redress_macros::service("payment")]
struct Payments;

fn main() {}
