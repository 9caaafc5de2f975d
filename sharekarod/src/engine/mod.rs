//! Decides and remembers: `Engine`, a cheap handle, with one folder for each capability.
//!
//! In each folder stand a table (pure: maps and the rules on them) and the use cases (async, reading like the flow).
//! What must survive is in the store before it is announced.

pub mod clock;
pub mod doctor;
pub mod drop;
pub mod messages;
pub mod pairing;
pub mod peers;
pub mod pipes;
pub mod policy;
mod reload;
mod state;
pub mod transfers;

use std::sync::{Arc, PoisonError, RwLock};

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId,
    control::{
        net::Anomaly,
        peer::Peer,
        status::{Identity as IdentityBody, Status},
        transfer::Transfer,
    },
    wire,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::state::{State, Subscription};
use self::{
    drop::{DropDesk, table::DropTable},
    messages::{desk::Desk, table::MessageTable},
    pairing::PairingTable,
    peers::{connect::Kicks, table::PeerTable, trust::OneChange},
    pipes::taking::Takers,
    policy::{asking::Policy, rule::RuleError, table::RuleTable},
    state::{Shared, WarningTable},
    transfers::{jobs::Jobs, pace::Pace, table::TransferTable},
};
use crate::{
    config::Config,
    identity::Identity,
    net::{Admission, Endpoint},
    store::{self, Store},
    words,
};

/// What runs has this long to end before it is left behind; nothing is lost by that, it is only done again.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was remembered cannot be read.
    #[error("cannot read what was remembered")]
    Store(#[from] store::Error),
    /// A rule of the configuration makes no sense.
    #[error("the configuration does not make sense")]
    Rule(#[from] RuleError),
}

/// Decides and remembers; a cheap handle that every frontend and watcher holds.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    config: RwLock<Arc<Config>>,
    identity: Arc<Identity>,
    store: Store,
    shared: Arc<Shared>,
    endpoint: std::sync::OnceLock<Endpoint>,
    instance: u64,
    kicks: Kicks,
    jobs: Jobs,
    takers: Takers,
    /// How fast offers of strangers come in.
    pace: std::sync::Mutex<Pace>,
    policy: Policy,
    desk: Desk,
    people: tokio::sync::Mutex<OneChange>,
    drops: DropDesk,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Engine {
    /// An engine that remembers what the store holds; nothing runs yet.
    ///
    /// # Errors
    /// A store that cannot be read; a rule of the configuration that makes no sense: without it, something might come in
    /// that its person keeps out.
    pub fn new(config: Config, identity: Arc<Identity>, store: Store, shutdown: CancellationToken) -> Result<Self, Error> {
        let peers = PeerTable::new(identity.id(), store.now(store::peers::load)?);
        let transfers = TransferTable::new(store.now(|c| store::transfers::load(c, transfers::table::HISTORY_SHOWN))?);
        let state = State {
            peers,
            transfers,
            messages: MessageTable::new(config.name.clone(), store.now(store::messages::knocked)?),
            groups: store.now(store::groups::load)?,
            presence: peers::presence::read(store.now(|c| store::settings::get(c, store::settings::PRESENCE))?),
            policy: RuleTable::new(&config.policy, store.now(store::policy::load)?, config.home.clone())?,
            pairings: PairingTable::default(),
            drops: DropTable::default(),
            warnings: WarningTable::default(),
            anomalies: Vec::new(),
            decisions: Vec::new(),
        };
        let inner = Inner {
            jobs: Jobs::new(&config),
            takers: Takers::default(),
            pace: std::sync::Mutex::default(),
            policy: Policy::default(),
            desk: Desk::default(),
            people: tokio::sync::Mutex::default(),
            drops: DropDesk::default(),
            config: RwLock::new(Arc::new(config)),
            identity,
            store,
            shared: Arc::new(Shared::new(state)),
            endpoint: std::sync::OnceLock::new(),
            instance: rand::random(),
            kicks: Kicks::default(),
            shutdown,
            tasks: TaskTracker::new(),
        };
        let engine = Self { inner: Arc::new(inner) };
        engine.warn_of_unreadable_rules();
        Ok(engine)
    }

    /// From here on there is a network; connects, accepts, and goes on with every transfer that has not ended.
    pub fn start(&self, endpoint: Endpoint) {
        if self.inner.endpoint.set(endpoint.clone()).is_err() {
            return; // started twice: already so is not an error
        }
        self.spawn(peers::connect::accept_sessions(self.clone(), endpoint));
        self.connect_to_known_peers();
        self.look_for_strangers();
        self.spawn(self.clone().keep_schedule());
        self.resume_transfers();
        self.sweep();
        self.sweep_spool();
        self.deliver_what_was_left();
        self.resume_messages();
        self.run_what_was_owed();
        self.keep_drop_folders();
    }

    /// Ends everything that runs, bounded in time; transfers are parked and go on with the next start.
    pub async fn stop(&self) {
        let under_way = self.look(|state| state.transfers.active() > 0);
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        let _ = tokio::time::timeout(LAST_WORDS, self.inner.tasks.wait()).await;
        if let Some(endpoint) = self.inner.endpoint.get() {
            endpoint.close(under_way).await;
        }
    }

    /// Changes the state and tells what changed: the only writer and the only publisher.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.inner.shared.update(change)
    }

    /// Looks at the state.
    pub(crate) fn look<T>(&self, question: impl FnOnce(&State) -> T) -> T {
        self.inner.shared.look(question)
    }

    /// A transfer as it is now, and the number of the last event that tells of nothing newer.
    pub fn newest_transfer(&self, id: TransferId) -> Option<(u64, Transfer)> {
        let (seq, found) = self.inner.shared.look_numbered(|state| state.transfers.view(id, &state.peers));
        found.map(|transfer| (seq, transfer))
    }

    /// A peer as it is now, and the number of the last event that tells of nothing newer.
    pub fn newest_peer(&self, id: &DeviceId) -> Option<(u64, Peer)> {
        let (seq, found) = self.inner.shared.look_numbered(|state| state.peers.view(id));
        found.map(|peer| (seq, peer))
    }

    /// A snapshot and all that follows.
    pub fn subscribe(&self) -> Subscription {
        self.inner.shared.subscribe()
    }

    /// The configuration in force now; a reload puts another in its place.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.inner.config.read().unwrap_or_else(PoisonError::into_inner)) // it is only ever replaced whole
    }

    /// The configuration in force, as every door shows it.
    pub fn config_values(&self) -> serde_json::Value {
        serde_json::to_value(&*self.config()).unwrap_or_default()
    }

    /// Our device id.
    pub fn id(&self) -> DeviceId {
        self.inner.identity.id()
    }

    /// How the daemon is.
    pub fn status(&self) -> Status {
        self.look(|state| Status {
            id: self.id(),
            name: self.config().name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            addresses: crate::interfaces::local_addresses().iter().map(ToString::to_string).collect(),
            port: self.inner.endpoint.get().map_or(0, Endpoint::local_port),
            peers_online: state.peers.online(),
            transfers_active: state.transfers.active(),
            warnings: state.warnings.list().to_vec(),
        })
    }

    /// Who we are.
    pub fn identity(&self) -> IdentityBody {
        let id = self.id();
        IdentityBody { id, name: self.config().name.clone(), grouped: id.grouped(), words: key_words(&id) }
    }

    /// From now on this does not work as it should.
    pub fn warn(&self, code: &str, message: impl Into<String>, hint: impl Into<String>) {
        let (message, hint) = (message.into(), hint.into());
        tracing::warn!(code, "{message}");
        self.update(|state| state.warnings.raise(code, message, hint));
    }

    /// It works (again).
    pub fn unwarn(&self, code: &str) {
        if self.look(|state| state.warnings.list().iter().any(|warning| warning.code == code)) {
            self.update(|state| state.warnings.clear(code));
        }
    }

    /// The network is out of the ordinary: whoever listens is told.
    pub fn tell_anomaly(&self, anomaly: Anomaly) {
        self.update(|state| state.anomalies.push(anomaly));
    }

    /// Our UDP port, once there is a network.
    pub fn port(&self) -> Option<u16> {
        self.inner.endpoint.get().map(Endpoint::local_port)
    }

    /// What we say when somebody connects.
    pub fn hello(&self) -> wire::Hello {
        wire::Hello {
            name: self.config().name.clone(),
            instance: self.inner.instance,
            features: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            presence: None,
            wireless: crate::interfaces::wireless(),
            clock_ms: clock::now_ms().unsigned_abs(),
        }
    }

    /// What the network may do with a device that proved this key.
    pub fn admission(&self, id: &DeviceId) -> Admission {
        self.look(|state| state.peers.admission(id))
    }

    /// As `admission`, asked at the door: that somebody who is blocked came there stands in the log.
    pub fn admit(&self, id: &DeviceId) -> Admission {
        let admission = self.admission(id);
        if admission == Admission::Blocked {
            self.note_refusal(*id, "it is blocked, and tried to connect");
        }
        admission
    }

    /// A task that ends with the engine.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.inner.shutdown.clone();
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Our end of all sessions, once there is a network.
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        self.inner.endpoint.get()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }
}

/// Words for a key that people can compare: 66 bits of its hash.
pub(crate) fn key_words(id: &DeviceId) -> String {
    words::from_bits(blake3::hash(id.as_bytes()).as_bytes(), 6)
}

impl From<store::Error> for ErrorBody {
    fn from(error: store::Error) -> Self {
        if error.is_full() {
            return Self::new(ErrorCode::LocalFile, "the disk that holds our database is full").hint("free some space there");
        }
        Self::new(ErrorCode::Unexpected, error.to_string()).hint("see the daemon's log; `sharectl status` shows where the state lies")
    }
}

/// What `Transfer`s of one request become.
pub(crate) fn only(mut transfers: Vec<Transfer>) -> Option<Transfer> {
    (transfers.len() == 1).then(|| transfers.remove(0))
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;
    use tempfile::TempDir;

    use super::*;
    use crate::config::Told;

    /// An engine without a network, and the folder it lives in.
    pub(crate) fn quiet() -> (Engine, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (config, state) = (path("config.toml"), path("state"));
        std::fs::write(&config, "").unwrap();
        std::fs::create_dir(&state).unwrap();
        let (inbox, drop, socket) = (path("inbox"), path("drop"), path("sock"));
        let flags = ["x", "--config", &config, "--state-dir", &state, "--inbox-dir", &inbox, "--drop-dir", &drop, "--socket", &socket];
        let config = Config::new(Told::try_parse_from(flags).unwrap()).unwrap();
        let identity = Arc::new(Identity::load_or_create(&config.state_dir).unwrap());
        let store = Store::open(&config.state_dir).unwrap().store;
        (Engine::new(config, identity, store, CancellationToken::new()).unwrap(), dir)
    }
}
