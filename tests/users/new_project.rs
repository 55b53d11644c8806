//! `redress new` and the tutorial: the project builds and passes its tests, offline, against this checkout; the tutorial's
//! code is that of the project, and its commands work.
//!
//! The project is built as a member of a workspace that looks like this one (`support/lookalike.rs`).

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::lookalike::{Lookalike, root, succeed};

/// A project that `redress new` wrote, as a member of a workspace that looks like this one.
fn project(name: &'static str) -> Lookalike {
    let workspace = Lookalike::with(name);
    let mut redress = Command::new(env!("CARGO_BIN_EXE_redress"));
    succeed(redress.current_dir(workspace.folder()).args(["new", name, "--path", "."]));
    let manifest = workspace.member().join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("the project's manifest");
    fs::write(manifest, Lookalike::adopted(&text)).expect("a file");
    workspace
}

/// A block of the page: its language, its text, and the file that the line above it names.
struct Block<'p> {
    language: &'p str,
    text: &'p str,
    file: Option<&'p str>,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let parts: Vec<&str> = page.split("```").collect();
    let pairs = parts.chunks_exact(2);
    pairs
        .map(|pair| {
            let (language, text) = pair[1].split_once('\n').expect("a block has lines");
            let above = pair[0].trim_end().lines().last().unwrap_or_default();
            let file = above.strip_prefix("<!-- ").and_then(|name| name.strip_suffix(" -->"));
            Block { language, text, file }
        })
        .collect()
}

fn page() -> String {
    fs::read_to_string(root().join("docs/tutorial.md")).expect("the tutorial")
}

/// That of the released crates: it is written and not built.
#[test]
fn tutorial_code_is_that_of_new_project() {
    let place = tempfile::tempdir().expect("a temporary folder");
    succeed(
        Command::new(env!("CARGO_BIN_EXE_redress")).current_dir(place.path()).args(["new", "first-saga"]),
    );
    let page = page();
    let mut compared = 0;
    for block in blocks(&page).iter().filter(|block| block.language != "sh") {
        let file = block.file.unwrap_or_else(|| panic!("of which file is this?\n{}", block.text));
        let whole =
            fs::read_to_string(place.path().join("first-saga").join(file)).expect("a file of the project");
        assert!(whole.contains(block.text), "{file} does not hold\n{}", block.text);
        compared += 1;
    }
    assert!(compared > 8, "{compared} blocks were compared");
}

/// `redress up` as a process; it ends with the test.
struct Up {
    child: Child,
    /// Held open, so that it can go on printing.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Drop for Up {
    fn drop(&mut self) {
        // The guard of its servers notices the end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that serves, and gives the address once it listens.
fn up(project: &Lookalike, script: &str) -> (Up, String) {
    // Bash becomes Cargo, and Cargo the program: the child is what serves.
    let mut shell = project.shell(&format!("exec {script}"));
    shell.env("REDRESS_HTTP", "127.0.0.1:0").stdout(Stdio::piped());
    let mut child = shell.spawn().expect("bash");
    let mut output = BufReader::new(child.stdout.take().expect("its output is ours")).lines();
    let listening =
        |line: std::io::Result<String>| Some(line.ok()?.strip_prefix("listening on ")?.to_owned());
    let url = output.by_ref().find_map(listening);
    (Up { child, _output: output }, url.unwrap_or_else(|| panic!("`{script}` has ended")))
}

#[test]
fn tutorial_commands_work() {
    let page = page();
    let scripts: Vec<&str> =
        blocks(&page).iter().filter(|block| block.language == "sh").map(|block| block.text).collect();
    let [make, test, demo, serve, start, fail, inject] = scripts[..] else {
        panic!("{} blocks of commands", scripts.len())
    };
    assert!(make.contains(" -- new first-saga --path redress\n"), "{make}");
    let project = project("first-saga");
    let tested = succeed(&mut project.shell(test));
    assert!(tested.contains("test result: ok. 3 passed"), "{tested}");
    let played = succeed(&mut project.shell(demo));
    assert!(
        played.contains("completed in") && played.contains("undone in this order: reserve-goods"),
        "{played}"
    );
    let (_up, url) = up(&project, serve);
    for (script, expected) in [
        (start, &["completed in"][..]),
        (
            fail,
            &[
                "because ship-parcel was rejected: no-address",
                "plan-frozen",
                "undone in this order: reserve-goods",
            ],
        ),
        (inject, &["completed in"]),
    ] {
        let said = succeed(project.shell(script).env("REDRESS_URL", &url));
        for expected in expected {
            assert!(said.contains(expected), "{expected}:\n{said}");
        }
    }
    succeed(&mut project.shell("cargo fmt --check"));
}

/// As it is written, it needs no other workspace.
#[test]
fn new_project_is_a_workspace_of_its_own() {
    let place = tempfile::tempdir_in(root().join("target")).expect("a folder within another workspace");
    let mut redress = Command::new(env!("CARGO_BIN_EXE_redress"));
    succeed(redress.current_dir(place.path()).args(["new", "first-saga"]));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(place.path().join("first-saga")).args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version=1",
    ]);
    assert!(succeed(&mut cargo).contains("\"name\":\"first-saga\""));
}

/// The servers are those that ours run on; only their ports are open to the machine.
#[test]
fn new_project_has_the_servers_of_our_compose_file() {
    let servers = |path: &str| -> [serde_norway::Value; 2] {
        let text = fs::read_to_string(root().join(path)).expect("the file");
        let compose: serde_norway::Value = serde_norway::from_str(&text).expect("YAML");
        ["postgres", "nats"].map(|server| {
            let mut server = compose["services"][server].clone();
            server.as_mapping_mut().expect("a server").remove("ports");
            server
        })
    };
    assert_eq!(servers("engine/cli/templates/docker-compose.yml"), servers("docker-compose.yml"));
}
