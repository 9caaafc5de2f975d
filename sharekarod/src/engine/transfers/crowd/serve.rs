//! What members ask each other: pieces, and what the other has. A stranger gets nothing but the content that he was
//! vouched for.

use std::{
    fs::File,
    os::unix::fs::{FileExt, MetadataExt},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use sharekaro_proto::{
    TransferId,
    nouns::transfer::{Direction, TransferState},
    wire::{Have, Note, PieceHead, PieceRequest, Status, note, reply},
};

use super::{
    Pass,
    bits::Bits,
    share::{Held, Placed, Share},
};
use crate::{
    engine::{Engine, peers::serve::Answer, transfers::record::Record},
    files::{Piece, Value, cage::open_regular, is_zero, piece_range, piece_value},
    lie,
    net::Session,
};

impl Engine {
    /// A member asks for a piece, by content.
    pub(crate) async fn serve_member(&self, session: &Session, asked: PieceRequest) -> Answer {
        let (Ok(content), Ok(pass)) = (Value::try_from(asked.content.as_slice()), Pass::try_from(asked.pass.as_slice())) else {
            return Answer::no(Status::Invalid, "a hash has 32 bytes and a pass 16");
        };
        let Some(record) = self.shared_with(session, |record| record.crowd.as_ref().is_some_and(|crowd| crowd.pass == pass)) else {
            return Answer::no(Status::NotAuthorised, "nobody vouched for you here");
        };
        if record.paused_here {
            return Answer::no(Status::Busy, "it is paused here");
        }
        let Some(share) = self.share_of(&record).await else { return Answer::no(Status::NotFound, "it is not here") };
        let found = share.file(&content, |file| {
            let chosen = || (0..file.have.count()).find(|piece| is_wanted(&asked.have, &file.have, *piece));
            let piece = if asked.have.is_empty() { Some(u64::from(asked.piece)) } else { chosen() };
            piece.filter(|piece| file.have.has(*piece)).map(|piece| (piece, file.size, file.held.clone()))
        });
        let Some(Some((piece, size, held))) = found else { return Answer::no(Status::NotFound, "that piece is not here") };
        let began = Instant::now();
        let mut answer = match tokio::task::spawn_blocking(move || read(&held, piece, size)).await {
            Ok(Some(mut read)) => {
                lie::spoil(&mut read.bytes);
                let head = PieceHead {
                    piece: piece as u32, // at most 4 Mi pieces
                    value: read.value.to_vec(),
                    zero: read.zero,
                    packed: false,
                    len: read.bytes.len() as u32, // at most one MiB
                    read_us: u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX),
                };
                Answer::with_body(reply::Kind::Piece(head), if read.zero { Bytes::new() } else { Bytes::from(read.bytes) })
            }
            _ => Answer::no(Status::NotFound, "that piece cannot be read here now"),
        };
        answer.content_of = Some(record.id);
        answer
    }

    /// A member says what it has; with nothing, it asks what we have.
    pub(crate) fn have_told(&self, session: &Session, have: Have) {
        let Ok(content) = Value::try_from(have.content.as_slice()) else { return };
        let engine = self.clone();
        let session = session.clone();
        self.spawn(async move {
            for record in engine.all_shared_with(&session) {
                let Some(share) = engine.share_of(&record).await else { continue };
                let known = share.file(&content, |file| {
                    let told = file.told.entry(session.peer()).or_insert_with(|| Bits::none(file.have.count()));
                    told.add_ranges(&have.ranges);
                    file.have.ranges()
                });
                let Some(ours) = known else { continue };
                session.trust(); // its share of the line is that of a peer from here on; what it may do stays as it is
                share.tell();
                if have.ranges.is_empty() && !ours.is_empty() {
                    session.notify(note(content, ours));
                }
            }
        });
    }

    /// Tells all members that are there what is new here.
    pub(crate) fn tell_have(&self, share: &Share, content: Value, ranges: &[u32]) {
        if ranges.is_empty() {
            return;
        }
        for member in &share.crowd().members {
            if let Some(session) = self.open_session(&member.id) {
                session.notify(note(content, ranges.to_vec()));
            }
        }
    }

    /// A transfer is in its place: it is shared from there, and whoever missed some of what was told hears of all.
    pub(crate) async fn share_placed(&self, id: TransferId) {
        self.inner.jobs.shares.end(id);
        let Some(record) = self.record(id).filter(|record| record.crowd.is_some()) else { return };
        let Some(share) = self.share_of(&record).await else { return };
        for content in share.contents() {
            if let Some(ranges) = share.file(&content, |file| file.have.ranges()) {
                self.tell_have(&share, content, &ranges);
            }
        }
    }

    /// What is shared of a transfer; of one that is done it is read from what it placed where.
    async fn share_of(&self, record: &Record) -> Option<Arc<Share>> {
        if let Some(share) = self.inner.jobs.shares.get(record.id) {
            return Some(share);
        }
        let crowd = record.crowd.as_ref().filter(|_| record.state == TransferState::Done)?;
        let (engine, of) = (self.clone(), record.clone());
        let placed = tokio::task::spawn_blocking(move || engine.placed_files(&of)).await.ok()?;
        let share = self.inner.jobs.shares.of(record, crowd);
        for (content, size, placed) in placed {
            share.put(content, size, Held::Placed(placed), Bits::all(crate::files::piece_count(size)));
        }
        Some(share)
    }

    /// The transfer whose sender vouched for this peer, by what it shows.
    fn shared_with(&self, session: &Session, fits: impl Fn(&Record) -> bool) -> Option<Record> {
        self.all_shared_with(session).into_iter().find(fits)
    }

    fn all_shared_with(&self, session: &Session) -> Vec<Record> {
        let peer = session.peer();
        let open = |record: &&Record| {
            record.direction == Direction::In
                && record.accepted
                && (!record.state.ended() || record.state == TransferState::Done && !record.undone)
                && record.crowd.as_ref().is_some_and(|crowd| crowd.names(&peer))
        };
        self.look(|state| state.transfers.iter().map(|row| &row.record).filter(open).cloned().collect())
    }
}

/// Ours, and not theirs.
fn is_wanted(theirs: &[u8], ours: &Bits, piece: u64) -> bool {
    let has = theirs.get((piece / 8) as usize).is_some_and(|byte| byte >> (piece % 8) & 1 == 1);
    ours.has(piece) && !has
}

fn read(held: &Held, piece: u64, size: u64) -> Option<Piece> {
    match held {
        Held::Arriving(staging, no) => staging.read_piece(*no, piece, Vec::new()).ok().flatten(),
        Held::Placed(placed) => {
            let range = piece_range(piece, size)?;
            let file = open_regular(&placed.path)?;
            let mut bytes = vec![0; (range.end - range.start) as usize]; // at most one MiB
            let is_still = || is_as_placed(&file, placed, size);
            let read = is_still() && file.read_exact_at(&mut bytes, range.start).is_ok() && is_still();
            let value = read.then(|| piece_value(piece, &bytes, size)).flatten()?;
            Some(Piece { value, zero: is_zero(&bytes), bytes })
        }
    }
}

/// Whether nobody wrote into it: what a person put there since is for nobody else.
fn is_as_placed(file: &File, placed: &Placed, size: u64) -> bool {
    file.metadata().is_ok_and(|now| now.len() == size && (now.mtime(), now.mtime_nsec()) == placed.mtime)
}

/// What somebody has, or the question for it.
pub fn note(content: Value, ranges: Vec<u32>) -> Note {
    Note { kind: Some(note::Kind::Have(Have { content: content.to_vec(), ranges })) }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_a_person_wrote_into_a_received_file_is_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("form");
        fs::write(&path, "as it came").unwrap();
        let meta = fs::metadata(&path).unwrap();
        let held = Held::Placed(Placed { path: path.clone(), mtime: (meta.mtime(), meta.mtime_nsec()) });

        assert_eq!(read(&held, 0, 10).map(|piece| piece.bytes), Some(b"as it came".to_vec()));

        let later = meta.modified().unwrap() + std::time::Duration::from_millis(20);
        fs::write(&path, "filled in!").unwrap();
        File::options().write(true).open(&path).and_then(|file| file.set_modified(later)).unwrap();
        assert_eq!(read(&held, 0, 10), None);

        fs::rename(&path, dir.path().join("secret")).unwrap();
        symlink("secret", &path).unwrap();
        assert_eq!(read(&held, 0, 10), None);
    }
}
