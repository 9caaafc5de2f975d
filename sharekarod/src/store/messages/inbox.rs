//! What peers wrote to us: stored once, whatever is sent again.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sharekaro_proto::{DeviceId, control::message::MessageState, nouns::transfer::Direction};
use uuid::Uuid;

use super::{MessageRow, folded};

/// Outboxes of one peer that are remembered. Each new database there begins one; ids tell older ones apart too.
const EPOCHS_MAX: i64 = 16;

/// A text as a peer sent it, checked.
#[derive(Clone, Debug)]
pub struct Heard {
    /// What both sides call it.
    pub id: Uuid,
    /// Which outbox of the peer.
    pub epoch: u64,
    /// Its number there.
    pub seq: u64,
    /// When it was written, milliseconds since 1970.
    pub at_ms: i64,
    /// What was written.
    pub text: String,
}

/// What became of texts.
#[derive(PartialEq, Debug)]
pub enum Taken {
    /// All of them are here; these are new.
    Stored(Vec<MessageRow>),
    /// A number came again with another id: the peer's database is an older one than we remember.
    Outdated,
}

/// Stores what is new of these, in one go with the highest number that was heard.
pub fn take_in(transaction: &Transaction<'_>, peer: DeviceId, texts: &[Heard], now_ms: i64) -> rusqlite::Result<Taken> {
    let mut stored = Vec::new();
    for text in texts {
        if knows(transaction, peer, text.id)? {
            continue;
        }
        if text.seq <= highest(transaction, peer, text.epoch)? {
            if stored.is_empty() {
                return Ok(Taken::Outdated);
            }
            continue; // it comes again with what follows, and is told then
        }
        stored.push(insert(transaction, peer, text)?);
        transaction.execute(
            "INSERT INTO heard (peer, epoch, seq, at_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (peer, epoch) DO UPDATE SET seq = max(seq, excluded.seq), at_ms = excluded.at_ms",
            params![peer.as_bytes(), text.epoch.cast_signed(), text.seq.cast_signed(), now_ms],
        )?;
    }
    if !stored.is_empty() {
        transaction.execute(
            "DELETE FROM heard WHERE peer = ?1 AND epoch NOT IN (SELECT epoch FROM heard WHERE peer = ?1 ORDER BY at_ms DESC LIMIT ?2)",
            params![peer.as_bytes(), EPOCHS_MAX],
        )?;
    }
    Ok(Taken::Stored(stored))
}

fn knows(connection: &Connection, peer: DeviceId, id: Uuid) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM messages WHERE peer = ?1 AND direction = 'in' AND id = ?2";
    Ok(connection.query_row(sql, params![peer.as_bytes(), id.as_bytes()], |_| Ok(())).optional()?.is_some())
}

fn highest(connection: &Connection, peer: DeviceId, epoch: u64) -> rusqlite::Result<u64> {
    let sql = "SELECT seq FROM heard WHERE peer = ?1 AND epoch = ?2";
    let seq: Option<i64> = connection.query_row(sql, params![peer.as_bytes(), epoch.cast_signed()], |row| row.get(0)).optional()?;
    Ok(seq.unwrap_or(0).cast_unsigned())
}

fn insert(transaction: &Transaction<'_>, peer: DeviceId, heard: &Heard) -> rusqlite::Result<MessageRow> {
    transaction.execute(
        "INSERT INTO messages (id, peer, direction, state, at_ms, text, folded) VALUES (?1, ?2, 'in', 'received', ?3, ?4, ?5)",
        params![heard.id.as_bytes(), peer.as_bytes(), heard.at_ms, heard.text, folded(&heard.text)],
    )?;
    Ok(MessageRow {
        no: transaction.last_insert_rowid().cast_unsigned(),
        id: heard.id,
        peer,
        direction: Direction::In,
        state: MessageState::Received,
        at_ms: heard.at_ms,
        seq: 0,
        transfer: None,
        text: heard.text.clone(),
        post: None,
    })
}

/// A stranger's one knock. `None` where it had its one, or where strangers left more than `max` since `since_ms`.
pub fn knock(
    transaction: &Transaction<'_>,
    peer: DeviceId,
    text: &Heard,
    now_ms: i64,
    since_ms: i64,
    max: i64,
) -> rusqlite::Result<Option<Vec<MessageRow>>> {
    if knows(transaction, peer, text.id)? {
        return Ok(Some(Vec::new())); // our acknowledgement got lost
    }
    let lately: i64 = transaction.query_row("SELECT count(*) FROM knocks WHERE at_ms > ?1", [since_ms], |row| row.get(0))?;
    if lately >= max {
        return Ok(None);
    }
    let first = transaction.execute("INSERT OR IGNORE INTO knocks (peer, at_ms) VALUES (?1, ?2)", params![peer.as_bytes(), now_ms])? == 1;
    if !first {
        return Ok(None);
    }
    match take_in(transaction, peer, std::slice::from_ref(text), now_ms)? {
        Taken::Stored(rows) => Ok(Some(rows)),
        Taken::Outdated => Ok(None),
    }
}

/// The strangers that knocked.
pub fn knocked(connection: &Connection) -> rusqlite::Result<Vec<DeviceId>> {
    let mut statement = connection.prepare("SELECT peer FROM knocks")?;
    let rows = statement.query_map([], |row| row.get(0).map(DeviceId::from_bytes))?;
    rows.collect()
}

/// It is no stranger any more.
pub fn welcome(transaction: &Transaction<'_>, peer: DeviceId) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM knocks WHERE peer = ?1", [peer.as_bytes()])?;
    Ok(())
}
