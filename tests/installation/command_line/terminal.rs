//! The commands under bad conditions: coordinators that are away for a while, answers that are lost, texts that a
//! terminal would obey.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

use std::process::Stdio;
use std::sync::atomic::Ordering;

use crate::support::door::{Door, Fate, whole};
use crate::support::orders::Order;
use crate::support::process::{bare, run};
use crate::support::{World, until};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn key_of(stderr: &str) -> &str {
    stderr.lines().find_map(|line| line.strip_prefix("key ")).expect("the key is said")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_outlives_lost_answers_and_failed_requests() {
    use Fate::{Closed, Lost, Passed, Unavailable};
    let world = World::start().await;
    // The start is lost on its way, then its answer is; the requests for its state fail in every way.
    let fates = &[Closed, Lost, Unavailable, Passed, Closed, Unavailable, Lost, Closed, Passed];
    let door = Door::before(&world.url(""), fates).await;
    let input = Order::Fine.input().to_string();
    let arguments = ["start", "place-order", "--input", &input, "--wait", "--output", "json"];
    let ran = run(&arguments, &door.environment()).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let saga: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(saga["status"], "completed");
    assert!(door.passed.load(Ordering::Relaxed) >= 3);
    // Once for the start, once for a request of its state.
    assert_eq!(ran.stderr.matches("asking again until the time is over").count(), 2, "{}", ran.stderr);

    let all = run(&["list", "--output", "json"], &[("REDRESS_URL", world.url(""))]).await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "the lost answer led to no second saga");
    let again = ["start", "place-order", "--input", &input, "--key", key_of(&ran.stderr), "--output", "json"];
    let again = run(&again, &[("REDRESS_URL", world.url(""))]).await;
    assert_eq!(again.json()["id"], saga["id"]);
    assert!(!again.stderr.contains("key "), "a key that was given is known: {}", again.stderr);

    let id = saga["id"].as_str().unwrap();
    let door = Door::before(&world.url(""), &[Unavailable, Closed, Lost, Closed, Passed]).await;
    let watched = run(&["watch", id], &door.environment()).await;
    assert_eq!(watched.code, Some(0), "{}", watched.stderr);
    assert!(watched.stdout.contains("completed in"), "{}", watched.stdout);
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unanswered_start_says_how_to_repeat_it() {
    let world = World::start().await;
    let door = Door::before(&world.url(""), &[Fate::Lost]).await;
    let input = Order::Fine.input().to_string();
    let start = ["start", "place-order", "--input", &input];
    let waiting = ["--wait", "--timeout-s", "2"];
    for more in [&[][..], &waiting] {
        let lost = run(&[&start[..], more].concat(), &door.environment()).await;
        assert_eq!(lost.code, Some(69), "{}", lost.stderr);
        let key = key_of(&lost.stderr);
        assert!(lost.stderr.contains(&format!("try: the same command with --key {key}")), "{}", lost.stderr);
        let repeated = [&start[..], &["--key", key, "--wait"]].concat();
        let repeated = run(&repeated, &[("REDRESS_URL", world.url(""))]).await;
        assert_eq!(repeated.code, Some(0), "{}", repeated.stderr);
    }
    let all = run(&["list", "--output", "json"], &[("REDRESS_URL", world.url(""))]).await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2);

    // A refused request is not repeated.
    let refused = ["start", "no-such-saga", "--input", "{}", "--wait", "--timeout-s", "100000"];
    let refused = run(&refused, &[("REDRESS_URL", world.url(""))]).await;
    assert_eq!((refused.code, refused.stderr.contains("--key")), (Some(1), false), "{}", refused.stderr);
    let absent = ["watch", "0190163d-8694-739b-aea5-966c26f8ad91", "--timeout-s", "100000"];
    assert_eq!(run(&absent, &[("REDRESS_URL", world.url(""))]).await.code, Some(5));
    let over = ["watch", "0190163d-8694-739b-aea5-966c26f8ad91", "--timeout-s", "1"];
    let over = run(&over, &[("REDRESS_URL", "http://127.0.0.1:1".to_owned())]).await;
    assert_eq!(over.code, Some(69), "{}", over.stderr);
    assert!(over.stderr.contains("try: redress watch 0190163d-"), "{}", over.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_wait_says_how_to_resume() {
    let world = World::start().await;
    let door = Door::before(&world.url(""), &[Fate::Passed]).await;
    let fault = json!({ "step": "charge-payment", "kind": "delay", "ms": 60_000 }).to_string();
    let input = Order::Fine.input().to_string();
    let mut command = bare();
    command.args(["start", "place-order", "--input", &input, "--fault", &fault, "--wait"]);
    command.envs(door.environment()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut waiting = command.spawn().unwrap();
    // The start and a request for its state.
    until("a look at the saga", async || (door.passed.load(Ordering::Relaxed) >= 2).then_some(())).await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(waiting.id().unwrap()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    let mut said = String::new();
    waiting.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(waiting.wait().await.unwrap().code(), Some(130), "{said}");
    let all = run(&["list", "--output", "json"], &[("REDRESS_URL", world.url(""))]).await.json();
    let id = all["items"][0]["id"].as_str().unwrap();
    assert!(said.contains(&format!("try: redress watch {id}")), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn id_prefix_finds_the_one_saga() {
    let world = World::start().await;
    let here = [("REDRESS_URL", world.url(""))];
    let mut ids = Vec::new();
    for key in ["one", "two"] {
        let body = json!({ "saga": "place-order", "input": Order::Fine.input() });
        let saga: Value = world.start_saga(&body, key).await.json().await.unwrap();
        ids.push(saga["id"].as_str().unwrap().to_owned());
    }
    let shared = ids[0].bytes().zip(ids[1].bytes()).take_while(|(a, b)| a == b).count();
    for id in &ids {
        let beginning = &id[..=shared.max(8)];
        for arguments in
            [&["watch", beginning][..], &["show", beginning], &["show", &beginning.replace('-', "")]]
        {
            let told = run(arguments, &here).await;
            assert_eq!(told.code, Some(0), "{}", told.stderr);
            assert!(told.stdout.contains(id), "{}", told.stdout);
        }
    }
    let ambiguous = run(&["cancel", &ids[0][..4]], &here).await;
    assert_eq!(ambiguous.code, Some(2), "{}", ambiguous.stderr);
    assert!(ids.iter().all(|id| ambiguous.stderr.contains(id)), "{}", ambiguous.stderr);
    assert_eq!(run(&["show", "ffff"], &here).await.code, Some(5));
}

/// A coordinator that answers every request with the same page, of which every text is hostile.
async fn hostile_coordinator(status: &'static str, hostile: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let text = |text: &str| format!("{text}{hostile}");
    let step = json!({
        "name": text("ship"), "kind": text("pivot"), "status": text("rejected"), "attempts": 1,
        "compensation_attempts": 1, "error": { "code": text("no-road") }, "step": text("ship"),
    });
    let page = json!({
        "items": [{
            "id": text("0190163d"), "saga": text("sell"), "version": 1, "status": text("parked"), "open": 1,
            "known_here": false, "digest": text("0123456789abcdef"), "steps": [step],
            "started_at": "2026-11-23T10:00:00Z", "ended_at": null, "cause": { "code": text("code") },
            "parked": { "code": text("expired") }, "remaining": 1, "fault": { "step": text("ship") },
            "seq": 1, "at": "2026-11-23T10:00:00.012345Z", "event": "done", "phase": "compensation",
            "step": text("ship"), "attempt": 1, "detail": { "reply": text("no") },
            "saga_id": text("0190163d"), "verdict": text("kept"),
        }],
        "next": null, "undo": [step], "in_doubt": [text("charge")],
        "id": text("0190163d"), "saga": text("sell"), "version": 1, "status": text("parked"), "revision": 7,
        "steps": [step], "started_at": "2026-11-23T10:00:00Z", "ended_at": "2026-11-23T10:00:01Z",
        "cause": { "step": text("ship"), "kind": text("rejected"), "code": text("code"), "message": text("why") },
        "parked": { "code": text("expired"), "message": text("long ago") },
        "parked_also": [{ "message": text("longer ago") }], "fault": { "step": text("ship") }, "cleared": 1,
        "verdict": text("taken"), "type": text("about:blank"), "title": text("No"), "detail": text("never"),
    });
    let page = page.to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
            let answer = format!("{head}Content-Length: {}\r\n\r\n{page}", page.len());
            tokio::spawn(async move {
                whole(&mut client).await;
                let _ = client.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
}

/// Controls of both sets, marks of direction, signs without a width, separators of lines, tags.
const HOSTILE: &str = "\u{0}\u{7}\u{8}\r\n\t\u{1b}[2J\u{1b}]0;title\u{7f}\u{80}\u{85}\u{9b}31m\u{9d}\u{9f}\u{ad}\u{61c}\
    \u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2064}\
    \u{2066}\u{2067}\u{2068}\u{2069}\u{206f}\u{feff}\u{fe0f}\u{fff9}\u{180e}\u{3164}\u{e0001}\u{e0041}\u{e007f}";

/// The hostile characters that stand in a text as they are.
fn raw(text: &str) -> Vec<char> {
    let is_raw = |c: &char| *c != '\n' && !c.is_ascii_graphic() && HOSTILE.contains(*c);
    text.chars().filter(is_raw).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_answers_are_escaped_by_every_command() {
    const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";
    let commands: &[&[&str]] = &[
        &["list"],
        &["show", ID, "--history", "--plan"],
        &["watch", ID],
        &["start", "sell", "--input", "{}"],
        &["start", "sell", "--input", "{}", "--wait"],
        &["cancel", ID],
        &["retry", ID],
        &["event", ID, "approval"],
        &["event", "approval", "--tag", "order:7"],
        &["fault", "list"],
        &["fault", "add", "--kind", "fail"],
        &["fault", "remove", "7"],
        &["fault", "clear"],
        &["definitions"],
        &["definitions", "--live"],
        &["begin"],
    ];
    for status in ["200 OK", "422 Unprocessable Content", "503 Service Unavailable"] {
        let here = [("REDRESS_URL", hostile_coordinator(status, HOSTILE).await)];
        for command in commands {
            for output in ["text", "json", "jsonl"] {
                let waits = command.contains(&"watch") || command.contains(&"--wait");
                let more =
                    if waits { &["--output", output, "--timeout-s", "1"][..] } else { &["--output", output] };
                let ran = run(&[command, more].concat(), &here).await;
                let said = format!("{}{}", ran.stdout, ran.stderr);
                assert_eq!(raw(&said), [' '; 0], "{command:?} {output} {status}: {said}");
                let tells = matches!(command[0], "begin")
                    || status.starts_with("200")
                        && (command.contains(&"clear") || command.contains(&"remove"));
                assert!(tells || said.contains("202e"), "{command:?} {output} {status}: {said}");
                if status.starts_with("200") && output == "json" {
                    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
                    assert!(!value.is_null());
                }
            }
        }
    }
}

/// The output of a command on a terminal of so many columns; nothing where there is no `script` to make one.
async fn on_a_terminal(columns: u32, arguments: &str, url: &str) -> Option<String> {
    let line = format!("stty cols {columns}; exec {} {arguments}", env!("CARGO_BIN_EXE_redress"));
    let mut command = tokio::process::Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .env("REDRESS_URL", url)
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(crate::support::PATIENCE, output).await.unwrap() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")),
        Err(error) => {
            eprintln!("skipped: there is no terminal to be had ({error})");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn narrow_terminal_shows_whole_ids_and_no_escapes_but_colours() {
    let world = World::start().await;
    let body = json!({ "saga": "place-order", "input": Order::Fine.input() });
    let saga: Value = world.start_saga(&body, "one").await.json().await.unwrap();
    let id = saga["id"].as_str().unwrap();
    let Some(shown) = on_a_terminal(30, "list", &world.url("")).await else { return };
    assert!(shown.contains(&format!("{id}  place-order v1 ")), "{shown}");

    let url = hostile_coordinator("200 OK", HOSTILE).await;
    for arguments in ["list".to_owned(), format!("show {id} --history --plan"), format!("watch {id}")] {
        let shown = on_a_terminal(80, &arguments, &url).await.unwrap();
        // The spinner clears its line, and hides and shows nothing else.
        let without = ["\u{1b}[2K", "\u{1b}[1A", "\r"].iter().fold(shown, |text, own| text.replace(own, ""));
        let mut text = String::new();
        for part in without.split('\u{1b}') {
            let digits = part
                .strip_prefix('[')
                .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
            text.push_str(digits.and_then(|rest| rest.strip_prefix('m')).unwrap_or(part));
        }
        assert!(raw(&text).is_empty() && !text.contains("]0;title\u{7}"), "{arguments}: {text:?}");
        assert!(text.contains("\\u{202e}"), "{text}");
    }
}

/// Text that was pasted into a command line is repeated by number, too (a command line holds no NUL).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_arguments_are_escaped_in_errors() {
    let pasted = HOSTILE.replace('\0', "");
    let tag = format!("--tag={pasted}");
    let missing = format!("@{pasted}");
    for arguments in [
        &["show", &pasted][..],
        &[&pasted],
        &["list", "--log", &pasted],
        &["start", "sell", "--input", "{}", &tag],
        &["start", "sell", "--input", &missing],
        &["definitions", "--diagram", &pasted],
        &["service", &pasted],
    ] {
        let told = run(arguments, &[]).await.stderr;
        assert!(raw(&told).is_empty(), "{arguments:?}: {told}");
        assert!(told.starts_with("error: "), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_filter_and_format_select_messages() {
    let world = World::start().await;
    let environment: Vec<_> =
        world.environment().into_iter().filter(|(name, _)| *name != "REDRESS_LOG").collect();
    let told = |more: &[(&'static str, String)]| [&environment[..], more].concat();
    let rust_log = |filter: &str| ("RUST_LOG", filter.to_owned());
    let bad = run(&["list", "--log", "redress=loud"], &[]).await;
    assert_eq!(bad.code, Some(2), "{}", bad.stderr);
    assert!(bad.stderr.contains("`redress=loud` is no filter of messages"), "{}", bad.stderr);
    let bad = run(&["list"], &[("RUST_LOG", "redress=loud".to_owned())]).await;
    assert!(bad.stderr.contains("RUST_LOG: `redress=loud`"), "{}", bad.stderr);

    let check = ["service", "--check", "order"];
    let usual = run(&check, &environment).await.stderr;
    assert!(!usual.contains("INFO"), "a check is no server: {usual}");
    let heard = run(&check, &told(&[rust_log("redress=info")])).await;
    assert_eq!(heard.code, Some(0), "{}", heard.stderr);
    assert!(heard.stderr.contains("connected to NATS"), "{}", heard.stderr);
    assert!(!heard.stderr.contains('\u{1b}'), "a pipe is given no colours: {}", heard.stderr);
    let ours = [("REDRESS_LOG", "redress=info".to_owned()), ("REDRESS_LOG_FORMAT", "json".to_owned())];
    let lines = run(&check, &told(&[&ours[..], &[rust_log("off")]].concat())).await.stderr;
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["fields"]["message"] == "connected to NATS"), "{lines}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_server_ignores_postgres_variables_of_shell() {
    let shell = [
        ("PGOPTIONS", "-c default_transaction_read_only=on".to_owned()),
        ("PGSSLMODE", "verify-full".to_owned()),
        ("PGSSLROOTCERT", "/nowhere/root.crt".to_owned()),
        ("PGHOST", "203.0.113.1".to_owned()),
        ("PGPASSWORD", "wrong".to_owned()),
    ];
    let demo = run(&["demo", "--exit"], &shell).await;
    assert_eq!(demo.code, Some(0), "{}", demo.stderr);
    assert!(!demo.stderr.contains("PGOPTIONS"), "{}", demo.stderr);
    assert_eq!(demo.stdout.matches("place-order v1").count(), 3, "{}", demo.stdout);
}
