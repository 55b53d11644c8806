//! Style and structure as a test: what depends on what, who says which word, how long a file is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file, in lines: past this there is a second room in it.
const FILE_LINES_MAX: usize = 500;
/// The longest line, in characters.
const LINE_CHARS_MAX: usize = 140;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sagas stands in the workspace").to_owned()
}

/// All files of ours with this ending, by their path from the root.
fn files(ending: &str) -> BTreeMap<String, String> {
    fn walk(dir: &Path, root: &Path, ending: &str, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).expect("a readable folder").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, root, ending, found);
            } else if name.ends_with(ending) {
                let short = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
                found.insert(short, fs::read_to_string(&path).expect("a text"));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&root(), &root(), ending, &mut found);
    found
}

/// The names under `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("engine/core", &[][..]),
        ("engine/devstack", &[]),
        ("engine/testkit", &["core"]),
        ("engine/wire", &["core"]),
        ("engine/participant", &["core", "wire"]),
        ("engine/coordinator", &["core", "wire"]),
        ("engine/api", &["core", "coordinator"]),
        ("engine/cli", &["core", "wire", "participant", "coordinator", "api", "devstack"]),
        ("engine", &["core", "wire", "participant", "coordinator", "api", "devstack", "cli"]),
        ("services/contracts", &["core"]),
        ("services", &["core", "contracts", "participant"]),
        ("sagas", &["core", "contracts", "services", ""]),
    ]);
    let manifests = files("Cargo.toml");
    for (folder, allowed) in allowed {
        let manifest = &manifests[&format!("{folder}/Cargo.toml")];
        for name in dependencies(manifest).iter().filter(|name| name.starts_with("redress")) {
            let short = name.trim_start_matches("redress").trim_start_matches('-');
            assert!(allowed.contains(&short), "{folder} must not depend on {name}");
        }
    }
}

#[test]
fn the_core_is_pure() {
    let core = dependencies(&files("Cargo.toml")["engine/core/Cargo.toml"]);
    for impure in ["tokio", "sqlx", "async-nats", "rand", "reqwest", "axum"] {
        assert!(!core.contains(impure), "the core must not know {impure}");
    }
}

/// Lines of code that hold a word: not comments, not tests at the end of a file.
fn says<'f>(text: &'f str, word: &'f str) -> impl Iterator<Item = &'f str> {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .filter(move |line| line.contains(word) && !line.trim_start().starts_with("//"))
}

/// Files of the engine that may say a word, by how their path begins.
fn only_these_say(word: &str, allowed: &[&str]) {
    for (path, text) in files(".rs") {
        let of_engine = path.starts_with("engine/") && path.contains("/src/");
        if of_engine && !allowed.iter().any(|prefix| path.starts_with(prefix)) {
            let lines: Vec<&str> = says(&text, word).collect();
            assert!(lines.is_empty(), "{path} must not say `{word}`: {lines:?}");
        }
    }
}

#[test]
fn one_adapter_for_each_neighbour() {
    only_these_say("async_nats::", &["engine/wire/"]);
    only_these_say("sqlx::", &["engine/coordinator/src/journal/", "engine/participant/"]);
}

#[test]
fn only_clocks_say_now() {
    only_these_say("Utc::now()", &["engine/participant/src/clock.rs"]);
    only_these_say("SystemTime::now()", &["engine/devstack/"]);
}

#[test]
fn sagas_know_no_service() {
    for (path, text) in files(".rs").into_iter().filter(|(path, _)| path.starts_with("sagas/src/")) {
        if path != "sagas/src/main.rs" {
            assert_eq!(says(&text, "redress_services").count(), 0, "{path} must not know a service");
        }
    }
}

#[test]
fn files_have_one_room_and_lines_fit() {
    for (path, text) in files(".rs") {
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{path} has {lines} lines: is there a second room in it?");
        // A saga reads as a table; what a compiler printed stays as it is.
        if path.starts_with("sagas/src/") || path.contains("/tests/") || path.contains("/compile/") {
            continue;
        }
        // Tests may hold long texts, as they were printed.
        let code = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        for (number, line) in code.enumerate() {
            let chars = line.chars().count();
            assert!(chars <= LINE_CHARS_MAX, "{path}:{} has {chars} characters", number + 1);
        }
    }
}

#[test]
fn every_scenario_names_a_test() {
    let tests: String = files(".rs").into_values().collect();
    let scenarios = &files(".md")["docs/SCENARIOS.md"];
    // Between back quotes stand names, and paths.
    let names = scenarios.split('`').skip(1).step_by(2).filter(|name| name.matches('_').count() > 2);
    let missing: Vec<&str> = names.filter(|name| !tests.contains(&format!("fn {name}("))).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn nothing_is_left_open() {
    for (path, text) in files(".rs").into_iter().filter(|(path, _)| path != "tests/tidy.rs") {
        for word in ["todo!(", "unimplemented!(", "FIXME", "XXX", "#[ignore"] {
            // Documentation may show a program without its middle.
            let left: Vec<&str> = says(&text, word).collect();
            assert!(left.is_empty(), "{path} says {word}: {left:?}");
        }
        if path.starts_with("tests/") {
            assert_eq!(says(&text, "sleep(").count(), 0, "{path} sleeps instead of waiting for a signal");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in files(".rs").into_iter().filter(|(path, _)| !path.contains("/compile/")) {
        assert!(text.starts_with("//!"), "{path} does not begin with what it is");
    }
}

#[test]
fn the_compose_file_names_flags_and_variables_that_exist() {
    let mut compose: serde_norway::Value =
        serde_norway::from_str(&fs::read_to_string(root().join("docker-compose.yml")).expect("the file"))
            .expect("YAML");
    compose.apply_merge().expect("merge keys");
    let services = compose["services"].as_mapping().expect("services");
    let names: Vec<&str> = services.keys().filter_map(serde_norway::Value::as_str).collect();
    for needed in ["postgres", "nats", "order", "payment", "inventory", "shipping", "coordinator"] {
        assert!(names.contains(&needed), "docker-compose.yml has no {needed}");
    }
    let arguments = fs::read_to_string(root().join("engine/cli/src/args.rs")).expect("the file");
    for (name, service) in services {
        assert!(service.get("healthcheck").is_some(), "{name:?} has no health check");
        for word in service.get("command").and_then(|c| c.as_sequence()).into_iter().flatten() {
            let Some(flag) = word.as_str().and_then(|word| word.strip_prefix("--")) else { continue };
            if matches!(name.as_str(), Some("postgres" | "nats")) {
                continue;
            }
            let field = flag.replace('-', "_");
            assert!(
                arguments.contains(&format!("{field}:")),
                "{name:?} is given --{flag}, which does not exist"
            );
        }
        for variable in service.get("environment").and_then(|e| e.as_mapping()).into_iter().flatten() {
            let variable = variable.0.as_str().unwrap_or_default();
            let ours = variable.starts_with("REDRESS_") && !variable.ends_with("_DATABASE_URL");
            assert!(!ours || arguments.contains(variable), "{variable} does not exist");
        }
    }
}
