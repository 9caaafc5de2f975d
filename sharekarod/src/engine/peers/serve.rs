//! Serving one session: every request goes to the capability that answers it, every note to the one that knows it.

use sharekaro_proto::{
    TransferId,
    wire::{Note, Reply, Request, Status, note, reply, request},
};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    engine::Engine,
    net::{Incoming, Session},
};

/// An answer: the reply and the raw bytes after it.
#[derive(Default)]
pub struct Answer {
    /// The reply; `body_len` is filled in when it is sent.
    pub reply: Reply,
    /// At most `PAGE_MAX` bytes.
    pub body: bytes::Bytes,
    /// Which answers go first on the line; higher is earlier.
    pub priority: i32,
    /// The transfer whose content it is: it waits for the limits.
    pub content_of: Option<TransferId>,
    /// Held as long as its bytes are in memory.
    pub room: Option<OwnedSemaphorePermit>,
}

impl Answer {
    /// As asked, with what belongs to it.
    pub fn ok(kind: Option<reply::Kind>) -> Self {
        Self { reply: Reply { status: Status::Ok.into(), kind, ..Reply::default() }, ..Self::default() }
    }

    /// As asked, with raw bytes.
    pub fn with_body(kind: reply::Kind, body: impl Into<bytes::Bytes>) -> Self {
        Self { body: body.into(), ..Self::ok(Some(kind)) }
    }

    /// Not as asked.
    pub fn no(status: Status, message: impl Into<String>) -> Self {
        let reply = Reply { status: status.into(), message: message.into(), ..Reply::default() };
        Self { reply, ..Self::default() }
    }
}

/// Serves a session until it ends.
pub async fn run(engine: Engine, session: Session) {
    engine.session_opened(&session);
    tokio::select! {
        () = requests(&engine, &session) => {}
        () = notes(&engine, &session) => {}
        _ = session.closed() => {}
    }
    let ended = session.closed().await;
    engine.session_closed(&session); // while the peer is listed: with it goes whatever shows it
    if engine.update(|state| state.peers.parted(&session, &ended, state.transfers.is_open_with(&session.peer()))) {
        tracing::info!(peer = %engine.label(session.peer()), "disconnected: {ended:?}");
    }
}

async fn requests(engine: &Engine, session: &Session) {
    while let Some(incoming) = session.next_request().await {
        engine.spawn(answer(engine.clone(), session.clone(), incoming)); // as many at once as the session allows streams
    }
    session.closed().await;
}

async fn notes(engine: &Engine, session: &Session) {
    while let Some(note) = session.next_note().await {
        take(engine, session, note);
    }
    session.closed().await;
}

async fn answer(engine: Engine, session: Session, mut incoming: Incoming) {
    let request = std::mem::take(&mut incoming.request);
    let mut answer = dispatch(&engine, &session, &mut incoming, request).await;
    tokio::select! {
        () = engine.pace(&session, &mut answer) => {}
        () = incoming.given_up() => return, // and costs nobody's share of a limit
    }
    let Answer { mut reply, body, priority, room: _room, .. } = answer;
    reply.body_len = body.len() as u32; // at most PAGE_MAX
    incoming.set_priority(priority);
    if let Err(e) = incoming.respond(reply, (!body.is_empty()).then_some(body)).await {
        tracing::debug!(peer = %session.peer().short(), "an answer did not get through: {e}");
    }
}

async fn dispatch(engine: &Engine, session: &Session, incoming: &mut Incoming, request: Request) -> Answer {
    use request::Kind;
    match request.kind {
        Some(Kind::Ping(ping)) => Answer::ok(Some(reply::Kind::Pong(ping))),
        Some(Kind::Offer(offer)) => engine.offered(session, offer).await,
        Some(Kind::Manifest(it)) => engine.serve_manifest(session, it).await,
        Some(Kind::Piece(it)) => engine.serve_piece(session, it).await,
        Some(Kind::Pack(it)) => engine.serve_pack(session, it).await,
        Some(Kind::Layer(it)) => engine.serve_layer(session, it).await,
        Some(Kind::Extents(it)) => engine.serve_extents(session, it).await,
        Some(Kind::Delta(it)) => engine.serve_delta(session, it, incoming).await,
        Some(Kind::Receipt(it)) => engine.serve_receipt(session, it).await,
        Some(Kind::Complete(it)) => engine.completed(session, it).await,
        Some(Kind::Change(it)) => engine.changed_by_peer(session, it).await,
        Some(Kind::PairStart(it)) => engine.pair_started(session, it),
        Some(Kind::PairReveal(it)) => engine.pair_revealed(session, it),
        Some(Kind::PairConfirm(it)) => engine.pair_confirmed(session, it).await,
        Some(Kind::Measure(it)) => engine.measured(session, it).await,
        Some(Kind::CodeStart(it)) => engine.code_tried(session, it),
        Some(Kind::CodeConfirm(it)) => engine.code_proven(session, it).await,
        Some(Kind::Examine(_)) => engine.examined(session).await,
        Some(Kind::Messages(it)) => engine.messages_came(session, it).await,
        None => Answer::no(Status::Unsupported, "this version cannot do that"),
    }
}

fn take(engine: &Engine, session: &Session, note: Note) {
    match note.kind {
        Some(note::Kind::Progress(progress)) => engine.progress_told(session, progress),
        Some(note::Kind::Presence(presence)) => engine.update(|state| state.peers.said(&session.peer(), &presence)),
        Some(note::Kind::Have(have)) => engine.have_told(session, have),
        Some(note::Kind::Hints(_)) | None => {} // of a later version
    }
}
