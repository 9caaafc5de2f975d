//! One authenticated connection with a proven device. Dropping the last handle of a session closes it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quinn::{Connection, VarInt};
use sharekaro_proto::{
    DeviceId,
    wire::{self, Hello, Note, Reply},
};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc},
    task::{JoinError, JoinSet},
};

use crate::net::{
    Ask, Body, Code, Ended, Incoming, SessionError,
    admission::Place,
    greeting::Greeted,
    limits,
    outbox::Outbox,
    request,
    stream::{Reader, Writer},
};

/// A session. Cheap to clone; all clones are the same session.
#[derive(Clone)]
pub struct Session(Arc<Handle>);

/// What the handles share. The tasks hold `Core` only, so the last handle can end the session.
struct Handle {
    core: Arc<Core>,
    // Only the one consumer that the engine has ever waits here; the lock keeps a second one from losing messages.
    requests: AsyncMutex<mpsc::Receiver<Incoming>>,
    notes: AsyncMutex<mpsc::Receiver<Note>>,
}

struct Core {
    line: Connection,
    number: u64,
    peer: DeviceId,
    hello: Hello,
    dialed_by_us: bool,
    opened_at: Instant,
    window: u32,
    trusted: AtomicBool,
    place: Mutex<Option<Place>>,
    outbox: Outbox,
}

/// What an endpoint knows of a connection whose other side has greeted.
pub(super) struct Opened {
    pub(super) line: Connection,
    pub(super) peer: DeviceId,
    pub(super) dialed_by_us: bool,
    /// The receive window once the peer is trusted.
    pub(super) window: u32,
    /// Its place among those that came in.
    pub(super) place: Option<Place>,
    pub(super) greeted: Greeted,
}

/// Figures of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Packets that were declared lost.
    pub lost_packets: u64,
    /// Packets that were sent.
    pub sent_packets: u64,
    /// Times that the congestion control slowed down.
    pub congestion_events: u64,
    /// Congestion window in bytes.
    pub cwnd: u64,
    /// Largest UDP payload that the path carries, in bytes.
    pub mtu: u16,
    /// Bytes of UDP payload that were sent.
    pub sent_bytes: u64,
    /// Bytes of UDP payload that were received.
    pub received_bytes: u64,
}

impl Session {
    /// Starts the tasks of a session; they end with the connection.
    pub(super) fn start(opened: Opened) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let Greeted { hello, writer, reader } = opened.greeted;
        let core = Arc::new(Core {
            line: opened.line,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            peer: opened.peer,
            hello,
            dialed_by_us: opened.dialed_by_us,
            opened_at: Instant::now(),
            window: opened.window,
            trusted: AtomicBool::new(false),
            place: Mutex::new(opened.place),
            outbox: Outbox::default(),
        });
        let (request_sender, requests) = mpsc::channel(limits::WAITING_REQUESTS);
        let (note_sender, notes) = mpsc::channel(limits::WAITING_NOTES);
        tokio::spawn(run(core.clone(), request_sender, writer, reader, note_sender));
        Self(Arc::new(Handle { core, requests: AsyncMutex::new(requests), notes: AsyncMutex::new(notes) }))
    }

    /// Raises a stranger's share to a peer's. Once trusted, a session stays so; to take trust back, close it.
    pub fn trust(&self) {
        let core = &self.0.core;
        if core.trusted.swap(true, Ordering::Relaxed) {
            return;
        }
        core.line.set_max_concurrent_bi_streams(VarInt::from_u32(limits::PEER_STREAMS));
        core.line.set_receive_window(VarInt::from_u32(core.window));
        core.line.set_send_window(limits::SEND_WINDOW);
        core.with_place(|place| place.iter_mut().for_each(Place::trust));
    }

    /// Asks, and returns the reply with what follows it. Dropping the future or the body gives the request up.
    ///
    /// # Errors
    /// Where no whole reply came: see `SessionError`. A reply that says "no" is no error here.
    pub async fn request(&self, ask: impl Into<Ask>) -> Result<(Reply, Body), SessionError> {
        request::ask(&self.0.core.line, ask.into()).await
    }

    /// The peer's next request; `None` once the session is over. For one caller.
    pub async fn next_request(&self) -> Option<Incoming> {
        self.0.requests.lock().await.recv().await
    }

    /// Queues a note and returns at once. Newer progress replaces older; a peer that lets too much pile up is left.
    pub fn notify(&self, note: Note) {
        if self.0.core.outbox.push(note).is_err() {
            self.close(Code::Slow);
        }
    }

    /// The peer's next note; `None` once the session is over. For one caller.
    pub async fn next_note(&self) -> Option<Note> {
        self.0.notes.lock().await.recv().await
    }

    /// Ends the session. What is under way is lost; closing again changes nothing.
    pub fn close(&self, code: Code) {
        self.0.core.close(code);
    }

    /// Waits for the end.
    pub async fn closed(&self) -> Ended {
        self.0.core.line.closed().await.into()
    }

    /// Whether the session has not ended.
    pub fn is_open(&self) -> bool {
        self.0.core.line.close_reason().is_none()
    }

    /// A number of its own within this process.
    pub fn number(&self) -> u64 {
        self.0.core.number
    }

    /// Whose key was proven.
    pub fn peer(&self) -> DeviceId {
        self.0.core.peer
    }

    /// What the peer said first. Proves nothing.
    pub fn hello(&self) -> &Hello {
        &self.0.core.hello
    }

    /// Who opened it; of two that crossed, the one of the lower id stays.
    pub fn dialed_by_us(&self) -> bool {
        self.0.core.dialed_by_us
    }

    /// Where the peer is now; it may move. Link-local addresses keep their scope.
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.0.core.line.remote_address())
    }

    /// When it was opened.
    pub fn opened_at(&self) -> Instant {
        self.0.core.opened_at
    }

    /// 32 bytes that only the two ends of this very session know, per label (RFC 5705).
    pub fn export_key(&self, label: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        // Fails only for outputs longer than 255 hashes.
        let exported = self.0.core.line.export_keying_material(&mut key, label, b"");
        debug_assert!(exported.is_ok());
        key
    }

    /// The bare connection, for tests in which one side misbehaves.
    #[cfg(test)]
    pub(super) fn line(&self) -> &Connection {
        &self.0.core.line
    }

    /// Figures of the connection.
    pub fn stats(&self) -> Stats {
        let stats = self.0.core.line.stats();
        Stats {
            rtt: stats.path.rtt,
            lost_packets: stats.path.lost_packets,
            sent_packets: stats.path.sent_packets,
            congestion_events: stats.path.congestion_events,
            cwnd: stats.path.cwnd,
            mtu: stats.path.current_mtu,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
        }
    }
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for Session {}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Core { number, peer, dialed_by_us, .. } = &*self.0.core;
        f.debug_struct("Session").field("number", number).field("peer", peer).field("dialed_by_us", dialed_by_us).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.close(Code::Ok);
    }
}

impl Core {
    /// quinn would forget why the other side closed, were it closed again.
    fn close(&self, code: Code) {
        if self.line.close_reason().is_none() {
            self.line.close(code.number(), b"");
        }
    }

    fn frame_limit(&self) -> usize {
        if self.trusted.load(Ordering::Relaxed) { wire::FRAME_MAX } else { wire::FRAME_MAX_STRANGER }
    }

    fn with_place(&self, act: impl FnOnce(&mut Option<Place>)) {
        act(&mut self.place.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// IPv4 in IPv6 as what it is. Unlike `SocketAddr::ip().to_canonical()`, the scope of link-local addresses stays.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => SocketAddr::new(address.ip().to_canonical(), v6.port()),
        _ => address,
    }
}

/// All that a session does by itself, until the connection ends.
async fn run(core: Arc<Core>, requests: mpsc::Sender<Incoming>, writer: Writer, reader: Reader, notes: mpsc::Sender<Note>) {
    let code = tokio::select! {
        code = take_requests(&core, requests) => code,
        code = send_notes(&core, writer) => code,
        code = take_notes(&core, reader, notes) => code,
        _ = core.line.closed() => Code::Ok,
    };
    core.close(code);
    core.with_place(|place| *place = None);
}

/// Reads each stream in a task of its own, so that a slow one delays no other. Returns why to close.
async fn take_requests(core: &Arc<Core>, sender: mpsc::Sender<Incoming>) -> Code {
    // The peer's stream limit bounds how many there can be.
    let mut reading = JoinSet::new();
    let mut faults = Faults::new(Instant::now());
    loop {
        tokio::select! {
            accepted = core.line.accept_bi() => match accepted {
                Ok((send, receive)) => {
                    let (core, sender) = (core.clone(), sender.clone());
                    reading.spawn(async move {
                        let read = Incoming::read(&core.line, send, receive, core.frame_limit()).await?;
                        if let Some(incoming) = read {
                            // Without a receiver the last handle is gone, and the session with it.
                            let _ = sender.send(incoming).await;
                        }
                        Ok(())
                    });
                }
                Err(_) => return Code::Ok,
            },
            Some(done) = reading.join_next() => {
                if is_fault(core, done) && !faults.forgive(Instant::now()) {
                    return Code::Protocol;
                }
            }
        }
    }
}

fn is_fault(core: &Core, done: Result<Result<(), SessionError>, JoinError>) -> bool {
    match done {
        Ok(Ok(())) | Ok(Err(SessionError::Ended(_))) | Err(_) => false,
        Ok(Err(error)) => {
            tracing::debug!(peer = %core.peer.short(), %error, "a request could not be read");
            true
        }
    }
}

/// Broken requests: some are forgiven, a stream of them is an attack.
struct Faults {
    left: f64,
    since: Instant,
}

impl Faults {
    fn new(now: Instant) -> Self {
        Self { left: limits::FAULTS, since: now }
    }

    /// Whether one more is forgiven.
    fn forgive(&mut self, now: Instant) -> bool {
        let earned = now.duration_since(self.since).as_secs_f64() * limits::FAULTS_FORGIVEN;
        self.left = (self.left + earned).min(limits::FAULTS) - 1.0;
        self.since = now;
        self.left >= 0.0
    }
}

async fn send_notes(core: &Core, mut writer: Writer) -> Code {
    loop {
        let frame = wire::encode_frame(&core.outbox.next().await);
        match writer.write(frame.into()).await {
            Ok(()) => {}
            Err(SessionError::Stalled(_)) => return Code::Slow,
            Err(_) => return Code::Protocol,
        }
    }
}

/// The control stream lives as long as the session: its end, or garbage in it, is the end of the session.
async fn take_notes(core: &Core, mut reader: Reader, sender: mpsc::Sender<Note>) -> Code {
    loop {
        let Ok(Some(frame)) = reader.frame(core.frame_limit(), Duration::MAX).await else { return Code::Protocol };
        let Ok(note) = wire::decode_frame::<Note>(frame) else { return Code::Protocol };
        // A kind of a later version is no news to us.
        if note.kind.is_some() && sender.send(note).await.is_err() {
            return Code::Ok;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_broken_requests_are_forgiven_and_a_flood_is_not() {
        let start = Instant::now();
        let mut faults = Faults::new(start);

        assert!((0..64).all(|_| faults.forgive(start)));
        assert!(!faults.forgive(start));

        let mut slow = Faults::new(start);
        assert!((1..1000).all(|i| slow.forgive(start + Duration::from_secs(i))));
    }

    #[test]
    fn a_mapped_address_is_shown_as_ipv4_and_a_scope_is_kept() {
        assert_eq!(canonical("[::ffff:10.0.0.1]:5".parse().unwrap()).to_string(), "10.0.0.1:5");
        assert_eq!(canonical("[fe80::1%3]:5".parse().unwrap()).to_string(), "[fe80::1%3]:5");
    }
}
