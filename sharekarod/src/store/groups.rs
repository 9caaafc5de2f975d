//! Groups: peers under one name.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Transaction, params};
use sharekaro_proto::DeviceId;

use super::sensible;

/// All groups, by name.
pub type Groups = BTreeMap<String, BTreeSet<DeviceId>>;

/// All of them.
pub fn load(connection: &Connection) -> rusqlite::Result<Groups> {
    let mut groups = Groups::new();
    let mut statement = connection.prepare("SELECT name, peer FROM groups")?;
    let rows = sensible(&mut statement, [], "groups", |row| Ok((row.get::<_, String>(0)?, DeviceId::from_bytes(row.get(1)?))))?;
    for (name, peer) in rows {
        groups.entry(name).or_default().insert(peer);
    }
    Ok(groups)
}

/// Keeps a group as it is now; one without peers is gone.
pub fn save(transaction: &Transaction<'_>, name: &str, peers: &BTreeSet<DeviceId>) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM groups WHERE name = ?1", [name])?;
    for peer in peers {
        transaction.execute("INSERT INTO groups (name, peer) VALUES (?1, ?2)", params![name, peer.as_bytes()])?;
    }
    Ok(())
}

/// Takes a peer out of all groups.
pub fn leave(transaction: &Transaction<'_>, peer: DeviceId) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM groups WHERE peer = ?1", [peer.as_bytes()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Durability, Store};

    #[tokio::test]
    async fn a_group_comes_back_as_it_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let peers = BTreeSet::from([DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32])]);
        let kept = peers.clone();

        store.write(Durability::Durable, move |t| save(t, "team", &kept)).await.unwrap();

        assert_eq!(store.read(load).await.unwrap(), Groups::from([("team".to_owned(), peers)]));
        store.write(Durability::Durable, |t| save(t, "team", &BTreeSet::new())).await.unwrap();
        assert!(store.read(load).await.unwrap().is_empty());
    }
}
