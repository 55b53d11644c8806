//! Builds anew when a migration changes.
fn main() {
    for service in ["order", "payment", "inventory", "shipping", "card", "office"] {
        println!("cargo:rerun-if-changed=../migrations/{service}");
    }
}
