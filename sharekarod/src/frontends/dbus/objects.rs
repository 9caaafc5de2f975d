//! The objects on the bus: what the engine's events say stands there, changes, and goes.
//!
//! One task owns this and is the only one that puts up or takes down objects. A verb here first makes every property
//! say what is, then tells: a client that asks after a signal never gets an older answer.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use sharekaro_proto::{
    DeviceId, TransferId,
    control::{
        event::{Event, Fact, IdentityAlarm, Snapshot},
        message::Message,
        pairing::{Pairing, PairingState},
        peer::Peer,
        status::Warning,
        transfer::Transfer,
    },
    nouns::transfer::{Direction, TransferState},
};
use tokio::time::Instant;
use zbus::{Connection, ObjectPath, OwnedObjectPath, Variant, connection::Builder, object_server::Interface};

use super::{
    Kind,
    ahead::Ahead,
    audience::Audience,
    drop::{Contents, Drop1},
    gate::Gate,
    gated::{Cost, Gated},
    manager::{Manager1, Overview},
    messages::{Messages1, fields},
    paths::{ROOT, drop_path, peer_path, transfer_path},
    peer::Peer1,
    spool::Spool,
    standing::Standing,
    text::{bus_count, bus_text},
    told::Told,
    transfer::Transfer1,
    wishes::{Wish, Wishes},
};
use crate::engine::{Engine, transfers::table::HISTORY_SHOWN};

/// So many paths go into the signal of an end.
const FINISHED_PATHS_MAX: usize = 100;

/// What came first: at the start of a connection nobody listens yet, and what is there is no news.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    Yes,
    No,
}

/// What stands on one connection.
pub(super) struct Objects {
    engine: Engine,
    audience: Audience,
    gate: Arc<Gate>,
    wishes: Wishes,
    standing: Standing,
    manager: Told<Manager1>,
    messages: Told<Messages1>,
    drops: Vec<Told<Drop1>>,
    peers: BTreeMap<DeviceId, Told<Peer1>>,
    transfers: BTreeMap<TransferId, Told<Transfer1>>,
    /// Objects that a reply made show more than the events told so far.
    ahead: Ahead,
    /// Pairings whose words were told.
    words_told: HashSet<u64>,
}

impl Objects {
    /// Connects with the object manager and the manager standing: a call may come with the first message already.
    pub(super) async fn connect(
        (builder, kind): (Builder<'_>, Kind),
        engine: Engine,
        gate: &Arc<Gate>,
        wishes: Wishes,
        spool: Arc<Spool>,
    ) -> zbus::Result<Self> {
        let (gate, manager) = (Arc::clone(gate), Manager1::new(engine.clone(), wishes.clone(), spool));
        let (messages, standing) = (Messages1::new(engine.clone()), Standing::default());
        let builder = builder.serve_at(ROOT, Gated::new(standing.clone(), &gate, Cost::Listing));
        let builder = builder.serve_at(ROOT, Gated::new(manager.clone(), &gate, Cost::Small));
        let connection = builder.serve_at(ROOT, Gated::new(messages.clone(), &gate, Cost::Small)).build().await?;
        let manager = Told::new(&connection, root(), manager).await?;
        let messages = Told::new(&connection, root(), messages).await?;
        Ok(Self {
            engine,
            audience: Audience::new(connection, kind, &gate),
            gate,
            wishes,
            standing,
            manager,
            messages,
            drops: Vec::new(),
            peers: BTreeMap::new(),
            transfers: BTreeMap::new(),
            ahead: Ahead::default(),
            words_told: HashSet::new(),
        })
    }

    /// The connection on which all of it stands.
    pub(super) fn connection(&self) -> &Connection {
        self.audience.connection()
    }

    /// Puts up all there is; nothing of it is news.
    pub(super) async fn put_up(&mut self, snapshot: &Snapshot) -> zbus::Result<()> {
        self.put_up_drops().await?;
        self.follow_snapshot(snapshot, News::No).await
    }

    /// Tells of all that waits for a person, as to somebody who just came.
    pub(super) async fn tell_what_waits(&mut self, snapshot: &Snapshot) -> zbus::Result<()> {
        for transfer in snapshot.transfers.iter().filter(|it| waits(it)).rev() {
            self.tell_offer(transfer).await?;
        }
        for pairing in &snapshot.pairings {
            self.tell_words(pairing).await?;
        }
        Ok(())
    }

    /// Something happened.
    pub(super) async fn follow(&mut self, event: &Event) -> zbus::Result<()> {
        if self.ahead.of(event) {
            return Ok(());
        }
        match &event.fact {
            Fact::Snapshot(snapshot) => {
                self.follow_snapshot(snapshot, News::Yes).await?;
                for pairing in &snapshot.pairings {
                    self.tell_words(pairing).await?;
                }
            }
            Fact::PeerChanged(peer) => self.show_peer(peer).await?,
            Fact::PeerForgotten(forgotten) => self.take_down_peer(forgotten.id).await?,
            Fact::PairingChanged(pairing) => self.tell_words(pairing).await?,
            Fact::IdentityAlarm(alarm) => self.tell_alarm(alarm).await?,
            Fact::TransferChanged(transfer) => self.show_transfer(transfer, News::Yes).await?,
            Fact::WarningsChanged(warnings) => self.show_warnings(warnings, News::Yes).await?,
            Fact::MessageReceived(message) => self.tell_message(message).await?,
            Fact::MessageChanged(message) => self.tell_message_state(message).await?,
            Fact::DropChanged(_) | Fact::DropForgotten(_) => self.look_into_drops(),
            Fact::AnomalyRecorded(_) | Fact::DecisionRecorded(_) => {} // not on the bus
        }
        self.count();
        Ok(())
    }

    /// A method's reply names this: it stands, or stood and is gone again already.
    pub(super) async fn grant(&mut self, wish: &Wish) -> zbus::Result<()> {
        match wish {
            Wish::Transfers(transfers) => {
                for transfer in transfers {
                    let newest = self.newest(transfer);
                    self.show_transfer(&newest, News::Yes).await?;
                }
            }
            Wish::Peer(peer) => {
                let newest = match self.engine.newest_peer(&peer.id) {
                    Some((seq, newest)) => {
                        self.ahead.peer(peer.id, seq);
                        newest
                    }
                    None => (**peer).clone(),
                };
                self.show_peer(&newest).await?;
            }
        }
        self.count();
        Ok(())
    }

    /// When listeners are to be told next.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let peers = self.peers.values().filter_map(|it| it.due(now));
        let transfers = self.transfers.values().filter_map(|it| it.due(now));
        let drops = self.drops.iter().filter_map(|it| it.due(now));
        peers.chain(transfers).chain(drops).chain(self.manager.due(now)).chain(self.messages.due(now)).min()
    }

    /// Tells listeners whatever is due.
    pub(super) async fn tell_due(&mut self, now: Instant) -> zbus::Result<()> {
        let is_due = |due: Option<Instant>| due.is_some_and(|at| at <= now);
        if is_due(self.manager.due(now)) {
            self.manager.tell(&self.audience).await?;
        }
        if is_due(self.messages.due(now)) {
            self.messages.tell(&self.audience).await?;
        }
        for told in self.drops.iter_mut().filter(|it| is_due(it.due(now))) {
            told.tell(&self.audience).await?;
        }
        for told in self.peers.values_mut().filter(|it| is_due(it.due(now))) {
            told.tell(&self.audience).await?;
        }
        for told in self.transfers.values_mut().filter(|it| is_due(it.due(now))) {
            told.tell(&self.audience).await?;
        }
        Ok(())
    }

    async fn follow_snapshot(&mut self, snapshot: &Snapshot, news: News) -> zbus::Result<()> {
        for peer in &snapshot.peers {
            self.show_peer(peer).await?;
        }
        for transfer in snapshot.transfers.iter().rev() {
            self.show_transfer(transfer, news).await?;
        }
        let (peers, transfers) = (snapshot.peers.iter().map(|it| it.id), snapshot.transfers.iter().map(|it| it.id));
        let (peers, transfers): (HashSet<_>, HashSet<_>) = (peers.collect(), transfers.collect());
        for gone in self.peers.keys().copied().filter(|id| !peers.contains(id)).collect::<Vec<_>>() {
            self.take_down_peer(gone).await?;
        }
        for gone in self.transfers.keys().copied().filter(|id| !transfers.contains(id)).collect::<Vec<_>>() {
            self.take_down_transfer(gone).await?;
        }
        self.show_warnings(&snapshot.warnings, news).await?;
        self.count_unread().await;
        self.look_into_drops();
        self.count();
        Ok(())
    }

    /// Makes an object stand, listed and told of.
    async fn put_up_object<I: Interface + Clone>(&self, path: OwnedObjectPath, object: I) -> zbus::Result<Told<I>> {
        let told = Told::new(self.connection(), path.clone(), object.clone()).await?;
        let gated = Gated::new(object.clone(), &self.gate, Cost::Small);
        self.connection().object_server().at(path.clone(), gated).await?;
        self.standing.add(path, object);
        told.introduce(&self.audience).await?;
        Ok(told)
    }

    async fn take_down_object<I: Interface>(&self, path: OwnedObjectPath) -> zbus::Result<()> {
        self.connection().object_server().remove::<Gated<I>, _>(path.clone()).await?;
        self.standing.remove(&path);
        for emitter in self.audience.of(&root()) {
            Standing::interfaces_removed(&emitter, ObjectPath::from(&path), vec![I::name()]).await?;
        }
        Ok(())
    }

    /// Which drop folders there are does not change while the daemon runs.
    async fn put_up_drops(&mut self) -> zbus::Result<()> {
        for (place, dir) in self.engine.config().drop_dirs().into_iter().enumerate() {
            let (path, object) = (drop_path(place), Drop1::new(self.engine.clone(), dir));
            let told = self.put_up_object(path, object).await?;
            self.drops.push(told);
        }
        Ok(())
    }

    /// Counts what lies in each drop folder, as the engine has it now.
    fn look_into_drops(&mut self) {
        let items = self.engine.dropped();
        for told in &mut self.drops {
            let now = Contents::of(&told.object().folder(), items.iter());
            if *told.object().cell().now() != now {
                told.object().cell().set(now);
                told.touch();
            }
        }
    }

    async fn show_peer(&mut self, peer: &Peer) -> zbus::Result<()> {
        if let Some(told) = self.peers.get_mut(&peer.id) {
            told.object().cell().set(peer.clone());
            told.touch();
            return Ok(());
        }
        let (path, object) = (peer_path(&peer.id), Peer1::new(self.engine.clone(), self.wishes.clone(), peer.clone()));
        let told = self.put_up_object(path, object).await?;
        self.peers.insert(peer.id, told);
        Ok(())
    }

    async fn take_down_peer(&mut self, id: DeviceId) -> zbus::Result<()> {
        if self.peers.remove(&id).is_some() {
            self.take_down_object::<Peer1>(peer_path(&id)).await?;
        }
        Ok(())
    }

    async fn show_transfer(&mut self, transfer: &Transfer, news: News) -> zbus::Result<()> {
        let before = self.transfers.get(&transfer.id).map(|told| told.object().cell().now());
        match &before {
            Some(before) => self.refresh_transfer(before, transfer),
            None => self.put_up_transfer(transfer).await?,
        }
        if news == News::No {
            return Ok(());
        }
        let (was_over, waited) = (before.as_ref().is_some_and(|it| it.state.ended()), before.as_ref().is_some_and(|it| waits(it)));
        if transfer.state.ended() && !was_over {
            self.tell_end(transfer).await?;
        } else if waits(transfer) && !waited {
            self.tell_offer(transfer).await?;
        }
        Ok(())
    }

    fn refresh_transfer(&mut self, before: &Transfer, transfer: &Transfer) {
        let Some(told) = self.transfers.get_mut(&transfer.id) else { return };
        let mut next = transfer.clone();
        if !before.state.ended() {
            next.bytes_confirmed = next.bytes_confirmed.max(before.bytes_confirmed); // promised never to fall
        }
        told.object().cell().set(next);
        told.touch();
    }

    async fn put_up_transfer(&mut self, transfer: &Transfer) -> zbus::Result<()> {
        let (path, object) = (transfer_path(transfer.id), Transfer1::new(self.engine.clone(), self.wishes.clone(), transfer.clone()));
        let told = self.put_up_object(path, object).await?;
        self.transfers.insert(transfer.id, told);
        while self.transfers.len() > HISTORY_SHOWN {
            let oldest =
                self.transfers.iter().find(|(id, told)| **id != transfer.id && told.object().cell().now().state.ended()).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            self.take_down_transfer(oldest).await?;
        }
        Ok(())
    }

    async fn take_down_transfer(&mut self, id: TransferId) -> zbus::Result<()> {
        if self.transfers.remove(&id).is_some() {
            self.take_down_object::<Transfer1>(transfer_path(id)).await?;
        }
        Ok(())
    }

    /// What the engine says of a transfer now, which may be newer than what a method got.
    fn newest(&mut self, transfer: &Transfer) -> Transfer {
        let Some((seq, newest)) = self.engine.newest_transfer(transfer.id) else {
            return self.engine.transfer(transfer.id).unwrap_or_else(|_| transfer.clone()); // so old that only the store has it
        };
        self.ahead.transfer(transfer.id, seq);
        newest
    }

    async fn show_warnings(&mut self, warnings: &[Warning], news: News) -> zbus::Result<()> {
        let cell = self.manager.object().overview_cell();
        let before = cell.now();
        if before.warnings == warnings {
            return Ok(());
        }
        cell.set(Overview { warnings: warnings.to_vec(), ..(*before).clone() });
        self.manager.touch();
        for emitter in self.audience.of(&root()) {
            for warning in warnings.iter().filter(|it| news == News::Yes && !before.warnings.contains(it)) {
                Manager1::error(&emitter, &bus_text(&warning.code), &bus_text(&warning.message), &bus_text(&warning.hint)).await?;
            }
        }
        Ok(())
    }

    /// Makes the manager's numbers those of the objects.
    fn count(&mut self) {
        let shown: Vec<Arc<Transfer>> = self.transfers.values().map(|told| told.object().cell().now()).collect();
        let cell = self.manager.object().overview_cell();
        let before = cell.now();
        let now = Overview {
            active_transfers: count32(shown.iter().filter(|it| !it.state.ended()).count()),
            inbox_pending: count32(shown.iter().filter(|it| waits(it)).count()),
            peers_online: count32(self.peers.values().filter(|told| told.object().cell().now().online).count()),
            warnings: before.warnings.clone(),
        };
        if *before != now {
            cell.set(now);
            self.manager.touch();
        }
    }

    /// The end does not wait for its turn: first the properties, then the signal.
    async fn tell_end(&mut self, transfer: &Transfer) -> zbus::Result<()> {
        self.count();
        if let Some(told) = self.transfers.get_mut(&transfer.id) {
            told.tell(&self.audience).await?;
        }
        for emitter in self.audience.of(&root()) {
            Manager1::transfer_finished(&emitter, transfer_path(transfer.id), transfer.state.word(), finished_info(transfer)).await?;
        }
        Ok(())
    }

    async fn tell_offer(&mut self, transfer: &Transfer) -> zbus::Result<()> {
        self.count();
        if !self.peers.contains_key(&transfer.peer_id)
            && let Ok(peer) = self.engine.peer(&format!("k:{}", transfer.peer_id))
        {
            self.show_peer(&peer).await?;
        }
        let (summary, files) = (bus_text(&transfer.title), bus_count(transfer.files_total));
        for emitter in self.audience.of(&root()) {
            let (path, peer) = (transfer_path(transfer.id), peer_path(&transfer.peer_id));
            Manager1::incoming_offer(&emitter, path, peer, &summary, transfer.bytes_total, files).await?;
        }
        Ok(())
    }

    async fn count_unread(&mut self) {
        self.messages.object().unread_cell().set(self.engine.unread().await);
        self.messages.touch();
    }

    async fn tell_message(&mut self, message: &Message) -> zbus::Result<()> {
        self.count_unread().await;
        for emitter in self.audience.of(&root()) {
            Messages1::received(&emitter, fields(message)).await?;
        }
        Ok(())
    }

    async fn tell_message_state(&mut self, message: &Message) -> zbus::Result<()> {
        if message.direction == Direction::In {
            self.count_unread().await; // somebody read it
        }
        for emitter in self.audience.of(&root()) {
            Messages1::state_changed(&emitter, &message.id.to_string(), message.state.word()).await?;
        }
        Ok(())
    }

    async fn tell_words(&mut self, pairing: &Pairing) -> zbus::Result<()> {
        if matches!(pairing.state, PairingState::Paired | PairingState::Failed) {
            self.words_told.remove(&pairing.id);
        }
        if pairing.state != PairingState::Comparing || pairing.confirmed_here || !self.words_told.insert(pairing.id) {
            return Ok(());
        }
        self.show_peer(&pairing.peer).await?;
        for emitter in self.audience.of(&peer_path(&pairing.peer.id)) {
            Peer1::pairing_requested(&emitter, &bus_text(&pairing.words)).await?;
        }
        Ok(())
    }

    async fn tell_alarm(&mut self, alarm: &IdentityAlarm) -> zbus::Result<()> {
        for emitter in self.audience.of(&peer_path(&alarm.trusted)) {
            Peer1::identity_changed(&emitter, &alarm.trusted.grouped(), &alarm.seen.grouped()).await?;
        }
        Ok(())
    }
}

/// The path of the root.
pub(super) fn root() -> OwnedObjectPath {
    zbus::ObjectPath::from_static_str_unchecked(ROOT).into()
}

fn count32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether a person has to answer: one that came in and is offered was neither taken nor refused.
fn waits(transfer: &Transfer) -> bool {
    transfer.direction == Direction::In && transfer.state == TransferState::Offered
}

fn finished_info(transfer: &Transfer) -> HashMap<&'static str, Variant<'static>> {
    let paths: Vec<String> = transfer.paths.iter().take(FINISHED_PATHS_MAX).map(|path| bus_text(path)).collect();
    let mut info = HashMap::from([
        ("peer", Variant::from(zbus::ObjectPath::from(peer_path(&transfer.peer_id)))),
        ("title", Variant::from(bus_text(&transfer.title))),
        ("bytes", Variant::from(transfer.bytes_confirmed)),
        ("files", Variant::from(bus_count(transfer.files_done))),
        ("paths", Variant::from(paths)),
    ]);
    if let Some(error) = &transfer.error {
        info.insert("error_code", Variant::from(error.code.word()));
        info.insert("error_message", Variant::from(bus_text(&error.message)));
        info.insert("error_hint", Variant::from(bus_text(&error.hint)));
    }
    info
}
