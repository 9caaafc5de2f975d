//! The shape of the database, step by step. A step that was released is never edited; the next one is added below it.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

const STEPS: &[M<'_>] = &[
    M::up(
        "CREATE TABLE settings (
         key   TEXT PRIMARY KEY,
         value TEXT NOT NULL
     ) STRICT;
     CREATE TABLE peers (
         id           BLOB PRIMARY KEY CHECK (length(id) = 32),
         name         TEXT NOT NULL,
         alias        TEXT,
         trust        TEXT NOT NULL,
         last_seen_ms INTEGER,
         version      TEXT NOT NULL DEFAULT ''
     ) STRICT;
     CREATE TABLE addresses (
         peer    BLOB NOT NULL REFERENCES peers (id) ON DELETE CASCADE,
         address TEXT NOT NULL,
         fixed   INTEGER NOT NULL,
         ok_ms   INTEGER NOT NULL,
         PRIMARY KEY (peer, address)
     ) STRICT;
     CREATE TABLE transfers (
         id         INTEGER PRIMARY KEY AUTOINCREMENT,
         key        BLOB NOT NULL CHECK (length(key) = 16),
         direction  TEXT NOT NULL,
         peer       BLOB NOT NULL,
         state      TEXT NOT NULL,
         changed_ms INTEGER NOT NULL,
         record     TEXT NOT NULL,
         UNIQUE (direction, peer, key)
     ) STRICT;
     CREATE INDEX transfers_by_state ON transfers (state, id);
     CREATE TABLE contents (
         hash BLOB NOT NULL CHECK (length(hash) = 32),
         path BLOB NOT NULL,
         size INTEGER NOT NULL,
         PRIMARY KEY (hash, path)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX contents_by_size ON contents (size);
     CREATE INDEX contents_by_path ON contents (path);
     CREATE TABLE hashes (
         dev      INTEGER NOT NULL,
         ino      INTEGER NOT NULL,
         size     INTEGER NOT NULL,
         mtime_ns INTEGER NOT NULL,
         ctime_ns INTEGER NOT NULL,
         hash     BLOB NOT NULL CHECK (length(hash) = 32),
         PRIMARY KEY (dev, ino)
     ) STRICT, WITHOUT ROWID;",
    ),
    M::up(
        "ALTER TABLE peers ADD COLUMN blocked_from TEXT;
     CREATE TABLE outboxes (
         peer     BLOB PRIMARY KEY CHECK (length(peer) = 32),
         epoch    INTEGER NOT NULL,
         last_seq INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE heard (
         peer  BLOB NOT NULL CHECK (length(peer) = 32),
         epoch INTEGER NOT NULL,
         seq   INTEGER NOT NULL,
         at_ms INTEGER NOT NULL,
         PRIMARY KEY (peer, epoch)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE knocks (
         peer  BLOB PRIMARY KEY CHECK (length(peer) = 32),
         at_ms INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE messages (
         no        INTEGER PRIMARY KEY AUTOINCREMENT,
         id        BLOB NOT NULL CHECK (length(id) = 16),
         peer      BLOB NOT NULL CHECK (length(peer) = 32),
         direction TEXT NOT NULL,
         state     TEXT NOT NULL,
         at_ms     INTEGER NOT NULL,
         seq       INTEGER,
         request   BLOB,
         untold    INTEGER NOT NULL DEFAULT 0,
         transfer  INTEGER,
         text      TEXT NOT NULL,
         folded    TEXT,
         UNIQUE (peer, direction, id)
     ) STRICT;
     CREATE INDEX messages_by_peer ON messages (peer, no);
     CREATE UNIQUE INDEX messages_by_request ON messages (peer, request) WHERE request IS NOT NULL;
     CREATE INDEX messages_pending ON messages (peer, seq) WHERE state IN ('queued', 'sent');
     CREATE INDEX messages_unread ON messages (peer, no) WHERE state = 'received';
     CREATE INDEX messages_untold ON messages (peer, no) WHERE untold = 1;
     CREATE VIRTUAL TABLE messages_text USING fts5 (text, content = 'messages', content_rowid = 'no', tokenize = 'trigram');
     CREATE TRIGGER messages_are_found AFTER INSERT ON messages BEGIN
         INSERT INTO messages_text (rowid, text) VALUES (new.no, new.text);
     END;
     CREATE TABLE groups (
         name TEXT NOT NULL,
         peer BLOB NOT NULL CHECK (length(peer) = 32),
         PRIMARY KEY (name, peer)
     ) STRICT, WITHOUT ROWID;",
    ),
    M::up(
        "CREATE TABLE policy (
         place INTEGER PRIMARY KEY,
         name  TEXT NOT NULL UNIQUE,
         rule  TEXT NOT NULL
     ) STRICT;
     CREATE TABLE decisions (
         no       INTEGER PRIMARY KEY AUTOINCREMENT,
         at_ms    INTEGER NOT NULL,
         peer     BLOB NOT NULL CHECK (length(peer) = 32),
         label    TEXT NOT NULL,
         stranger INTEGER NOT NULL,
         rule     TEXT NOT NULL,
         action   TEXT NOT NULL,
         transfer INTEGER,
         note     TEXT NOT NULL
     ) STRICT;
     CREATE INDEX decisions_by_kind ON decisions (stranger, no);",
    ),
    M::up(
        "CREATE TABLE drop_names (
         name TEXT PRIMARY KEY,
         peer BLOB NOT NULL CHECK (length(peer) = 32)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE drops (
         id         INTEGER PRIMARY KEY AUTOINCREMENT,
         root       BLOB NOT NULL,
         place      BLOB NOT NULL,
         target     TEXT NOT NULL,
         print      BLOB NOT NULL CHECK (length(print) = 16),
         ino        INTEGER NOT NULL,
         stage      TEXT NOT NULL,
         reason     TEXT,
         filed      BLOB,
         changed_ms INTEGER NOT NULL
     ) STRICT;
     CREATE INDEX drops_by_place ON drops (root, place);
     CREATE INDEX drops_by_stage ON drops (stage, id);
     CREATE TABLE drop_receivers (
         drop_id  INTEGER NOT NULL,
         peer     BLOB NOT NULL CHECK (length(peer) = 32),
         transfer INTEGER,
         done     INTEGER NOT NULL,
         PRIMARY KEY (drop_id, peer)
     ) STRICT, WITHOUT ROWID;",
    ),
    M::up(
        "ALTER TABLE messages ADD COLUMN audience TEXT;
     CREATE INDEX messages_by_audience ON messages (audience, no) WHERE audience IS NOT NULL;",
    ),
    M::up(
        "DROP TABLE hashes;
     CREATE TABLE hashes (
         dev      INTEGER NOT NULL,
         ino      INTEGER NOT NULL,
         witness  BLOB NOT NULL CHECK (length(witness) = 32),
         size     INTEGER NOT NULL,
         mtime_ns INTEGER NOT NULL,
         ctime_ns INTEGER NOT NULL,
         hash     BLOB NOT NULL CHECK (length(hash) = 32),
         PRIMARY KEY (dev, ino, witness)
     ) STRICT, WITHOUT ROWID;",
    ),
    M::up("ALTER TABLE drops ADD COLUMN travels_as BLOB;"),
];

pub(super) fn run(connection: &mut Connection) -> Result<(), rusqlite_migration::Error> {
    Migrations::from_slice(STEPS).to_latest(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_applies_to_the_one_before() {
        assert!(Migrations::from_slice(STEPS).validate().is_ok());
    }
}
