//! What a person says about a peer: rename, trust, block, forget.

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId,
    control::peer::{Peer, Peers, Rename, SetTrust},
    nouns::{shell::ShellWord, text::is_obeyed, trust::Trust},
};

use tokio::sync::MutexGuard;

use super::table::Known;
use crate::{
    engine::Engine,
    net::Code,
    store::{self, Durability},
};

/// The right to change what is kept of peers and groups.
#[derive(Default)]
pub struct OneChange;

/// The longest alias, in bytes.
const ALIAS_MAX: usize = 63;

impl Engine {
    /// All peers.
    pub fn peers(&self) -> Peers {
        self.look(|state| Peers { peers: state.peers.views() })
    }

    /// One peer.
    ///
    /// # Errors
    /// Nobody, or several.
    pub fn peer(&self, target: &str) -> Result<Peer, ErrorBody> {
        let id = self.find_peer(target)?;
        self.look(|state| state.peers.view(&id)).ok_or_else(|| ErrorBody::new(ErrorCode::NotFound, format!("{target:?} is gone")))
    }

    /// Gives a peer another alias.
    ///
    /// # Errors
    /// Nobody, or several; a name that is taken or cannot be used as a target.
    pub async fn rename(&self, target: &str, rename: Rename) -> Result<Peer, ErrorBody> {
        let (id, alias) = (self.find_peer(target)?, rename.alias.trim().to_owned());
        check_alias(&alias)?;
        let changes = self.one_change().await;
        self.no_other_is_called(id, &alias)?;
        self.edit_peer(&changes, id, |known| known.alias = Some(alias.clone())).await
    }

    /// Says what a paired peer may do without asking.
    ///
    /// # Errors
    /// Nobody, or several; a peer that is not paired.
    pub async fn set_trust(&self, target: &str, wanted: SetTrust) -> Result<Peer, ErrorBody> {
        let id = self.find_peer(target)?;
        if !wanted.trust.paired() {
            return Err(ErrorBody::new(ErrorCode::Usage, format!("trust cannot be set to {}", wanted.trust)).hint("ask, accept or decline"));
        }
        let changes = self.one_change().await;
        if !self.is_paired(id) {
            return Err(self.not_paired(id));
        }
        let peer = self.edit_peer(&changes, id, |known| known.trust = wanted.trust).await?;
        drop(changes);
        self.note_person(id, "trust", wanted.trust.word());
        Ok(peer)
    }

    /// What is said where only a paired peer will do.
    pub(crate) fn not_paired(&self, id: DeviceId) -> ErrorBody {
        let name = self.label(id);
        ErrorBody::new(ErrorCode::NotTrusted, format!("{name} is not paired")).hint(format!("`sharectl pair {}` first", ShellWord(&name)))
    }

    /// From now on it may not even connect; what stands between us ends at once.
    ///
    /// # Errors
    /// Nobody, or several.
    pub async fn block(&self, target: &str) -> Result<Peer, ErrorBody> {
        let id = self.find_peer(target)?;
        let block = |known: &mut Known| {
            if known.trust != Trust::Blocked {
                known.blocked_from = Some(known.trust);
                known.trust = Trust::Blocked;
            }
        };
        self.edit_peer(&self.one_change().await, id, block).await?;
        self.part_from(id);
        self.note_person(id, "block", "");
        self.peer(&id.to_string())
    }

    /// It is again what it was before it was blocked.
    ///
    /// # Errors
    /// Nobody, or several.
    pub async fn unblock(&self, target: &str) -> Result<Peer, ErrorBody> {
        let id = self.find_peer(target)?;
        let changes = self.one_change().await;
        if self.is_blocked(&id) {
            self.edit_peer(&changes, id, |known| known.trust = known.blocked_from.take().unwrap_or(Trust::Unknown)).await?;
            drop(changes);
            self.note_person(id, "unblock", "");
            self.keep_connected(id);
        }
        self.peer(&id.to_string())
    }

    /// Everything that a person said of it is gone, in groups too; it has to be paired anew. What is open with it ends.
    ///
    /// # Errors
    /// Nobody, or several.
    pub async fn forget(&self, target: &str) -> Result<(), ErrorBody> {
        let id = self.find_peer(target)?;
        let changes = self.one_change().await;
        let given_up = self.store().write(Durability::Durable, move |t| store::peers::forget(t, id)).await?;
        self.update(|state| {
            state.peers.forget(&id);
            state.groups.values_mut().for_each(|peers| _ = peers.remove(&id));
            state.groups.retain(|_, peers| !peers.is_empty());
            state.messages.changed(given_up);
        });
        drop(changes);
        self.drop_targets_changed();
        self.note_person(id, "forget", "");
        self.cancel_all_with(id).await;
        self.part_from(id);
        self.keep_connected(id);
        Ok(())
    }

    async fn cancel_all_with(&self, id: DeviceId) {
        let open: Vec<TransferId> = self.look(|state| {
            let records = state.transfers.iter().map(|row| &row.record);
            records.filter(|record| record.peer == id && !record.state.ended()).map(|record| record.id).collect()
        });
        for transfer in open {
            if let Err(e) = self.cancel(transfer).await {
                tracing::warn!(id = %transfer, "cannot cancel what was open with a peer that is forgotten: {}", e.message);
            }
        }
    }

    /// A person, or a code that a person passed on, confirmed this key.
    ///
    /// # Errors
    /// It is blocked, or it could not be kept; then it is not trusted.
    pub(crate) async fn pair_with(&self, id: DeviceId) -> Result<Peer, ErrorBody> {
        let changes = self.one_change().await;
        if self.is_blocked(&id) {
            let name = self.label(id);
            let unblock = format!("`sharectl peer unblock {}`, then pair again", ShellWord(&name));
            return Err(ErrorBody::new(ErrorCode::NotTrusted, format!("{name} is blocked")).hint(unblock));
        }
        let pair = |known: &mut Known| {
            known.words = None;
            if !known.trust.paired() {
                known.trust = Trust::Accept;
            }
        };
        let peer = self.edit_peer(&changes, id, pair).await?;
        drop(changes);
        if let Some(session) = self.open_session(&id) {
            session.trust();
            self.tell_presence(&session);
        }
        self.no_stranger_any_more(id).await?;
        self.note_person(id, "pair", id.to_string());
        tracing::info!(peer = %peer.alias, key = %id, "paired");
        Ok(peer)
    }

    /// What a person says of peers and groups is kept one after the other: of two that read, kept and applied at once, one
    /// would be lost, or come back with the next start.
    pub(super) async fn one_change(&self) -> MutexGuard<'_, OneChange> {
        self.inner.people.lock().await
    }

    pub(crate) fn is_paired(&self, id: DeviceId) -> bool {
        self.look(|state| state.peers.get(&id).is_some_and(|known| known.trust.paired()))
    }

    fn is_blocked(&self, id: &DeviceId) -> bool {
        self.look(|state| state.peers.get(id).is_some_and(|known| known.trust == Trust::Blocked))
    }

    pub(super) fn no_other_is_called(&self, id: DeviceId, alias: &str) -> Result<(), ErrorBody> {
        if self.look(|state| state.peers.iter().any(|known| known.id != id && known.alias.as_deref() == Some(alias))) {
            return Err(ErrorBody::new(ErrorCode::WrongState, format!("another peer is called {alias:?}")).hint("rename that one first"));
        }
        Ok(())
    }

    /// Changes a peer in the store, then here, while nothing else changes one.
    pub(super) async fn edit_peer(
        &self,
        _changes: &MutexGuard<'_, OneChange>,
        id: DeviceId,
        change: impl Fn(&mut Known),
    ) -> Result<Peer, ErrorBody> {
        let gone = || ErrorBody::new(ErrorCode::NotFound, "this peer is gone");
        let mut row = self.look(|state| state.peers.get(&id).map(Known::row)).ok_or_else(gone)?;
        let mut changed = Known::from_row(row);
        change(&mut changed);
        row = changed.row();
        self.store().write(Durability::Durable, move |t| store::peers::save(t, &row)).await?;
        self.update(|state| {
            let known = state.peers.edit(&id)?;
            known.kept = true;
            change(known);
            state.peers.view(&id)
        })
        .ok_or_else(gone)
    }

    /// Ends the session with a peer.
    fn part_from(&self, id: DeviceId) {
        if let Some(session) = self.open_session(&id) {
            session.close(Code::Refused);
        }
    }
}

/// Whether a peer can be called so.
///
/// # Errors
/// A name that cannot be used as a target.
pub(super) fn check_alias(alias: &str) -> Result<(), ErrorBody> {
    if is_alias(alias) {
        return Ok(());
    }
    Err(ErrorBody::new(ErrorCode::Usage, format!("{alias:?} cannot be an alias"))
        .hint("1 to 63 bytes, no comma or slash, not `all`, not beginning with @, #, - or k:"))
}

fn is_alias(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ALIAS_MAX
        && text != "all"
        && !text.starts_with(['@', '#', '-'])
        && !text.starts_with("k:")
        && !text.chars().any(|c| c == ',' || c == '/' || is_obeyed(c))
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::{
        control::{
            message::{GroupPeers, WriteMessage},
            transfer::Send,
        },
        nouns::transfer::TransferState,
    };

    use super::*;
    use crate::engine::tests::quiet;

    const BOB: DeviceId = DeviceId::from_bytes([2; 32]);

    async fn with_bob() -> (Engine, tempfile::TempDir) {
        let (engine, dir) = quiet();
        engine.update(|state| state.peers.meet(BOB, "bob").map(drop));
        engine.pair_with(BOB).await.unwrap();
        engine.update(|state| state.peers.edit(&BOB).unwrap().addresses.clear());
        (engine, dir)
    }

    async fn kept(engine: &Engine) -> Vec<store::peers::PeerRow> {
        engine.store().read(store::peers::load).await.unwrap()
    }

    #[tokio::test]
    async fn of_two_changes_at_once_none_is_lost() {
        let (engine, _dir) = with_bob().await;

        let (renamed, trusted) =
            tokio::join!(engine.rename("bob", Rename { alias: "robert".into() }), engine.set_trust("bob", SetTrust { trust: Trust::Ask }));

        renamed.and(trusted).unwrap();
        let kept = kept(&engine).await;
        assert_eq!((kept[0].alias.as_deref(), kept[0].trust), (Some("robert"), Trust::Ask));
    }

    #[tokio::test]
    async fn a_block_and_a_session_at_once_leave_a_blocked_peer_after_a_restart_too() {
        let (engine, _dir) = with_bob().await;

        let (blocked, ()) = tokio::join!(engine.block("bob"), engine.keep_as_it_is(BOB));

        blocked.unwrap();
        assert_eq!(kept(&engine).await[0].trust, Trust::Blocked);
        assert_eq!(engine.pair_with(BOB).await.unwrap_err().code, ErrorCode::NotTrusted);
    }

    #[tokio::test]
    async fn who_is_forgotten_is_in_no_group_and_nothing_is_open_with_it() {
        let (engine, dir) = with_bob().await;
        let carol = DeviceId::from_bytes([3; 32]);
        engine.update(|state| state.peers.meet(carol, "carol").map(drop));
        engine.pair_with(carol).await.unwrap();
        let both = GroupPeers { peers: vec!["bob".into(), "carol".into()] };
        engine.add_to_group("team", &both).await.unwrap();
        engine.add_to_group("bobs", &GroupPeers { peers: vec!["bob".into()] }).await.unwrap();
        let sent = engine.send_to(&Send::default(), &[BOB, carol], &[dir.path().to_owned()]).await.unwrap().transfers;
        let text = WriteMessage { target: "@team".into(), text: "hello".into(), id: None };
        engine.write_message(text.clone()).await.unwrap();

        engine.forget("bob").await.unwrap();

        let groups = engine.store().read(store::groups::load).await.unwrap();
        assert_eq!(groups, store::groups::Groups::from([("team".to_owned(), [carol].into())]));
        assert_eq!(engine.look(|state| state.groups.clone()), groups);
        for it in sent {
            let cancelled = engine.transfer(it.id).unwrap().state == TransferState::Cancelled;
            assert_eq!(cancelled, it.peer_id == BOB, "{}", it.peer);
        }
        assert_eq!(engine.store().read(|c| store::messages::pending(c, BOB, 9, 99)).await.unwrap().1, []);
    }

    #[tokio::test]
    async fn who_is_blocked_keeps_nothing_from_the_others_of_its_group() {
        let (engine, _dir) = with_bob().await;
        let carol = DeviceId::from_bytes([3; 32]);
        engine.update(|state| state.peers.meet(carol, "carol").map(drop));
        engine.pair_with(carol).await.unwrap();
        engine.add_to_group("team", &GroupPeers { peers: vec!["bob".into(), "carol".into()] }).await.unwrap();

        engine.block("bob").await.unwrap();

        let text = WriteMessage { target: "@team".into(), text: "hello".into(), id: None };
        assert_eq!(engine.write_message(text).await.unwrap().messages.len(), 1);
        assert_eq!(engine.resolve("@team").unwrap(), [carol]);
        engine.unblock("bob").await.unwrap();
        assert_eq!(engine.resolve("@team").unwrap(), [BOB, carol]);
    }

    #[tokio::test]
    async fn a_forgotten_peer_does_not_come_back_with_its_last_session() {
        let (engine, _dir) = with_bob().await;

        let (forgotten, ()) = tokio::join!(engine.forget("bob"), engine.keep_as_it_is(BOB));

        forgotten.unwrap();
        assert_eq!(kept(&engine).await, []);
    }

    #[test]
    fn an_alias_can_be_typed_as_a_target() {
        for good in ["bob", "my laptop", "büro-2", "नमस्ते"] {
            assert!(is_alias(good), "{good}");
        }
        for bad in ["", "all", "@team", "#room", "-x", "a,b", "a/b", "a\nb", "k:abcd", &"x".repeat(64)] {
            assert!(!is_alias(bad), "{bad}");
        }
    }
}
