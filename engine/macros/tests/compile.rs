//! Mistakes in contracts and services do not compile, and the errors say in our words how to mend them.
//!
//! After a change of the compiler or of a message: `TRYBUILD=overwrite cargo test -p redress-macros --test compile`,
//! and read the difference.

use std::process::Command;

/// The compiler whose words surround ours in the recorded messages.
const RECORDED_WITH: &str = "rustc 1.95.";

#[test]
fn mistakes_are_compile_errors_of_ours() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap().stdout;
    if !version.starts_with(RECORDED_WITH.as_bytes()) {
        eprintln!("not compared: the messages were recorded with {RECORDED_WITH}x");
        return;
    }
    let tests = trybuild::TestCases::new();
    // With a program that passes, trybuild builds all of them and not only checks them.
    tests.pass("tests/compile/pass/*.rs");
    tests.compile_fail("tests/compile/*.rs");
}
