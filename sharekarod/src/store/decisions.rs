//! What was decided about peers, by rules and by people. Bounded: strangers, of whom there may be any number, cannot
//! push out what was decided about those whom we know.

use rusqlite::{Connection, Transaction, params};
use sharekaro_proto::{DeviceId, TransferId};

/// So many decisions are kept about paired peers: years of a person's, weeks of a busy server's.
const KEPT: i64 = 10_000;

/// And so many about strangers.
const KEPT_OF_STRANGERS: i64 = 1_000;

/// What is too old is looked for once in so many decisions.
const FORGOTTEN_EVERY: i64 = 128;

/// A decision as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecisionRow {
    /// Its place in the log; 0 before it has one.
    pub no: u64,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// About whom.
    pub peer: DeviceId,
    /// What we called it then.
    pub label: String,
    /// Whether nobody had confirmed its key.
    pub stranger: bool,
    /// Which rule.
    pub rule: String,
    /// What was decided.
    pub action: String,
    /// The transfer that it is about.
    pub transfer: Option<TransferId>,
    /// The rest, for people.
    pub note: String,
}

/// Keeps another one, and forgets what is too old. Returns its place.
pub fn add(transaction: &Transaction<'_>, row: &DecisionRow) -> rusqlite::Result<u64> {
    transaction.execute(
        "INSERT INTO decisions (at_ms, peer, label, stranger, rule, action, transfer, note) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            row.at_ms,
            row.peer.as_bytes(),
            row.label,
            row.stranger,
            row.rule,
            row.action,
            row.transfer.map(|id| id.0.cast_signed()),
            row.note
        ],
    )?;
    let no = transaction.last_insert_rowid();
    if no % FORGOTTEN_EVERY == 0 {
        forget(transaction, true, KEPT_OF_STRANGERS)?;
        forget(transaction, false, KEPT)?;
    }
    Ok(no.cast_unsigned())
}

fn forget(transaction: &Transaction<'_>, stranger: bool, kept: i64) -> rusqlite::Result<usize> {
    transaction.execute(
        "DELETE FROM decisions WHERE stranger = ?1 AND no <=
         (SELECT no FROM decisions WHERE stranger = ?1 ORDER BY no DESC LIMIT 1 OFFSET ?2)",
        params![stranger, kept],
    )
}

/// The last so many, oldest first.
pub fn last(connection: &Connection, count: u64) -> rusqlite::Result<Vec<DecisionRow>> {
    let mut rows = list(connection, "no > ?1 ORDER BY no DESC LIMIT ?2", 0, count)?;
    rows.reverse();
    Ok(rows)
}

/// The next so many after this place, oldest first.
pub fn after(connection: &Connection, no: u64, count: u64) -> rusqlite::Result<Vec<DecisionRow>> {
    list(connection, "no > ?1 ORDER BY no LIMIT ?2", no, count)
}

fn list(connection: &Connection, which: &str, no: u64, count: u64) -> rusqlite::Result<Vec<DecisionRow>> {
    let sql = format!("SELECT no, at_ms, peer, label, stranger, rule, action, transfer, note FROM decisions WHERE {which}");
    let mut statement = connection.prepare_cached(&sql)?;
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let rows = statement.query_map([signed(no), signed(count)], |row| {
        Ok(DecisionRow {
            no: row.get::<_, i64>(0)?.cast_unsigned(),
            at_ms: row.get(1)?,
            peer: DeviceId::from_bytes(row.get(2)?),
            label: row.get(3)?,
            stranger: row.get(4)?,
            rule: row.get(5)?,
            action: row.get(6)?,
            transfer: row.get::<_, Option<i64>>(7)?.map(|id| TransferId(id.cast_unsigned())),
            note: row.get(8)?,
        })
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Durability, Store};

    #[tokio::test]
    async fn strangers_push_out_strangers_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let row = |stranger: bool, at_ms: i64| DecisionRow {
            no: 0,
            at_ms,
            peer: DeviceId::from_bytes([1; 32]),
            label: "bob".into(),
            stranger,
            rule: "default".into(),
            action: "ask".into(),
            transfer: Some(TransferId(7)),
            note: "x".into(),
        };

        let known = row(false, 0);
        let first = known.clone();
        store.write(Durability::Soon, move |t| add(t, &first)).await.unwrap();
        let many = KEPT_OF_STRANGERS + 3 * FORGOTTEN_EVERY;
        store.write(Durability::Soon, move |t| (1..=many).try_for_each(|at| add(t, &row(true, at)).map(drop))).await.unwrap();

        let all = store.read(|c| last(c, u64::MAX)).await.unwrap();
        let strangers = all.len() as i64 - 1;
        assert!((KEPT_OF_STRANGERS..KEPT_OF_STRANGERS + FORGOTTEN_EVERY).contains(&strangers), "{strangers}");
        assert_eq!((&all[0], all.last().unwrap().at_ms), (&DecisionRow { no: 1, ..known }, many));
        let newest = all.last().unwrap().no;
        assert_eq!(
            store.read(move |c| after(c, newest - 3, 2)).await.unwrap().iter().map(|row| row.no).collect::<Vec<_>>(),
            [newest - 2, newest - 1]
        );
        assert_eq!(store.read(|c| last(c, 2)).await.unwrap().len(), 2);
    }
}
