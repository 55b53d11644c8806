//! Style and structure as a test: what depends on what, who says which word, how long a file is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file, in lines: past this there is a second room in it.
const FILE_LINES_MAX: usize = 400;
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
        ("engine/macros", &[]),
        ("engine/devstack", &[]),
        // A dev-dependency of every saga: it must stay light.
        ("engine/testkit", &["core", "macros"]),
        ("engine/simulation", &["core", "coordinator", "testkit"]),
        ("engine/wire", &["core"]),
        ("engine/postgres", &[]),
        // Private servers for tests of handlers alone: a service links none (`tests/sources/facade.rs`).
        ("engine/participant", &["core", "wire", "postgres", "devstack"]),
        ("engine/coordinator", &["core", "wire", "postgres"]),
        ("engine/api", &["core", "coordinator"]),
        ("engine/client", &["core"]),
        (
            "engine/cli",
            &["core", "wire", "postgres", "participant", "coordinator", "api", "client", "devstack"],
        ),
        (
            "engine",
            &[
                "core",
                "macros",
                "wire",
                "postgres",
                "participant",
                "coordinator",
                "client",
                "devstack",
                "cli",
            ],
        ),
        ("services/contracts", &["core", "macros"]),
        ("services", &["core", "macros", "contracts", "participant"]),
        // The demo is a user: of the engine it knows the facade alone.
        ("sagas", &["contracts", "services", ""]),
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
    // The account of the lab stands for the tables of a user's service; the bench makes a million sagas as no engine does.
    let of_postgres = [
        "engine/cli/src/bench/preload.rs",
        "engine/coordinator/src/journal/",
        "engine/participant/",
        "engine/postgres/",
        "engine/cli/src/lab/ledger.rs",
    ];
    only_these_say("sqlx::", &of_postgres);
}

/// The ports of the coordinator, and what is decided on them, know no runtime, no database and no broker.
#[test]
fn ports_of_the_coordinator_are_pure() {
    let pure = [
        "engine/coordinator/src/ports/",
        "engine/coordinator/src/batch.rs",
        "engine/coordinator/src/rules.rs",
    ];
    for (path, text) in
        files(".rs").into_iter().filter(|(path, _)| pure.iter().any(|it| path.starts_with(it)))
    {
        for word in ["tokio", "sqlx", "redress_wire", "redress_postgres", "rand::"] {
            let lines: Vec<&str> = says(&text, word).collect();
            assert!(lines.is_empty(), "{path} must not say `{word}`: {lines:?}");
        }
    }
}

/// Times come from the database, carried on by a monotonic clock: machines may disagree on the time of day. (The first
/// bits of an id of version 7 are such a time; nothing is decided by it.)
#[test]
fn nobody_reads_the_wall_clock() {
    for clock in ["Utc::now", "Local::now", "SystemTime::now", "OffsetDateTime::now"] {
        only_these_say(clock, &[]);
    }
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
        if path.starts_with("sagas/src/")
            || path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || path.contains("/compile/")
        {
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
    for (path, text) in files(".rs").into_iter().filter(|(path, _)| path != "tests/sources/tidy.rs") {
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

/// The Compose file, merge keys merged.
fn compose() -> serde_norway::Value {
    let text = fs::read_to_string(root().join("docker-compose.yml")).expect("the file");
    let mut compose: serde_norway::Value = serde_norway::from_str(&text).expect("YAML");
    compose.apply_merge().expect("merge keys");
    compose
}

fn words(value: &serde_norway::Value) -> Vec<String> {
    let words = value.as_sequence().into_iter().flatten();
    words.map(|word| word.as_str().expect("words are texts").to_owned()).collect()
}

/// Runs the real program where no server is named.
fn redress(arguments: &[String], environment: &BTreeMap<String, String>) -> (Option<i32>, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_redress"));
    command.args(arguments).env_clear().envs(environment).env_remove("DATABASE_URL").env_remove("NATS_URL");
    let output = command.output().expect("the demo binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Whether the program takes these words and variables: if it does, all that it misses is the servers.
fn taken(arguments: &[String], environment: &BTreeMap<String, String>) -> Result<(), String> {
    let (code, _, stderr) = redress(arguments, environment);
    let misses_servers = code == Some(2) && stderr.starts_with("error: DATABASE_URL is needed");
    misses_servers.then_some(()).ok_or_else(|| format!("redress {}: {stderr}", arguments.join(" ")))
}

/// Whether the command reads a variable of this name.
fn reads(command: &str, variable: &str) -> bool {
    let of_service = variable.strip_prefix("REDRESS_").and_then(|rest| rest.strip_suffix("_DATABASE_URL"));
    if let Some(service) = of_service {
        return compose()["services"].get(service.to_lowercase().replace('_', "-")).is_some();
    }
    let (_, help, _) = redress(&[command.to_owned(), "--help".to_owned()], &BTreeMap::new());
    ["=", "]"].iter().any(|end| help.contains(&format!("[env: {variable}{end}")))
}

#[test]
fn what_the_compose_file_says_the_program_takes() {
    let compose = compose();
    let services = compose["services"].as_mapping().expect("services");
    let names: Vec<&str> = services.keys().filter_map(serde_norway::Value::as_str).collect();
    let expected =
        ["postgres", "nats", "order", "payment", "inventory", "shipping", "card", "office", "coordinator"];
    assert_eq!(names, expected);
    for (name, service) in services {
        let name = name.as_str().expect("a name");
        let check = words(&service["healthcheck"]["test"]);
        assert!(!check.is_empty(), "{name} has no health check");
        if matches!(name, "postgres" | "nats") {
            continue;
        }
        let environment: BTreeMap<String, String> =
            serde_norway::from_value(service["environment"].clone()).expect("names and texts");
        let command = words(&service["command"]);
        assert_eq!(taken(&command, &environment), Ok(()), "{name}");
        for variable in environment.keys() {
            assert!(reads(&command[0], variable), "{name}: `redress {}` reads no {variable}", command[0]);
        }
        match check.split_first().map(|(how, what)| (how.as_str(), what)) {
            Some(("CMD", [program, check @ ..])) => {
                assert_eq!(program, "redress", "{name}");
                assert_eq!(taken(check, &environment), Ok(()), "{name}");
                // A service is asked after itself.
                assert_eq!(check.last(), command.last(), "{name}");
            }
            Some(("CMD-SHELL", [line])) => {
                let port = command.last().and_then(|address| address.rsplit(':').next()).expect("a port");
                assert!(line.ends_with(&format!("http://127.0.0.1:{port}/readyz")), "{name}: {line}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn what_is_not_a_command_line_is_not_taken() {
    let none = BTreeMap::new();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for line in
        ["service ordr", "service order --loud", "serve --https 0.0.0.0:8080", "serve --http everywhere"]
    {
        assert!(taken(&words(line), &none).is_err(), "{line}");
    }
    let drain = |word: &str| BTreeMap::from([("REDRESS_DRAIN".to_owned(), word.to_owned())]);
    assert!(taken(&words("serve"), &drain("maybe")).is_err());
    assert_eq!(taken(&words("serve"), &drain("1")), Ok(()));
    assert!(
        reads("serve", "REDRESS_TOKEN")
            && !reads("serve", "REDRESS_TOKE")
            && !reads("service", "REDRESS_HTTP")
    );
}

#[test]
fn the_image_runs_the_program() {
    let file = fs::read_to_string(root().join("docs/Dockerfile")).expect("the file");
    let list = |instruction: &str| -> Vec<String> {
        let line =
            file.lines().rev().find_map(|line| line.strip_prefix(instruction)).expect("the instruction");
        serde_json::from_str(line.trim()).expect("the form of a list")
    };
    let [program] = &list("ENTRYPOINT")[..] else { panic!("the program alone") };
    assert!(file.contains(&format!("/usr/local/bin/{program}\n")), "{program} is not in the image");
    let (code, help, stderr) = redress(&list("CMD"), &BTreeMap::new());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(help.starts_with("Examples:"), "{help}");
    let package = file.split_once("--locked -p ").and_then(|(_, rest)| rest.split_whitespace().next());
    assert_eq!(package, Some(env!("CARGO_PKG_NAME")));
}
