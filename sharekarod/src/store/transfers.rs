//! Transfers: what has to survive until their end, and their history.
//!
//! What the queries need stands in columns, the rest is one JSON record, so that a new field needs no migration.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sharekaro_proto::{
    DeviceId, TransferId,
    control::message::MessageState,
    nouns::transfer::{Direction, TransferState},
};
use uuid::Uuid;

use super::{
    messages::{self, MessageRow},
    record::Record,
    sensible,
};

/// Offers that ended without anybody here saying yes: so many are kept, and of these any number may come.
pub const KEPT_OF_REFUSED: i64 = 1_000;

/// Which these are.
const REFUSED: &str =
    "direction = 'in' AND state IN ('declined', 'cancelled', 'expired', 'failed') AND json_extract(record, '$.accepted') = 0";

/// What is too old of these is looked for once in so many transfers that come in.
pub const FORGOTTEN_EVERY: i64 = 64;

/// Keeps a new transfer and says which number it got; where this peer's key is known already, that one's number.
pub fn insert(transaction: &Transaction<'_>, record: &Record) -> rusqlite::Result<TransferId> {
    let known: Option<TransferId> = transaction
        .query_row(
            "SELECT id FROM transfers WHERE direction = ?1 AND peer = ?2 AND key = ?3",
            params![record.direction.word(), record.peer.as_bytes(), record.key.0],
            |row| number(row, 0),
        )
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    transaction.execute(
        "INSERT INTO transfers (key, direction, peer, state, changed_ms, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![record.key.0, record.direction.word(), record.peer.as_bytes(), record.state.word(), record.changed_ms, json(record)?],
    )?;
    let id = transaction.last_insert_rowid();
    if record.direction == Direction::In && id % FORGOTTEN_EVERY == 0 {
        forget_refused(transaction)?;
    }
    Ok(TransferId(id.cast_unsigned()))
}

fn forget_refused(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
    transaction.execute(
        &format!(
            "DELETE FROM transfers WHERE {REFUSED} AND id <=
             (SELECT id FROM transfers WHERE {REFUSED} ORDER BY id DESC LIMIT 1 OFFSET ?1)"
        ),
        [KEPT_OF_REFUSED],
    )
}

/// Keeps a transfer as it is now. Returns the line that it adds to the conversation: once, when it is done.
pub fn save(transaction: &Transaction<'_>, record: &Record) -> rusqlite::Result<Option<MessageRow>> {
    transaction.execute(
        "UPDATE transfers SET state = ?2, changed_ms = ?3, record = ?4 WHERE id = ?1",
        params![record.id.0.cast_signed(), record.state.word(), record.changed_ms, json(record)?],
    )?;
    if record.state == TransferState::Done { messages::note_file(transaction, line(record)) } else { Ok(None) }
}

fn line(record: &Record) -> MessageRow {
    let (state, tops) = match record.direction {
        Direction::Out => (MessageState::Delivered, record.sources.len()),
        Direction::In => (MessageState::Received, record.placed.len()),
    };
    MessageRow {
        no: 0,
        id: Uuid::from_bytes(record.key.0),
        peer: record.peer,
        direction: record.direction,
        state,
        at_ms: record.changed_ms,
        seq: 0,
        transfer: Some(record.id),
        text: if tops > 1 { format!("{} and {} more", record.title, tops - 1) } else { record.title.clone() },
        post: None,
    }
}

/// Those that have not ended, of which the peer was not told, or that lie in quarantine, and the newest `ended` of the
/// others; and as many again, so that offers that nobody took leave out none that went.
pub fn load(connection: &Connection, ended: usize) -> rusqlite::Result<Vec<Record>> {
    let mut statement = connection.prepare(&format!(
        "SELECT id, record FROM transfers
         WHERE state NOT IN ('done', 'declined', 'cancelled', 'expired', 'failed') OR json_extract(record, '$.untold') = 1
            OR state = 'done' AND direction = 'in' AND json_extract(record, '$.quarantined') = 1 AND json_extract(record, '$.undone') = 0
            OR id IN (SELECT id FROM transfers ORDER BY id DESC LIMIT ?1)
            OR id IN (SELECT id FROM transfers WHERE NOT ({REFUSED}) ORDER BY id DESC LIMIT ?1)
         ORDER BY id"
    ))?;
    let rows = sensible(&mut statement, [i64::try_from(ended).unwrap_or(i64::MAX)], "transfers", row)?;
    Ok(rows.into_iter().flatten().collect())
}

/// One of the history.
pub fn find(connection: &Connection, id: TransferId) -> rusqlite::Result<Option<Record>> {
    Ok(connection.query_row("SELECT id, record FROM transfers WHERE id = ?1", [id.0.cast_signed()], row).optional()?.flatten())
}

/// Bytes that this peer was let bring since then: of what came whole, and of what still comes.
pub fn let_in_since(connection: &Connection, peer: DeviceId, since_ms: i64) -> rusqlite::Result<u64> {
    let bytes: i64 = connection.query_row(
        "SELECT coalesce(sum(json_extract(record, '$.bytes_total')), 0) FROM transfers
         WHERE direction = 'in' AND peer = ?1 AND changed_ms >= ?2 AND json_extract(record, '$.accepted') = 1
           AND json_extract(record, '$.created_ms') >= ?2 AND state NOT IN ('declined', 'cancelled', 'expired', 'failed')",
        params![peer.as_bytes(), since_ms],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Record>> {
    let (id, text): (_, String) = (number(row, 0)?, row.get(1)?);
    Ok(serde_json::from_str::<Record>(&text).ok().map(|record| Record { id, ..record }))
}

/// SQLite counts in signed numbers, from 1.
fn number(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<TransferId> {
    Ok(TransferId(row.get::<_, i64>(column)?.cast_unsigned()))
}

fn json(record: &Record) -> rusqlite::Result<String> {
    serde_json::to_string(record).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}
