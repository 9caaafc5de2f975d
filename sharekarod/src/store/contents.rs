//! What content is where: files that we received, so that the same is never fetched twice; and hashes of files that we
//! sent, so that they need not be read again to be named.

use std::{
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

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

/// The hash of a file that is still what it was when it was hashed.
pub fn hash_of(connection: &Connection, key: &HashKey) -> rusqlite::Result<Option<Value>> {
    connection
        .prepare_cached("SELECT hash FROM hashes WHERE dev = ?1 AND ino = ?2 AND size = ?3 AND mtime_ns = ?4 AND ctime_ns = ?5")?
        .query_row(numbers(key), |row| row.get(0))
        .optional()
}

/// Whether any hash is known at all.
pub fn knows_hashes(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM hashes LIMIT 1")?.exists([])
}

/// Remembers the hash of a file.
pub fn set_hash(transaction: &Transaction<'_>, key: &HashKey, hash: &Value) -> rusqlite::Result<()> {
    let [dev, ino, size, mtime_ns, ctime_ns] = numbers(key);
    transaction
        .prepare_cached("INSERT OR REPLACE INTO hashes (dev, ino, size, mtime_ns, ctime_ns, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![dev, ino, size, mtime_ns, ctime_ns, hash])?;
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
    async fn a_hash_holds_only_for_the_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let key = HashKey { dev: 1, ino: 2, size: 3, mtime_ns: 4, ctime_ns: 5 };

        store.write(Durability::Soon, move |t| set_hash(t, &key, &[7; 32])).await.unwrap();

        assert_eq!(store.read(move |c| hash_of(c, &key)).await.unwrap(), Some([7; 32]));
        assert_eq!(store.read(move |c| hash_of(c, &HashKey { ctime_ns: 6, ..key })).await.unwrap(), None);
    }
}
