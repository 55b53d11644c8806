//! The program as a user runs it from a shell: its output, its exit code, and its remains.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

use std::process::Stdio;

use crate::support::orders::Order;
use crate::support::process::{bare, run};
use crate::support::process_tree::{self, TreeProcess};
use crate::support::{SERVICES, World, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::Row;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

const ORDERS_UNDONE: [&[&str]; 5] = [
    &[],
    &["create-order"],
    &["reserve-inventory", "charge-payment", "create-order"],
    &[],
    &["reserve-inventory", "charge-card", "create-order"],
];

/// Lines until one holds this.
async fn lines_until(reader: &mut (impl AsyncBufRead + Unpin), word: &str) -> String {
    let (mut lines, mut said) = (reader.lines(), String::new());
    let reading = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            said = format!("{said}{line}\n");
            if line.contains(word) {
                return;
            }
        }
        panic!("it never said `{word}`: {said}");
    };
    tokio::time::timeout(crate::support::PATIENCE, reading).await.unwrap();
    said
}

/// Kills a program that serves, and waits until nothing is left of the processes that it had started.
async fn kill(mut program: Child) -> Vec<TreeProcess> {
    let pid = program.id().unwrap();
    let family = process_tree::of(pid);
    program.kill().await.unwrap();
    process_tree::gone(&family, pid).await;
    family
}

fn has(family: &[TreeProcess], word: &str) -> bool {
    family.iter().any(|process| process.says.contains(word))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_plays_five_orders_and_leaves_nothing_behind() {
    let mut demo = bare().args(["demo", "--exit"]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = demo.id().unwrap();
    let mut stdout = BufReader::new(demo.stdout.take().unwrap());
    let first = lines_until(&mut stdout, "1. alice orders two books").await;
    let family = process_tree::of(pid);
    assert!(has(&family, "postgres") && has(&family, "nats"), "{family:?}");
    assert_eq!(process_tree::directories(pid).len(), 1);

    let mut rest = String::new();
    stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(demo.wait().await.unwrap().code(), Some(0));
    let told = format!("{first}{rest}");
    let ends = told.matches("completed in").count() + told.matches("compensated in").count();
    let started = ["place-order v1", "order-by-card v1"].map(|saga| told.matches(saga).count());
    assert_eq!((started, ends), ([3, 2], 5), "{told}");
    let undone: Vec<&str> =
        told.lines().filter_map(|line| line.trim().strip_prefix("undone in this order: ")).collect();
    let expected = ORDERS_UNDONE.iter().filter(|steps| !steps.is_empty());
    assert_eq!(undone, expected.map(|steps| steps.join(", ")).collect::<Vec<_>>());
    for said in [
        "approve-order awaits an answer; carol gives it",
        // Asked once, and then found.
        "requests: 1, inquiries: 1, charges: 1, refunds: 1",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    assert!(told.contains("insufficient-funds") && told.contains("address-undeliverable"), "{told}");
    process_tree::gone(&family, pid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_demo_leaves_nothing_behind() {
    let mut command = bare();
    command.args(["demo", "--http", "127.0.0.1:0", "--output", "json"]);
    let mut demo = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = demo.stdout.take().unwrap();
    let heard = lines_until(&mut BufReader::new(demo.stderr.take().unwrap()), "listening on").await;
    assert!(heard.contains("starting Postgres and NATS, 6 services"), "{heard}");
    assert!(heard.contains("Ctrl-C; nothing is kept"), "{heard}");
    assert_eq!(process_tree::directories(demo.id().unwrap()).len(), 1);
    let family = kill(demo).await;
    assert!(has(&family, "postgres") && has(&family, "nats"), "{family:?}");

    // Its standard output is whole, and holds nothing but JSON.
    let mut text = String::new();
    stdout.read_to_string(&mut text).await.unwrap();
    let played: Value = serde_json::from_str(&text).unwrap();
    let undone: Vec<&Value> =
        played["items"].as_array().unwrap().iter().map(|saga| &saga["undone"]).collect();
    assert_eq!(json!(undone), json!(ORDERS_UNDONE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_processes_end_with_killed_program() {
    let data = std::env::temp_dir().join(format!("redress-cli-test-{}", std::process::id()));
    let mut command = bare();
    command.args(["up", "--processes", "--http", "127.0.0.1:0", "--data"]).arg(&data);
    let mut up = command.stdout(Stdio::piped()).spawn().unwrap();
    lines_until(&mut BufReader::new(up.stdout.take().unwrap()), "listening on").await;
    let pid = up.id().unwrap();
    until("four service processes", async || {
        let family = process_tree::of(pid);
        SERVICES.iter().all(|service| has(&family, &format!(" service {service} "))).then_some(())
    })
    .await;
    let family = kill(up).await;
    assert!(has(&family, "postgres") && has(&family, "nats"), "{family:?}");
    // The data are kept, here or where the user of Postgres can enter; the next run finds the directory free.
    let _ = std::fs::remove_dir_all(&data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_on_given_servers_says_so() {
    // Its servers and nobody else: another coordinator of its journal would send what is due elsewhere.
    let world = World::with(redress::devstack::shared().await, 0, &[]).await;
    let environment = world.environment();
    let given = |command: &mut Command| {
        command.envs(environment.iter().map(|(name, value)| (*name, value.clone())));
    };
    let mut command = bare();
    given(command.args(["demo", "--http", "127.0.0.1:0"]));
    let mut demo = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = lines_until(&mut BufReader::new(demo.stdout.take().unwrap()), "listening on").await;
    assert!(said.contains("Ctrl-C; the sagas stay in the given Postgres"), "{said}");
    assert!(!said.contains("nothing is kept"), "{said}");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(demo.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    let mut heard = String::new();
    demo.stderr.take().unwrap().read_to_string(&mut heard).await.unwrap();
    assert_eq!(demo.wait().await.unwrap().code(), Some(0), "{heard}");
    assert!(
        heard.contains("starting 6 services and a coordinator on the given Postgres and NATS"),
        "{heard}"
    );

    let refused = run(&["up", "--fresh"], &environment).await;
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("--fresh is for private servers"), "{}", refused.stderr);
    assert!(refused.stderr.contains("try: leave --fresh out"), "{}", refused.stderr);
}

/// Its journal ends with it, so no living program would own the streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_on_given_broker_can_be_repeated() {
    let world = World::start().await;
    let environment: Vec<_> =
        world.environment().into_iter().filter(|(name, _)| *name != "DATABASE_URL").collect();
    let own = ("REDRESS_PREFIX", format!("{}-demo", world.prefix));
    let environment = [&environment[..], std::slice::from_ref(&own)].concat();
    for _ in 0..2 {
        let demo = run(&["demo", "--exit"], &environment).await;
        assert_eq!(demo.code, Some(0), "{}", demo.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_makes_tables_and_can_be_repeated() {
    let stack = redress::devstack::shared().await;
    let name = format!("migrated{}", std::process::id());
    let environment = [("DATABASE_URL", stack.postgres().url(&name))];
    let first = run(&["migrate"], &environment).await;
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(first.stdout.starts_with("coordinator: up to date\n"), "{}", first.stdout);
    let again = run(&["migrate", "--output", "json"], &environment).await.json();
    assert_eq!(again["items"].as_array().unwrap().len(), 1 + redress_services::all().len());
    for (database, table) in [(name.clone(), "sagas"), (format!("{name}_payment"), "inbox")] {
        let pool = sqlx::PgPool::connect(&stack.postgres().url(&database)).await.unwrap();
        let row = sqlx::query("SELECT to_regclass($1) IS NOT NULL AS is_there").bind(table);
        let is_there: bool = row.fetch_one(&pool).await.unwrap().get("is_there");
        assert!(is_there, "{database} has no {table}");
        pool.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_output_of_every_command_is_complete_json() {
    let world = World::start().await;
    let environment = [("REDRESS_URL", world.url("")), ("REDRESS_OUTPUT", "json".to_owned())];
    let order = Order::Undeliverable.input().to_string();
    let ended = run(&["start", "place-order", "--input", &order, "--wait"], &environment).await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let saga: Value = serde_json::from_str(&ended.stdout).unwrap();
    let id = saga["id"].as_str().unwrap();
    assert_eq!(run(&["list"], &environment).await.json()["items"][0]["id"], id);
    let diagram = run(&["definitions", "--diagram", "place-order"], &environment).await.json();
    assert!(diagram["diagram"].as_str().unwrap().starts_with("flowchart"), "{diagram}");

    // More rows than the API gives at once.
    let row = sqlx::query("SELECT max(seq) AS last FROM saga_history WHERE saga_id = $1::uuid").bind(id);
    let last: i32 = row.fetch_one(world.journal()).await.unwrap().get("last");
    let more = sqlx::query(
        "INSERT INTO saga_history SELECT saga_id, seq + n, at, event, step, phase, attempt, detail \
         FROM saga_history, generate_series(1, 2100) n WHERE saga_id = $1::uuid AND seq = $2",
    );
    more.bind(id).bind(last).execute(world.journal()).await.unwrap();
    let shown = run(&["show", id, "--history", "--plan"], &environment).await.json();
    let seqs: Vec<i64> =
        shown["history"].as_array().unwrap().iter().map(|row| row["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=i64::from(last) + 2_100).collect::<Vec<_>>());
    assert!(shown["plan"]["undo"].is_array());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_report_open_sagas_and_deletable_versions() {
    let world = World::start().await;
    let slow = json!([{ "step": "charge-payment", "kind": "delay", "ms": 60_000 }]);
    let body = json!({ "saga": "place-order", "input": Order::Fine.input(), "faults": slow });
    assert_eq!(world.start_saga(&body, "slow").await.status(), 202);
    let here = [("REDRESS_URL", world.url(""))];
    for arguments in [&["definitions"][..], &["definitions", "--live"]] {
        let told = run(arguments, &here).await;
        assert_eq!(told.code, Some(0), "{}", told.stderr);
        let line = |saga: &str| told.stdout.lines().find(|line| line.starts_with(saga)).unwrap().to_owned();
        let (open, idle) = (line("place-order v1"), line("book-trip v1"));
        assert!(open.contains("1 open") && !open.contains("safe to delete"), "{open}");
        assert!(idle.contains("0 open") && idle.contains("safe to delete"), "{idle}");
    }
    let json = run(&["definitions", "--output", "json"], &here).await.json();
    let open = json["items"].as_array().unwrap().iter().find(|item| item["saga"] == "place-order").unwrap();
    assert_eq!((&open["open"], open["steps"].as_array().unwrap().len()), (&json!(1), 5));

    // Without a coordinator the definitions are shown all the same, and none is called safe to delete.
    let nowhere = [("REDRESS_URL", "http://127.0.0.1:1".to_owned())];
    let alone = run(&["definitions"], &nowhere).await;
    assert_eq!(alone.code, Some(0), "{}", alone.stderr);
    assert!(alone.stdout.contains("place-order v1") && !alone.stdout.contains("open"), "{}", alone.stdout);
    assert!(alone.stderr.contains("how many sagas are open is not known"), "{}", alone.stderr);
    assert_eq!(run(&["definitions", "--live"], &nowhere).await.code, Some(69));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_check_tells_running_service_from_stopped_one() {
    let mut world = World::start().await;
    let environment = world.environment();
    let check = async |names: &[&str], more: &[(&'static str, String)]| {
        run(&[&["service", "--check"], names].concat(), &[&environment[..], more].concat()).await
    };
    let live = check(&SERVICES, &[]).await;
    assert_eq!(live.code, Some(0), "{}", live.stderr);
    assert_eq!(live.stdout.lines().count(), SERVICES.len(), "{}", live.stdout);
    let database = ("REDRESS_ORDER_DATABASE_URL", world.stack.postgres().url("no_such_database"));
    let elsewhere = ("REDRESS_PREFIX", format!("{}-other", world.prefix));

    world.services[0].kill().await;
    let (stopped, never, without) = tokio::join!(
        check(&["order"], &[]),
        check(&["order"], std::slice::from_ref(&elsewhere)),
        check(&["order"], std::slice::from_ref(&database)),
    );
    for (ran, code, reason) in [
        (stopped, 69, "its consumer is there, and nobody asks it for commands"),
        (never, 69, "it has never run on this NATS"),
        (without, 78, "there is no database `no_such_database`"),
    ] {
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    }
    // A look has changed nothing.
    let made = async_nats::jetstream::new(world.nats().await);
    let made = made.get_stream(format!("{}-OTHER_COMMANDS", world.prefix.to_ascii_uppercase())).await;
    assert!(made.is_err(), "a check has made streams");
    let unknown = check(&["ordr"], &[]).await;
    assert_eq!(unknown.code, Some(2), "{}", unknown.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boolean_variables_take_usual_words() {
    for variable in ["REDRESS_ALLOW_FAULTS", "REDRESS_DRAIN", "REDRESS_START_PAUSED"] {
        for (word, code) in
            [("1", 1), ("0", 1), ("yes", 1), ("no", 1), ("on", 1), ("off", 1), ("true", 1), ("maybe", 2)]
        {
            // A word that is understood leads to the next thing that is wrong: an address that is not ours.
            let servers = ["DATABASE_URL", "NATS_URL"].map(|name| (name, "none".to_owned()));
            let http = ("REDRESS_HTTP", "192.0.2.1:80".to_owned());
            let token = ("REDRESS_TOKEN", "secret".to_owned());
            let [database, nats] = servers;
            let ran = run(&["serve"], &[database, nats, http, token, (variable, word.to_owned())]).await;
            assert_eq!(ran.code, Some(code), "{variable}={word}: {}", ran.stderr);
            assert_eq!(ran.stderr.contains("cannot listen on"), code == 1, "{}", ran.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_url_is_spoken_to_in_tls() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", server.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.unwrap();
        let mut first = [0; 2];
        stream.read_exact(&mut first).await.unwrap();
        first
    });
    let refused = run(&["list", "--url", &url], &[]).await;
    assert_eq!(refused.code, Some(69), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("no API at {url}")), "{}", refused.stderr);
    assert!(!refused.stderr.contains("scheme"), "{}", refused.stderr);
    // A TLS handshake begins like this: record type 22, major version 3.
    assert_eq!(heard.await.unwrap(), [22, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_command_defaults_to_login_name_as_actor() {
    let world = World::start().await;
    let slow = json!([{ "step": "charge-payment", "kind": "delay", "ms": 60_000 }]);
    let body = json!({ "saga": "place-order", "input": Order::Fine.input(), "faults": slow });
    let here = ("REDRESS_URL", world.url(""));
    for (key, environment, actor) in [
        ("login", vec![("USER", "ann".to_owned())], "ann"),
        ("other", vec![("USER", String::new()), ("LOGNAME", "bea".to_owned())], "bea"),
        ("job", vec![("USER", String::new()), ("LOGNAME", String::new())], "cli"),
        ("said", vec![("USER", "ann".to_owned()), ("REDRESS_ACTOR", "cyd".to_owned())], "cyd"),
    ] {
        let saga: Value = world.start_saga(&body, key).await.json().await.unwrap();
        let environment = [&environment[..], std::slice::from_ref(&here)].concat();
        let arguments = ["cancel", saga["id"].as_str().unwrap(), "--reason", "enough", "--output", "json"];
        let cancelled = run(&arguments, &environment).await.json();
        assert_eq!(cancelled["cause"]["message"], format!("{actor}: enough"));
    }
}
