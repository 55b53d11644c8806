//! The facade's features, and the testkit: a program links no more than it asks for.

use std::path::Path;
use std::process::Command;

/// The packages that a program links which takes the facade with these features.
fn linked(features: &str) -> Vec<String> {
    linked_by("redress", &["--no-default-features", "--features", features])
}

/// The packages that a program links which takes this one.
fn linked_by(package: &str, features: &[&str]) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["tree", "-p", package, "-e", "normal", "--prefix", "none", "--offline", "--locked"]);
    cargo.args(features);
    let output = cargo.output().expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn service_links_no_command_line_and_no_http_server() {
    let linked = linked("participant");
    assert!(linked.iter().any(|name| name == "redress-participant"), "{linked:?}");
    for foreign in
        ["clap", "axum", "hyper", "redress-devstack", "redress-coordinator", "redress-cli", "reqwest"]
    {
        assert!(!linked.iter().any(|name| name == foreign), "a service links {foreign}");
    }
}

#[test]
fn client_links_no_database_no_broker_and_no_server() {
    let linked = linked("client");
    assert!(linked.iter().any(|name| name == "redress-client"), "{linked:?}");
    for foreign in
        ["sqlx", "async-nats", "axum", "clap", "redress-coordinator", "redress-participant", "redress-wire"]
    {
        assert!(!linked.iter().any(|name| name == foreign), "a client links {foreign}");
    }
}

/// Together with the lint `unnameable_types`, by which a crate's own signatures name no hidden type, this says that the
/// facade hides none: a crate of ours that the facade links is there in full.
#[test]
fn facade_names_every_crate_whose_types_stand_in_its_signatures() {
    let facade = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("engine");
    let read = |file: &str| std::fs::read_to_string(facade.join(file)).expect("a text");
    let (manifest, source) = (read("Cargo.toml"), read("src/lib.rs"));
    let (_, dependencies) = manifest.split_once("[dependencies]\n").expect("a manifest");
    let dependencies = dependencies.lines().take_while(|line| !line.starts_with('['));
    let own = dependencies.filter_map(|line| line.split([' ', '.', '=']).next());
    let own: Vec<&str> = own.filter_map(|name| name.strip_prefix("redress-")).collect();
    assert!(own.len() >= 8, "the manifest was not read: {own:?}");
    // The commands have a handful of items, all of them re-exported; macros have no types.
    for name in own.into_iter().filter(|name| !["cli", "macros"].contains(name)) {
        let line = format!("pub use redress_{name} as {name};");
        assert!(source.contains(&line), "the facade has no module `{name}`");
    }
}

#[test]
fn sagas_alone_link_no_runtime_and_no_driver() {
    let linked = linked("");
    assert!(linked.iter().any(|name| name == "redress-core"), "{linked:?}");
    for foreign in ["tokio", "sqlx", "async-nats", "axum", "clap"] {
        assert!(!linked.iter().any(|name| name == foreign), "sagas link {foreign}");
    }
}

#[test]
fn testkit_links_no_coordinator_and_no_runtime() {
    let linked = linked_by("redress-testkit", &[]);
    assert!(linked.iter().any(|name| name == "redress-core"), "{linked:?}");
    for foreign in ["redress-coordinator", "redress-simulation", "tokio", "sqlx", "async-nats", "clap"] {
        assert!(!linked.iter().any(|name| name == foreign), "a test of a saga links {foreign}");
    }
}

/// The manifests of the crates that may be published.
fn published() -> Vec<serde_json::Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["metadata", "--no-deps", "--format-version=1", "--offline", "--locked"]);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages.filter(|package| package["publish"].is_null()).cloned().collect()
}

#[test]
fn published_crates_say_what_they_are() {
    let published = published();
    assert!(published.len() > 10, "the crates of the engine were not found");
    for package in &published {
        for field in ["description", "license", "repository", "readme", "rust_version"] {
            assert!(package[field].is_string(), "{} has no {field}", package["name"]);
        }
        for field in ["keywords", "categories"] {
            assert!(
                package[field].as_array().is_some_and(|all| !all.is_empty()),
                "{} has no {field}",
                package["name"]
            );
        }
        // A crate without a version cannot be found in a registry. Packages leave out what only tests take.
        let ours =
            |dependency: &&serde_json::Value| dependency["path"].is_string() && dependency["kind"] != "dev";
        for dependency in package["dependencies"].as_array().expect("dependencies").iter().filter(ours) {
            assert_ne!(
                dependency["req"], "*",
                "{} takes {} of any version",
                package["name"], dependency["name"]
            );
        }
    }
}

/// A package has the files below its manifest and no others.
#[test]
fn published_crates_hold_the_files_that_they_include() {
    for (package, file) in [
        ("redress-coordinator", "migrations/0001"),
        ("redress-participant", "migrations/0001"),
        ("redress-cli", "templates/Cargo.toml.template"),
        ("redress-devstack", "dev-servers.txt"),
    ] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args(["package", "-p", package, "--list", "--allow-dirty", "--offline", "--locked"]);
        let output = cargo.output().expect("cargo runs");
        let files = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(files.lines().any(|line| line.starts_with(file)), "{package} has no {file}:\n{files}");
    }
}
