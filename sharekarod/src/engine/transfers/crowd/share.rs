//! What we share of one transfer: which of its files are here or arriving, who else has what of them, who lied.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sharekaro_proto::{DeviceId, TransferId};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use super::{Crowd, Given, bits::Bits};
use crate::{
    engine::transfers::record::Record,
    files::{Staging, Value},
};

/// Files gathered at once: the next one's start overlaps the end of the last.
const FILES_AT_ONCE: usize = 2;

/// Where a file is that others may ask for.
#[derive(Clone)]
pub enum Held {
    /// In the cage; some of it may be missing.
    Arriving(Arc<Staging>, u32),
    /// In its place.
    Placed(Placed),
}

/// A file that was put into its place, where it belongs to a person who may write into it.
#[derive(Clone)]
pub struct Placed {
    /// Where it was put.
    pub path: PathBuf,
    /// Seconds and nanoseconds of when it was changed, as it was put there.
    pub mtime: (i64, i64),
}

/// A file of the crowd.
pub struct FileShare {
    /// Bytes.
    pub size: u64,
    /// Where it is.
    pub held: Held,
    /// What is here and verified.
    pub have: Bits,
    /// What others said that they have.
    pub told: BTreeMap<DeviceId, Bits>,
    /// The values of its pieces, from the sender.
    pub layer: Option<Arc<Vec<Value>>>,
}

/// What we share of one transfer.
pub struct Share {
    /// Which.
    pub transfer: TransferId,
    crowd: Mutex<Arc<Crowd>>,
    files: Mutex<HashMap<Value, FileShare>>,
    members: Mutex<Members>,
    sender: DeviceId,
    given: Mutex<Vec<Given>>,
    news: watch::Sender<u64>,
    /// Bounds the files gathered at once.
    pub gathering: Arc<Semaphore>,
}

/// What is known of the members, beside what they have.
#[derive(Default)]
pub struct Members {
    /// Of whom it was asked, over which session, what he has of a file.
    pub greeted: BTreeSet<(Value, u64)>,
    /// When each was last dialled.
    pub dialled: HashMap<DeviceId, Instant>,
}

impl Share {
    fn new(record: &Record, crowd: Crowd) -> Self {
        Self {
            transfer: record.id,
            crowd: Mutex::new(Arc::new(crowd)),
            files: Mutex::default(),
            members: Mutex::default(),
            sender: record.peer,
            given: Mutex::new(record.given.clone()),
            news: watch::channel(0).0,
            gathering: Arc::new(Semaphore::new(FILES_AT_ONCE)),
        }
    }

    /// With whom.
    pub fn crowd(&self) -> Arc<Crowd> {
        Arc::clone(&self.crowd.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A file begins, goes on in another cage, or is in its place. What is known of it stays known.
    pub fn put(&self, content: Value, size: u64, held: Held, have: Bits) {
        let mut files = self.lock();
        let old = files.remove(&content).filter(|old| old.size == size);
        let (told, layer) = old.map(|old| (old.told, old.layer)).unwrap_or_default();
        files.insert(content, FileShare { size, held, have, told, layer });
    }

    /// Looks at, or changes, a file.
    pub fn file<T>(&self, content: &Value, with: impl FnOnce(&mut FileShare) -> T) -> Option<T> {
        self.lock().get_mut(content).map(with)
    }

    /// The contents of all its files.
    pub fn contents(&self) -> Vec<Value> {
        self.lock().keys().copied().collect()
    }

    /// Looks at, or changes, what is known of the members.
    pub fn members<T>(&self, with: impl FnOnce(&mut Members) -> T) -> T {
        with(&mut self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whom what came from, so far.
    pub fn given(&self) -> Vec<Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A piece came from a helper, or from the sender, and was kept.
    pub fn came_from(&self, helper: Option<DeviceId>, bytes: u64) {
        self.count(helper.unwrap_or(self.sender), |given| (given.pieces, given.bytes) = (given.pieces + 1, given.bytes + bytes));
    }

    /// What this helper gave was no piece.
    pub fn lied(&self, helper: DeviceId) {
        self.count(helper, |given| given.wrong += 1);
    }

    fn count(&self, device: DeviceId, with: impl FnOnce(&mut Given)) {
        let mut all = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        match all.iter_mut().find(|given| given.device == device) {
            Some(given) => with(given),
            None => {
                let mut given = Given { device, sender: device == self.sender, pieces: 0, bytes: 0, wrong: 0 };
                with(&mut given);
                all.push(given);
            }
        }
    }

    /// Whether it gave a piece that was none: nothing is asked of it any more.
    pub fn is_liar(&self, device: &DeviceId) -> bool {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|given| given.device == *device && given.wrong > 0)
    }

    /// Somebody has more than before.
    pub fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// Yields whenever somebody has more than before.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Value, FileShare>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is shared now, by transfer.
#[derive(Default)]
pub struct Shares(Mutex<HashMap<TransferId, Arc<Share>>>);

impl Shares {
    /// What is shared of a transfer, begun where it is not yet, with who is in the crowd now.
    pub fn of(&self, record: &Record, crowd: &Crowd) -> Arc<Share> {
        let mut shares = self.lock();
        let share = shares.entry(record.id).or_insert_with(|| Arc::new(Share::new(record, crowd.clone())));
        *share.crowd.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(crowd.clone());
        Arc::clone(share)
    }

    /// What is shared of a transfer.
    pub fn get(&self, id: TransferId) -> Option<Arc<Share>> {
        self.lock().get(&id).cloned()
    }

    /// It ended.
    pub fn end(&self, id: TransferId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TransferId, Arc<Share>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
