//! What survives a restart: SQLite, one file a noun.
//!
//! One connection behind a lock, used from blocking threads. A write says how durable it has to be: `Durable` has
//! reached the disk when it returns, `Soon` survives a killed process at once and a power cut a little later.

pub mod contents;
pub mod crowd;
pub mod decisions;
pub mod drops;
pub mod groups;
pub mod messages;
mod migrations;
pub mod peers;
pub mod policy;
pub mod record;
pub mod settings;
pub mod transfers;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, Params, Row, Statement, Transaction, TransactionBehavior, config::DbConfig};

/// Why something could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or the file cannot be used.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite said no.
    #[error("the database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by a newer version.
    #[error("the database {} was written by a newer ShareKaro; install that one again", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// A step of the migration failed.
    #[error("cannot bring the database up to date: {0}")]
    Migration(rusqlite_migration::Error),
    /// The thread that did the work is gone.
    #[error("the database work was interrupted")]
    Interrupted,
}

impl Error {
    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Sqlite(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }
}

/// How much a write has to survive before it counts as written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// A power cut.
    Durable,
    /// The death of the process; a power cut only after the next durable write.
    Soon,
}

/// What the database was found to be.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Where the damaged database was put, if it was damaged: the store is a new one then.
    pub damaged: Option<PathBuf>,
}

/// The database; a cheap handle.
#[derive(Clone, Debug)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
}

impl Store {
    /// Opens (or makes) `sharekaro.db` in the state folder and brings it up to date. A damaged file is moved aside,
    /// never deleted.
    ///
    /// # Errors
    /// A folder that cannot be written, a database of a newer version.
    pub fn open(state_dir: &Path) -> Result<Opened, Error> {
        let path = state_dir.join("sharekaro.db");
        match Self::open_sound(&path) {
            Err(Error::Sqlite(e)) if is_damage(&e) => {
                let aside = set_aside(&path).map_err(|source| Error::Open { path: path.clone(), source })?;
                Ok(Opened { store: Self::open_sound(&path)?, damaged: Some(aside) })
            }
            opened => Ok(Opened { store: opened?, damaged: None }),
        }
    }

    fn open_sound(path: &Path) -> Result<Self, Error> {
        let mut connection = Connection::open(path)?;
        // closing a damaged one would take its log with it, and what is in it alone
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "cache_size", -1024)?; // KiB; the idle daemon stays small
        connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
        let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if sound != "ok" {
            return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(sound)).into());
        }
        migrations::run(&mut connection).map_err(|e| match e {
            rusqlite_migration::Error::MigrationDefinition(rusqlite_migration::MigrationDefinitionError::DatabaseTooFarAhead) => {
                Error::Newer { path: path.to_owned() }
            }
            rusqlite_migration::Error::RusqliteError { err, .. } => Error::Sqlite(err),
            e => Error::Migration(e),
        })?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// One transaction: all of it or nothing.
    ///
    /// # Errors
    /// What the work or SQLite says; nothing was written then.
    pub async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.blocking(move |connection| {
            connection.pragma_update(None, "synchronous", if durability == Durability::Durable { "FULL" } else { "NORMAL" })?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
        .await
    }

    /// Looks something up.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.blocking(move |connection| work(connection)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let connection = Arc::clone(&self.connection);
        let done = tokio::task::spawn_blocking(move || work(&mut lock(&connection))).await;
        Ok(done.map_err(|_| Error::Interrupted)??)
    }

    /// For the start of the daemon, where nothing else runs yet.
    pub(crate) fn now<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        Ok(work(&lock(&self.connection))?)
    }
}

/// A panic elsewhere leaves the connection usable: its transaction was rolled back.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rows of `what` that make sense. One that does not can only have been edited by hand: it is passed over, with a
/// warning. That SQLite cannot go on is an error: what it did not read would be missing as if it had never been there.
fn sensible<T>(
    statement: &mut Statement<'_>,
    params: impl Params,
    what: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let (mut rows, mut sensible) = (statement.query(params)?, Vec::new());
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(one) => sensible.push(one),
            Err(e) => tracing::warn!("one of the {what} that were kept makes no sense and is passed over: {e}"),
        }
    }
    Ok(sensible)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase))
}

/// Moves the damaged database out of the way, with its log: what was written last is often in there alone.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let stamp = jiff::Timestamp::now().as_second();
    let aside = path.with_extension(format!("db.damaged-{stamp}"));
    let beside = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let unless_missing = |done: io::Result<()>| match done {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    unless_missing(fs::rename(beside(path, "-wal"), beside(&aside, "-wal")))?; // first: a new database must not find it
    unless_missing(fs::remove_file(beside(path, "-shm")))?; // an index of the log, made anew from it
    fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_damaged_database_is_moved_aside_and_a_new_one_works() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        fs::write(dir.path().join("sharekaro.db"), vec![7u8; 9000]).unwrap();

        let opened = Store::open(dir.path()).unwrap();

        assert!(opened.damaged.is_some_and(|aside| aside.exists()));
        opened.store.write(Durability::Durable, |t| t.execute("INSERT INTO settings (key, value) VALUES ('a', 'b')", [])).await.unwrap();
    }

    #[test]
    fn the_log_of_a_damaged_database_is_kept_with_it() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        fs::write(dir.path().join("sharekaro.db"), vec![7u8; 9000]).unwrap();
        fs::write(dir.path().join("sharekaro.db-wal"), "what was written last").unwrap();

        let aside = Store::open(dir.path()).unwrap().damaged.unwrap();

        let log = dir.path().join(format!("{}-wal", aside.file_name().unwrap().to_str().unwrap()));
        assert_eq!(fs::read_to_string(log).unwrap(), "what was written last");
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        store.now(|c| c.pragma_update(None, "user_version", 9999)).unwrap();
        drop(store);

        assert!(matches!(Store::open(dir.path()), Err(Error::Newer { .. })));
    }

    #[test]
    fn a_row_that_makes_no_sense_is_passed_over_and_one_that_cannot_be_read_is_an_error() {
        let connection = Connection::open_in_memory().unwrap();
        let numbers = |sql: &str| sensible(&mut connection.prepare(sql).unwrap(), [], "numbers", |row| row.get::<_, i64>(0));

        assert_eq!(numbers("SELECT 1 UNION ALL SELECT 'x' UNION ALL SELECT 3").unwrap(), [1, 3]);
        assert!(numbers("SELECT 1 UNION ALL SELECT abs(-9223372036854775807 - 1)").is_err());
    }

    #[tokio::test]
    async fn a_write_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;

        let failed = store
            .write(Durability::Soon, |t| {
                t.execute("INSERT INTO settings (key, value) VALUES ('a', 'b')", [])?;
                t.execute("INSERT INTO nothing VALUES (1)", [])
            })
            .await;

        assert!(failed.is_err());
        assert_eq!(store.read(|c| c.query_row("SELECT count(*) FROM settings", [], |r| r.get::<_, i64>(0))).await.unwrap(), 0);
    }
}
