//! A pipe that receives: the next file of a peer goes to a client that waits for it, and no copy is kept.
//!
//! It is received like any other, into a folder of its own instead of the inbox: the sender is done when it is stored
//! there, whether or not the client has read all of it. If the client goes away before it took everything, the file
//! goes to the inbox.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use sharekaro_proto::{
    DeviceId, ErrorBody, ErrorCode, TransferId,
    control::transfer::{RawPath, ReceivePipe},
    nouns::transfer::{Direction, TransferState},
};
use tokio::sync::oneshot;

use super::{
    IN, make_dir,
    spool::{entries, off_thread},
};
use crate::{
    engine::{Engine, transfers::record::Record},
    files::FileName,
    store::record::Otherwise,
};

/// Read at once for a client.
const BLOCK: u64 = 256 << 10;

/// After so many names that are taken, something else is wrong.
const NAMES_TRIED: u32 = 1000;

/// The longest queue of clients; more is a script that runs away.
const WAITING_MAX: usize = 64;

/// Clients that wait for the next file of a peer, in the order in which they came.
#[derive(Default)]
pub struct Takers {
    waiting: Mutex<VecDeque<Taker>>,
    last: AtomicU64,
}

struct Taker {
    number: u64,
    peer: DeviceId,
    tell: oneshot::Sender<TransferId>,
}

/// A client's turn: where the file is to go, and whom to tell of the transfer.
pub(crate) struct Turn {
    /// A folder of its own.
    pub(crate) dir: PathBuf,
    /// What becomes of it where nobody takes it.
    pub(crate) otherwise: Otherwise,
    tell: oneshot::Sender<TransferId>,
}

/// A place in the queue, given up when dropped.
struct Place {
    engine: Engine,
    number: u64,
    told: oneshot::Receiver<TransferId>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.engine.inner.takers.leave(self.number);
        if let Ok(id) = self.told.try_recv() {
            self.engine.clone().spawn_delivery(id); // its turn came while it went
        }
    }
}

/// A file that is the client's; dropped before all of it was taken, it goes to the inbox.
struct Kept {
    engine: Engine,
    id: TransferId,
    taken: bool,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.taken {
            self.engine.clone().spawn_delivery(self.id);
        }
    }
}

/// A received file on its way to a client.
pub struct TakenFile {
    file: Arc<File>,
    at: u64,
    kept: Kept,
}

impl Takers {
    fn join(&self, peer: DeviceId) -> Result<(u64, oneshot::Receiver<TransferId>), ErrorBody> {
        let (tell, told) = oneshot::channel();
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX {
            return Err(ErrorBody::new(ErrorCode::Busy, "too many clients wait for files").hint("end some of them"));
        }
        waiting.push_back(Taker { number, peer, tell });
        Ok((number, told))
    }

    fn leave(&self, number: u64) {
        self.lock().retain(|taker| taker.number != number);
    }

    /// The first that waits for this peer, taken out of the queue.
    fn next(&self, peer: DeviceId) -> Option<oneshot::Sender<TransferId>> {
        let mut waiting = self.lock();
        let at = waiting.iter().position(|taker| taker.peer == peer && !taker.tell.is_closed())?;
        waiting.remove(at).map(|taker| taker.tell)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Taker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Waits for the next file of a peer, and hands it over.
    ///
    /// # Errors
    /// Nobody of that name, or nobody who is paired; the transfer came to another end.
    pub async fn take_next(&self, wanted: ReceivePipe) -> Result<TakenFile, ErrorBody> {
        let peer = self.find_peer(&wanted.from)?;
        if !self.look(|state| state.peers.get(&peer).is_some_and(|known| known.trust.paired())) {
            return Err(self.not_paired(peer));
        }
        let (number, told) = self.inner.takers.join(peer)?;
        let mut place = Place { engine: self.clone(), number, told };
        let ended = || ErrorBody::new(ErrorCode::LocalFile, "there is no place for what comes").hint("is there room in the state folder?");
        let id = (&mut place.told).await.map_err(|_| ended())?;
        let kept = Kept { engine: self.clone(), id, taken: false };
        let record = self.end_of(id).await.ok_or_else(ended)?;
        match (record.state, record.placed.first()) {
            (TransferState::Done, Some(RawPath(path))) => {
                let path = path.clone();
                let file = off_thread(move || File::open(path)).await?;
                Ok(TakenFile { file: Arc::new(file), at: 0, kept })
            }
            _ => Err(record.error.unwrap_or_else(|| ErrorBody::new(ErrorCode::Cancelled, format!("{id} is {}", record.state)))),
        }
    }

    /// The turn of the client that waits longest for this peer, if one does.
    pub(crate) async fn turn_of(&self, peer: DeviceId) -> Option<Turn> {
        let tell = self.inner.takers.next(peer)?;
        let spool_dir = self.spool_dir();
        match off_thread(move || make_dir(&spool_dir, IN)).await {
            Ok(dir) => Some(Turn { dir, otherwise: Otherwise::default(), tell }),
            Err(e) => {
                tracing::warn!("a file goes to the inbox and not to who waits for it: {}", e.message);
                None
            }
        }
    }

    /// This is the transfer that the client waits for.
    pub(crate) fn your_turn(&self, turn: Turn, id: TransferId) {
        if turn.tell.send(id).is_err() {
            self.clone().spawn_delivery(id); // it went meanwhile
        }
    }

    /// The record once the transfer has ended; `None` where there is none, or the daemon ends.
    async fn end_of(&self, id: TransferId) -> Option<Record> {
        let mut events = self.subscribe();
        loop {
            let record = self.record(id)?;
            if record.state.ended() {
                return Some(record);
            }
            events.next().await?;
        }
    }

    /// Puts what a client did not take where a rule said, else into the inbox, when it is whole.
    fn spawn_delivery(self, id: TransferId) {
        let engine = self.clone();
        self.spawn(async move {
            let Some(record) = engine.end_of(id).await else { return };
            let Some(RawPath(dir)) = record.destination.clone().filter(|dir| dir.0.starts_with(engine.spool_dir())) else { return };
            let Some(placed) = engine.deliver(dir, record.otherwise.dir.clone()).await else { return };
            engine
                .note_transfer(id, |row| {
                    let Otherwise { dir, run } = std::mem::take(&mut row.record.otherwise);
                    row.record.placed.clone_from(&placed);
                    row.record.destination = dir;
                    row.record.run = if placed.is_empty() { Vec::new() } else { run };
                })
                .await;
            engine.run_after(id);
            if !placed.is_empty() {
                tracing::info!(%id, "nobody took it from the pipe; it lies where it had come to without one");
            }
        });
    }

    async fn deliver(&self, dir: PathBuf, to: Option<RawPath>) -> Option<Vec<RawPath>> {
        let to = to.map_or_else(|| self.config().inbox_dir.clone(), |RawPath(to)| to);
        match off_thread(move || move_into(&dir, &to)).await {
            Ok(placed) => Some(placed.into_iter().map(RawPath).collect()),
            Err(e) => {
                tracing::warn!("what came through a pipe cannot be moved to where it belongs: {}", e.message);
                None
            }
        }
    }

    /// After a start: the clients are gone, so what was theirs goes to the inbox.
    pub(crate) fn deliver_what_was_left(&self) {
        for dir in entries(&self.spool_dir(), IN) {
            let owner = self.look(|state| {
                let records = state.transfers.iter().map(|row| &row.record);
                let mut ours = records.filter(|it| it.direction == Direction::In && it.destination.as_ref().is_some_and(|to| to.0 == dir));
                ours.next().map(|record| record.id)
            });
            let engine = self.clone();
            match owner {
                Some(id) => engine.spawn_delivery(id),
                None => self.spawn(async move { drop(engine.deliver(dir, None).await) }),
            }
        }
    }
}

impl TakenFile {
    /// The next part; `None` once all was taken.
    ///
    /// # Errors
    /// The disk.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let (file, at) = (Arc::clone(&self.file), self.at);
        let read = tokio::task::spawn_blocking(move || {
            let mut part = vec![0; BLOCK as usize];
            let count = file.read_at(&mut part, at)?;
            part.truncate(count);
            Ok(part)
        });
        match read.await.unwrap_or_else(|_| Err(io::Error::other("reading was interrupted"))) {
            Ok(part) if part.is_empty() => {
                self.all_taken().await;
                None
            }
            Ok(part) => {
                self.at += part.len() as u64;
                Some(Ok(part.into()))
            }
            Err(e) => Some(Err(e)),
        }
    }

    /// No copy is kept.
    async fn all_taken(&mut self) {
        self.kept.taken = true;
        let (engine, id) = (self.kept.engine.clone(), self.kept.id);
        let Some(RawPath(dir)) = engine.record(id).and_then(|record| record.destination) else { return };
        if dir.starts_with(engine.spool_dir())
            && let Err(e) = off_thread(move || std::fs::remove_dir_all(dir)).await
        {
            tracing::warn!(%id, "what was taken from a pipe is left: {}", e.message);
        }
        engine.note_transfer(id, |row| row.record.placed.clear()).await;
    }
}

/// Moves everything in a folder into another under names that are free there, and removes the folder.
fn move_into(dir: &Path, inbox_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut placed = Vec::new();
    std::fs::create_dir_all(inbox_dir)?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = FileName::parse(entry.file_name().as_encoded_bytes()).map_err(io::Error::other)?;
        placed.push(place(&entry.path(), inbox_dir, &name)?);
    }
    File::open(inbox_dir)?.sync_all()?;
    std::fs::remove_dir_all(dir)?;
    Ok(placed)
}

fn place(from: &Path, inbox_dir: &Path, name: &FileName) -> io::Result<PathBuf> {
    let mut to = inbox_dir.join(name.as_os_str());
    for number in 2..NAMES_TRIED {
        match renameat_with(CWD, from, CWD, &to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(to),
            Err(Errno::EXIST) => to = inbox_dir.join(name.numbered(number).as_os_str()),
            Err(Errno::XDEV) => {
                let beside = inbox_dir.join(format!(".sharekaro-{}", uuid::Uuid::now_v7().as_simple()));
                std::fs::copy(from, &beside)?;
                File::open(&beside)?.sync_all()?;
                return place(&beside, inbox_dir, name);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_take_in_the_order_in_which_they_came() {
        let (takers, bob, eve) = (Takers::default(), DeviceId::from_bytes([2; 32]), DeviceId::from_bytes([3; 32]));
        let (gone, _) = takers.join(bob).unwrap();
        let (_, mut first) = takers.join(bob).unwrap();
        let (_, mut second) = takers.join(bob).unwrap();

        assert!(takers.next(eve).is_none());
        takers.leave(gone);
        for id in [8, 9] {
            takers.next(bob).unwrap().send(TransferId(id)).unwrap();
        }

        assert_eq!((first.try_recv().unwrap(), second.try_recv().unwrap()), (TransferId(8), TransferId(9)));
        assert!(takers.next(bob).is_none());
    }

    #[test]
    fn what_nobody_took_gets_a_free_name_in_the_inbox() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, inbox) = (make_dir(dir.path(), IN).unwrap(), dir.path().join("inbox"));
        std::fs::create_dir(&inbox).unwrap();
        std::fs::write(inbox.join("a.txt"), "old").unwrap();
        std::fs::write(spool.join("a.txt"), "new").unwrap();

        let placed = move_into(&spool, &inbox).unwrap();

        assert_eq!(placed, [inbox.join("a (2).txt")]);
        assert_eq!(std::fs::read(&placed[0]).unwrap(), b"new");
        assert_eq!(std::fs::read(inbox.join("a.txt")).unwrap(), b"old");
        assert!(!spool.exists());
    }
}
