//! All state of the engine, and the only way to change it.
//!
//! `State` is plain tables. `Engine::update` takes the lock, lets the caller call verbs of the tables, and then tells
//! every listener what differs: a table remembers which of its rows were touched, nobody announces by hand. The lock is
//! never held across an await.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use sharekaro_proto::control::{
    event::{Event, Fact, Snapshot},
    net::Anomaly,
    peer::PresenceBody,
    policy::Decision,
    status::Warning,
};
use tokio::sync::broadcast;

use super::{
    drop::table::DropTable, messages::table::MessageTable, pairing::PairingTable, peers::table::PeerTable, policy::table::RuleTable,
    transfers::table::TransferTable,
};
use crate::store::groups::Groups;

/// A listener may be so many events behind before it gets a fresh snapshot instead.
const EVENTS_KEPT: usize = 512;

/// The tables.
pub struct State {
    /// Other devices.
    pub peers: PeerTable,
    /// Offers and their life.
    pub transfers: TransferTable,
    /// What was written and is not told yet; the history is in the store.
    pub messages: MessageTable,
    /// Peers under one name.
    pub groups: Groups,
    /// What our person says.
    pub presence: PresenceBody,
    /// What becomes of offers.
    pub policy: RuleTable,
    /// Pairings and invitations under way.
    pub pairings: PairingTable,
    /// What lies in drop folders.
    pub drops: DropTable,
    /// What does not work as it should.
    pub warnings: WarningTable,
    /// What the monitor found and nobody was told yet; the monitor itself remembers all of it.
    pub anomalies: Vec<Anomaly>,
    /// What was decided and nobody was told yet; the log is in the store.
    pub decisions: Vec<Decision>,
}

/// What does not work as it should, one entry a code.
#[derive(Default)]
pub struct WarningTable {
    list: Vec<Warning>,
    touched: bool,
}

impl WarningTable {
    /// From now on this does not work.
    pub fn raise(&mut self, code: &str, message: impl Into<String>, hint: impl Into<String>) {
        let warning = Warning { code: code.to_owned(), message: message.into(), hint: hint.into() };
        if self.list.contains(&warning) {
            return;
        }
        self.list.retain(|it| it.code != code);
        self.list.push(warning);
        self.touched = true;
    }

    /// It works (again).
    pub fn clear(&mut self, code: &str) {
        let before = self.list.len();
        self.list.retain(|it| it.code != code);
        self.touched |= self.list.len() != before;
    }

    /// All of them.
    pub fn list(&self) -> &[Warning] {
        &self.list
    }
}

impl State {
    /// What changed since the last call, as facts.
    fn drain(&mut self) -> Vec<Fact> {
        for peer in self.pairings.take_ended() {
            self.peers.hide_words(&peer);
        }
        let mut facts = self.peers.drain();
        facts.extend(self.pairings.drain(&self.peers));
        facts.extend(self.transfers.drain(&self.peers));
        facts.extend(self.messages.drain(&self.peers));
        facts.extend(self.anomalies.drain(..).map(|anomaly| Fact::AnomalyRecorded(Box::new(anomaly))));
        facts.extend(self.decisions.drain(..).map(|decision| Fact::DecisionRecorded(Box::new(decision))));
        facts.extend(self.drops.drain());
        if std::mem::take(&mut self.warnings.touched) {
            facts.push(Fact::WarningsChanged(self.warnings.list.clone()));
        }
        facts
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            peers: self.peers.views(),
            transfers: self.transfers.views(&self.peers),
            pairings: self.pairings.views(&self.peers),
            drops: self.drops.views().into_iter().take(DROPS_SHOWN).collect(),
            warnings: self.warnings.list.clone(),
        }
    }
}

/// So many of what lies in drop folders go into a snapshot, which has to fit into one event.
const DROPS_SHOWN: usize = 1_000;

/// The state behind its lock, with those who listen.
pub struct Shared {
    inner: Mutex<Numbered>,
    events: broadcast::Sender<Arc<Event>>,
}

struct Numbered {
    state: State,
    seq: u64,
}

impl Shared {
    /// State that nobody listens to yet.
    pub fn new(state: State) -> Self {
        Self { inner: Mutex::new(Numbered { state, seq: 0 }), events: broadcast::channel(EVENTS_KEPT).0 }
    }

    /// Changes the state and tells what changed. The only writer and the only publisher.
    pub fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut inner = self.lock();
        let done = change(&mut inner.state);
        for fact in inner.state.drain() {
            inner.seq += 1;
            let event = Event { seq: inner.seq, at: Timestamp::now(), fact };
            let _ = self.events.send(Arc::new(event)); // nobody listens: fine
        }
        done
    }

    /// Looks at the state.
    pub fn look<T>(&self, question: impl FnOnce(&State) -> T) -> T {
        question(&self.lock().state)
    }

    /// Looks at the state, and says up to which event it was told: later ones are newer than what is found.
    pub fn look_numbered<T>(&self, question: impl FnOnce(&State) -> T) -> (u64, T) {
        let inner = self.lock();
        (inner.seq, question(&inner.state))
    }

    /// A snapshot and all that follows.
    pub fn subscribe(self: &Arc<Self>) -> Subscription {
        let inner = self.lock();
        let events = self.events.subscribe();
        let first = Arc::new(Event { seq: inner.seq, at: Timestamp::now(), fact: Fact::Snapshot(Box::new(inner.state.snapshot())) });
        drop(inner);
        Subscription { shared: Arc::clone(self), events, ahead: VecDeque::from([first]) }
    }

    fn lock(&self) -> MutexGuard<'_, Numbered> {
        // a panic in a table's verb is a defect; the others go on with what the table holds
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A snapshot followed by every change. Whoever falls behind gets a fresh snapshot and never slows the daemon.
pub struct Subscription {
    shared: Arc<Shared>,
    events: broadcast::Receiver<Arc<Event>>,
    ahead: VecDeque<Arc<Event>>,
}

impl Subscription {
    /// The next event; `None` when the daemon ends. Safe to cancel.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        if let Some(event) = self.ahead.pop_front() {
            return Some(event);
        }
        match self.events.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Closed) => None,
            Err(broadcast::error::RecvError::Lagged(_)) => {
                *self = self.shared.subscribe();
                self.ahead.pop_front()
            }
        }
    }
}
