//! The history: a part of it, a search in it, and what was read.
//!
//! Words of three characters and more are found through the index of trigrams, which knows no borders of words and so
//! works inside Chinese and Devanagari text; shorter ones are looked for in what is left.

use rusqlite::{Connection, ToSql, Transaction, params};
use sharekaro_proto::DeviceId;

use super::{COLUMNS, MessageRow, read};

/// The shortest word that the index can find, in characters.
const INDEXED_MIN: usize = 3;

/// Which part of the history.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Whose.
    pub with: With,
    /// All of these words are in it.
    pub words: Vec<String>,
    /// The last ones before this number.
    pub before: Option<u64>,
    /// Or the first ones after this number.
    pub after: Option<u64>,
    /// So many at most.
    pub count: usize,
    /// And about so many bytes of text.
    pub bytes: usize,
}

/// Whose history.
#[derive(Clone, Debug, Default)]
pub enum With {
    /// All of it.
    #[default]
    Everybody,
    /// With this peer.
    Peer(DeviceId),
    /// What was written to many together, and what each of these peers wrote or sent, whoever it was meant for: an answer
    /// to many does not say that it is one.
    Audience(String, Vec<DeviceId>),
}

/// A part of the history, oldest first.
pub fn part(connection: &Connection, wanted: &Part) -> rusqlite::Result<Vec<MessageRow>> {
    let mut conditions: Vec<&str> = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let of_these;
    match &wanted.with {
        With::Everybody => {}
        With::Peer(peer) => {
            conditions.push("peer = ?");
            values.push(Box::new(*peer.as_bytes()));
        }
        With::Audience(audience, peers) => {
            of_these = format!("(audience = ? OR direction = 'in' AND peer IN ({}))", vec!["?"; peers.len()].join(", "));
            conditions.push(&of_these);
            values.push(Box::new(audience.clone()));
            values.extend(peers.iter().map(|peer| Box::new(*peer.as_bytes()) as Box<dyn ToSql>));
        }
    }
    if let Some(before) = wanted.before {
        conditions.push("no < ?");
        values.push(Box::new(signed(before)));
    }
    if let Some(after) = wanted.after {
        conditions.push("no > ?");
        values.push(Box::new(signed(after)));
    }
    let (indexed, short): (Vec<&String>, Vec<&String>) = wanted.words.iter().partition(|word| word.chars().count() >= INDEXED_MIN);
    if !indexed.is_empty() {
        conditions.push("no IN (SELECT rowid FROM messages_text WHERE messages_text MATCH ?)");
        values.push(Box::new(phrases(&indexed)));
    }
    for word in short {
        conditions.push("instr(coalesce(folded, text), ?) > 0");
        values.push(Box::new(word.to_lowercase()));
    }
    let filter = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let order = if wanted.after.is_some() { "" } else { "DESC" };
    values.push(Box::new(i64::try_from(wanted.count).unwrap_or(i64::MAX)));
    let sql = format!("SELECT {COLUMNS} FROM messages {filter} ORDER BY no {order} LIMIT ?");
    let mut found = gather(connection, &sql, &values, wanted.bytes)?;
    if wanted.after.is_none() {
        found.reverse();
    }
    Ok(found)
}

fn gather(connection: &Connection, sql: &str, values: &[Box<dyn ToSql>], bytes: usize) -> rusqlite::Result<Vec<MessageRow>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    let (mut found, mut total) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let message = read(row)?;
        total += message.text.len();
        if total > bytes && !found.is_empty() {
            break;
        }
        found.push(message);
    }
    Ok(found)
}

/// Each word as a phrase of its own: within quotes there is no query syntax, and two quotes mean one.
fn phrases(words: &[&String]) -> String {
    words.iter().map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect::<Vec<_>>().join(" AND ")
}

/// A person has seen what this peer wrote, up to a number. `tell`: the peer is to be told.
pub fn mark_read(transaction: &Transaction<'_>, peer: DeviceId, until: u64, tell: bool) -> rusqlite::Result<Vec<MessageRow>> {
    let sql = format!(
        "UPDATE messages SET state = 'read', untold = (?3 AND transfer IS NULL)
         WHERE peer = ?1 AND no <= ?2 AND state = 'received' RETURNING {COLUMNS}"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map(params![peer.as_bytes(), signed(until), tell], read)?;
    rows.collect()
}

/// Messages that nobody looked at yet.
pub fn unread(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("SELECT count(*) FROM messages WHERE state = 'received'", [], |row| row.get(0))
}

/// SQLite counts in signed numbers.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
