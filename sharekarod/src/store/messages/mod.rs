//! Messages: the history, of which the outbox is the part that was not acknowledged yet.
//!
//! A message has a number of ours (its place in the history), an id that both sides know and, where we wrote it, a
//! number in the outbox for its peer. A file that was sent or received stands in the history too.

mod history;
mod inbox;
mod outbox;

pub use history::{Part, With, mark_read, part, unread};
pub use inbox::{Heard, Taken, knock, knocked, take_in, welcome};
pub use outbox::{
    Draft, PENDING_MAX, Refused, acknowledge, confirm_read, expire, give_up, pending, pending_peers, receipts, receipts_told, renew, sent,
    write,
};

use rusqlite::{Row, Transaction, params};
use sharekaro_proto::{DeviceId, TransferId, control::message::MessageState, nouns::transfer::Direction};
use uuid::Uuid;

/// A message as it is kept.
#[derive(Clone, PartialEq, Debug)]
pub struct MessageRow {
    /// Its place in the history.
    pub no: u64,
    /// What both sides call it.
    pub id: Uuid,
    /// With whom.
    pub peer: DeviceId,
    /// Which way.
    pub direction: Direction,
    /// Where it stands.
    pub state: MessageState,
    /// When it was written, milliseconds since 1970.
    pub at_ms: i64,
    /// Its number in the outbox, where we wrote it.
    pub seq: u64,
    /// The transfer, where it is a file.
    pub transfer: Option<TransferId>,
    /// What was written.
    pub text: String,
    /// Where it was written to many at once, to whom and as what.
    pub post: Option<Post>,
}

/// A text to many, which is a message to each of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Post {
    /// `@group` or `all`.
    pub audience: String,
    /// What all its messages have in common: the request that made them.
    pub id: Uuid,
}

/// What `read` needs, in its order.
const COLUMNS: &str = "no, id, peer, direction, state, at_ms, seq, transfer, text, audience, request";

fn read(row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    let (direction, state): (String, String) = (row.get(3)?, row.get(4)?);
    Ok(MessageRow {
        no: row.get::<_, i64>(0)?.cast_unsigned(),
        id: Uuid::from_bytes(row.get(1)?),
        peer: DeviceId::from_bytes(row.get(2)?),
        direction: Direction::from_word(&direction).unwrap_or(Direction::In),
        state: MessageState::from_word(&state).unwrap_or(MessageState::Received),
        at_ms: row.get(5)?,
        seq: row.get::<_, Option<i64>>(6)?.unwrap_or(0).cast_unsigned(),
        transfer: row.get::<_, Option<i64>>(7)?.map(|id| TransferId(id.cast_unsigned())),
        text: row.get(8)?,
        post: row
            .get::<_, Option<String>>(9)?
            .zip(row.get::<_, Option<[u8; 16]>>(10)?)
            .map(|(audience, id)| Post { audience, id: Uuid::from_bytes(id) }),
    })
}

/// What a search without regard to case compares, where it differs from the text.
fn folded(text: &str) -> Option<String> {
    Some(text.to_lowercase()).filter(|folded| folded != text)
}

/// A file arrived there or here: it stands in the conversation from then on, under the number that it gets. `None` where
/// it stands there already.
pub fn note_file(transaction: &Transaction<'_>, file: MessageRow) -> rusqlite::Result<Option<MessageRow>> {
    let inserted = transaction.execute(
        "INSERT OR IGNORE INTO messages (id, peer, direction, state, at_ms, transfer, text, folded) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            file.id.as_bytes(),
            file.peer.as_bytes(),
            file.direction.word(),
            file.state.word(),
            file.at_ms,
            file.transfer.map(|id| id.0.cast_signed()),
            file.text,
            folded(&file.text)
        ],
    )?;
    Ok((inserted == 1).then(|| MessageRow { no: transaction.last_insert_rowid().cast_unsigned(), ..file }))
}

#[cfg(test)]
mod tests;
