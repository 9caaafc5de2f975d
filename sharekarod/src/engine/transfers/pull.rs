//! Pulling one transfer: its manifest, then its small files in packs and its big ones in pieces, many in flight.
//!
//! What was written and verified is remembered beside it, so a pull can stop at any point and the next one asks only for
//! what is missing. Dropping the future stops it; blocking work that began ends by itself.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use sharekaro_proto::{
    ErrorBody, ErrorCode, TransferId,
    control::transfer::RawPath,
    nouns::transfer::{Phase, TransferState},
    wire::{ManifestRequest, Request, request},
};
use tokio::task::JoinSet;

use super::{
    buffers::Buffer,
    ending,
    fetch::{self, Fetch},
    gauge::Gauge,
    jobs::Reserved,
    plan::{Pieces, Queue, Work},
    record::Record,
    stop::{Stop, blocking, granted, local},
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

/// Thousandths of a request that the sender holds back on average: then it has a limit that we do not know.
const HELD: u32 = 500;

/// A limit that we do not know keeps a piece back for no longer: one of 16 KiB/s does it for a minute.
const HELD_LONG: Duration = Duration::from_secs(120);

/// Progress is told so often.
const TELL: Duration = Duration::from_millis(250);

/// Nothing moved for so long: it is said.
const STALLED: Duration = Duration::from_secs(5);

/// Nothing moved for so long: the session is given up and made anew.
const DEAD: Duration = Duration::from_secs(30);

/// A list of files leaves so many bytes of the state folder's disk to everything else.
const LIST_LEAVES: u64 = 4 << 20;

/// So many bytes on the line are more than what only keeps it alive.
const NEWS: u64 = 16 << 10;

/// The right to execute, of anybody: what lies in quarantine has none.
const EXECUTE: u32 = 0o111;

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
    ending::store(engine, &record, &fetch.staging, fetch.destination.clone()).await
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
    let mut intake = job
        .make(move || {
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
        let state_dir = engine.config().state_dir.clone();
        if blocking(move || Ok(files::Room::at(&state_dir)?)).await?.bytes < LIST_LEAVES {
            let why = ErrorBody::new(ErrorCode::NoSpace, "the list of what comes does not fit into the state folder");
            return Err(Stop::Wait(why.hint("it goes on by itself when there is room")));
        }
        let asked = ManifestRequest { key: record.key.0.to_vec(), from: intake.next() };
        let session = session.ok_or(Stop::Lost)?;
        let (reply, mut body) = session.request(Request { kind: Some(request::Kind::Manifest(asked)) }).await?;
        granted(reply)?;
        let page = read(&mut body).await?;
        if page.is_empty() {
            return Err(refuse(&"the sender has no more entries than these, and offered more"));
        }
        intake = job.make(move || intake.append(&page).map_err(unread).map(|_| intake)).await?;
        crash::point("manifest-page-kept");
    }
    job.make(move || intake.finish().map_err(unread)).await
}

/// Where the manifest is kept until the end.
pub fn manifest_path(engine: &Engine, record: &Record) -> PathBuf {
    engine.config().state_dir.join("incoming").join(format!("{}.manifest", record.key))
}

/// The cage, with what is in it from earlier pulls counted and, after a power cut, compared.
async fn open_staging(engine: &Engine, record: &Record, manifest: Arc<Manifest>) -> Result<(Arc<Staging>, Tally), Stop> {
    let root = staging_root(engine, record).await?;
    let key = record.key;
    engine
        .inner
        .jobs
        .of(record.id)
        .make(move || {
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
    let (to, root) = blocking(move || {
        let root = files::cage::staging_root_for(&destination, &state_dir);
        Ok((destination, root))
    })
    .await?;
    engine
        .change_transfer(record.id, Durability::Soon, |row| {
            row.record.staging = Some(RawPath(root.clone()));
            row.record.destination = Some(RawPath(to.clone())); // the inbox may be another one tomorrow, on another disk
        })
        .await?;
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
    let mut queue = Queue::new(fetch.clone());
    let mut running: JoinSet<Result<Option<Pieces>, Stop>> = JoinSet::new();
    loop {
        while running.len() < in_flight(fetch, record.id)
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
            Some(Ok(done)) => queue.add(done?),
            Some(Err(e)) => return Err(Stop::Wait(ErrorBody::new(ErrorCode::Unexpected, format!("transfer {} stumbled: {e}", record.id)))),
        }
    }
}

/// How many requests of a transfer may be in flight: where one of the same sender goes first, the line is kept full for
/// that one, and this only goes on. What a limit holds back takes no more of the room of all than it needs.
fn in_flight(fetch: &Fetch, id: TransferId) -> usize {
    let (is_passed, limit) = fetch.engine.look(|state| {
        let row = state.transfers.get(id);
        (row.is_some_and(|row| state.transfers.is_passed(row)), row.and_then(|row| row.record.limit()))
    });
    let needed = limit.map_or(IN_FLIGHT, |rate| (rate / 2) as usize / files::PIECE_BYTES + 1); // those of half a second
    match () {
        () if is_passed => 1,
        () if fetch.counters.gauge.theirs().held >= HELD => needed.min(2),
        () => needed.min(IN_FLIGHT),
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
        let still = since.elapsed().saturating_sub(kept_back(engine, id, counters));
        if still > STALLED {
            engine.update(|state| state.transfers.edit(id).map(|row| row.phase = Phase::Stalled));
        }
        if still > DEAD {
            tracing::warn!(%id, "nothing moved for {} s, dialling anew", since.elapsed().as_secs());
            session.close(crate::net::Code::Duplicate);
            return Stop::Lost;
        }
        engine.tell_progress(id);
    }
}

/// How long limits may keep a piece back: no stall until then. A limit of the sender's that we do not know is taken for a
/// slow one.
fn kept_back(engine: &Engine, id: TransferId, counters: &Counters) -> Duration {
    let (limit, active) = engine.look(|state| (state.transfers.get(id).and_then(|row| row.record.limit()), state.transfers.active()));
    let turns = |rate: u64, sharers: usize| Duration::from_secs((2 * files::PIECE_BYTES * sharers) as u64 / rate.max(1));
    let own = limit.map(|rate| turns(rate, 1));
    let of_all = engine.inner.jobs.download.rate().map(|rate| turns(rate, active));
    let theirs = (counters.gauge.theirs().held > 0).then_some(HELD_LONG);
    [own, of_all, theirs].into_iter().flatten().max().unwrap_or_default()
}

pub fn show(engine: &Engine, id: TransferId, counters: &Counters) -> u64 {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (bytes, reused, files) = (load(&counters.bytes), load(&counters.reused), load(&counters.files));
    let given = engine.inner.jobs.shares.get(id).map(|share| share.given());
    engine.update(|state| {
        if let Some(row) = state.transfers.edit(id) {
            if row.record.state == TransferState::Active {
                row.phase = Phase::Transferring;
            }
            row.record.given = given.unwrap_or(std::mem::take(&mut row.record.given));
            row.confirmed(bytes, reused, files);
        }
    });
    bytes
}

async fn make_dir(dir: PathBuf) -> Result<(), Stop> {
    blocking(move || std::fs::create_dir_all(&dir).map_err(|e| local(format!("cannot make {}: {e}", dir.display())))).await
}

/// A manifest that is not to be had: our disk, or the sender's fault.
fn unread(error: ManifestError) -> Stop {
    match error {
        ManifestError::Io { .. } => files::Error::from(error).into(),
        error => refuse(&error),
    }
}

fn refuse(why: &dyn std::fmt::Display) -> Stop {
    Stop::Senseless(ErrorBody::new(ErrorCode::Integrity, format!("the sender's list of files makes no sense: {why}")))
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
