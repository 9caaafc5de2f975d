//! What content is where: files that we received, so that the same is never fetched twice; and hashes of files that we
//! sent, so that they need not be read again to be named.
//!
//! Most hashes of what was sent are the word of who received it. Nobody else is told by them what a file of ours is.

use std::{
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use sharekaro_proto::DeviceId;

use crate::files::{HashKey, Value};

/// A file with this content may be here. It has to be read to be believed.
pub fn paths_with(connection: &Connection, hash: &Value) -> rusqlite::Result<Vec<PathBuf>> {
    let mut statement = connection.prepare_cached("SELECT path FROM contents WHERE hash = ?1 LIMIT 4")?;
    let rows = statement.query_map([hash], |row| Ok(PathBuf::from(std::ffi::OsString::from_vec(row.get(0)?))))?;
    rows.collect()
}

/// Files of this size that were received, at most so many.
pub fn paths_of_size(connection: &Connection, size: u64, most: u32) -> rusqlite::Result<Vec<PathBuf>> {
    let mut statement = connection.prepare_cached("SELECT path FROM contents WHERE size = ?1 LIMIT ?2")?;
    let rows =
        statement.query_map(params![size.cast_signed(), most], |row| Ok(PathBuf::from(std::ffi::OsString::from_vec(row.get(0)?))))?;
    rows.collect()
}

/// A file with this content is there now.
pub fn add(transaction: &Transaction<'_>, hash: &Value, size: u64, path: &Path) -> rusqlite::Result<()> {
    transaction.prepare_cached("INSERT OR REPLACE INTO contents (hash, size, path) VALUES (?1, ?2, ?3)")?.execute(params![
        hash,
        size.cast_signed(),
        path.as_os_str().as_bytes()
    ])?;
    Ok(())
}

/// It is not, or not with this content.
pub fn remove(transaction: &Transaction<'_>, path: &Path) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM contents WHERE path = ?1")?.execute([path.as_os_str().as_bytes()])?;
    Ok(())
}

/// The hash of a file that is still what it was when one of these hashed it; the word of the first counts before the others'.
pub fn hash_of(connection: &Connection, key: &HashKey, witnesses: &[DeviceId]) -> rusqlite::Result<Option<Value>> {
    if !key.is_unique() {
        return Ok(None);
    }
    let [dev, ino, size, mtime_ns, ctime_ns] = numbers(key);
    let mut statement = connection.prepare_cached(
        "SELECT hash FROM hashes WHERE dev = ?1 AND ino = ?2 AND witness = ?3 AND size = ?4 AND mtime_ns = ?5 AND ctime_ns = ?6",
    )?;
    for witness in witnesses {
        let asked = params![dev, ino, witness.as_bytes(), size, mtime_ns, ctime_ns];
        if let Some(hash) = statement.query_row(asked, |row| row.get(0)).optional()? {
            return Ok(Some(hash));
        }
    }
    Ok(None)
}

/// Whether any hash is known at all.
pub fn knows_hashes(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM hashes LIMIT 1")?.exists([])
}

/// Remembers the hash of a file, as this device says it is, where the file can be told from all others.
pub fn set_hash(transaction: &Transaction<'_>, key: &HashKey, hash: &Value, witness: DeviceId) -> rusqlite::Result<()> {
    if !key.is_unique() {
        return Ok(());
    }
    let [dev, ino, size, mtime_ns, ctime_ns] = numbers(key);
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO hashes (dev, ino, witness, size, mtime_ns, ctime_ns, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![dev, ino, witness.as_bytes(), size, mtime_ns, ctime_ns, hash])?;
    Ok(())
}

fn numbers(key: &HashKey) -> [i64; 5] {
    [key.dev.cast_signed(), key.ino.cast_signed(), key.size.cast_signed(), key.mtime_ns, key.ctime_ns]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Durability, Store};

    #[tokio::test]
    async fn content_is_found_by_its_hash_until_its_place_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let path = Path::new("/in/box");

        store.write(Durability::Soon, move |t| add(t, &[1; 32], 9, path)).await.unwrap();
        assert_eq!(store.read(|c| paths_with(c, &[1; 32])).await.unwrap(), [path]);
        assert_eq!(store.read(|c| paths_of_size(c, 9, 1)).await.unwrap(), [path]);
        assert!(store.read(|c| paths_of_size(c, 8, 1)).await.unwrap().is_empty());

        store.write(Durability::Soon, move |t| remove(t, path)).await.unwrap();
        assert!(store.read(|c| paths_with(c, &[1; 32])).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_hash_holds_only_for_the_file_as_it_was_and_for_who_believes_its_witness() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let key = HashKey { dev: 1, ino: 2, size: 3, mtime_ns: 4, ctime_ns: 5 };

        let [us, bob, mallory] = [1, 2, 3].map(|no| DeviceId::from_bytes([no; 32]));
        let of = |key: HashKey, witnesses: &[DeviceId]| store.now(|c| hash_of(c, &key, witnesses)).unwrap();

        store.write(Durability::Soon, move |t| set_hash(t, &key, &[7; 32], bob)).await.unwrap();
        store.write(Durability::Soon, move |t| set_hash(t, &key, &[8; 32], mallory)).await.unwrap();

        assert_eq!(of(key, &[us, bob]), Some([7; 32]));
        assert_eq!(of(HashKey { ctime_ns: 6, ..key }, &[us, bob]), None);
        assert_eq!(of(key, &[us]), None);
        let coarse = HashKey { ctime_ns: 1_000_000_000, ..key };
        store.write(Durability::Soon, move |t| set_hash(t, &coarse, &[7; 32], us)).await.unwrap();
        assert_eq!(of(coarse, &[us]), None);

        store.write(Durability::Soon, move |t| set_hash(t, &key, &[9; 32], us)).await.unwrap();
        assert_eq!(of(key, &[us, bob]), Some([9; 32]));
    }
}
