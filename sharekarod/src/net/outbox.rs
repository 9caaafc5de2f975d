//! Notes that wait to be sent. Whoever has one never waits; a newer one about the same thing takes the older one's place.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sharekaro_proto::wire::{Note, Standing, note};
use tokio::sync::Notify;

use crate::net::limits;

/// The queue in front of the control stream.
#[derive(Default)]
pub(super) struct Outbox {
    notes: Mutex<VecDeque<Note>>,
    arrived: Notify,
}

/// The peer lets too much pile up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl Outbox {
    /// Queues a note. Where the queue is full, the progress of a running transfer is dropped: there will be more of it.
    ///
    /// # Errors
    /// `Overflow` where the queue is full of what must not be lost.
    pub(super) fn push(&self, note: Note) -> Result<(), Overflow> {
        let mut notes = self.lock();
        if let Some(older) = notes.iter_mut().find(|older| replaces(&note, older)) {
            *older = note;
        } else if notes.len() < limits::OUTGOING_NOTES {
            notes.push_back(note);
        } else if !is_passing(&note) {
            return Err(Overflow);
        }
        drop(notes);
        self.arrived.notify_one();
        Ok(())
    }

    /// The next note, as soon as there is one.
    pub(super) async fn next(&self) -> Note {
        loop {
            let arrived = self.arrived.notified();
            if let Some(note) = self.lock().pop_front() {
                return note;
            }
            arrived.await;
        }
    }

    /// No code that can panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nobody needs the older one once there is the newer one.
fn replaces(newer: &Note, older: &Note) -> bool {
    match (&newer.kind, &older.kind) {
        (Some(note::Kind::Progress(newer)), Some(note::Kind::Progress(older))) => newer.key == older.key,
        (Some(note::Kind::Presence(_)), Some(note::Kind::Presence(_))) => true,
        (Some(note::Kind::Hints(_)), Some(note::Kind::Hints(_))) => true,
        _ => false,
    }
}

fn is_passing(note: &Note) -> bool {
    matches!(&note.kind, Some(note::Kind::Progress(progress)) if progress.standing() == Standing::Active)
}

#[cfg(test)]
mod tests {
    use sharekaro_proto::wire::{Have, Progress};

    use super::*;

    fn progress(key: u32, bytes_confirmed: u64, standing: Standing) -> Note {
        let key = key.to_be_bytes().to_vec();
        let progress = Progress { key, bytes_confirmed, standing: standing.into(), ..Progress::default() };
        Note { kind: Some(note::Kind::Progress(progress)) }
    }

    fn have(piece: u32) -> Note {
        Note { kind: Some(note::Kind::Have(Have { content: vec![1; 32], ranges: vec![piece, 1] })) }
    }

    #[tokio::test]
    async fn newer_progress_takes_the_place_of_the_older() {
        let outbox = Outbox::default();

        outbox.push(progress(1, 10, Standing::Active)).unwrap();
        outbox.push(have(7)).unwrap();
        outbox.push(progress(1, 20, Standing::Done)).unwrap();

        assert_eq!(outbox.next().await, progress(1, 20, Standing::Done));
        assert_eq!(outbox.next().await, have(7));
        assert_eq!(outbox.next().now_or_never(), None);
    }

    #[test]
    fn a_full_queue_loses_progress_and_nothing_else() {
        let outbox = Outbox::default();
        for i in 0..limits::OUTGOING_NOTES as u32 {
            outbox.push(have(i)).unwrap();
        }

        assert_eq!(outbox.push(progress(1, 10, Standing::Active)), Ok(()));
        assert_eq!(outbox.push(progress(1, 10, Standing::Done)), Err(Overflow));
        assert_eq!(outbox.push(have(0)), Err(Overflow));
        assert_eq!(outbox.lock().len(), limits::OUTGOING_NOTES);
    }

    use futures_util::FutureExt;
}
