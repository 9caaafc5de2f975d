//! `Peer1`: another device that we know, at `.../peers/k<id>`.

use std::collections::HashMap;

use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::{
        event::Fact,
        pairing::{Pairing, PairingState},
        peer::{Peer, PresenceState, Rename, SetTrust},
    },
    nouns::trust::Trust,
};
use zbus::{OwnedVariant, interface, object_server::SignalEmitter};

use super::{
    cell::Cell,
    options::Options,
    refusal::Refusal,
    text::{bus_text, bus_time},
    wishes::{Wish, Wishes},
};
use crate::engine::Engine;

/// A peer on the bus.
#[derive(Clone)]
pub(super) struct Peer1 {
    engine: Engine,
    wishes: Wishes,
    cell: Cell<Peer>,
}

impl Peer1 {
    /// The object of a peer.
    pub(super) fn new(engine: Engine, wishes: Wishes, peer: Peer) -> Self {
        Self { engine, wishes, cell: Cell::new(peer) }
    }

    /// What it shows.
    pub(super) fn cell(&self) -> &Cell<Peer> {
        &self.cell
    }

    /// Its key as a target: names may change, the key does not.
    fn target(&self) -> String {
        format!("k:{}", self.cell.now().id)
    }

    /// The peer with what changes all the while and is no event.
    fn now(&self) -> Peer {
        let shown = self.cell.now();
        self.engine.newest_peer(&shown.id).map_or_else(|| (*shown).clone(), |(_, newest)| newest)
    }

    /// The pairing with this peer that is under way.
    async fn pairing(&self) -> Option<u64> {
        let first = self.engine.subscribe().next().await?;
        let Fact::Snapshot(snapshot) = &first.fact else { return None };
        let under_way =
            |it: &&Pairing| it.peer.id == self.cell.now().id && matches!(it.state, PairingState::Starting | PairingState::Comparing);
        snapshot.pairings.iter().find(under_way).map(|it| it.id)
    }

    /// What a verb returned is what the object shows when the caller gets its reply.
    async fn shown(&self, changed: Result<Peer, ErrorBody>) -> Result<(), Refusal> {
        self.wishes.stand(Wish::Peer(Box::new(changed?))).await;
        Ok(())
    }
}

/// Another device that we know.
#[interface(name = "org.sharekaro.ShareKaro1.Peer1")]
impl Peer1 {
    /// Says what a paired peer may do without asking. mode: `ask`, `accept` or `decline`. There are no options yet.
    async fn set_trust(&self, mode: String, options: HashMap<String, OwnedVariant>) -> Result<(), Refusal> {
        Options::new(options).finish()?;
        let trust = Trust::from_word(&mode)
            .ok_or_else(|| Refusal::invalid(format!("trust cannot be set to {mode:?}"), "ask, accept or decline"))?;
        self.shown(self.engine.set_trust(&self.target(), SetTrust { trust }).await).await
    }

    /// Takes back everything that a person said of it; it has to be paired anew.
    async fn forget(&self) -> Result<(), Refusal> {
        Ok(self.engine.forget(&self.target()).await?)
    }

    /// From now on it may not even connect; what stands between us ends at once.
    async fn block(&self) -> Result<(), Refusal> {
        self.shown(self.engine.block(&self.target()).await).await
    }

    /// It is again what it was before it was blocked.
    async fn unblock(&self) -> Result<(), Refusal> {
        self.shown(self.engine.unblock(&self.target()).await).await
    }

    /// Asks it whether it is there. Returns the round-trip time in microseconds.
    #[zbus(out_args("usec"))]
    async fn ping(&self) -> Result<u64, Refusal> {
        let pong = self.engine.ping(&self.target()).await?;
        Ok(microseconds(pong.rtt_ms))
    }

    /// Answers a pairing that shows its words. same: whether the person sees the same words on both screens.
    async fn confirm_pairing(&self, same: bool) -> Result<(), Refusal> {
        let peer = self.cell.now();
        let pairing = self.pairing().await.ok_or_else(|| {
            ErrorBody::new(ErrorCode::WrongState, format!("no pairing with {} waits for an answer", peer.alias)).hint("begin one with Pair")
        })?;
        if same {
            self.engine.confirm_pairing(pairing).await?;
        } else {
            self.engine.give_up_pairing(pairing).await?;
        }
        self.shown(self.engine.peer(&self.target())).await
    }

    /// Its public key: 52 base32 characters.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> String {
        self.cell.now().id.to_string()
    }

    /// The same for reading aloud: in groups of four, with two check characters.
    #[zbus(property(emits_changed_signal = "const"))]
    fn fingerprint(&self) -> String {
        self.cell.now().id.grouped()
    }

    /// What it calls itself. Proves nothing.
    #[zbus(property)]
    fn name(&self) -> String {
        bus_text(&self.cell.now().name)
    }

    /// What we call it.
    #[zbus(property)]
    fn alias(&self) -> String {
        bus_text(&self.cell.now().alias)
    }

    #[zbus(property)]
    async fn set_alias(&self, alias: String) -> Result<(), Refusal> {
        self.shown(self.engine.rename(&self.target(), Rename { alias }).await).await
    }

    /// Whether it can be reached right now.
    #[zbus(property)]
    fn online(&self) -> bool {
        self.cell.now().online
    }

    /// When it was last reached, in seconds since 1970; 0 where it never was.
    #[zbus(property(emits_changed_signal = "false"))]
    fn last_seen(&self) -> u64 {
        self.now().last_seen.map_or(0, bus_time)
    }

    /// `unknown`, `pending`, `ask`, `accept`, `decline`, `blocked` or `changed`.
    #[zbus(property)]
    fn trust(&self) -> String {
        self.cell.now().trust.word().to_owned()
    }

    /// As `ip:port`, the one in use first.
    #[zbus(property)]
    fn addresses(&self) -> Vec<String> {
        self.cell.now().addresses.iter().map(|address| bus_text(address)).collect()
    }

    /// Round-trip time in microseconds; 0 where it is not known.
    #[zbus(property(emits_changed_signal = "false"))]
    fn rtt(&self) -> u64 {
        self.now().rtt_ms.map_or(0, microseconds)
    }

    /// The words of a pairing that waits for our person; empty where none does.
    #[zbus(property)]
    fn words(&self) -> String {
        self.cell.now().words.as_deref().map(bus_text).unwrap_or_default()
    }

    /// What its person says: `available` or `away`, and a line of text.
    #[zbus(property)]
    fn presence(&self) -> (String, String) {
        let peer = self.cell.now();
        let state = match peer.presence.state {
            PresenceState::Available => "available",
            PresenceState::Away => "away",
        };
        (state.to_owned(), bus_text(&peer.presence.text))
    }

    /// Version of its program, as it says.
    #[zbus(property)]
    fn version(&self) -> String {
        bus_text(&self.cell.now().version)
    }

    /// A pairing has words now: the person compares them with those on the other screen and answers with
    /// ConfirmPairing.
    #[zbus(signal)]
    pub(super) async fn pairing_requested(emitter: &SignalEmitter<'_>, words: &str) -> zbus::Result<()>;

    /// A device uses the name of this paired one with another key: it was set up anew, or somebody pretends. Both
    /// fingerprints.
    #[zbus(signal)]
    pub(super) async fn identity_changed(emitter: &SignalEmitter<'_>, trusted: &str, seen: &str) -> zbus::Result<()>;
}

/// Microseconds in milliseconds; what is no time is 0.
fn microseconds(ms: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(ms / 1e3).ok().and_then(|time| u64::try_from(time.as_micros()).ok()).unwrap_or(0)
}
