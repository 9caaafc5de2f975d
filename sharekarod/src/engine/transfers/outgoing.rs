//! The sender's side of one transfer: walk what is to be sent, offer it, and again after each reconnection.
//!
//! Bytes are served elsewhere, when the receiver asks. This task only waits: for the peer, for room there, for a
//! person, for the receipt.

use std::time::Duration;

use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    nouns::transfer::{Phase, TransferState},
    wire::{INLINE_MANIFEST_MAX, Offer, Request, Status, reply, request},
};
use tokio::sync::watch;

use super::{progress, record::Record, sources::Source};
use crate::{
    engine::{Engine, clock},
    files::Manifest,
    net::Session,
};

/// A source that went away is looked for this often.
const SOURCE_LOOK: Duration = Duration::from_secs(2);

/// A peer that is busy is asked again after at least this.
const BUSY_LOOK: Duration = Duration::from_secs(2);

/// A peer that has trouble of its own, as with its disk, is asked again after this.
const TROUBLE_LOOK: Duration = Duration::from_secs(5);

/// Runs until the transfer ends.
pub async fn run(engine: Engine, id: TransferId) {
    let mut changes = engine.inner.jobs.of(id).changes();
    let mut offered: Option<Session> = None;
    while let Some(record) = engine.record(id).filter(|record| !record.state.ended()) {
        changes.borrow_and_update();
        if record.expires_ms.is_some_and(|at| at <= clock::now_ms()) {
            engine.expire_transfer(id).await;
            break;
        }
        offered = offered.filter(Session::is_open);
        let next = async {
            match &offered {
                Some(session) => drop(session.closed().await),
                None => return step(&engine, &record).await,
            }
            Step::Again(Duration::ZERO)
        };
        let next = tokio::select! {
            next = next => next,
            _ = changes.changed() => continue,
            () = tokio::time::sleep(until(record.expires_ms)) => continue,
        };
        match next {
            Step::Offered(session) => offered = Some(session),
            Step::Again(pause) => rest(&mut changes, pause).await,
        }
    }
    engine.let_go(id).await;
}

/// How long to rest where nothing is due.
const UNTIL_SOMETHING_CHANGES: Duration = Duration::from_secs(86_400);

/// How far a step got.
enum Step {
    /// The peer knows of it; nothing to do while this session stands.
    Offered(Session),
    /// Try again after so long.
    Again(Duration),
}

/// Goes as far as it can right now. Cancelled when something changes.
async fn step(engine: &Engine, record: &Record) -> Step {
    let id = record.id;
    let source = match engine.source(record).await {
        Ok(source) => source,
        Err(e) => {
            engine.note_transfer(id, |row| row.enter_with(TransferState::Waiting, Phase::Resting, e.clone())).await;
            return Step::Again(SOURCE_LOOK);
        }
    };
    if source.totals.entries == 0 {
        let why = ErrorBody::new(ErrorCode::LocalFile, "nothing is left of what was to be sent")
            .hint(format!("`sharectl transfer show {id}` names what was left out; patterns of --exclude and ignore files leave out more"));
        engine.note_transfer(id, |row| row.enter_with(TransferState::Failed, Phase::Resting, why.clone())).await;
        return Step::Again(Duration::ZERO);
    }
    let Some(session) = engine.open_session(&record.peer) else {
        away(engine, record).await;
        engine.session(record.peer).await;
        return Step::Again(Duration::ZERO);
    };
    if record.unoffered {
        return match engine.settle_source(record, &source).await {
            Ok(()) => Step::Again(Duration::ZERO),
            Err(e) => {
                engine.note_transfer(id, |row| row.enter_with(TransferState::Waiting, Phase::Resting, e.clone())).await;
                Step::Again(SOURCE_LOOK)
            }
        };
    }
    match offer(engine, &session, id, &source).await {
        Ok(()) => Step::Offered(session),
        Err(pause) => Step::Again(pause),
    }
}

/// The peer cannot be reached: what was accepted waits, what was not is queued, what was paused stays so.
async fn away(engine: &Engine, record: &Record) {
    let error = offline(engine, record);
    engine
        .note_transfer(record.id, |row| match row.record.state {
            _ if row.record.paused() => row.enter(TransferState::Paused, Phase::Resting),
            _ if row.record.accepted => row.enter_with(TransferState::Waiting, Phase::Connecting, error.clone()),
            _ => row.enter(TransferState::Queued, Phase::Connecting),
        })
        .await;
}

fn offline(engine: &Engine, record: &Record) -> ErrorBody {
    ErrorBody::new(ErrorCode::Offline, format!("{} cannot be reached", engine.label(record.peer)))
        .hint("it goes on by itself when it is back")
}

/// Offers (again) and takes in where the transfer stands there.
async fn offer(engine: &Engine, session: &Session, id: TransferId, source: &Source) -> Result<(), Duration> {
    let Some(record) = engine.record(id) else { return Ok(()) };
    let request = Request { kind: Some(request::Kind::Offer(message(engine, &record, source))) };
    let reply = match session.request(request).await {
        Ok((reply, _)) => reply,
        Err(e) => {
            tracing::debug!(%id, "the offer did not get through: {e}");
            return Err(Duration::from_millis(200));
        }
    };
    match (reply.status(), reply.kind) {
        (Status::Ok, Some(reply::Kind::Progress(told))) => {
            let standing = told.standing();
            engine.note_transfer(id, |row| progress::apply(row, &told, engine.id())).await;
            tracing::info!(%id, peer = %engine.label(record.peer), ?standing, "offered");
            Ok(())
        }
        (Status::Busy, _) => Err(BUSY_LOOK.max(Duration::from_millis(reply.retry_ms.into()))),
        (Status::Failed, _) => {
            let why =
                ErrorBody::new(ErrorCode::NoSpace, format!("{} cannot keep the offer now: {}", engine.label(record.peer), reply.message));
            let why = why.hint("it goes on by itself when that is over");
            engine.note_transfer(id, |row| row.enter_with(TransferState::Waiting, Phase::Resting, why.clone())).await;
            Err(TROUBLE_LOOK)
        }
        (status, _) => {
            let why = ErrorBody::new(
                ErrorCode::NotTrusted,
                format!("{} refused the offer ({status:?}): {}", engine.label(record.peer), reply.message),
            );
            engine.note_transfer(id, |row| row.enter_with(TransferState::Declined, Phase::Resting, why.clone())).await;
            Ok(())
        }
    }
}

fn message(engine: &Engine, record: &Record, source: &Source) -> Offer {
    let (manifest, totals) = (source.tree.manifest(), source.totals);
    Offer {
        key: record.key.0.to_vec(),
        title: record.title.clone(),
        bytes: totals.bytes,
        files: totals.files,
        entries: totals.entries,
        note: record.note.clone(),
        expires_ms: record.expires_ms.unwrap_or_default().unsigned_abs(),
        conflict: record.conflict.map(|it| it.word().to_owned()).unwrap_or_default(),
        manifest: whole(engine, record, source),
        paused: record.paused_here,
        priority: record.priority.word().to_owned(),
        limit: record.limit_here.unwrap_or_default(),
        names: top_names(manifest),
        crowd: engine.crowd_of(record),
        skipped: record.left_out(),
        stream: false,
    }
}

/// The whole manifest, where it is short.
fn whole(engine: &Engine, record: &Record, source: &Source) -> Vec<u8> {
    match source.page(engine.store(), &[engine.id(), record.peer], 1, INLINE_MANIFEST_MAX) {
        Ok((page, count)) if count == source.tree.manifest().count() => page,
        _ => Vec::new(),
    }
}

/// So many names are enough for a person, and for a rule to see what kinds of files come.
const NAMES_TOLD: usize = 20;

fn top_names(manifest: &Manifest) -> Vec<Vec<u8>> {
    // the first entries are looked at, not all: a top-level file behind a tree of a million is not worth a second's delay
    let entries = manifest.iter_from(1).take(50 * NAMES_TOLD).filter_map(Result::ok);
    entries.filter(|(_, item)| item.parent == 0).take(NAMES_TOLD).map(|(_, item)| item.name.as_bytes().to_vec()).collect()
}

impl Engine {
    /// A transfer ended: what it held is let go.
    async fn let_go(&self, id: TransferId) {
        let Some(record) = self.record(id).filter(|record| record.state.ended()) else { return };
        self.inner.jobs.end(id);
        self.let_go_of_source(&record).await;
    }
}

/// Time until a moment of the wall clock; far away where there is none.
pub fn until(ms: Option<i64>) -> Duration {
    ms.map_or(UNTIL_SOMETHING_CHANGES, |at| Duration::from_millis(at.saturating_sub(clock::now_ms()).max(0).unsigned_abs()))
}

/// Rests so long, or until somebody wakes the job.
pub async fn rest(changes: &mut watch::Receiver<u64>, pause: Duration) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        _ = changes.changed() => {}
    }
}
