//! Two instances and many commands at once.

use std::collections::{HashMap, HashSet};

use redress_core::{CommandMessage, Phase};
use sqlx::Row;

use crate::fixture::{Fixture, told};
use crate::till::{How, put, take_back};

/// Pairs of action and undo that race.
const PAIRS: u128 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn ten_twins_at_two_instances_have_one_effect() {
    let mut fixture = Fixture::new().await;
    let tills = [fixture.till().await, fixture.till().await];
    let twin = |attempt| CommandMessage { attempt, ..put(1, How::Done) };
    let twins: Vec<_> = (1..=10).map(twin).collect();
    fixture.send(&twins).await;
    let replies: HashSet<String> =
        fixture.replies(10).await.iter().map(|reply| told(&reply.outcome)).collect();
    assert_eq!(replies, HashSet::from([r#"done {"slot":1,"note":"done"}"#.to_owned()]));
    assert_eq!(fixture.effects().await, ["put:1"]);
    assert_eq!(tills.iter().map(|till| till.count("done")).sum::<u64>(), 1);
    assert_eq!(tills.iter().map(|till| till.count("duplicates")).sum::<u64>(), 9);
    fixture.leave(tills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_actions_and_undos_end_consistent() {
    let mut fixture = Fixture::new().await;
    let tills = [fixture.till().await, fixture.till().await];
    // Each command twice; half of the sagas are undone before they are done, so every order comes up.
    let twice = |command: CommandMessage| [CommandMessage { attempt: 2, ..command.clone() }, command];
    let undo_first = |saga: u128| saga.is_multiple_of(2);
    let mut commands = Vec::new();
    for saga in 1..=PAIRS {
        let (action, undo) = (twice(put(saga, How::Done)), twice(take_back(saga, How::Done)));
        commands.extend(if undo_first(saga) { [undo, action] } else { [action, undo] }.concat());
    }
    // Chunks are published side by side, so that also the order within a pair is left to chance.
    let (one, other): (Vec<_>, Vec<_>) = commands.into_iter().partition(|command| command.attempt == 1);
    tokio::join!(fixture.send(&one), fixture.send(&other));

    let mut replies = fixture.replies(4 * PAIRS as usize).await;
    let mut answers: HashMap<String, HashSet<String>> = HashMap::new();
    loop {
        for reply in replies {
            answers.entry(reply.key.to_string()).or_default().insert(told(&reply.outcome));
        }
        if answers.len() == 2 * PAIRS as usize {
            break;
        }
        // On a slow machine some commands are delivered again, and answered more than twice before others are at all.
        replies = fixture.replies(1).await;
    }
    let contradictory: Vec<_> = answers.iter().filter(|(_, told)| told.len() > 1).collect();
    assert!(contradictory.is_empty(), "{contradictory:?}");

    // Done and undone, or fenced and never done; nothing twice, nothing else.
    let odd: Vec<String> = sqlx::query(
        "SELECT slot, array_agg(kind ORDER BY kind) AS kinds FROM effect GROUP BY slot
         HAVING array_agg(kind ORDER BY kind) <> ARRAY['put', 'take']",
    )
    .fetch_all(&fixture.pool)
    .await
    .unwrap()
    .iter()
    .map(|row| format!("{} {:?}", row.get::<i64, _>("slot"), row.get::<Vec<String>, _>("kinds")))
    .collect();
    assert!(odd.is_empty(), "{odd:?}");
    let outcomes: Vec<(String, i64)> = sqlx::query_as(
        "SELECT split_part(key, '/', 3) || ' ' || outcome AS word, count(*) FROM inbox GROUP BY 1 ORDER BY 1",
    )
    .fetch_all(&fixture.pool)
    .await
    .unwrap();
    let count = |word: &str| outcomes.iter().find(|(is, _)| is == word).map_or(0, |(_, count)| *count);
    assert_eq!(count("action done") + count("action fenced"), PAIRS as i64, "{outcomes:?}");
    assert_eq!(count("compensation done"), PAIRS as i64, "{outcomes:?}");
    assert_eq!(fixture.effects().await.len() as i64, 2 * count("action done"));

    let total = |word| tills.iter().map(|till| till.count(word)).sum::<u64>();
    assert!(count("action done") > 0 && total("fenced") > 0 && total("duplicates") > 0, "{outcomes:?}");
    assert_eq!(total("failed"), 0);
    assert!(answers.keys().any(|key| key.contains(Phase::Action.as_str())));
    fixture.leave(tills).await;
}
