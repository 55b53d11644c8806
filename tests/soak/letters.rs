//! Checks the dead letters: exactly the poison that was thrown, and not many more copies than that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sqlx::Row;
use uuid::Uuid;

use super::clients::Clients;
use super::yard::Yard;

/// How long a piece of poison may be out, in several deliveries: longer than any, with the pauses between them.
const OUT_MAX: Duration = Duration::from_secs(60);
/// How much of a letter a violation shows, in characters.
const SHOWN: usize = 300;

/// Reads all letters and holds them against the poison.
pub(crate) async fn judge(clients: &Clients) {
    // One that is on its way may be in two places.
    let mut letters: BTreeMap<Uuid, String> = of_inboxes(clients).await.into_iter().collect();
    letters.extend(of_stream(clients).await);
    letters.extend(of_journal(clients).await);
    let book = &clients.book;
    let (poison, deaths, redeliveries) = {
        let notes = book.notes();
        (notes.poison.clone(), notes.broker_deaths, notes.redeliveries.clone())
    };
    let mut found: BTreeMap<Uuid, usize> = BTreeMap::new();
    for letter in letters.values() {
        let marks: BTreeSet<Uuid> = marks(letter).filter(|mark| poison.contains_key(mark)).collect();
        if marks.is_empty() {
            let shown: String = letter.chars().take(SHOWN).collect();
            book.violation(format!("a dead letter that is no poison of ours: {shown}"));
        }
        for mark in marks {
            *found.entry(mark).or_default() += 1;
        }
    }
    for (mark, thrown) in &poison {
        let copies = found.get(mark).copied().unwrap_or_default();
        // Messages that a broker had in hand when it died may be gone.
        let is_owed = thrown.stored && thrown.broker_deaths == deaths;
        if is_owed && copies == 0 {
            book.violation(format!("the poison {mark} has vanished without a letter"));
        }
        // Each disruption that cuts acknowledgements off, or copies messages, while it is out may bring it once more;
        // so may each broken header block beside it, as it ends the client that had both in hand.
        let is_out = |at: &&Instant| (thrown.at..=thrown.at + OUT_MAX).contains(*at);
        let again = redeliveries.iter().filter(is_out).count();
        let times = thrown.times as usize;
        if copies > times * letters_max(1 + again) {
            book.violation(format!(
                "the poison {mark} was thrown {times} times, may have come again {again} times, and has {copies} letters"
            ));
        }
    }
}

/// The most letters of a piece of poison that is delivered this often: each delivery has its own, and is answered by a
/// reply that no saga waits for, which comes as often as the poison may, with a letter each time.
const fn letters_max(deliveries: usize) -> usize {
    deliveries + deliveries * deliveries
}

/// Everything in a text that reads as an id.
fn marks(text: &str) -> impl Iterator<Item = Uuid> + '_ {
    let is_of_id = |c: char| c.is_ascii_hexdigit() || c == '-';
    text.split(move |c| !is_of_id(c)).filter_map(|word| word.parse().ok())
}

/// The letters in the stream, from which the coordinators take them; without the broker's advisories.
async fn of_stream(clients: &Clients) -> Vec<(Uuid, String)> {
    let streams = clients.yard.streams();
    let stream = streams.get_stream(Yard::stream("DEAD_LETTERS")).await.expect("the stream is there");
    let state = &stream.cached_info().state;
    let mut letters = Vec::new();
    for sequence in state.first_sequence.max(1)..=state.last_sequence {
        let Ok(letter) = stream.get_raw_message(sequence).await else { continue };
        // The notice that a message was ended, or that its store was older than its consumer, is no letter of ours.
        if !letter.subject.starts_with("$JS.") {
            let payload = String::from_utf8_lossy(&letter.payload);
            let id = letter.headers.get("Redress-Letter-Id").and_then(|id| id.as_str().parse().ok());
            let id = id.expect("a letter has an id");
            letters.push((id, format!("{} {:?} {payload}", letter.subject, letter.headers)));
        }
    }
    letters
}

async fn of_journal(clients: &Clients) -> Vec<(Uuid, String)> {
    let letters = "SELECT id, concat_ws(' ', saga_id, reason, subject, headers::text, encode(payload, 'escape')) AS letter \
                   FROM dead_letters";
    let rows = sqlx::query(letters).fetch_all(&clients.yard.journal).await.expect("the journal answers");
    rows.iter().map(|row| (row.get("id"), row.get("letter"))).collect()
}

/// The letters that the broker did not keep when they came, in the services' own databases.
async fn of_inboxes(clients: &Clients) -> Vec<(Uuid, String)> {
    let letters = "SELECT letter_id, concat_ws(' ', reason, subject, headers, encode(payload, 'escape')) AS letter \
                   FROM inbox_dead_letters";
    let books = &clients.yard.books;
    let mut found = Vec::new();
    for pool in [&books.order, &books.payment, &books.inventory, &books.shipping] {
        let rows = sqlx::query(letters).fetch_all(pool).await.expect("the inbox answers");
        found.extend(rows.iter().map(|row| (row.get("letter_id"), row.get("letter"))));
    }
    found
}
