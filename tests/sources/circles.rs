//! No file of the engine imports in a circle: whoever reads one can stop at what it imports.
//!
//! The graph is read from the sources. A path that a file names (`use`, or in its code) leads to the file that has the
//! item, through re-exports; a `mod` declaration alone leads nowhere, and neither do unit tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The folders of the crates that are looked at.
const CRATES: [&str; 12] = [
    "core",
    "wire",
    "postgres",
    "participant",
    "coordinator",
    "api",
    "client",
    "cli",
    "devstack",
    "testkit",
    "simulation",
    "macros",
];

type Modules = BTreeMap<Vec<String>, String>;

/// The modules of a crate by their path, with their code: no comments, no unit tests.
fn modules(dir: &Path, path: &[String], found: &mut Modules) {
    for entry in fs::read_dir(dir).expect("a readable folder").flatten() {
        let (file, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if file.is_dir() {
            modules(&file, &[path, &[name]].concat(), found);
        } else if let Some(stem) = name.strip_suffix(".rs") {
            let own: &[String] =
                if ["mod", "lib", "main"].contains(&stem) { &[] } else { &[stem.to_owned()] };
            let text = fs::read_to_string(&file).expect("a text");
            let code = text.lines().take_while(|line| *line != "#[cfg(test)]");
            let code: Vec<&str> = code.map(|line| line.split("//").next().unwrap_or_default()).collect();
            found.insert([path, own].concat(), code.join("\n"));
        }
    }
}

/// The paths of a `use` tree.
fn spread(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let (mut depth, mut begin) = (0, 0);
    let tree = format!("{tree},");
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = tree[begin..at].trim();
                begin = at + 1;
                match part.split_once('{') {
                    Some((head, rest)) => {
                        spread(&format!("{prefix}{head}"), rest.trim_end_matches('}'), paths)
                    }
                    None if part.is_empty() => {}
                    None => paths.push(format!("{prefix}{}", part.split(" as ").next().unwrap_or(part))),
                }
            }
            _ => {}
        }
    }
}

/// The `use` declarations of a text (only the public ones, if that is asked for), and the text without any.
fn uses(code: &str, only_public: bool) -> (Vec<String>, String) {
    let (mut paths, mut rest) = (Vec::new(), String::new());
    let mut statements = code.split_inclusive(';');
    for statement in &mut statements {
        let begin = statement.rfind("\nuse ").or_else(|| statement.rfind("\npub use "));
        let begin = begin
            .or_else(|| statement.rfind("\npub(crate) use "))
            .or_else(|| statement.starts_with("use ").then_some(0));
        match begin {
            Some(begin) => {
                let declaration = statement[begin..].trim();
                let (visibility, tree) = declaration.split_once("use ").expect("it has the word");
                if !only_public || visibility.starts_with("pub") {
                    spread("", tree.trim_end_matches(';'), &mut paths);
                }
                rest.push_str(&statement[..begin]);
            }
            None => rest.push_str(statement),
        }
    }
    (paths, rest)
}

/// The paths that a text names outside of `use`.
fn named(code: &str) -> impl Iterator<Item = String> + '_ {
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(move |c| !is_of_path(c)).filter(|word| word.contains("::"));
    words.map(|word| word.trim_matches(':').to_owned())
}

/// The path from the crate's root; `None` if it leads out of the crate.
fn from_root(path: &str, module: &[String], names: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    let parts: Vec<String> = path.split("::").map(str::to_owned).collect();
    let (first, rest) = parts.split_first()?;
    let base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        name => names.get(name)?.clone(),
    };
    if rest.first().is_some_and(|next| next == "super") {
        return from_root(&rest.join("::"), &base, names);
    }
    Some([base.as_slice(), rest].concat())
}

/// The module that has the item of this path, through re-exports.
fn owner(path: &[String], modules: &Modules) -> Option<Vec<String>> {
    let length = (0..=path.len()).rev().find(|&length| modules.contains_key(&path[..length]))?;
    let (module, item) = (path[..length].to_vec(), path.get(length));
    let Some(item) = item else { return Some(module) };
    let (exports, _) = uses(&modules[&module], true);
    let export = exports.iter().find(|export| export.rsplit("::").next() == Some(item));
    let names = children(&module, modules);
    match export.and_then(|export| from_root(export, &module, &names)) {
        Some(next) if next != path => owner(&next, modules),
        Some(_) | None => Some(module),
    }
}

/// The modules that a module may name without a prefix.
fn children(module: &[String], modules: &Modules) -> BTreeMap<String, Vec<String>> {
    let is_child = |path: &&Vec<String>| path.len() == module.len() + 1 && path.starts_with(module);
    modules.keys().filter(is_child).map(|path| (path[module.len()].clone(), path.clone())).collect()
}

fn imports(module: &[String], modules: &Modules) -> BTreeSet<Vec<String>> {
    let (declared, rest) = uses(&modules[module], false);
    let mut names = children(module, modules);
    for path in &declared {
        if let Some(path) = from_root(path, module, &names.clone()).filter(|path| modules.contains_key(path))
        {
            names.extend(path.last().cloned().map(|name| (name, path)));
        }
    }
    let paths = declared.into_iter().chain(named(&rest));
    let owners = paths.filter_map(|path| owner(&from_root(&path, module, &names)?, modules));
    owners.filter(|owner| owner != module).collect()
}

/// Takes away, again and again, the modules that import none of the rest: circles are left.
fn circles(modules: &Modules) -> BTreeSet<String> {
    let mut graph: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> =
        modules.keys().map(|module| (module, imports(module, modules))).collect();
    loop {
        let left: BTreeSet<Vec<String>> = graph.keys().map(|module| (*module).clone()).collect();
        let before = graph.len();
        graph.retain(|_, imports| !imports.is_disjoint(&left));
        if graph.len() == before {
            let imported: BTreeSet<&Vec<String>> = graph.values().flatten().collect();
            return left
                .iter()
                .filter(|module| imported.contains(module))
                .map(|module| module.join("::"))
                .collect();
        }
    }
}

#[test]
fn engine_files_import_in_no_circle() {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("engine");
    for name in CRATES {
        let mut found = Modules::new();
        modules(&engine.join(name).join("src"), &[], &mut found);
        assert!(found.len() > 5, "{name} was not read");
        let edges: usize = found.keys().map(|module| imports(module, &found).len()).sum();
        assert!(edges > found.len() / 2, "the imports of {name} were not read: {edges}");
        assert_eq!(circles(&found), BTreeSet::new(), "files of engine/{name} import in a circle");
    }
}

#[test]
fn circle_through_a_re_export_is_found() {
    let module = |path: &str, code: &str| {
        (path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect(), code.to_owned())
    };
    let straight: Modules = [
        module("", "\npub use loops::run;\n"),
        module("loops", "\nuse crate::shared::{Shared, State};\n fn run() { state::of(); }"),
        module("shared", "\nuse crate::state;\n"),
        module("state", "\nuse std::fmt;\n"),
    ]
    .into();
    assert_eq!(circles(&straight), BTreeSet::new());
    let mut round = straight;
    round.insert(vec!["state".to_owned()], "\nuse crate::run;\n".to_owned());
    let all = ["loops", "shared", "state"].map(str::to_owned);
    assert_eq!(circles(&round), BTreeSet::from(all));
}
