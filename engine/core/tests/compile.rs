//! Definitions that break a rule of the builder, and mistakes in contracts and services, do not compile, and the compiler
//! says why in our words.
//!
//! `compile/builder` is about this crate, `compile/macros` about redress-macros: both here, since each suite builds a
//! project of its own, and one is enough.
//!
//! After a change of the compiler or of a message: `TRYBUILD=overwrite cargo test -p redress-core --test compile`,
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
    for about in ["builder", "macros"] {
        // With a program that passes trybuild builds, without one it only checks, and the assertion about services
        // falls when code is made.
        tests.pass(format!("tests/compile/{about}/pass/*.rs"));
        tests.compile_fail(format!("tests/compile/{about}/*.rs"));
    }
}
