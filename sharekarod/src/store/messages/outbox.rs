//! What we wrote and the peer has not acknowledged; and what we read and the peer was not told.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sharekaro_proto::{DeviceId, control::message::MessageState, nouns::transfer::Direction};
use uuid::Uuid;

use super::{COLUMNS, MessageRow, Post, folded, read};

/// So many messages may wait for one peer.
pub const PENDING_MAX: u64 = 10_000;

/// A message that is to be written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// For whom.
    pub peer: DeviceId,
    /// What both sides will call it.
    pub id: Uuid,
    /// What the one who asked for it calls it: the same again writes nothing.
    pub request: Option<Uuid>,
    /// To whom together it is written, where that is a group or all.
    pub audience: Option<String>,
    /// So many may wait for this peer.
    pub pending_max: u64,
}

/// Why nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Too many wait for this peer.
    Full(DeviceId),
    /// The request's id was used for another text.
    Reused(DeviceId),
}

/// Writes a text to all of these or to none. Says of each whether it is new.
pub fn write(
    transaction: &Transaction<'_>,
    drafts: &[Draft],
    text: &str,
    now_ms: i64,
) -> rusqlite::Result<Result<Vec<(MessageRow, bool)>, Refused>> {
    let mut found = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let known = by_request(transaction, draft)?;
        if known.as_ref().is_some_and(|row| row.text != text) {
            return Ok(Err(Refused::Reused(draft.peer)));
        }
        if known.is_none() && count_pending(transaction, draft.peer)? >= draft.pending_max {
            return Ok(Err(Refused::Full(draft.peer)));
        }
        found.push(known);
    }
    let mut rows = Vec::with_capacity(drafts.len());
    for (draft, known) in drafts.iter().zip(found) {
        rows.push(match known {
            Some(row) => (row, false),
            None => (insert(transaction, draft, text, now_ms)?, true),
        });
    }
    Ok(Ok(rows))
}

fn by_request(connection: &Connection, draft: &Draft) -> rusqlite::Result<Option<MessageRow>> {
    let Some(request) = draft.request else { return Ok(None) };
    let sql = format!("SELECT {COLUMNS} FROM messages WHERE peer = ?1 AND request = ?2");
    connection.query_row(&sql, params![draft.peer.as_bytes(), request.as_bytes()], read).optional()
}

fn count_pending(connection: &Connection, peer: DeviceId) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM messages WHERE peer = ?1 AND state IN ('queued', 'sent')";
    connection.query_row(sql, [peer.as_bytes()], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

fn insert(transaction: &Transaction<'_>, draft: &Draft, text: &str, now_ms: i64) -> rusqlite::Result<MessageRow> {
    let seq: i64 = transaction.query_row(
        "INSERT INTO outboxes (peer, epoch, last_seq) VALUES (?1, ?2, 1)
         ON CONFLICT (peer) DO UPDATE SET last_seq = last_seq + 1 RETURNING last_seq",
        params![draft.peer.as_bytes(), rand::random::<i64>()],
        |row| row.get(0),
    )?;
    transaction.execute(
        "INSERT INTO messages (id, peer, direction, state, at_ms, seq, request, text, folded, audience)
         VALUES (?1, ?2, 'out', 'queued', ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            draft.id.as_bytes(),
            draft.peer.as_bytes(),
            now_ms,
            seq,
            draft.request.as_ref().map(Uuid::as_bytes),
            text,
            folded(text),
            draft.audience
        ],
    )?;
    Ok(MessageRow {
        no: transaction.last_insert_rowid().cast_unsigned(),
        id: draft.id,
        peer: draft.peer,
        direction: Direction::Out,
        state: MessageState::Queued,
        at_ms: now_ms,
        seq: seq.cast_unsigned(),
        transfer: None,
        text: text.to_owned(),
        post: draft.audience.clone().zip(draft.request).map(|(audience, id)| Post { audience, id }),
    })
}

/// Peers for whom something waits: texts, or that theirs were read.
pub fn pending_peers(connection: &Connection) -> rusqlite::Result<Vec<DeviceId>> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT peer FROM messages WHERE state IN ('queued', 'sent') UNION SELECT DISTINCT peer FROM messages WHERE untold = 1",
    )?;
    let rows = statement.query_map([], |row| row.get(0).map(DeviceId::from_bytes))?;
    rows.collect()
}

/// The oldest that wait for this peer: at most `count` and about `bytes`, but one at least. With the outbox they are of.
pub fn pending(connection: &Connection, peer: DeviceId, count: usize, bytes: usize) -> rusqlite::Result<(u64, Vec<MessageRow>)> {
    let epoch: Option<i64> =
        connection.query_row("SELECT epoch FROM outboxes WHERE peer = ?1", [peer.as_bytes()], |row| row.get(0)).optional()?;
    let sql = format!("SELECT {COLUMNS} FROM messages WHERE peer = ?1 AND state IN ('queued', 'sent') ORDER BY seq LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![peer.as_bytes(), i64::try_from(count).unwrap_or(i64::MAX)])?;
    let (mut batch, mut total) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let message = read(row)?;
        total += message.text.len();
        if total > bytes && !batch.is_empty() {
            break;
        }
        batch.push(message);
    }
    Ok((epoch.unwrap_or(0).cast_unsigned(), batch))
}

/// These are on their way.
pub fn sent(transaction: &Transaction<'_>, batch: &[u64]) -> rusqlite::Result<Vec<MessageRow>> {
    move_on(transaction, batch, "sent", "state = 'queued'")
}

/// The peer has these.
pub fn acknowledge(transaction: &Transaction<'_>, batch: &[u64]) -> rusqlite::Result<Vec<MessageRow>> {
    move_on(transaction, batch, "delivered", "state IN ('queued', 'sent', 'expired')")
}

fn move_on(transaction: &Transaction<'_>, batch: &[u64], state: &str, from: &str) -> rusqlite::Result<Vec<MessageRow>> {
    let sql = format!("UPDATE messages SET state = '{state}' WHERE no = ?1 AND {from} RETURNING {COLUMNS}");
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut moved = Vec::new();
    for no in batch {
        moved.extend(statement.query_row([no.cast_signed()], read).optional()?);
    }
    Ok(moved)
}

/// The peer's person has seen these.
pub fn confirm_read(transaction: &Transaction<'_>, peer: DeviceId, ids: &[Uuid]) -> rusqlite::Result<Vec<MessageRow>> {
    let sql = format!(
        "UPDATE messages SET state = 'read' WHERE peer = ?1 AND direction = 'out' AND id = ?2 AND state <> 'read' RETURNING {COLUMNS}"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut moved = Vec::new();
    for id in ids {
        moved.extend(statement.query_row(params![peer.as_bytes(), id.as_bytes()], read).optional()?);
    }
    Ok(moved)
}

/// What was written before this and not acknowledged since is given up.
pub fn expire(transaction: &Transaction<'_>, before_ms: i64) -> rusqlite::Result<Vec<MessageRow>> {
    let sql = format!("UPDATE messages SET state = 'expired' WHERE state IN ('queued', 'sent') AND at_ms < ?1 RETURNING {COLUMNS}");
    let mut statement = transaction.prepare(&sql)?;
    let rows = statement.query_map([before_ms], read)?;
    rows.collect()
}

/// What waits for this peer is given up, and so is telling it what was read.
pub fn give_up(transaction: &Transaction<'_>, peer: DeviceId) -> rusqlite::Result<Vec<MessageRow>> {
    transaction.execute("UPDATE messages SET untold = 0 WHERE peer = ?1 AND untold = 1", [peer.as_bytes()])?;
    let sql = format!("UPDATE messages SET state = 'expired' WHERE peer = ?1 AND state IN ('queued', 'sent') RETURNING {COLUMNS}");
    let mut statement = transaction.prepare(&sql)?;
    let rows = statement.query_map([peer.as_bytes()], read)?;
    rows.collect()
}

/// The peer knows our numbers for something else: our database is an older one than it remembers. A new outbox begins.
pub fn renew(transaction: &Transaction<'_>, peer: DeviceId) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE messages SET seq = (SELECT count(*) FROM messages AS older WHERE older.peer = ?1 AND older.state IN ('queued', 'sent') AND older.no <= messages.no)
         WHERE peer = ?1 AND state IN ('queued', 'sent')",
        [peer.as_bytes()],
    )?;
    transaction.execute(
        "UPDATE outboxes SET epoch = ?2, last_seq = (SELECT count(*) FROM messages WHERE peer = ?1 AND state IN ('queued', 'sent')) WHERE peer = ?1",
        params![peer.as_bytes(), rand::random::<i64>()],
    )?;
    Ok(())
}

/// Ids of what was read here and the peer was not told of.
pub fn receipts(connection: &Connection, peer: DeviceId, count: usize) -> rusqlite::Result<Vec<Uuid>> {
    let mut statement = connection.prepare_cached("SELECT id FROM messages WHERE peer = ?1 AND untold = 1 ORDER BY no LIMIT ?2")?;
    let rows =
        statement.query_map(params![peer.as_bytes(), i64::try_from(count).unwrap_or(i64::MAX)], |row| row.get(0).map(Uuid::from_bytes))?;
    rows.collect()
}

/// The peer was told that these were read.
pub fn receipts_told(transaction: &Transaction<'_>, peer: DeviceId, ids: &[Uuid]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached("UPDATE messages SET untold = 0 WHERE peer = ?1 AND direction = 'in' AND id = ?2")?;
    for id in ids {
        statement.execute(params![peer.as_bytes(), id.as_bytes()])?;
    }
    Ok(())
}
