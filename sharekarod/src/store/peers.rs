//! Peers that a person dealt with, and where they were reached.

use std::net::SocketAddr;

use rusqlite::{Connection, Transaction, params};
use sharekaro_proto::{DeviceId, nouns::trust::Trust};

use super::{
    groups,
    messages::{self, MessageRow},
    sensible,
};

/// A peer as it is kept.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerRow {
    /// Its key.
    pub id: DeviceId,
    /// What it called itself last.
    pub name: String,
    /// What we call it.
    pub alias: Option<String>,
    /// What it may do.
    pub trust: Trust,
    /// What it may do again once it is no longer blocked.
    pub blocked_from: Option<Trust>,
    /// When it was last reached, milliseconds since 1970.
    pub last_seen_ms: Option<i64>,
    /// Version of its program.
    pub version: String,
    /// Where it was reached.
    pub addresses: Vec<AddressRow>,
}

/// An address of a peer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AddressRow {
    /// IP, port and, where link-local, interface.
    pub address: SocketAddr,
    /// A person added it: it is never dropped.
    pub fixed: bool,
    /// When it last worked, milliseconds since 1970.
    pub ok_ms: i64,
}

/// All of them. A row that makes no sense is passed over: it can only have been edited by hand.
pub fn load(connection: &Connection) -> rusqlite::Result<Vec<PeerRow>> {
    let mut statement = connection.prepare("SELECT id, name, alias, trust, last_seen_ms, version, blocked_from FROM peers")?;
    let mut peers = sensible(&mut statement, [], "peers", |row| {
        let trust: String = row.get(3)?;
        let blocked_from: Option<String> = row.get(6)?;
        Ok(PeerRow {
            id: DeviceId::from_bytes(row.get(0)?),
            name: row.get(1)?,
            alias: row.get(2)?,
            trust: Trust::from_word(&trust).unwrap_or(Trust::Unknown),
            blocked_from: blocked_from.and_then(|word| Trust::from_word(&word)),
            last_seen_ms: row.get(4)?,
            version: row.get(5)?,
            addresses: Vec::new(),
        })
    })?;
    let mut addresses = connection.prepare("SELECT address, fixed, ok_ms FROM addresses WHERE peer = ?1 ORDER BY ok_ms DESC")?;
    for peer in &mut peers {
        let rows = sensible(&mut addresses, [peer.id.as_bytes()], "addresses of peers", |row| {
            let address: String = row.get(0)?;
            Ok(address.parse().ok().map(|address| AddressRow {
                address,
                fixed: row.get(1).unwrap_or(false),
                ok_ms: row.get(2).unwrap_or(0),
            }))
        })?;
        peer.addresses = rows.into_iter().flatten().collect();
    }
    Ok(peers)
}

/// Keeps a peer as it is now, its addresses too.
pub fn save(transaction: &Transaction<'_>, peer: &PeerRow) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO peers (id, name, alias, trust, last_seen_ms, version, blocked_from) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET name = ?2, alias = ?3, trust = ?4, last_seen_ms = ?5, version = ?6, blocked_from = ?7",
        params![
            peer.id.as_bytes(),
            peer.name,
            peer.alias,
            peer.trust.word(),
            peer.last_seen_ms,
            peer.version,
            peer.blocked_from.map(Trust::word)
        ],
    )?;
    transaction.execute("DELETE FROM addresses WHERE peer = ?1", [peer.id.as_bytes()])?;
    for row in &peer.addresses {
        transaction.execute(
            "INSERT OR REPLACE INTO addresses (peer, address, fixed, ok_ms) VALUES (?1, ?2, ?3, ?4)",
            params![peer.id.as_bytes(), row.address.to_string(), row.fixed, row.ok_ms],
        )?;
    }
    Ok(())
}

/// Forgets a peer, in groups too. Texts that wait for it are given up: these.
pub fn forget(transaction: &Transaction<'_>, id: DeviceId) -> rusqlite::Result<Vec<MessageRow>> {
    transaction.execute("DELETE FROM peers WHERE id = ?1", [id.as_bytes()])?;
    groups::leave(transaction, id)?;
    messages::give_up(transaction, id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Durability, Store};

    #[tokio::test]
    async fn a_peer_comes_back_as_it_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let row = |address: &str| AddressRow { address: address.parse().unwrap(), fixed: true, ok_ms: 5 };
        let peer = PeerRow {
            id: DeviceId::from_bytes([3; 32]),
            name: "bob".into(),
            alias: Some("my bob".into()),
            trust: Trust::Accept,
            blocked_from: Some(Trust::Ask),
            last_seen_ms: Some(17),
            version: "0.1.0".into(),
            addresses: vec![row("10.0.0.1:47810"), row("[fe80::1%3]:47810")],
        };
        let kept = peer.clone();

        store.write(Durability::Durable, move |t| save(t, &kept)).await.unwrap();

        assert_eq!(store.read(load).await.unwrap(), std::slice::from_ref(&peer));
        store.write(Durability::Durable, move |t| forget(t, peer.id)).await.unwrap();
        assert_eq!(store.read(load).await.unwrap(), []);
    }
}
