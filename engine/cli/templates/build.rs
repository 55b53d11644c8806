//! Builds anew when a migration changes: the service has them within.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
