//! Live captures that somebody asked for, each on a thread of its own: a full line leaves no time for anything else.
//!
//! A capture belongs to whoever asks for it now and then: one that nobody asks for ends by itself, so that a client that
//! was killed leaves none behind.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sharekaro_proto::{
    ErrorBody, ErrorCode,
    control::packets::{Capture, Captured, Packets},
};

use super::packets::{
    Failure, Options,
    analyse::Run,
    export::Format,
    live::{self, LiveError, Ring, SNAP_BYTES, SNAP_BYTES_ALL, WAIT},
};

/// Each has a ring of 32 MiB.
const MOST: usize = 4;
/// Nobody asks for so long: nobody is there.
const LONELY: Duration = Duration::from_secs(10);
/// Whoever ends a capture waits at most so long for what lies in the ring.
const ENDING: Duration = Duration::from_secs(5);
/// Longer than the kernel keeps a block that is not full: what comes within this was there at the end.
const REST: Duration = Duration::from_millis(60);

/// All live captures.
#[derive(Default)]
pub(super) struct Captures {
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    running: BTreeMap<u64, Arc<Live>>,
    next: u64,
}

struct Live {
    stop: AtomicBool,
    told: Mutex<Told>,
    ended: Condvar,
}

struct Told {
    captured: Captured,
    outcome: Option<Outcome>,
    asked: Instant,
}

/// How it ended. What came before an error is reported beside it.
#[derive(Clone, Default)]
struct Outcome {
    report: Option<Packets>,
    error: Option<ErrorBody>,
}

impl Captures {
    /// Begins one. Blocks while the socket is opened.
    pub(super) fn begin(&self, interface: &str, options: Options, duration: Option<Duration>) -> Result<Capture, ErrorBody> {
        if lock(&self.table).running.len() >= MOST {
            let message = format!("{MOST} captures run already");
            return Err(ErrorBody::new(ErrorCode::Busy, message).hint("wait until one of them has ended"));
        }
        let whole = options.export.as_ref().is_some_and(|(_, format)| *format == Format::Pcapng);
        let snap = if whole { SNAP_BYTES_ALL } else { SNAP_BYTES };
        let ring = live::open(interface, options.filter.as_ref(), snap)?;
        let file = options.export.as_ref().map(|(path, _)| path.to_string_lossy().into_owned());
        let told = Told { captured: Captured { file, ..Captured::default() }, outcome: None, asked: Instant::now() };
        let live = Arc::new(Live { stop: AtomicBool::new(false), told: Mutex::new(told), ended: Condvar::new() });
        let mut table = lock(&self.table);
        table.next += 1;
        let id = table.next;
        table.running.insert(id, live.clone());
        drop(table);
        let (all, capture) = (self.table.clone(), live.as_capture(id));
        let spawned = thread::Builder::new().name("capture".to_owned()).spawn(move || {
            live.run(ring, &options, duration);
            live.wait_until_asked();
            lock(&all).running.remove(&id);
        });
        spawned.map_err(|error| {
            lock(&self.table).running.remove(&id);
            ErrorBody::new(ErrorCode::Unexpected, format!("cannot start a thread: {error}")).hint("see the limits of this user")
        })?;
        Ok(capture)
    }

    /// What it brought so far.
    pub(super) fn get(&self, id: u64) -> Option<Capture> {
        self.find(id).map(|live| live.as_capture(id))
    }

    /// Ends it, and all that it brought. Blocks until that is written.
    pub(super) fn end(&self, id: u64) -> Option<Capture> {
        let live = self.find(id)?;
        live.stop.store(true, Ordering::Relaxed);
        let told = lock(&live.told);
        drop(live.ended.wait_timeout_while(told, ENDING, |told| told.outcome.is_none()));
        let capture = live.as_capture(id);
        lock(&self.table).running.remove(&id);
        Some(capture)
    }

    fn find(&self, id: u64) -> Option<Arc<Live>> {
        lock(&self.table).running.get(&id).cloned()
    }
}

impl Drop for Captures {
    fn drop(&mut self) {
        lock(&self.table).running.values().for_each(|live| live.stop.store(true, Ordering::Relaxed));
    }
}

impl Live {
    fn as_capture(&self, id: u64) -> Capture {
        let mut told = lock(&self.told);
        told.asked = Instant::now();
        let running = told.outcome.is_none();
        let Outcome { report, error } = told.outcome.clone().unwrap_or_default();
        Capture { id, running, captured: told.captured.clone(), report, error }
    }

    fn run(&self, mut ring: Ring, options: &Options, duration: Option<Duration>) {
        let outcome = match Run::begin(options) {
            Ok(run) => self.read(&mut ring, run, duration),
            Err(failure) => Outcome { report: None, error: Some(failure.into()) },
        };
        let mut told = lock(&self.told);
        told.captured.dropped = ring.dropped();
        told.outcome = Some(outcome);
        self.ended.notify_all();
    }

    fn read(&self, ring: &mut Ring, mut run: Run<'_>, duration: Option<Duration>) -> Outcome {
        let ended = self.read_all(ring, &mut run, duration);
        let closed = run.close().map_err(Ending::Packets);
        let error = ended.and(closed).err().map(ErrorBody::from);
        Outcome { report: Some(run.report(None)), error }
    }

    fn read_all(&self, ring: &mut Ring, run: &mut Run<'_>, duration: Option<Duration>) -> Result<(), Ending> {
        let live = self.live(ring, run, duration);
        match &live {
            Err(Ending::Packets(_)) => return live,
            // Without its interface the ring lets nobody wait for the block that it has not handed over yet.
            Err(Ending::Interface(_)) => thread::sleep(REST),
            Ok(()) => {}
        }
        // What came before the end may still lie in the ring; what comes after it is no part of the capture.
        let rest = self.rest(ring, run, nanoseconds_since_1970());
        live.and(rest)
    }

    fn live(&self, ring: &mut Ring, run: &mut Run<'_>, duration: Option<Duration>) -> Result<(), Ending> {
        let began = Instant::now();
        while !self.is_over(began, duration) {
            self.block(ring, run, WAIT, i64::MAX)?;
        }
        Ok(())
    }

    fn rest(&self, ring: &mut Ring, run: &mut Run<'_>, end: i64) -> Result<(), Ending> {
        while self.block(ring, run, REST, end)? == Block::Before {}
        Ok(())
    }

    fn is_over(&self, began: Instant, duration: Option<Duration>) -> bool {
        let lonely = lock(&self.told).asked.elapsed() > LONELY;
        lonely || self.stop.load(Ordering::Relaxed) || duration.is_some_and(|duration| began.elapsed() >= duration)
    }

    /// Takes what the next block holds that came before `end`.
    fn block(&self, ring: &mut Ring, run: &mut Run<'_>, wait: Duration, end: i64) -> Result<Block, Ending> {
        let (mut packets, mut bytes, mut broken, mut block) = (0, 0, Ok(()), Block::Before);
        let filled = ring.read(wait, |packet| {
            if packet.time > end || broken.is_err() {
                block = Block::Last;
                return;
            }
            // One that cannot be written was chosen, and is counted.
            let chosen = run.take(packet).unwrap_or_else(|failure| {
                broken = Err(failure);
                true
            });
            if chosen {
                (packets, bytes) = (packets + 1, bytes + u64::from(packet.on_the_wire()));
            }
        });
        let mut told = lock(&self.told);
        told.captured.packets += packets;
        told.captured.bytes += bytes;
        drop(told);
        broken?;
        let filled = filled.map_err(Ending::Interface)?;
        Ok(if filled { block } else { Block::Last })
    }

    /// Keeps what it brought for whoever asks, if somebody does.
    fn wait_until_asked(&self) {
        while !self.stop.load(Ordering::Relaxed) && lock(&self.told).asked.elapsed() <= LONELY {
            thread::sleep(Duration::from_secs(1));
        }
    }
}

/// What a block of the ring held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Block {
    /// Packets of before the end: there may be more of them.
    Before,
    /// Packets of after it, or none.
    Last,
}

/// As the kernel stamps packets.
fn nanoseconds_since_1970() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a capture ended early.
enum Ending {
    Interface(std::io::Error),
    Packets(Failure),
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Packets(failure)
    }
}

impl From<Ending> for ErrorBody {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Packets(failure) => failure.into(),
            Ending::Interface(error) => Self::new(ErrorCode::Unavailable, format!("the interface went away: {error}"))
                .hint("`sharectl net` lists those that are there"),
        }
    }
}

impl From<LiveError> for ErrorBody {
    fn from(error: LiveError) -> Self {
        let (code, hint) = match &error {
            LiveError::NoInterface(_) => (ErrorCode::NotFound, "`sharectl net` lists them"),
            LiveError::NotPermitted(_) => (ErrorCode::Unavailable, "counters, and files of other tools, need no such right"),
            LiveError::NoHelper(_) => (ErrorCode::Unavailable, "install sharekaro-capture beside sharekarod"),
            LiveError::Helper(_) | LiveError::Refused { .. } | LiveError::UnknownLink { .. } => {
                (ErrorCode::Unavailable, "files of other tools can be read: sharectl net packets FILE")
            }
        };
        let message = match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        Self::new(code, message).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_and_a_capture_that_is_not_there_are_told() {
        let captures = Captures::default();

        // Without the program, or the right, it is another error; the table stays empty in any case.
        let refused = captures.begin("nosuch0", Options::default(), None).unwrap_err();

        assert!([ErrorCode::NotFound, ErrorCode::Unavailable].contains(&refused.code) && !refused.hint.is_empty(), "{refused:?}");
        assert!(captures.get(1).is_none() && captures.end(1).is_none());
    }
}
