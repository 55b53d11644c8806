//! The pages for operators, held against the program: nothing is missing, and nothing is left over.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use redress_api::ProblemType;
use redress_core::state::ParkCode;
use redress_core::{LetterCode, LetterRefusal};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sagas stands in the workspace").to_owned()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).expect("the page")
}

/// The part of a page under a heading of the second level.
fn chapter<'p>(page: &'p str, heading: &str) -> &'p str {
    let chapter = page.split(&format!("\n## {heading}\n")).nth(1).expect("the chapter");
    chapter.split("\n## ").next().unwrap_or(chapter)
}

/// The first text between back quotes of each line that begins so.
fn quoted<'p>(page: &'p str, beginning: &str) -> BTreeSet<&'p str> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(beginning));
    lines.filter_map(|line| line.strip_prefix('`')?.split('`').next()).collect()
}

#[test]
fn park_codes_have_an_entry_each() {
    let operations = page("operations.md");
    let codes: BTreeSet<&str> = ParkCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(quoted(chapter(&operations, "Reasons to park"), "### "), codes);
}

#[test]
fn problem_types_have_an_entry_each() {
    let operations = page("operations.md");
    let types: BTreeSet<&str> = ProblemType::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(quoted(chapter(&operations, "Problem types"), "| "), types);
}

#[test]
fn codes_and_refusals_of_dead_letters_have_an_entry_each() {
    let operations = page("operations.md");
    let (codes, refusals) =
        chapter(&operations, "Dead letters").split_once("### Refusals").expect("two tables");
    let all: BTreeSet<&str> = LetterCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(quoted(codes, "| "), all);
    let mut all: BTreeSet<&str> = LetterRefusal::ALL.iter().map(|refusal| refusal.as_str()).collect();
    all.insert("not-published");
    assert_eq!(quoted(refusals, "| "), all);
}

/// The variables that the command line reads, from its sources.
fn variables() -> BTreeSet<String> {
    fn read(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                read(&path, found);
            } else {
                let text = fs::read_to_string(&path).expect("a text");
                let names = text.split("env = \"").skip(1).filter_map(|rest| rest.split('"').next());
                found.extend(names.map(str::to_owned));
            }
        }
    }
    let mut found = BTreeSet::new();
    read(&root().join("engine/cli/src"), &mut found);
    found
}

#[test]
fn configuration_names_every_variable() {
    let configuration = page("configuration.md");
    let variables = variables();
    assert!(variables.len() > 15, "{variables:?}");
    let missing: Vec<&String> =
        variables.iter().filter(|name| !configuration.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, Vec::<&String>::new());
}
