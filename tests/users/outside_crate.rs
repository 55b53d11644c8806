//! A crate of a user's: it knows the facade alone, defines a command, a service and a saga, proves the saga, starts it with
//! its own data and reads its own end.
//!
//! Its sources lie in `outside/`. It is built offline as a member of a workspace that looks like this one
//! (`support/lookalike.rs`).

use std::fs;

use crate::lookalike::{Lookalike, root, succeed};

#[test]
fn crate_outside_defines_proves_starts_and_reads_a_saga() {
    let workspace = Lookalike::with("outside");
    let sample = root().join("tests/outside");
    let read = |file: &str| fs::read_to_string(sample.join(file)).expect("a file of the sample");
    for folder in ["src", "tests"] {
        fs::create_dir_all(workspace.member().join(folder)).expect("a folder");
    }
    let write = |file: &str, text: String| fs::write(workspace.member().join(file), text).expect("a file");
    write("Cargo.toml", Lookalike::adopted(&read("Cargo.toml").replace("ENGINE", "../engine")));
    write("src/lib.rs", read("contract.rs"));
    write("tests/proof.rs", read("proof.rs"));
    let said = succeed(&mut workspace.shell("cargo test"));
    for test in ["visit_holds_or_is_made_good", "visit_is_started_and_ends_with_its_own_data"] {
        assert!(said.contains(&format!("test {test} ... ok")), "{said}");
    }
}
