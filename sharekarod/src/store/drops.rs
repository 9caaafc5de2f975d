//! Drop folders: whose folder is whose, and what was sent from where, so that nothing is sent twice.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use sharekaro_proto::{DeviceId, TransferId};

use super::{record::Record, transfers};
use crate::files::dropped::Print;

/// How far something is that was taken from a drop folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Its transfers are recorded.
    Sending,
    /// It failed for some, and goes again to these.
    Again,
    /// Everybody has it; it is being removed.
    Removing,
    /// Everybody has it, and it stays where it is.
    Kept,
    /// Everybody has it.
    Sent,
    /// It lies, or is about to lie, in `Failed`.
    Failed,
}

impl Stage {
    const ALL: [Self; 6] = [Self::Sending, Self::Again, Self::Removing, Self::Kept, Self::Sent, Self::Failed];

    fn word(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Again => "again",
            Self::Removing => "removing",
            Self::Kept => "kept",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

/// Somebody who is to have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receiver {
    /// Who.
    pub peer: DeviceId,
    /// By which transfer, the last one.
    pub transfer: Option<TransferId>,
    /// Whether the receipt is here.
    pub done: bool,
}

/// Something that was taken from a drop folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DropRow {
    /// Our number; 0 before it has one.
    pub id: i64,
    /// The drop folder, as it is configured.
    pub root: PathBuf,
    /// Where it lay, from there on.
    pub place: PathBuf,
    /// What its transfers call it; where it was renamed meanwhile, it lies under another name.
    pub travels_as: Option<OsString>,
    /// To whom, as a person wrote it.
    pub target: String,
    /// What it was.
    pub print: Print,
    /// Which file or folder it was.
    pub ino: u64,
    /// How far it is.
    pub stage: Stage,
    /// Why it failed.
    pub reason: Option<String>,
    /// Where it was put, from the drop folder on.
    pub filed: Option<PathBuf>,
    /// Milliseconds since 1970.
    pub changed_ms: i64,
    /// Who is to have it.
    pub receivers: Vec<Receiver>,
}

/// Keeps a new one and says which number it got.
pub fn insert(transaction: &Transaction<'_>, row: &DropRow) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO drops (root, place, target, print, ino, stage, reason, filed, changed_ms, travels_as)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            bytes(&row.root),
            bytes(&row.place),
            row.target,
            row.print,
            row.ino.cast_signed(),
            row.stage.word(),
            row.reason,
            row.filed.as_deref().map(bytes),
            row.changed_ms,
            row.travels_as.as_deref().map(OsStrExt::as_bytes)
        ])?;
    let id = transaction.last_insert_rowid();
    keep_receivers(transaction, id, &row.receivers)?;
    Ok(id)
}

/// Keeps new ones, or such that go again, together with the transfers that carry them: both or neither. What was kept
/// of an earlier state at the same place is forgotten. Returns the transfers' numbers, and the rows with theirs.
pub fn record(
    transaction: &Transaction<'_>,
    records: &[Record],
    mut rows: Vec<DropRow>,
) -> rusqlite::Result<(Vec<TransferId>, Vec<DropRow>)> {
    let ids = records.iter().map(|record| transfers::insert(transaction, record)).collect::<Result<Vec<_>, _>>()?;
    let mut forget = transaction.prepare_cached("DELETE FROM drops WHERE root = ?1 AND place = ?2 AND stage = 'kept'")?;
    for row in &mut rows {
        for receiver in row.receivers.iter_mut().filter(|it| !it.done) {
            let carried = records.iter().zip(&ids).find(|(record, _)| record.peer == receiver.peer);
            receiver.transfer = carried.map(|(_, id)| *id);
        }
        forget.execute(params![bytes(&row.root), bytes(&row.place)])?;
        if row.id == 0 {
            row.id = insert(transaction, row)?;
        } else {
            save(transaction, row)?;
        }
    }
    Ok((ids, rows))
}

/// Keeps one as it is now.
pub fn save(transaction: &Transaction<'_>, row: &DropRow) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE drops SET place = ?2, stage = ?3, reason = ?4, filed = ?5, changed_ms = ?6, print = ?7, ino = ?8, travels_as = ?9
             WHERE id = ?1",
        )?
        .execute(params![
            row.id,
            bytes(&row.place),
            row.stage.word(),
            row.reason,
            row.filed.as_deref().map(bytes),
            row.changed_ms,
            row.print,
            row.ino.cast_signed(),
            row.travels_as.as_deref().map(OsStrExt::as_bytes)
        ])?;
    keep_receivers(transaction, row.id, &row.receivers)
}

fn keep_receivers(transaction: &Transaction<'_>, id: i64, receivers: &[Receiver]) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM drop_receivers WHERE drop_id = ?1")?.execute([id])?;
    let mut statement = transaction.prepare_cached("INSERT INTO drop_receivers (drop_id, peer, transfer, done) VALUES (?1, ?2, ?3, ?4)")?;
    for it in receivers {
        statement.execute(params![id, it.peer.as_bytes(), it.transfer.map(|id| id.0.cast_signed()), it.done])?;
    }
    Ok(())
}

/// Forgets one.
pub fn remove(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM drop_receivers WHERE drop_id = ?1")?.execute([id])?;
    transaction.prepare_cached("DELETE FROM drops WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// All that somebody has still to do with.
pub fn open(connection: &Connection) -> rusqlite::Result<Vec<DropRow>> {
    list(connection, "stage IN ('sending', 'again', 'removing', 'failed') ORDER BY id", [])
}

/// The newest that were sent, newest first.
pub fn sent(connection: &Connection, count: usize) -> rusqlite::Result<Vec<DropRow>> {
    list(connection, "stage IN ('sent', 'kept') ORDER BY id DESC LIMIT ?1", [i64::try_from(count).unwrap_or(i64::MAX)])
}

/// Those that were sent and stayed where they were, below one drop folder.
pub fn kept(connection: &Connection, root: &Path) -> rusqlite::Result<Vec<DropRow>> {
    list(connection, "stage = 'kept' AND root = ?1 ORDER BY id", [bytes(root)])
}

/// What was sent as it lies there: kept, or never moved away, as its medium was out.
pub fn sent_from(connection: &Connection, root: &Path, place: &Path, print: &Print) -> rusqlite::Result<Option<DropRow>> {
    let found = list(
        connection,
        "root = ?1 AND place = ?2 AND print = ?3 AND (stage = 'kept' OR stage = 'sent' AND filed IS NULL) ORDER BY id DESC LIMIT 1",
        params![bytes(root), bytes(place), print],
    )?;
    Ok(found.into_iter().next())
}

/// Forgets the oldest of those that were sent and are no longer needed to know what was.
pub fn forget_oldest(transaction: &Transaction<'_>, keep: usize) -> rusqlite::Result<()> {
    let oldest: Option<i64> = transaction
        .query_row(
            "SELECT id FROM drops WHERE stage = 'sent' ORDER BY id DESC LIMIT 1 OFFSET ?1",
            [i64::try_from(keep).unwrap_or(i64::MAX)],
            |r| r.get(0),
        )
        .optional()?;
    if let Some(oldest) = oldest {
        transaction
            .execute("DELETE FROM drop_receivers WHERE drop_id IN (SELECT id FROM drops WHERE stage = 'sent' AND id <= ?1)", [oldest])?;
        transaction.execute("DELETE FROM drops WHERE stage = 'sent' AND id <= ?1", [oldest])?;
    }
    Ok(())
}

/// The peer that each folder was made for.
pub fn names(connection: &Connection) -> rusqlite::Result<Vec<(String, DeviceId)>> {
    let mut statement = connection.prepare("SELECT name, peer FROM drop_names")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, DeviceId::from_bytes(row.get(1)?))))?;
    rows.collect()
}

/// A folder of this name is this peer's from now on.
pub fn name(transaction: &Transaction<'_>, name: &str, peer: DeviceId) -> rusqlite::Result<()> {
    transaction.execute("INSERT OR REPLACE INTO drop_names (name, peer) VALUES (?1, ?2)", params![name, peer.as_bytes()])?;
    Ok(())
}

/// A folder of this name is nobody's.
pub fn unname(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM drop_names WHERE name = ?1", [name])?;
    Ok(())
}

fn list(connection: &Connection, which: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<DropRow>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, root, place, target, print, ino, stage, reason, filed, changed_ms, travels_as FROM drops WHERE {which}"
    ))?;
    let mut rows = statement.query_map(params, row)?.collect::<Result<Vec<_>, _>>()?;
    let mut receivers = connection.prepare_cached("SELECT peer, transfer, done FROM drop_receivers WHERE drop_id = ?1 ORDER BY peer")?;
    for row in &mut rows {
        let found = receivers.query_map([row.id], |r| {
            let transfer = r.get::<_, Option<i64>>(1)?.map(|id| TransferId(id.cast_unsigned()));
            Ok(Receiver { peer: DeviceId::from_bytes(r.get(0)?), transfer, done: r.get(2)? })
        })?;
        row.receivers = found.collect::<Result<_, _>>()?;
    }
    Ok(rows)
}

fn row(row: &Row<'_>) -> rusqlite::Result<DropRow> {
    let word: String = row.get(6)?;
    Ok(DropRow {
        id: row.get(0)?,
        root: path(row.get(1)?),
        place: path(row.get(2)?),
        target: row.get(3)?,
        print: row.get(4)?,
        ino: row.get::<_, i64>(5)?.cast_unsigned(),
        // a word of a newer version: shown, and left alone
        stage: Stage::ALL.into_iter().find(|it| it.word() == word).unwrap_or(Stage::Sent),
        reason: row.get(7)?,
        filed: row.get::<_, Option<Vec<u8>>>(8)?.map(path),
        changed_ms: row.get(9)?,
        travels_as: row.get::<_, Option<Vec<u8>>>(10)?.map(OsString::from_vec),
        receivers: Vec::new(),
    })
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Durability, Store};

    fn dropped(place: &str, stage: Stage) -> DropRow {
        DropRow {
            id: 0,
            root: "/drop".into(),
            place: path([place.as_bytes(), b"\xe9"].concat()),
            travels_as: Some(OsString::from_vec(b"a\xe9".into())),
            target: "@team".into(),
            print: [place.len() as u8; 16],
            ino: u64::MAX,
            stage,
            reason: Some("why".into()),
            filed: None,
            changed_ms: 5,
            receivers: vec![
                Receiver { peer: DeviceId::from_bytes([1; 32]), transfer: Some(TransferId(4)), done: true },
                Receiver { peer: DeviceId::from_bytes([2; 32]), transfer: None, done: false },
            ],
        }
    }

    #[tokio::test]
    async fn what_is_under_way_comes_back_as_it_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let mut sending = dropped("a", Stage::Sending);
        let kept = sending.clone();
        sending.id = store.write(Durability::Durable, move |t| insert(t, &kept)).await.unwrap();
        assert_eq!(store.now(open).unwrap(), [sending.clone()]);

        sending.stage = Stage::Failed;
        sending.filed = Some("Failed/@team/a".into());
        sending.receivers[1] = Receiver { transfer: Some(TransferId(9)), done: true, ..sending.receivers[1] };
        let changed = sending.clone();
        store.write(Durability::Durable, move |t| save(t, &changed)).await.unwrap();
        assert_eq!(store.now(open).unwrap(), [sending.clone()]);

        store.write(Durability::Durable, move |t| remove(t, sending.id)).await.unwrap();
        assert!(store.now(open).unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_lies_there_as_it_was_sent_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let rows = [
            dropped("kept", Stage::Kept),
            dropped("out", Stage::Sent),
            DropRow { filed: Some("Sent/x".into()), ..dropped("moved", Stage::Sent) },
        ];
        let known = |row: &DropRow| store.now(|c| sent_from(c, &row.root, &row.place, &row.print)).unwrap().is_some();
        let kept = rows.clone();
        store.write(Durability::Durable, move |t| kept.iter().try_for_each(|row| insert(t, row).map(drop))).await.unwrap();

        assert_eq!(rows.each_ref().map(known), [true, true, false]);
        assert!(!known(&DropRow { print: [9; 16], ..rows[0].clone() }));
    }

    #[tokio::test]
    async fn history_is_bounded_and_what_stays_in_its_place_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        store
            .write(Durability::Soon, |t| {
                insert(t, &dropped("kept", Stage::Kept))?;
                (0..30).try_for_each(|_| insert(t, &dropped("sent", Stage::Sent)).map(drop))?;
                forget_oldest(t, 10)
            })
            .await
            .unwrap();

        let rows = store.now(|c| sent(c, 100)).unwrap();

        assert_eq!(rows.len(), 11);
        assert_eq!(store.now(|c| kept(c, Path::new("/drop"))).unwrap().len(), 1);
        assert!(rows.is_sorted_by(|a, b| a.id > b.id));
    }
}
