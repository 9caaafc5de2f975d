//! Whether what is read of a file is one state of it, where its times alone do not tell.
//!
//! A file's time is that of the beginning of a write, in steps of a clock. So nothing is read before the clock has moved
//! on from the newest change, after which every write shows; and a file that somebody still holds open for writing, in a
//! write that began before, or through memory, is hashed as a whole first: only what it was then is given away, so that
//! all of it was there at one moment.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use sharekaro_proto::wire::PIECE_SIZE;

use super::{HashKey, SourceTree, key};
use crate::files::{
    Value,
    writers::{FileId, held_open},
};

/// Who touched a file so long ago is through with the call that did it, and what is written to memory shows by itself:
/// dirty pages are cleaned within half a minute (`vm.dirty_expire_centisecs`), and the next store has a time again.
const YOUNG: Duration = Duration::from_secs(60);

/// Where other processes are closed to us, as in a user namespace of our own, who touched a file so lately is taken to
/// write to it still. Longer would have each new file read twice.
const HASTY: Duration = Duration::from_secs(5);

/// Times without a fraction of a second may have been cut by their file system: vfat counts in steps of two seconds.
const COARSE_STEP_NS: i64 = 2_000_000_000;

/// Values kept of doubted files: those of 64 GiB, in 2 MiB.
const VALUES_KEPT: usize = 64 << 10;

/// Bytes of the note of one doubted file: its number and its hash.
const NOTE_BYTES: usize = 36;

/// Files of which only what they were when they were hashed is given away.
#[derive(Default)]
pub(super) struct Doubts {
    roots: HashMap<u32, Value>,
    layers: Mutex<HashMap<u32, Arc<Vec<Value>>>>,
}

impl Doubts {
    /// What an earlier look noted; `None` where it noted nothing.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let noted = match fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            noted => noted?,
        };
        let (notes, _) = noted.as_chunks::<NOTE_BYTES>();
        let note = |note: &[u8; NOTE_BYTES]| {
            let (no, root) = note.split_first_chunk::<4>()?;
            Some((u32::from_le_bytes(*no), Value::try_from(root).ok()?))
        };
        Ok(Some(Self { roots: notes.iter().filter_map(note).collect(), layers: Mutex::default() }))
    }

    /// The hash that a file had when it was doubted.
    pub(super) fn root(&self, no: u32) -> Option<Value> {
        self.roots.get(&no).copied()
    }

    /// The values that belong to that hash; `hash` reads them where they are not at hand.
    pub(super) fn layer<E>(&self, no: u32, hash: impl FnOnce() -> Result<Vec<Value>, E>) -> Result<Arc<Vec<Value>>, E> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = layers.get(&no) {
            return Ok(Arc::clone(layer));
        }
        let layer = Arc::new(hash()?);
        if layers.values().map(|kept| kept.len()).sum::<usize>() + layer.len() > VALUES_KEPT {
            layers.clear();
        }
        layers.insert(no, Arc::clone(&layer));
        Ok(layer)
    }

    /// On the disk before anything is given away: what was given before a crash and after it has to be one state.
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        for (no, root) in &self.roots {
            file.write_all(&no.to_le_bytes())?;
            file.write_all(root)?;
        }
        file.sync_all()?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl SourceTree {
    /// Waits until every later change shows, and finds out which files may be changing without showing it.
    pub(super) fn settle(&mut self, notes_dir: &Path) -> io::Result<()> {
        let now = now_ns();
        let mut newest = i64::MIN;
        let mut young: Vec<(u32, FileId, bool)> = Vec::new();
        for (no, key) in (1..).zip(key::read_keys(&notes_dir.join("keys"))?) {
            let key = key?;
            newest = newest.max(Some(key.ctime_ns).filter(|at| *at <= now).unwrap_or(i64::MIN));
            if key.size > PIECE_SIZE && is_young(&key, now) {
                young.push((no, FileId { dev: key.dev, ino: key.ino }, age_ns(&key, now) < HASTY.as_nanos()));
            }
        }
        wait_for_the_next_step(newest);
        if young.is_empty() {
            return Ok(());
        }
        let holders = held_open(&young.iter().map(|(_, id, _)| *id).collect::<HashSet<_>>());
        let doubted = young.into_iter().filter(|(_, id, hasty)| holders.held.contains(id) || (*hasty && !holders.complete));
        self.doubt(doubted.map(|(no, ..)| no), &notes_dir.join("doubted"))
    }

    /// Hashes these files and gives away nothing else of them from now on. One that cannot be read now is no longer what
    /// was walked, and whoever asks for it is told so.
    pub(super) fn doubt(&mut self, files: impl Iterator<Item = u32>, path: &Path) -> io::Result<()> {
        for no in files {
            let Ok((root, layer)) = self.layer_now(no, &AtomicBool::new(false)) else { continue };
            tracing::info!(entry = no, "somebody may be writing to it: only what it was now is sent");
            self.doubts.layer(no, || Ok::<_, io::Error>(layer))?;
            self.doubts.roots.insert(no, root);
        }
        if self.doubts.roots.is_empty() { Ok(()) } else { self.doubts.write(path) }
    }
}

/// Whether it was touched so lately that whoever did may not be through with it. A time to come counts as now.
pub(super) fn is_young(key: &HashKey, now_ns: i64) -> bool {
    age_ns(key, now_ns) < YOUNG.as_nanos()
}

fn age_ns(key: &HashKey, now_ns: i64) -> u128 {
    u128::try_from(now_ns.saturating_sub(key.ctime_ns)).unwrap_or(0)
}

/// Nanoseconds since 1970.
pub(super) fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Returns once a change that begins now has another time than this one: at most a few milliseconds, on vfat two seconds.
fn wait_for_the_next_step(newest_ns: i64) {
    let cut = newest_ns % 1_000_000_000 == 0;
    let last = newest_ns.saturating_add(if cut { COARSE_STEP_NS } else { 0 });
    // the clock that stamps files, which moves with the kernel's tick
    while now_ns().saturating_sub(last) < COARSE_STEP_NS && stamp_ns() <= last {
        thread::sleep(Duration::from_millis(1));
    }
}

fn stamp_ns() -> i64 {
    let stamp = clock_gettime(ClockId::RealtimeCoarse);
    stamp.tv_sec.saturating_mul(1_000_000_000).saturating_add(stamp.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_after_the_wait_has_another_time() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        for _ in 0..20 {
            fs::write(&path, "before").unwrap();
            let before = HashKey::of(&rustix::fs::stat(&path).unwrap());
            wait_for_the_next_step(before.ctime_ns);

            fs::write(&path, "behind").unwrap();

            assert!(!HashKey::of(&rustix::fs::stat(&path).unwrap()).is_same_state(&before));
        }
    }

    #[test]
    fn what_lies_long_back_is_not_waited_for() {
        // The best of some, as whoever runs beside us may make us wait.
        let waits = (0..5).map(|_| {
            let began = std::time::Instant::now();
            wait_for_the_next_step(i64::MIN);
            wait_for_the_next_step(now_ns() - 10_000_000_000);
            began.elapsed()
        });

        assert!(waits.min() < Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_file_is_young_for_a_minute_and_where_its_time_is_to_come() {
        let key = |ctime_ns| HashKey { ctime_ns, ..HashKey::default() };
        let now = 1_000_000_000_000;

        assert!(is_young(&key(now - 59_000_000_000), now) && is_young(&key(now + 5), now));
        assert!(!is_young(&key(now - 61_000_000_000), now));
    }

    #[test]
    fn doubts_are_read_back() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("doubted");
        let doubts = Doubts { roots: HashMap::from([(3, [7; 32]), (9, [8; 32])]), layers: Mutex::default() };

        doubts.write(&path).unwrap();

        let read = Doubts::read(&path).unwrap().unwrap();
        assert_eq!((read.root(3), read.root(9), read.root(4)), (Some([7; 32]), Some([8; 32]), None));
        assert!(Doubts::read(&temp.path().join("none")).unwrap().is_none());
    }
}
