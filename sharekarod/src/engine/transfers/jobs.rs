//! What runs for a transfer that has not ended: at most one task, which wakes when somebody changes the transfer.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sharekaro_proto::{TransferId, TransferKey};
use tokio::sync::{Semaphore, watch};

use super::{
    buffers::Buffers,
    crowd::Shares,
    gauge::{Cpu, Gauge},
    limiter::Limiter,
    schedule::Schedule,
    sources::Source,
    stop::{Stop, blocking},
};
use crate::{
    config::Config,
    files::{Room, cage::Wanted},
};

/// Pieces in flight over all transfers together: what they hold in memory, in MiB.
const PIECES_IN_FLIGHT: usize = 24;

/// Locks for changes of records: those of different transfers seldom wait for each other.
const CHANGING: usize = 16;

/// Answers of one transfer in memory at a time, in MiB: twice what a receiver asks for at once.
const SERVING: usize = 16;

/// Searches for old blocks at a time: each holds some MiB and a processor.
const SEARCHES: usize = 2;

/// What runs.
pub struct Jobs {
    jobs: Mutex<HashMap<TransferId, Arc<Job>>>,
    sources: Mutex<HashMap<TransferKey, Arc<Opening>>>,
    /// Bounds the memory of everything that is being received.
    pub in_flight: Arc<Semaphore>,
    /// Memory for pieces.
    pub buffers: Arc<Buffers>,
    /// Bounds what is searched for old blocks at a time.
    pub searches: Semaphore,
    reserved: Arc<Mutex<Reservations>>,
    reservations: AtomicU64,
    /// What is shared with other receivers.
    pub shares: Shares,
    /// When the limits change.
    pub schedule: Schedule,
    /// Held while a set is found not to have been offered.
    pub renewing: tokio::sync::Mutex<()>,
    turns: Mutex<HashMap<PathBuf, Arc<Semaphore>>>,
    /// Transfers whose record is being changed, by the end of their number.
    changing: [tokio::sync::Mutex<()>; CHANGING],
    /// To all peers together.
    pub upload: Limiter,
    /// From all peers together.
    pub download: Limiter,
    /// What all of it costs.
    pub cpu: Cpu,
}

/// What a set of transfers sends, once it was opened.
#[derive(Default)]
pub struct Opening {
    /// Walked, or opened again.
    pub source: tokio::sync::OnceCell<Arc<Source>>,
    /// Held by what walks, also where nobody waits for its end any more: two would write the same notes.
    pub walking: Arc<tokio::sync::Mutex<()>>,
}

/// The disk that each transfer writes to, the room that it still wants there, and which reservation that is.
type Reservations = HashMap<TransferId, (u64, Wanted, u64)>;

/// Room that a transfer reserved; dropping it gives it back.
pub struct Reserved {
    id: TransferId,
    number: u64,
    table: Arc<Mutex<Reservations>>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        // What a pull left behind may end when the next one has reserved already.
        if table.get(&self.id).is_some_and(|(_, _, number)| *number == self.number) {
            table.remove(&self.id);
        }
    }
}

/// The running part of one transfer.
pub struct Job {
    /// Counts the changes that its task has to look at.
    changes: watch::Sender<u64>,
    /// Bytes a second of this transfer, on the sending side.
    pub limiter: Limiter,
    /// What is measured while it runs.
    pub gauge: Arc<Gauge>,
    /// The manifest that came inside the offer.
    pub inline_manifest: Mutex<Option<Vec<u8>>>,
    /// Bounds what is read and waits to be sent.
    pub serving: Arc<Semaphore>,
    /// Held by blocking work that makes or moves files of the transfer. It ends by itself when a pull is stopped, and whoever
    /// removes them, or begins anew, has to wait for that.
    pub making: Arc<tokio::sync::Mutex<()>>,
    running: Mutex<bool>,
}

impl Jobs {
    /// Nothing runs yet.
    pub fn new(config: &Config) -> Self {
        Self {
            jobs: Mutex::default(),
            sources: Mutex::default(),
            reserved: Arc::default(),
            reservations: AtomicU64::new(0),
            in_flight: Arc::new(Semaphore::new(PIECES_IN_FLIGHT)),
            buffers: Arc::default(),
            searches: Semaphore::new(SEARCHES),
            shares: Shares::default(),
            schedule: Schedule::default(),
            renewing: tokio::sync::Mutex::default(),
            turns: Mutex::default(),
            changing: Default::default(),
            upload: Limiter::new(config.upload_limit),
            download: Limiter::new(config.download_limit),
            cpu: Cpu::default(),
        }
    }

    /// One change of a transfer's record at a time, from a look at it until it is kept.
    pub async fn changing(&self, id: TransferId) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing[id.0 as usize % CHANGING].lock().await
    }

    /// Reserves for a transfer what it still wants; `None` where that and what others still want do not fit.
    pub fn reserve(&self, id: TransferId, wanted: Wanted, room: &Room) -> Option<Reserved> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let others = reserved.iter().filter(|(other, (disk, ..))| **other != id && *disk == room.disk);
        let all = others.fold(wanted.bytes(), |all, (_, (_, theirs, _))| all.saturating_add(theirs.bytes()));
        if all > room.bytes {
            return None;
        }
        let number = self.reservations.fetch_add(1, Ordering::Relaxed);
        reserved.insert(id, (room.disk, wanted, number));
        Some(Reserved { id, number, table: Arc::clone(&self.reserved) })
    }

    /// Whose turn it is to write to a disk that spins: one at a time, in the order in which they came.
    pub fn turns(&self, disk: PathBuf) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(disk).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }

    /// The running part of a transfer.
    pub fn of(&self, id: TransferId) -> Arc<Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            Arc::new(Job {
                changes: watch::channel(0).0,
                limiter: Limiter::new(None),
                gauge: Arc::default(),
                inline_manifest: Mutex::new(None),
                serving: Arc::new(Semaphore::new(SERVING)),
                making: Arc::default(),
                running: Mutex::new(false),
            })
        };
        Arc::clone(jobs.entry(id).or_insert_with(fresh))
    }

    /// What a set of transfers sends, opened when it is first needed.
    pub fn source(&self, set: TransferKey) -> Arc<Opening> {
        Arc::clone(self.sources.lock().unwrap_or_else(PoisonError::into_inner).entry(set).or_default())
    }

    /// What was opened is of no use any more: it is walked anew.
    pub fn renew_source(&self, set: TransferKey) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let walking = sources.get(&set).map(|opening| Arc::clone(&opening.walking)).unwrap_or_default();
        sources.insert(set, Arc::new(Opening { source: tokio::sync::OnceCell::new(), walking }));
    }

    /// All transfers of a set ended.
    pub fn end_source(&self, set: TransferKey) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).remove(&set);
    }

    /// The transfer ended; what it held is let go.
    pub fn end(&self, id: TransferId) {
        let job = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(job) = job {
            job.wake();
        }
    }
}

impl Job {
    /// Its task looks at the transfer again.
    pub fn wake(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Yields whenever somebody woke it.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Work that makes or moves files of the transfer: one at a time, also where nobody waits for the end of one.
    ///
    /// # Errors
    /// What the work says.
    pub async fn make<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T, Stop> + Send + 'static) -> Result<T, Stop> {
        let making = Arc::clone(&self.making).lock_owned().await;
        blocking(move || {
            let _making = making;
            work()
        })
        .await
    }

    /// Whether the caller is the first to run it.
    pub fn claim(&self) -> bool {
        !std::mem::replace(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner), true)
    }
}
