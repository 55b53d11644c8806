//! The words of the glossary, held against the sources: one term for one thing, everywhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Sources that quote an old name because they read what an older version has stored.
const QUOTES: [&str; 2] = ["engine/testkit/tests/corpus.rs", "tests/sources/vocabulary.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sagas stands in the workspace").to_owned()
}

/// The rows of all tables of the glossary: term, meaning, former names.
fn rows() -> Vec<[String; 3]> {
    let glossary = fs::read_to_string(root().join("docs/glossary.md")).expect("the glossary");
    let cells = |line: &str| -> Option<[String; 3]> {
        let cells: Vec<String> =
            line.strip_prefix('|')?.split('|').map(|cell| cell.trim().to_owned()).collect();
        <[String; 4]>::try_from(cells).ok().map(|[term, meaning, former, _]| [term, meaning, former])
    };
    let is_head = |row: &[String; 3]| row[0] == "term" || row[0].starts_with("---");
    glossary.lines().filter_map(cells).filter(|row| !is_head(row)).collect()
}

/// The names between back quotes in the last column.
fn former_names() -> BTreeSet<String> {
    let names =
        |row: [String; 3]| row[2].split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows().into_iter().flat_map(names).collect()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a readable folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// A line without its comment; what stands between quotes is no name.
fn code(line: &str) -> String {
    let code = line.split("//").next().unwrap_or_default();
    code.split('"').step_by(2).collect::<Vec<_>>().join(" ")
}

fn identifiers(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn glossary_has_each_term_once() {
    let terms: Vec<String> = rows().into_iter().map(|[term, ..]| term).collect();
    let once: BTreeSet<&String> = terms.iter().collect();
    assert!(terms.len() > 50, "the tables were not read: {} terms", terms.len());
    assert_eq!(once.len(), terms.len(), "a term stands twice in docs/glossary.md");
}

#[test]
fn former_names_are_found_nowhere_in_the_sources() {
    let (root, former) = (root(), former_names());
    assert!(former.len() > 30, "the last column was not read: {} names", former.len());
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let mut found = Vec::new();
    for path in paths {
        let short = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
        if QUOTES.contains(&short.as_str()) {
            continue;
        }
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if former.contains(&stem) {
            found.push(format!("{short}: the file's name"));
        }
        let text = fs::read_to_string(&path).expect("a text");
        for (number, line) in text.lines().enumerate() {
            let code = code(line);
            let former = identifiers(&code).filter(|word| former.contains(*word));
            found.extend(former.map(|word| format!("{short}:{}: {word}", number + 1)));
        }
    }
    assert_eq!(found, Vec::<String>::new(), "docs/glossary.md has the word to use instead");
}
