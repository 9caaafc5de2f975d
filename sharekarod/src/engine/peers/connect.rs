//! Reaching peers: one keeper task a peer dials while there is no session, and rests while there is one.
//!
//! A session with a peer stands as long as both run, so "online" means that it answers, not that something announced it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode,
    control::peer::{AddPeer, Peer, Pong},
    nouns::trust::Trust,
    wire::{Ping, Request, request},
};
use tokio::sync::{Notify, watch};

use super::{
    serve,
    table::{Known, Welcome},
    trust::check_alias,
};
use crate::{
    config::DEFAULT_PORT,
    engine::Engine,
    net::{Admission, Code, DialError, Endpoint, Session},
    store::{self, Durability},
};

/// The pause after the first dial that failed; it doubles up to `BACKOFF_MAX`.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// A paired peer that is off is looked for this often, where no announcement tells of it.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Of two devices that see each other at once, the one with the higher id lets the other one dial first.
const AFTER_YOU: Duration = Duration::from_millis(400);

/// A session that ended sooner was not wanted by somebody, as where two machines use one key and push each other out:
/// dialling again at once would keep all of them busy.
const BRIEF: Duration = Duration::from_secs(3);

/// A stranger that cannot be reached so many times is left to its next announcement.
const STRANGER_DIALS_MAX: u32 = 4;

/// Wakes the keeper of a peer, and those who wait for a session.
pub struct Kicks {
    keepers: Mutex<HashMap<DeviceId, Arc<Notify>>>,
    sessions: watch::Sender<u64>,
}

impl Default for Kicks {
    fn default() -> Self {
        Self { keepers: Mutex::default(), sessions: watch::channel(0).0 }
    }
}

impl Engine {
    /// mDNS shows a device: a hint where to connect.
    pub fn peer_sighted(&self, id: DeviceId, name: &str, addresses: &[SocketAddr]) {
        let news = self.look(|state| {
            let known = state.peers.get(&id);
            known.is_none_or(|known| !known.announced || addresses.iter().any(|a| !known.addresses.iter().any(|row| row.address == *a)))
        });
        if news && self.update(|state| state.peers.sighted(id, name, addresses)) {
            self.keep_connected(id);
        }
    }

    /// Whether a person dealt with this device.
    pub fn is_kept(&self, id: &DeviceId) -> bool {
        self.look(|state| state.peers.get(id).is_some_and(|known| known.kept))
    }

    /// mDNS shows a device no longer.
    pub fn peer_vanished(&self, id: DeviceId) {
        self.update(|state| state.peers.vanished(&id, state.transfers.is_open_with(&id)));
    }

    /// Our addresses changed, or the machine slept: every session proves itself or is made anew.
    pub fn links_changed(&self) {
        let sessions: Vec<Session> = self.look(|state| state.peers.iter().filter_map(|known| known.open_session().cloned()).collect());
        for session in sessions {
            let engine = self.clone();
            self.spawn(async move {
                if ping(&session, PROVE_WITHIN).await.is_err() {
                    tracing::info!(peer = %engine.label(session.peer()), "no answer after our network changed, dialling anew");
                    session.close(Code::Duplicate);
                }
            });
        }
        for notify in self.keepers().values() {
            notify.notify_one();
        }
    }

    pub(crate) fn connect_to_known_peers(&self) {
        let kept: Vec<DeviceId> = self.look(|state| state.peers.iter().filter(|known| known.kept).map(|known| known.id).collect());
        for id in kept {
            self.keep_connected(id);
        }
    }

    /// Where a device is reached right now that is kept nowhere.
    pub(crate) fn address_of_stranger(&self, id: DeviceId) -> Option<SocketAddr> {
        let address = |known: &Known| known.open_session().map(Session::remote_address);
        self.look(|state| state.peers.get(&id).filter(|known| !known.kept).and_then(address))
    }

    /// After a start: strangers with whom transfers are open are where they were, as far as we know.
    pub(crate) fn look_for_strangers(&self) {
        let sought: Vec<(DeviceId, SocketAddr)> = self.look(|state| {
            let open = state.transfers.iter().map(|row| &row.record).filter(|record| !record.state.ended());
            open.filter_map(|record| Some((record.peer, record.peer_address?))).collect()
        });
        for (id, address) in sought {
            self.update(|state| state.peers.meet(id, "").map(|known| known.note_address(address, true, false)));
            self.keep_connected(id);
        }
    }

    /// There is a keeper for this peer, and it looks right now.
    pub(crate) fn keep_connected(&self, id: DeviceId) {
        let mut keepers = self.keepers();
        if let Some(notify) = keepers.get(&id) {
            notify.notify_one();
            return;
        }
        let notify = Arc::new(Notify::new());
        keepers.insert(id, Arc::clone(&notify));
        drop(keepers);
        self.spawn(keep(self.clone(), id, notify));
    }

    fn keepers(&self) -> std::sync::MutexGuard<'_, HashMap<DeviceId, Arc<Notify>>> {
        self.inner.kicks.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session with a peer if there is one right now.
    pub(crate) fn open_session(&self, id: &DeviceId) -> Option<Session> {
        self.look(|state| state.peers.get(id).and_then(|known| known.open_session().cloned()))
    }

    /// A session with a peer, waited for without end; drop the future to give up.
    pub(crate) async fn session(&self, id: DeviceId) -> Session {
        let mut changes = self.inner.kicks.sessions.subscribe();
        if let Some(session) = self.open_session(&id) {
            return session;
        }
        self.keep_connected(id);
        loop {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await; // the engine ends, and this future with it
            }
            if let Some(session) = self.open_session(&id) {
                return session;
            }
        }
    }

    /// A session with a peer within so much time.
    ///
    /// # Errors
    /// `Offline`.
    pub(crate) async fn session_within(&self, id: DeviceId, wait: Duration) -> Result<Session, ErrorBody> {
        match tokio::time::timeout(wait, self.session(id)).await {
            Ok(session) => Ok(session),
            Err(_) => Err(ErrorBody::new(ErrorCode::Offline, format!("{} cannot be reached", self.label(id)))
                .hint("is sharekarod running there, and is UDP port 47810 open in its firewall?")),
        }
    }

    /// Our name for a peer.
    pub(crate) fn label(&self, id: DeviceId) -> String {
        self.look(|state| state.peers.label(&id))
    }

    /// Makes a session the way to its peer, and serves it until it ends.
    pub(crate) fn welcome(&self, session: Session) {
        let id = session.peer();
        match self.admission(&id) {
            Admission::Blocked => return session.close(Code::Refused),
            Admission::Trusted => session.trust(),
            Admission::Stranger => {}
        }
        let changed = |engine: &Self| engine.look(|state| state.peers.get(&id).is_some_and(|known| known.trust == Trust::Changed));
        let alarmed = changed(self);
        let welcome = self.update(|state| state.peers.welcome(&session));
        if !alarmed && changed(self) {
            self.note_changed_key(id);
        }
        match welcome {
            Welcome::Superfluous => return session.close(Code::Duplicate),
            Welcome::Kept(Some(old)) => old.close(Code::Duplicate),
            Welcome::Kept(None) => {}
        }
        tracing::info!(peer = %self.label(id), key = %id.short(), address = %session.remote_address(), ours = session.dialed_by_us(), "connected");
        self.inner.kicks.sessions.send_modify(|count| *count += 1);
        self.spawn(serve::run(self.clone(), session));
        self.remember_peer(id);
        self.keep_connected(id);
    }

    /// Keeps what is known of a paired or named peer; of a stranger nothing is kept.
    fn remember_peer(&self, id: DeviceId) {
        if !self.is_kept(&id) {
            return;
        }
        let engine = self.clone();
        self.spawn(async move { engine.keep_as_it_is(id).await });
    }

    pub(super) async fn keep_as_it_is(&self, id: DeviceId) {
        let _changes = self.one_change().await;
        let Some(row) = self.look(|state| state.peers.get(&id).filter(|known| known.kept).map(Known::row)) else { return };
        if let Err(e) = self.store().write(Durability::Soon, move |t| store::peers::save(t, &row)).await {
            tracing::warn!("cannot keep where a peer was reached: {e}");
        }
    }

    /// `sharectl peer add HOST[:PORT]`: reaches a device that announcements do not show, and remembers where.
    ///
    /// # Errors
    /// `Usage` where this is no address or the alias none, `WrongState` where another peer has that alias, `NotFound` where the name is unknown, `Offline` where nobody answers.
    pub async fn add_peer(&self, add: AddPeer) -> Result<Peer, ErrorBody> {
        let alias = add.alias.as_deref().map(str::trim).map(str::to_owned);
        alias.as_deref().map_or(Ok(()), check_alias)?;
        let addresses = look_up(&add.address).await?;
        let session = self.dial(None, &addresses).await.map_err(|e| match e {
            DialError::Itself => ErrorBody::new(ErrorCode::Usage, format!("{} is this device itself", add.address)),
            e => ErrorBody::new(ErrorCode::Offline, format!("no ShareKaro answers at {}: {e}", add.address))
                .hint("is sharekarod running there, and is UDP port 47810 open in its firewall?"),
        })?;
        let (id, address) = (session.peer(), session.remote_address());
        self.welcome(session);
        let changes = self.one_change().await;
        if self.look(|state| state.peers.get(&id).is_none()) {
            return Err(ErrorBody::new(ErrorCode::Busy, "too many devices are listed").hint("`sharectl peer forget` some"));
        }
        alias.as_deref().map_or(Ok(()), |alias| self.no_other_is_called(id, alias))?;
        let add = |known: &mut Known| {
            known.note_address(address, true, true);
            known.alias = alias.clone().or(known.alias.take());
        };
        self.edit_peer(&changes, id, add).await
    }

    /// Dials once.
    pub(crate) async fn dial(&self, expected: Option<DeviceId>, addresses: &[SocketAddr]) -> Result<Session, DialError> {
        match self.inner.endpoint.get() {
            Some(endpoint) => endpoint.dial(expected, addresses).await,
            None => Err(DialError::NoAnswer),
        }
    }

    /// `sharectl peer ping`.
    ///
    /// # Errors
    /// Nobody of that name, or no answer.
    pub async fn ping(&self, target: &str) -> Result<Pong, ErrorBody> {
        let id = self.find_peer(target)?;
        let session = self.session_within(id, Duration::from_secs(5)).await?;
        let began = tokio::time::Instant::now();
        ping(&session, Duration::from_secs(10)).await?;
        Ok(Pong { rtt_ms: began.elapsed().as_secs_f64() * 1e3, address: session.remote_address().to_string() })
    }
}

/// After a change of our network, a session that does not answer within this is given up.
const PROVE_WITHIN: Duration = Duration::from_secs(2);

async fn ping(session: &Session, within: Duration) -> Result<(), ErrorBody> {
    let request = Request { kind: Some(request::Kind::Ping(Ping { nonce: rand::random() })) };
    match tokio::time::timeout(within, session.request(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(ErrorBody::new(ErrorCode::Offline, format!("the ping did not come back: {e}"))),
        Err(_) => Err(ErrorBody::new(ErrorCode::TimedOut, "the ping did not come back in time")),
    }
}

/// Hands every session that comes in to the engine.
pub async fn accept_sessions(engine: Engine, endpoint: Endpoint) {
    while let Some(session) = endpoint.accept().await {
        engine.welcome(session);
    }
}

/// Dials while there is no session, rests while there is one; ends when the peer is gone for good.
async fn keep(engine: Engine, id: DeviceId, kicked: Arc<Notify>) {
    let mut failures = 0;
    if engine.id() > id && engine.open_session(&id).is_none() {
        tokio::time::sleep(AFTER_YOU).await;
    }
    loop {
        if let Some(session) = engine.open_session(&id) {
            session.closed().await;
            let brief = session.opened_at().elapsed() < BRIEF && engine.open_session(&id).is_none();
            if brief {
                rest(pause(failures), &kicked).await;
            }
            failures = if brief { failures + 1 } else { 0 };
            continue;
        }
        let sought = engine.look(|state| where_to_dial(state.peers.get(&id), state.transfers.is_open_with(&id), failures));
        let Some(addresses) = sought else { break };
        match engine.dial(Some(id), &addresses).await {
            Ok(session) => {
                engine.welcome(session);
                continue;
            }
            Err(e) => tracing::debug!(peer = %id.short(), "cannot connect: {e}"),
        }
        rest(pause(failures), &kicked).await;
        failures += 1;
    }
    engine.keepers().remove(&id);
    engine.update(|state| state.peers.drop_if_nothing_is_left(&id));
}

async fn rest(pause: Duration, kicked: &Notify) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = kicked.notified() => {}
    }
}

/// How long to rest after so many failures before.
fn pause(failures: u32) -> Duration {
    (BACKOFF_FIRST * 2u32.saturating_pow(failures.min(6))).min(BACKOFF_MAX).mul_f64(rand::random_range(0.8..1.2))
}

/// Where to dial; `None` where nobody is looked for any more. A stranger with whom a transfer is open is looked for until
/// that ends.
fn where_to_dial(known: Option<&Known>, is_wanted: bool, failures: u32) -> Option<Vec<SocketAddr>> {
    let known = known.filter(|known| known.trust != Trust::Blocked)?;
    if !known.kept && !is_wanted && (failures >= STRANGER_DIALS_MAX || known.addresses.is_empty()) {
        return None;
    }
    Some(known.addresses.iter().map(|row| row.address).collect())
}

/// The addresses behind `HOST[:PORT]`; the port is ours where none is named.
async fn look_up(text: &str) -> Result<Vec<SocketAddr>, ErrorBody> {
    let bad =
        |why: &str| ErrorBody::new(ErrorCode::Usage, format!("{text:?} is no address: {why}")).hint("write HOST, HOST:PORT or [IPv6]:PORT");
    if text.is_empty() || text.len() > 300 || text.chars().any(char::is_whitespace) {
        return Err(bad("a host name or IP address is missing"));
    }
    let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = match unbracketed.parse::<std::net::IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, DEFAULT_PORT).to_string(),
        Err(_) if text.contains(':') => text.to_owned(),
        Err(_) => format!("{text}:{DEFAULT_PORT}"),
    };
    match tokio::time::timeout(Duration::from_secs(5), tokio::net::lookup_host(with_port)).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(e)) if e.kind() == std::io::ErrorKind::InvalidInput => Err(bad(&e.to_string())),
        Ok(Err(e)) => Err(ErrorBody::new(ErrorCode::NotFound, format!("{text:?} is not known here: {e}")).hint("try the IP address")),
        Err(_) => Err(ErrorBody::new(ErrorCode::TimedOut, format!("looking up {text:?} took too long")).hint("try the IP address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_read_with_and_without_port() {
        assert_eq!(look_up("192.0.2.7").await.unwrap(), ["192.0.2.7:47810".parse().unwrap()]);
        assert_eq!(look_up("192.0.2.7:99").await.unwrap(), ["192.0.2.7:99".parse().unwrap()]);
        assert_eq!(look_up("[2001:db8::1]:99").await.unwrap(), ["[2001:db8::1]:99".parse().unwrap()]);
        assert_eq!(look_up("2001:db8::1").await.unwrap(), ["[2001:db8::1]:47810".parse().unwrap()]);
        assert_eq!(look_up("[2001:db8::1]").await.unwrap(), ["[2001:db8::1]:47810".parse().unwrap()]);
        for bad in ["", "not an address", "192.0.2.7:port"] {
            assert_eq!(look_up(bad).await.unwrap_err().code, ErrorCode::Usage, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_peer_is_added_under_no_alias_that_it_could_not_be_given_later() {
        let (engine, _dir) = crate::engine::tests::quiet();

        for bad in ["all", "@team", "k:abcd", "a,b", ""] {
            let add = AddPeer { address: "127.0.0.1:9".into(), alias: Some(bad.into()) };
            assert_eq!(engine.add_peer(add).await.unwrap_err().code, ErrorCode::Usage, "{bad}");
        }
        let add = AddPeer { address: "127.0.0.1:9".into(), alias: Some("bob".into()) };
        assert_eq!(engine.add_peer(add).await.unwrap_err().code, ErrorCode::Offline); // no network here: nobody is dialled
    }
}
