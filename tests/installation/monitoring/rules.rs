//! `ops/alerts.yml` and `ops/dashboard.json` as files: what they ask for is exported, and each alert has its runbook and its
//! test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use redress::participant::Monitor;
use redress_coordinator::metrics::Metrics;
use serde::Deserialize;
use serde_json::Value;

use super::series::{Series, finds, read, selectors};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sagas stands in the workspace").to_owned()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) alert: String,
    pub(crate) expr: String,
    #[serde(rename = "for")]
    #[expect(dead_code, reason = "Prometheus reads it")]
    pending: Option<String>,
    labels: Labels,
    annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    severity: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotations {
    summary: String,
    description: String,
    runbook: String,
}

pub(crate) fn rules() -> Vec<Rule> {
    let rules: Rules = serde_norway::from_str(&text("ops/alerts.yml")).expect("rules");
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&text("ops/dashboard.json")).expect("JSON")
}

/// The expressions of the panels, each with the panel's title.
pub(crate) fn panels() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    panels
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap_or_default().to_owned();
            let targets = panel["targets"].as_array().into_iter().flatten();
            targets.map(move |target| {
                (title.clone(), target["expr"].as_str().expect("an expression").to_owned())
            })
        })
        .collect()
}

/// All expressions, each with the alert or the panel that it belongs to.
pub(crate) fn expressions() -> Vec<(String, String)> {
    let rules = rules().into_iter().map(|rule| (rule.alert, rule.expr));
    rules.chain(panels()).collect()
}

/// The series of a program that has done nothing yet.
fn exported() -> Vec<Series> {
    let mut all = read(&Metrics::idle(redress_sagas::all()).encode());
    all.extend(read(&Monitor::idle_metrics("payment")));
    all
}

#[test]
fn alerts_and_dashboard_ask_only_for_what_is_exported() {
    let exported = exported();
    assert!(exported.len() > 100, "{}", exported.len());
    for (whose, expression) in expressions() {
        let selectors = selectors(&expression);
        assert!(!selectors.is_empty(), "{whose}: {expression}");
        for selector in selectors {
            let found = exported.iter().any(|series| finds(&selector, series));
            assert!(found, "{whose} asks for {selector}, which no program exports");
        }
    }
}

/// A series that nothing shows and nothing watches is exported in vain, or forgotten here.
#[test]
fn each_family_of_the_engine_is_on_the_page_for_operators() {
    let operations = text("docs/operations.md");
    let texts = [Metrics::idle(redress_sagas::all()).encode(), Monitor::idle_metrics("payment")];
    let families: BTreeSet<String> = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect();
    let missing: Vec<&String> =
        families.iter().filter(|family| !operations.contains(&format!("`{family}"))).collect();
    assert_eq!(missing, Vec::<&String>::new());
}

/// And the page names no other.
#[test]
fn metrics_that_the_page_for_operators_names_exist() {
    let operations = text("docs/operations.md");
    let exported: BTreeSet<String> = exported().into_iter().map(|series| series.name).collect();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named = operations.split(|c| !is_of_name(c)).filter(|word| word.starts_with("redress_"));
    for name in named.collect::<BTreeSet<&str>>() {
        let is_there = exported.iter().any(|series| {
            let suffix = series.strip_prefix(name);
            suffix.is_some_and(|it| ["", "_total", "_count", "_info"].contains(&it))
        });
        assert!(is_there, "there is no metric {name}");
    }
}

#[test]
fn each_alert_has_a_severity_a_runbook_and_a_test() {
    let (operations, tests) = (text("docs/operations.md"), text("ops/alerts_test.yml"));
    let headings: BTreeSet<String> = operations
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    for rule in rules() {
        let Annotations { summary, description, runbook } = &rule.annotations;
        let name = &rule.alert;
        assert!(["page", "ticket", "info"].contains(&&*rule.labels.severity), "{name}");
        assert!(summary.len() > 20 && description.ends_with('.'), "{name}: {summary} {description}");
        let anchor =
            runbook.strip_prefix("docs/operations.md#").unwrap_or_else(|| panic!("{name}: {runbook}"));
        assert!(headings.contains(anchor), "{name}: the page has no section {anchor}");
        let tested = tests.matches(&format!("alertname: {name}")).count();
        assert!(tested >= 2, "{name} is tested {tested} times: it fires, and it is silent");
    }
}

#[test]
fn dashboard_has_a_data_source_of_the_readers_choice_and_no_panel_on_another() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(39));
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    assert!(variables.iter().any(|it| it["type"] == "datasource" && it["query"] == "prometheus"));
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64()), "{title} has the id of another panel");
        let of = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        for cell in
            (of("y")..of("y") + of("h")).flat_map(|y| (of("x")..of("x") + of("w")).map(move |x| (x, y)))
        {
            assert!(cell.0 < 24 && taken.insert(cell), "{title} lies on another panel");
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        }
    }
    let rows = dashboard["panels"].as_array().into_iter().flatten().filter(|panel| panel["type"] == "row");
    let rows: Vec<&str> = rows.filter_map(|row| row["title"].as_str()).collect();
    assert_eq!(
        rows,
        ["Needs a person", "Throughput", "Durations", "Turn-backs", "Services", "Broker and journal"]
    );
}

/// Where `promtool` is on the path; `.ci/run` fetches it. The other tests here need nothing.
#[test]
fn rules_fire_and_end_when_they_should() {
    let is_there = Command::new("promtool").arg("--version").output().is_ok_and(|it| it.status.success());
    if !is_there {
        return eprintln!("promtool is not installed: ops/alerts_test.yml was not run");
    }
    for arguments in [["check", "rules", "ops/alerts.yml"], ["test", "rules", "ops/alerts_test.yml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(root()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}
