//! Our end of all sessions: one UDP socket that calls and is called.
//!
//! Each caller is judged in a task of its own, within the limits of `admission`; a slow or bad one delays nobody.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use quinn::{Connection, ConnectionError, Incoming, TransportConfig, rustls::pki_types::CertificateDer};
use sharekaro_proto::{DeviceId, wire::Hello};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    identity::Identity,
    net::{
        Admission, Buffers, Code, Congestion, Session,
        admission::{HandshakePlace, Handshakes, Place, Places, Shared, Verdict},
        batch::Batching,
        carried::Carried,
        greeting, limits,
        missed::Missed,
        session::Opened,
        socket::{self, Capped},
        tls, transport,
    },
};

/// What an endpoint needs to be told.
#[derive(Clone)]
pub struct Settings {
    /// The UDP port; 0: any.
    pub port: u16,
    /// How the sending rate follows the path.
    pub congestion: Congestion,
    /// A peer that was not heard for so long is gone.
    pub idle: Duration,
    /// Where what our socket carries is added up.
    pub carried: Arc<Carried>,
    /// What we say first, made anew for each session.
    pub hello: Arc<dyn Fn() -> Hello + Send + Sync>,
    /// What a device is to us. Called on the network's tasks: it must not wait.
    pub admission: Arc<dyn Fn(&DeviceId) -> Admission + Send + Sync>,
}

impl Settings {
    /// The usual settings.
    pub fn new(
        port: u16,
        hello: impl Fn() -> Hello + Send + Sync + 'static,
        admission: impl Fn(&DeviceId) -> Admission + Send + Sync + 'static,
    ) -> Self {
        let (congestion, carried, hello, admission) = (Congestion::default(), Arc::default(), Arc::new(hello), Arc::new(admission));
        Self { port, congestion, idle: limits::IDLE, carried, hello, admission }
    }
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No UDP socket.
    #[error("cannot open UDP port {port}")]
    Bind {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// QUIC or TLS refused its configuration.
    #[error("cannot set up the network")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<transport::ConfigError> for Error {
    fn from(error: transport::ConfigError) -> Self {
        Self::Config(Box::new(error))
    }
}

/// Our endpoint. Cheap to clone; dropping the last clone closes it.
#[derive(Clone)]
pub struct Endpoint(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    accepting: AbortHandle,
    // Only the one consumer that the engine has ever waits here.
    sessions: AsyncMutex<mpsc::Receiver<Session>>,
    port_taken: bool,
}

struct Core {
    quinn: quinn::Endpoint,
    identity: Arc<Identity>,
    settings: Settings,
    /// For dialling.
    transport: Arc<TransportConfig>,
    buffers: Buffers,
    handshakes: Shared<Handshakes>,
    places: Shared<Places>,
    missed: Missed,
}

impl Endpoint {
    /// Opens the socket and begins to listen. A fixed port that is taken is replaced by any other: see `port_taken`.
    ///
    /// # Errors
    /// Where there is no UDP socket to be had, or TLS refuses our certificate. To be called inside a tokio runtime.
    pub fn bind(identity: Arc<Identity>, settings: Settings) -> Result<Self, Error> {
        let bound = socket::bind(settings.port).map_err(|source| Error::Bind { port: settings.port, source })?;
        let payload_max = socket::payload_max();
        let tuned = |dials| transport::transport(settings.congestion, settings.idle, payload_max, dials);
        let (transport, server) = (tuned(true)?, transport::server(&identity, tuned(false)?)?);

        let wrapped = quinn::Runtime::wrap_udp_socket(&quinn::TokioRuntime, bound.socket);
        let capped = Arc::new(Capped::new(wrapped.map_err(transport::ConfigError::from)?, payload_max, settings.carried.clone()));
        let socket = Batching::new(capped, limits::SEGMENTED_MAX);
        let config = transport::endpoint(&identity, payload_max)?;
        let quinn = quinn::Endpoint::new_with_abstract_socket(config, Some(server), socket, Arc::new(quinn::TokioRuntime));

        let core = Arc::new(Core {
            quinn: quinn.map_err(transport::ConfigError::from)?,
            identity,
            settings,
            transport,
            buffers: bound.buffers,
            handshakes: Shared::default(),
            places: Shared::default(),
            missed: Missed::default(),
        });
        let (sender, sessions) = mpsc::channel(limits::WAITING_SESSIONS);
        let accepting = tokio::spawn(listen(core.clone(), sender)).abort_handle();
        Ok(Self(Arc::new(Handle { core, accepting, sessions: AsyncMutex::new(sessions), port_taken: bound.port_taken })))
    }

    /// The next session that somebody else opened; `None` once the endpoint is closed. For one caller.
    pub async fn accept(&self) -> Option<Session> {
        self.0.sessions.lock().await.recv().await
    }

    /// Ends all sessions with a word and waits a moment for it to leave; longer where much is `under_way` to a peer.
    pub async fn close(&self, under_way: bool) {
        if under_way && self.0.core.quinn.open_connections() > 0 {
            tokio::time::sleep(limits::LULL).await;
        }
        self.0.core.quinn.close(Code::Shutdown.number(), b"");
        // A peer that is gone never confirms; it will notice by itself.
        let _ = timeout(limits::GOODBYE, self.0.core.quinn.wait_idle()).await;
    }

    /// The UDP port in use; 0 where the socket does not know any more.
    pub fn local_port(&self) -> u16 {
        self.0.core.quinn.local_addr().map_or(0, |address| address.port())
    }

    /// Whether the port that was asked for belongs to another program.
    pub fn port_taken(&self) -> bool {
        self.0.port_taken
    }

    /// What the kernel granted.
    pub fn buffers(&self) -> Buffers {
        self.0.core.buffers
    }

    /// Whether a call from there began no longer ago than this and was never finished: its packets reach us, and ours
    /// do not reach it.
    pub fn missed_call(&self, from: IpAddr, within: Duration) -> bool {
        self.0.core.missed.one_from(from.to_canonical(), within, std::time::Instant::now())
    }

    // ---- for dialling -------------------------------------------------------------------------------

    pub(super) fn quinn(&self) -> &quinn::Endpoint {
        &self.0.core.quinn
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.0.core.identity
    }

    pub(super) fn transport(&self) -> Arc<TransportConfig> {
        self.0.core.transport.clone()
    }

    pub(super) fn hello(&self) -> Hello {
        (self.0.core.settings.hello)()
    }

    pub(super) fn admit(&self, peer: &DeviceId) -> Admission {
        (self.0.core.settings.admission)(peer)
    }

    pub(super) fn window(&self) -> u32 {
        self.0.core.buffers.window()
    }

    pub(super) fn open(&self, opened: Opened) -> Session {
        self.0.core.open(opened)
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("id", &self.0.core.identity.id()).field("port", &self.local_port()).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.accepting.abort();
        self.core.quinn.close(Code::Shutdown.number(), b"");
    }
}

/// The device that a connection's handshake has proven.
pub(super) fn peer_of(line: &Connection) -> Option<DeviceId> {
    let identity = line.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    identity.first().and_then(tls::device)
}

/// Takes callers until the endpoint closes. Aborting it ends their handshakes too.
async fn listen(core: Arc<Core>, sender: mpsc::Sender<Session>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            incoming = core.quinn.accept() => match incoming {
                Some(incoming) => {
                    if let Some((incoming, place, stop)) = core.judge(incoming) {
                        tasks.spawn(core.clone().receive(incoming, place, stop, sender.clone()));
                    }
                }
                None => return,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

impl Core {
    /// Before anything is spent on a caller: is there a place for its handshake?
    fn judge(&self, incoming: Incoming) -> Option<(Incoming, HandshakePlace, CancellationToken)> {
        let stop = CancellationToken::new();
        let (address, proven) = (incoming.remote_address().ip().to_canonical(), incoming.remote_address_validated());
        let now = tokio::time::Instant::now().into_std();
        let verdict = self.handshakes.lock().ok()?.enter(address, proven, now, stop.clone());
        match verdict {
            Verdict::Enter(number) => return Some((incoming, HandshakePlace { table: self.handshakes.clone(), number }, stop)),
            // Where it cannot be asked to prove its address, it is as good as silent.
            Verdict::Prove => drop(incoming.retry().map_err(|error| error.into_incoming().ignore())),
            Verdict::Later => incoming.ignore(),
        }
        None
    }

    /// From the first packet to a session that the engine can have. All failures end here, without a word in the log:
    /// anybody can cause them.
    async fn receive(self: Arc<Self>, incoming: Incoming, place: HandshakePlace, stop: CancellationToken, sender: mpsc::Sender<Session>) {
        let from = incoming.remote_address().ip().to_canonical();
        let Ok(connecting) = incoming.accept() else { return };
        let handshake = tokio::select! {
            handshake = timeout(limits::GREETING_DEADLINE, connecting) => handshake,
            () = stop.cancelled() => return,
        };
        drop(place);
        let line = match handshake {
            Ok(Ok(line)) => line,
            Err(_) => return self.missed.note(from, std::time::Instant::now()),
            Ok(Err(error)) if gave_up(&error) => return self.missed.note(from, std::time::Instant::now()),
            Ok(Err(_)) => return,
        };
        let Some(peer) = peer_of(&line) else { return };
        let Some(place) = self.place(peer, line.remote_address().ip().to_canonical()) else {
            return line.close(Code::Refused.number(), b"");
        };
        let Ok(greeted) = greeting::answer(&line, (self.settings.hello)()).await else {
            return line.close(Code::Protocol.number(), b"");
        };
        let opened = Opened { line, peer, dialed_by_us: false, window: self.buffers.window(), place: Some(place), greeted };
        let session = self.open(opened);
        // Without a receiver the endpoint is going down, and the session with it.
        let _ = sender.send(session).await;
    }

    fn place(&self, peer: DeviceId, address: IpAddr) -> Option<Place> {
        let stranger = match (self.settings.admission)(&peer) {
            Admission::Trusted => None,
            Admission::Stranger => Some(address),
            Admission::Blocked => return None,
        };
        Place::take(&self.places, peer, stranger)
    }

    /// The engine may have learned to trust the device while it greeted, so it is asked again.
    fn open(&self, opened: Opened) -> Session {
        let peer = opened.peer;
        let session = Session::start(opened);
        if (self.settings.admission)(&peer) == Admission::Trusted {
            session.trust();
        }
        session
    }
}

/// Whether the caller went away because it heard nothing of us; a complaint about TLS says that it did hear.
fn gave_up(error: &ConnectionError) -> bool {
    const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200; // RFC 9001, 4.8
    match error {
        ConnectionError::TimedOut => true,
        ConnectionError::ConnectionClosed(close) => !TLS_ALERTS.contains(&close.error_code.into()),
        _ => false,
    }
}
