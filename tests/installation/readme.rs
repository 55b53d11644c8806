//! Runs the README's command blocks as they stand there.

use std::path::Path;

use crate::support::World;
use tokio::process::Command;

/// The shell blocks under a heading of the README.
fn blocks(heading: &str) -> Vec<String> {
    blocks_of(heading, "sh")
}

/// The blocks of a language under a heading of the README.
fn blocks_of(heading: &str, language: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sagas stands in the workspace");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README");
    let section = readme.split("\n## ").find(|section| section.starts_with(heading)).expect("the heading");
    section
        .split(&format!("```{language}\n"))
        .skip(1)
        .map(|block| block.split("```").next().expect("a closed block").to_owned())
        .collect()
}

async fn run(world: &World, script: &str) -> String {
    let url = world.url("");
    shell(&script.replace("http://127.0.0.1:8080", &url), &[("REDRESS_URL", &url)]).await
}

async fn shell(script: &str, environment: &[(&str, &str)]) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_redress")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .env("PATH", path)
        .envs(environment.iter().copied())
        .output()
        .await
        .expect("bash");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The first words of a line of a table, which stand before two blanks.
fn title(line: &str) -> &str {
    line.trim_start().split("  ").next().unwrap_or_default()
}

#[tokio::test]
async fn table_of_guarantees_of_readme_is_that_of_the_lab() {
    let said = shell(&blocks("Delivery guarantees")[0].replace("cargo run --", "redress"), &[]).await;
    let shown = blocks_of("Delivery guarantees", "text").remove(0);
    let titles = |table: &str| table.lines().map(|line| title(line).to_owned()).collect::<Vec<_>>();
    assert_eq!(titles(&shown), titles(&said), "{said}");
    let heads = |table: &str| table.lines().find(|line| title(line) == "guarantee").map(str::to_owned);
    let columns =
        |table: &str| heads(table).map(|head| head.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(columns(&shown), columns(&said), "{said}");
    assert_eq!(said.matches(": held").count(), 3, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_line_blocks_of_readme_work() {
    let world = World::start().await;
    let blocks = blocks("Command line");
    assert_eq!(blocks.len(), 1);
    let said = run(&world, &blocks[0]).await;
    for expected in ["completed in", "faults cleared: 2", "flowchart", "the manual pages are in "] {
        assert!(said.contains(expected), "{expected}:\n{said}");
    }
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_blocks_of_readme_work() {
    let world = World::start().await;
    let said = run(&world, &blocks("HTTP")[0]).await;
    for expected in ["insufficient-funds", "flowchart", "redress_sagas_started_total"] {
        assert!(said.contains(expected), "{expected}:\n{said}");
    }
    world.sound().await;
}
