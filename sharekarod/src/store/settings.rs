//! Small facts by name: what a person chose while the daemon ran.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// The value of a key.
pub fn get(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM settings WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// Sets a key.
pub fn set(transaction: &Transaction<'_>, key: &str, value: &str) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO settings (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        params![key, value],
    )?;
    Ok(())
}

/// What our person says of himself, as JSON.
pub const PRESENCE: &str = "presence";
