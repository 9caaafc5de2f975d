//! What survives a restart: SQLite, one file a noun.
