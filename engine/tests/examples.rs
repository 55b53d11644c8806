//! The examples, as programs: each does what its first comment says.
//!
//! `cargo test` builds them beside the tests, and runs none of them by itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs that the build made of `examples/`.
fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    test.parent().and_then(Path::parent).expect("it lies in target/PROFILE/deps").join("examples")
}

fn run(example: &str, arguments: &[&str]) -> String {
    let program = programs().join(example);
    let output = Command::new(&program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo test -p redress` builds it", program.display()));
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{example}\n{said}\n{errors}");
    said.into_owned()
}

/// A demo ends with an error if a saga does not end as its `DemoStart` says.
#[test]
fn hello_saga_posts_a_card_and_tears_one_up() {
    let said = run("hello_saga", &["demo", "--exit"]);
    assert!(said.contains("completed in") && said.contains("undone in this order: write-card"), "{said}");
}

#[test]
fn plain_handle_books_a_seat_and_frees_one() {
    let said = run("plain_handle", &["demo", "--exit"]);
    assert!(
        said.contains("rejected: seat-taken") && said.contains("undone in this order: book-seat"),
        "{said}"
    );
}

#[test]
fn start_in_transaction_is_undone_with_it() {
    let said = run("start_in_transaction", &[]);
    assert_eq!(said, "alice's saga is completed; bob's saga does not exist\ncustomers: alice\n");
}

#[test]
fn testing_a_saga_tells_its_story() {
    let said = run("testing_a_saga", &[]);
    let story =
        "sent compensation book-room 1\ndone compensation book-room 1\ncompensated because pay rejected";
    assert!(said.contains(story), "{said}");
}

/// An example that no test of this file runs would be compiled and no more.
#[test]
fn every_example_is_run() {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).expect("the folder");
    let names = entries.flatten().map(|entry| entry.path().file_stem().expect("a name").to_os_string());
    let own = include_str!("examples.rs");
    let idle: BTreeSet<_> = names.filter(|name| !own.contains(&format!("run({name:?}"))).collect();
    assert_eq!(idle, BTreeSet::new());
}
