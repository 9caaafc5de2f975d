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

/// Keeps another one, and forgets what is too old.
pub fn add(transaction: &Transaction<'_>, row: &DecisionRow) -> rusqlite::Result<()> {
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
    if transaction.last_insert_rowid() % FORGOTTEN_EVERY == 0 {
        forget(transaction, true, KEPT_OF_STRANGERS)?;
        forget(transaction, false, KEPT)?;
    }
    Ok(())
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
    let mut statement =
        connection.prepare("SELECT at_ms, peer, label, stranger, rule, action, transfer, note FROM decisions ORDER BY no DESC LIMIT ?1")?;
    let rows = statement.query_map([i64::try_from(count).unwrap_or(i64::MAX)], |row| {
        Ok(DecisionRow {
            at_ms: row.get(0)?,
            peer: DeviceId::from_bytes(row.get(1)?),
            label: row.get(2)?,
            stranger: row.get(3)?,
            rule: row.get(4)?,
            action: row.get(5)?,
            transfer: row.get::<_, Option<i64>>(6)?.map(|id| TransferId(id.cast_unsigned())),
            note: row.get(7)?,
        })
    })?;
    let mut rows: Vec<DecisionRow> = rows.collect::<Result<_, _>>()?;
    rows.reverse();
    Ok(rows)
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
        store.write(Durability::Soon, move |t| (1..=many).try_for_each(|at| add(t, &row(true, at)))).await.unwrap();

        let all = store.read(|c| last(c, u64::MAX)).await.unwrap();
        let strangers = all.len() as i64 - 1;
        assert!((KEPT_OF_STRANGERS..KEPT_OF_STRANGERS + FORGOTTEN_EVERY).contains(&strangers), "{strangers}");
        assert_eq!((&all[0], all.last().unwrap().at_ms), (&known, many));
        assert_eq!(store.read(|c| last(c, 2)).await.unwrap().len(), 2);
    }
}
