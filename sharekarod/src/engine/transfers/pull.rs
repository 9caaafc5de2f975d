//! Pulling one transfer: its manifest, then its small files in packs and its big ones in pieces, many in flight.
//!
//! What was written and verified is remembered beside it, so a pull can stop at any point and the next one asks only for
//! what is missing. Dropping the future stops it; blocking work that began ends by itself.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    control::transfer::{RawPath, Skipped},
    nouns::{
        text::lossless,
        transfer::{Conflict, Phase, TransferState},
    },
    wire::{ManifestRequest, Reply, Request, SKIPPED_TOLD_MAX, Status, reply, request},
};
use tokio::task::JoinSet;

use super::{
    buffers::Buffer,
    fetch::{self, Fetch},
    gauge::Gauge,
    jobs::{Job, Reserved},
    plan::{Pieces, Planner, Work},
    record::{Record, SKIPPED_NAMED_MAX},
    sources::with_causes,
};
use crate::{
    crash,
    engine::Engine,
    files::{
        self, Manifest, ManifestError, Staging,
        cage::Tally,
        manifest::{Intake, Totals},
    },
    net::{Body, Session, SessionError},
    store::Durability,
};

/// Requests in flight for one transfer: enough to fill a Gbit/s line at 60 ms.
const IN_FLIGHT: usize = 8;

/// Progress is told so often.
const TELL: Duration = Duration::from_millis(250);

/// Nothing moved for so long: it is said.
const STALLED: Duration = Duration::from_secs(5);

/// Nothing moved for so long: the session is given up and made anew.
const DEAD: Duration = Duration::from_secs(30);

/// So many bytes on the line are more than what only keeps it alive.
const NEWS: u64 = 16 << 10;

/// The right to execute, of anybody: what lies in quarantine has none.
const EXECUTE: u32 = 0o111;

/// Why a pull stopped before its end.
pub enum Stop {
    /// The session broke.
    Lost,
    /// The sender paused it.
    Paused,
    /// The sender cancelled it.
    Cancelled,
    /// It cannot go on now.
    Wait(ErrorBody),
}

impl From<SessionError> for Stop {
    fn from(_: SessionError) -> Self {
        Self::Lost
    }
}

impl From<files::Error> for Stop {
    fn from(error: files::Error) -> Self {
        let hint = "it goes on by itself when it can";
        let code = if error.is_no_space() { ErrorCode::NoSpace } else { ErrorCode::LocalFile };
        Self::Wait(ErrorBody::new(code, with_causes(&error)).hint(hint))
    }
}

impl From<ErrorBody> for Stop {
    fn from(error: ErrorBody) -> Self {
        Self::Wait(error)
    }
}

/// How far a pull is; shared by everything in flight.
#[derive(Default)]
pub struct Counters {
    /// Bytes verified and written, those that were there already included.
    pub bytes: AtomicU64,
    /// Bytes that were there already.
    pub reused: AtomicU64,
    /// Files that are whole.
    pub files: AtomicU64,
    /// Works that take their time without a byte that moves: hashing, making durable.
    busy: AtomicU64,
    /// What is measured.
    pub gauge: Arc<Gauge>,
}

/// While it lives nothing has to move.
pub struct Busy<'a>(&'a AtomicU64);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    /// Something begins that takes its time.
    pub fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(&self.busy)
    }
}

/// Pulls until everything is stored.
pub async fn run(engine: &Engine, session: &Session, id: TransferId) -> Result<(), Stop> {
    let Some(record) = engine.record(id) else { return Err(Stop::Cancelled) };
    let fetch = prepare(engine, Some(session), &record).await?;
    tokio::select! {
        done = move_bytes(&fetch, &record) => done?,
        stop = watch(engine, session, id, &fetch.counters) => return Err(stop),
    }
    show(engine, id, &fetch.counters);
    store(engine, &record, &fetch.staging, fetch.destination.clone()).await
}

/// Everything that bytes need to arrive; from here on the transfer is active.
pub async fn prepare(engine: &Engine, session: Option<&Session>, record: &Record) -> Result<Fetch, Stop> {
    let mut manifest = manifest(engine, session, record).await?;
    if record.quarantined {
        manifest.files_lose(EXECUTE);
    }
    let manifest = Arc::new(manifest);
    let destination = engine.destination(record);
    make_dir(destination.clone()).await?;
    let (staging, tally) = open_staging(engine, record, manifest).await?;
    let room = reserve(engine, record.id, &destination, &staging).await?;
    engine.note_transfer(record.id, |row| row.enter(TransferState::Active, Phase::Transferring)).await;
    engine.tell_progress(record.id);
    let helped = record.crowd.as_ref().filter(|_| record.limit().is_none()); // a limit is kept by the sender
    Ok(Fetch {
        engine: engine.clone(),
        session: session.cloned(),
        key: record.key,
        staging,
        destination,
        remaining: Arc::default(),
        recipes: Arc::default(),
        counters: Arc::new(Counters {
            gauge: Arc::clone(&engine.inner.jobs.of(record.id).gauge),
            bytes: tally.bytes.into(),
            files: tally.files.into(),
            reused: record.bytes_reused.into(),
            ..Counters::default()
        }),
        share: helped.map(|crowd| engine.inner.jobs.shares.of(record, crowd)),
        room: Arc::new(room),
    })
}

/// The manifest: from the offer, from an earlier pull, or page by page from the sender. What was judged is what comes:
/// it is on the disk before it is returned.
pub async fn manifest(engine: &Engine, session: Option<&Session>, record: &Record) -> Result<Manifest, Stop> {
    let path = manifest_path(engine, record);
    let offered = Totals { bytes: record.bytes_total, files: record.files_total, entries: record.entries };
    let job = engine.inner.jobs.of(record.id);
    let inline = job.inline_manifest.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let mut intake = making(&job, move || {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|e| local(format!("cannot make {}: {e}", dir.display())))?;
        }
        let mut intake = Intake::open(&path, offered).map_err(unread)?;
        if let Some(page) = inline.filter(|_| intake.next() == 1) {
            intake.append(&page).map_err(unread)?;
        }
        Ok(intake)
    })
    .await?;
    while !intake.is_whole() {
        let asked = ManifestRequest { key: record.key.0.to_vec(), from: intake.next() };
        let session = session.ok_or(Stop::Lost)?;
        let (reply, mut body) = session.request(Request { kind: Some(request::Kind::Manifest(asked)) }).await?;
        granted(reply)?;
        let page = read(&mut body).await?;
        if page.is_empty() {
            return Err(refuse(&"the sender has no more entries than these, and offered more"));
        }
        intake = making(&job, move || intake.append(&page).map_err(unread).map(|_| intake)).await?;
        crash::point("manifest-page-kept");
    }
    making(&job, move || intake.finish().map_err(unread)).await
}

fn manifest_path(engine: &Engine, record: &Record) -> PathBuf {
    engine.config().state_dir.join("incoming").join(format!("{}.manifest", record.key))
}

/// What one receive wrote, so that it can be taken back.
pub fn listing_path(engine: &Engine, record: &Record) -> PathBuf {
    engine.config().state_dir.join("received").join(record.key.to_string())
}

/// The cage, with what is in it from earlier pulls counted and, after a power cut, compared.
async fn open_staging(engine: &Engine, record: &Record, manifest: Arc<Manifest>) -> Result<(Arc<Staging>, Tally), Stop> {
    let root = staging_root(engine, record).await?;
    let key = record.key;
    making(&engine.inner.jobs.of(record.id), move || {
        let never = AtomicBool::new(false);
        let staging = Staging::open(&root, key, manifest)?;
        if !staging.is_verified() {
            staging.verify_claims(&never, &mut |_| {})?;
        }
        let tally = staging.prepare(&never)?;
        Ok((Arc::new(staging), tally))
    })
    .await
}

/// Where the cage of a transfer is: decided once, as the destination decides it.
async fn staging_root(engine: &Engine, record: &Record) -> Result<PathBuf, Stop> {
    if let Some(RawPath(root)) = &record.staging {
        return Ok(root.clone());
    }
    let (destination, state_dir) = (engine.destination(record), engine.config().state_dir.clone());
    let root = blocking(move || Ok(files::cage::staging_root_for(&destination, &state_dir))).await?;
    engine.change_transfer(record.id, Durability::Soon, |row| row.record.staging = Some(RawPath(root.clone()))).await?;
    Ok(root)
}

/// Room for what is still to come, besides what other transfers reserved; given back when the pull ends. A sparse file
/// gets none ahead: most of it needs none.
async fn reserve(engine: &Engine, id: TransferId, destination: &Path, staging: &Staging) -> Result<Reserved, Stop> {
    let room = {
        let destination = destination.to_owned();
        blocking(move || Ok(files::Room::at(&destination)?)).await?
    };
    let wanted = staging.wanted();
    let bytes = wanted.bytes();
    engine.inner.jobs.reserve(id, wanted, &room).ok_or_else(|| {
        let message = format!("{bytes} bytes do not fit where {} bytes are free", room.bytes);
        Stop::Wait(ErrorBody::new(ErrorCode::NoSpace, message).hint("it goes on by itself when there is room"))
    })
}

/// Keeps as much in flight as is allowed until everything is here.
async fn move_bytes(fetch: &Fetch, record: &Record) -> Result<(), Stop> {
    let mut queue = Queue { planner: Some(Planner::new(fetch.clone())), pieces: VecDeque::new(), ahead: VecDeque::new() };
    let mut running: JoinSet<Result<Option<Pieces>, Stop>> = JoinSet::new();
    loop {
        while running.len() < in_flight(&fetch.engine, record.id)
            && let Some(work) = queue.next().await?
        {
            let permit = match work {
                Work::Begin(..) => None, // what it gathers waits for room piece by piece
                _ => Some(fetch.engine.inner.jobs.in_flight.clone().acquire_owned().await),
            };
            let held = fetch.counters.gauge.visit(|gauge| &gauge.held);
            fetch.engine.inner.jobs.download.pass(work.bytes()).await;
            drop(held);
            let fetch = fetch.clone();
            running.spawn(async move {
                let _permit = permit; // held while its bytes are in memory
                fetch::run(&fetch, work).await
            });
        }
        match running.join_next().await {
            None => return Ok(()),
            Some(Ok(done)) => queue.pieces.extend(done?),
            Some(Err(e)) => return Err(Stop::Wait(ErrorBody::new(ErrorCode::Unexpected, format!("transfer {} stumbled: {e}", record.id)))),
        }
    }
}

/// How many requests of a transfer may be in flight: where one of the same sender goes first, the line is kept full for
/// that one, and this only goes on.
fn in_flight(engine: &Engine, id: TransferId) -> usize {
    let goes_first = engine.look(|state| state.transfers.get(id).is_some_and(|row| state.transfers.is_passed(row)));
    if goes_first { 1 } else { IN_FLIGHT }
}

/// What is to be fetched next: pieces of files that were begun, then what is planned, then what is not planned yet.
struct Queue {
    planner: Option<Planner>,
    pieces: VecDeque<Pieces>,
    ahead: VecDeque<Work>,
}

impl Queue {
    async fn next(&mut self) -> Result<Option<Work>, Stop> {
        loop {
            while let Some(pieces) = self.pieces.front_mut() {
                if let Some(work) = pieces.next() {
                    return Ok(Some(work));
                }
                self.pieces.pop_front();
            }
            if let Some(work) = self.ahead.pop_front() {
                return Ok(Some(work));
            }
            let Some(planner) = self.planner.take() else { return Ok(None) };
            let (planner, works) = blocking(move || planner.plan()).await?;
            self.planner = planner;
            self.ahead.extend(works);
        }
    }
}

/// Shows and tells progress; returns when nothing moves any more.
async fn watch(engine: &Engine, session: &Session, id: TransferId, counters: &Counters) -> Stop {
    let mut ticks = tokio::time::interval(TELL);
    let (mut seen, mut since) = ((0, 0), tokio::time::Instant::now());
    loop {
        ticks.tick().await;
        // On a slow line the first whole piece may take minutes.
        let now = (show(engine, id, counters), session.stats().received_bytes / NEWS);
        if now != seen || counters.busy.load(Ordering::Relaxed) > 0 {
            (seen, since) = (now, tokio::time::Instant::now());
        }
        let limited = engine.record(id).is_some_and(|record| record.limit().is_some()) || engine.inner.jobs.download.rate().is_some();
        if since.elapsed() > STALLED && !limited {
            engine.update(|state| state.transfers.edit(id).map(|row| row.phase = Phase::Stalled));
        }
        if since.elapsed() > DEAD && !limited {
            tracing::warn!(%id, "nothing moved for {} s, dialling anew", DEAD.as_secs());
            session.close(crate::net::Code::Duplicate);
            return Stop::Lost;
        }
        engine.tell_progress(id);
    }
}

pub fn show(engine: &Engine, id: TransferId, counters: &Counters) -> u64 {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (bytes, reused, files) = (load(&counters.bytes), load(&counters.reused), load(&counters.files));
    let given = engine.inner.jobs.shares.get(id).map(|share| share.given());
    engine.update(|state| {
        if let Some(row) = state.transfers.edit(id) {
            row.phase = Phase::Transferring;
            row.record.given = given.unwrap_or(std::mem::take(&mut row.record.given));
            row.confirmed(bytes, reused, files);
        }
    });
    bytes
}

/// Durable, into its place, recorded; then the sender hears it.
pub async fn store(engine: &Engine, record: &Record, staging: &Arc<Staging>, destination: PathBuf) -> Result<(), Stop> {
    engine.update(|state| state.transfers.edit(record.id).map(|row| row.phase = Phase::Storing));
    engine.tell_progress(record.id);
    let cage = Arc::clone(staging);
    let (staging, conflict) = (Arc::clone(staging), record.conflict.filter(|it| *it != Conflict::Ask).unwrap_or(Conflict::Rename));
    let listing = listing_path(engine, record);
    let (placed, skipped, skipped_entries) = making(&engine.inner.jobs.of(record.id), move || {
        if let Some(dir) = listing.parent() {
            std::fs::create_dir_all(dir).map_err(|e| local(format!("cannot make {}: {e}", dir.display())))?;
        }
        let placed = staging.commit(&destination, conflict, &listing)?;
        let numbers = staging.skipped();
        let named = numbers
            .iter()
            .take(SKIPPED_NAMED_MAX)
            .map(|(no, reason)| Ok(Skipped { path: path_of(staging.manifest(), *no)?, reason: *reason }));
        let named = named.collect::<Result<Vec<_>, files::Error>>()?;
        Ok((placed, named, numbers))
    })
    .await?;
    engine.write_receipt(record, cage).await?;
    crash::point("receipt-written");
    let placed: Vec<RawPath> = placed.into_iter().map(|it| RawPath(it.path)).collect();
    let destination = engine.destination(record);
    let nothing = record.files_total == 1 && skipped.iter().any(|it| it.reason.counts());
    engine
        .change_transfer(record.id, Durability::Durable, |row| {
            if row.record.state.ended() {
                return; // it was cancelled meanwhile, and `let_go` takes back what is there
            }
            row.record.placed.clone_from(&placed);
            row.record.destination = Some(RawPath(destination.clone())); // the inbox may be another one some day
            row.record.skipped.clone_from(&skipped);
            row.record.skipped_entries = skipped_entries.iter().take(SKIPPED_TOLD_MAX).copied().collect();
            row.record.untold = true;
            if nothing {
                let why =
                    ErrorBody::new(ErrorCode::LocalFile, "the file changed or went away while it was sent").hint("it has to be sent again");
                row.enter_with(TransferState::Failed, Phase::Resting, why);
            } else {
                row.enter(TransferState::Done, Phase::Resting);
            }
        })
        .await?;
    crash::point("end-kept");
    if engine.record(record.id).is_none_or(|now| !matches!(now.state, TransferState::Done | TransferState::Failed)) {
        return Ok(());
    }
    tracing::info!(id = %record.id, peer = %engine.label(record.peer), bytes = record.bytes_total, "received");
    engine.tell_the_end(record.id);
    engine.share_placed(record.id).await;
    engine.run_after(record.id);
    if !record.quarantined {
        engine.remember_contents(listing_path(engine, record), engine.destination(record)).await;
    }
    Ok(())
}

/// The transfer ended: its partials go, unless the daemon only stops.
pub async fn let_go(engine: &Engine, id: TransferId) {
    let Some(record) = engine.record(id).filter(|record| record.state.ended()) else { return };
    let made = Arc::clone(&engine.inner.jobs.of(id).making);
    let _made = made.lock().await; // what was under way when it ended makes no more files now
    engine.inner.jobs.end(id);
    if record.state != TransferState::Done {
        engine.inner.jobs.shares.end(id);
    }
    let (manifest, root, key) = (manifest_path(engine, &record), record.staging.clone(), record.key);
    let (listing, destination) = (listing_path(engine, &record), engine.destination(&record));
    let unwanted = record.state == TransferState::Cancelled; // it may have come into its place while it was
    let receipt = engine.receipt_path(&record);
    let gone = blocking(move || {
        if unwanted {
            let _ = std::fs::remove_file(&receipt); // nothing is there that it would prove
        }
        if unwanted && listing.exists() {
            files::cage::undo(&destination, &listing)?;
            std::fs::remove_file(&listing).map_err(|e| local(format!("cannot remove {}: {e}", listing.display())))?;
        }
        if let Some(RawPath(root)) = root {
            files::cage::discard(&root, key)?;
        }
        match std::fs::remove_file(&manifest) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(local(format!("cannot remove {}: {e}", manifest.display()))),
            _ => Ok(()),
        }
    });
    if let Err(Stop::Wait(e)) = gone.await {
        tracing::warn!(%id, "partials were left: {}", e.message);
    }
}

/// The path of an entry within its transfer, for people.
pub fn path_of(manifest: &Manifest, no: u32) -> Result<String, files::Error> {
    let names = manifest.path(no)?;
    Ok(names.iter().map(|name| lossless(name.as_bytes())).collect::<Vec<_>>().join("/"))
}

async fn make_dir(dir: PathBuf) -> Result<(), Stop> {
    blocking(move || std::fs::create_dir_all(&dir).map_err(|e| local(format!("cannot make {}: {e}", dir.display())))).await
}

/// Work that may block, on a thread that may.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Stop> + Send + 'static) -> Result<T, Stop> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Stop::Wait(ErrorBody::new(ErrorCode::Unexpected, "disk work was interrupted"))),
    }
}

/// The same for work that makes or moves files of a transfer: one at a time, also where nobody waits for the end of one.
async fn making<T: Send + 'static>(job: &Job, work: impl FnOnce() -> Result<T, Stop> + Send + 'static) -> Result<T, Stop> {
    let making = Arc::clone(&job.making).lock_owned().await;
    blocking(move || {
        let _making = making;
        work()
    })
    .await
}

/// A reply that grants what was asked.
pub fn granted(reply: Reply) -> Result<Reply, Stop> {
    match reply.status() {
        Status::Ok => Ok(reply),
        Status::Paused => Err(Stop::Paused),
        Status::Cancelled => Err(Stop::Cancelled),
        Status::Busy => Err(Stop::Wait(
            ErrorBody::new(ErrorCode::LocalFile, format!("the sender cannot read it now: {}", reply.message))
                .hint("it goes on by itself when it can"),
        )),
        _ => Err(Stop::Wait(
            ErrorBody::new(ErrorCode::NotFound, format!("the sender does not give it: {}", reply.message))
                .hint("it is tried again; `sharectl transfer cancel` ends it"),
        )),
    }
}

fn local(message: String) -> Stop {
    Stop::Wait(ErrorBody::new(ErrorCode::LocalFile, message).hint("it goes on by itself when it can"))
}

/// A manifest that is not to be had: our disk, or the sender's fault.
fn unread(error: ManifestError) -> Stop {
    match error {
        ManifestError::Io { .. } => files::Error::from(error).into(),
        error => refuse(&error),
    }
}

fn refuse(why: &dyn std::fmt::Display) -> Stop {
    Stop::Wait(ErrorBody::new(ErrorCode::Integrity, format!("the sender's list of files makes no sense: {why}")))
}

/// The raw bytes after a reply.
pub async fn read(body: &mut Body) -> Result<Vec<u8>, SessionError> {
    let mut bytes = Vec::with_capacity(body.len()); // at most PAGE_MAX
    body.read_exact_into(&mut bytes).await?;
    Ok(bytes)
}

/// The same, of a piece or a pack.
pub async fn read_piece(engine: &Engine, body: &mut Body) -> Result<Buffer, SessionError> {
    let mut buffer = engine.inner.jobs.buffers.take();
    buffer.clear();
    body.read_exact_into(&mut buffer).await?;
    Ok(buffer)
}

/// A piece of zeroes.
pub fn zeroes(engine: &Engine, len: usize) -> Buffer {
    let mut buffer = engine.inner.jobs.buffers.take();
    buffer.clear();
    buffer.resize(len, 0);
    buffer
}

/// What a reply has to carry.
pub fn odd() -> Stop {
    Stop::Wait(ErrorBody::new(ErrorCode::Integrity, "the sender answered something else than it was asked"))
}

/// The kind of a reply, where it is the one that belongs there.
pub fn kind_of<T>(reply: Reply, pick: impl FnOnce(reply::Kind) -> Option<T>) -> Result<T, Stop> {
    reply.kind.and_then(pick).ok_or_else(odd)
}
