//! Serving what a receiver asks for. A holder keeps nothing in mind between two questions: the key of the transfer, the
//! peer that asks and what is on the disk decide each answer alone.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use sharekaro_proto::{
    ErrorCode, TransferKey,
    nouns::transfer::{Direction, TransferState},
    wire::{
        ExtentsPage, ExtentsRequest, LayerPage, LayerRequest, ManifestPage, ManifestRequest, PAGE_MAX, PIECE_RANGES_MAX, PackHead,
        PackPage, PackRequest, PieceHead, PieceRequest, Status, encode_frame, reply,
    },
};

use super::{record::Record, sources::Source, table::rank};
use crate::{
    crash,
    engine::{Engine, peers::serve::Answer},
    files::SourceError,
    net::Session,
};

/// The most files of one pack.
pub const PACK_FILES_MAX: usize = 256;

/// Chaining values told at once.
const LAYER_MAX: u32 = (PAGE_MAX / 32) as u32;

/// How a transfer's answers stand among others on the same session; see `SendStream::set_priority` of quinn.
fn line_priority(record: &Record) -> i32 {
    let small = i32::from(record.bytes_total < 4 << 20); // a small file is not stuck behind a big one
    small + rank(record.priority)
}

impl Engine {
    /// The names, sizes and times of what is offered.
    pub(crate) async fn serve_manifest(&self, session: &Session, asked: ManifestRequest) -> Answer {
        let (store, witnesses) = (self.store().clone(), [self.id(), session.peer()]);
        self.serve(session, &asked.key, move |source| {
            let (page, count) = source.page(&store, &witnesses, asked.from, PAGE_MAX).map_err(|e| no(Status::NotFound, e.to_string()))?;
            Ok(Answer::with_body(reply::Kind::Manifest(ManifestPage { count, unpacked_len: 0 }), page))
        })
        .await
    }

    /// One piece of one file, or parts of it.
    pub(crate) async fn serve_piece(&self, session: &Session, asked: PieceRequest) -> Answer {
        if !asked.content.is_empty() {
            return self.serve_member(session, asked).await;
        }
        let (number, key) = (session.number(), asked.key.clone());
        let mut buffer = self.inner.jobs.buffers.take();
        self.serve(session, &key, move |source| {
            let began = Instant::now();
            let wanted = chosen(source, number, &asked)?;
            let piece = source.tree.read_piece(asked.file, wanted.into(), std::mem::take(&mut *buffer)).map_err(|e| refused(&e))?;
            *buffer = piece.bytes;
            let (zero, len) = (piece.zero, buffer.len() as u32); // at most one MiB
            let head = PieceHead { piece: wanted, value: piece.value.to_vec(), zero, packed: false, len, read_us: micros(began) };
            let body = match parts_of(&asked.ranges, &buffer).ok_or_else(|| no(Status::Invalid, "no such parts"))? {
                _ if zero => Bytes::new(),
                Some(parts) => parts.concat().into(),
                None => Bytes::from_owner(buffer),
            };
            Ok(Answer::with_body(reply::Kind::Piece(head), body))
        })
        .await
    }

    /// Many small files, whole: as many of those asked for as fit into one page.
    pub(crate) async fn serve_pack(&self, session: &Session, asked: PackRequest) -> Answer {
        let mut body = self.inner.jobs.buffers.take();
        self.serve(session, &asked.key, move |source| {
            let began = Instant::now();
            body.clear();
            let mut count = 0;
            let mut cursor = source.tree.manifest().cursor();
            let mut buffer = Vec::new();
            for no in files_of(&asked.ranges).take(PACK_FILES_MAX) {
                let item = cursor.get(no).map_err(|e| Box::new(Answer::no(Status::NotFound, e.to_string())))?;
                let (head, bytes) = match source.tree.read_small(&item, no, std::mem::take(&mut buffer)) {
                    Ok(small) => (
                        PackHead { file: no, status: Status::Ok.into(), len: small.bytes.len() as u32, value: small.value.to_vec() },
                        small.bytes,
                    ),
                    Err(e) if status_of(&e) == Status::Busy && count == 0 => return Err(refused(&e)),
                    Err(e) if status_of(&e) == Status::Busy => break,
                    Err(e) => (PackHead { file: no, status: status_of(&e).into(), len: 0, value: Vec::new() }, Vec::new()),
                };
                let head = encode_frame(&head);
                if body.len() + head.len() + bytes.len() > PAGE_MAX {
                    break;
                }
                body.extend_from_slice(&head);
                body.extend_from_slice(&bytes);
                buffer = bytes;
                count += 1;
            }
            Ok(Answer::with_body(reply::Kind::Pack(PackPage { count, read_us: micros(began) }), Bytes::from_owner(body)))
        })
        .await
    }

    /// The chaining values of a file; it is hashed for this where it was not yet.
    pub(crate) async fn serve_layer(&self, session: &Session, asked: LayerRequest) -> Answer {
        self.serve(session, &asked.key, move |source| {
            let layer = (source.shared.layer(&source.tree, asked.file)).map_err(|e| refused(&e))?;
            let from = (asked.first as usize).min(layer.1.len());
            let values: Vec<u8> = layer.1.iter().skip(from).take(LAYER_MAX as usize).flatten().copied().collect();
            let page = LayerPage { count: (values.len() / 32) as u32, content: layer.0.to_vec() };
            Ok(Answer::with_body(reply::Kind::Layer(page), values))
        })
        .await
    }

    /// The parts of a sparse file that hold data.
    pub(crate) async fn serve_extents(&self, session: &Session, asked: ExtentsRequest) -> Answer {
        self.serve(session, &asked.key, move |source| {
            let found = source.tree.extents(asked.file, asked.from).map_err(|e| refused(&e))?;
            let page = ExtentsPage { extents: found.data.into_iter().flat_map(|(offset, len)| [offset, len]).collect(), next: found.next };
            Ok(Answer::ok(Some(reply::Kind::Extents(page))))
        })
        .await
    }

    /// Finds what this peer may ask for under this key, does the work on a blocking thread, and lets the limits pass.
    pub(super) async fn serve(
        &self,
        session: &Session,
        key: &[u8],
        work: impl FnOnce(&Source) -> Result<Answer, Box<Answer>> + Send + 'static,
    ) -> Answer {
        let record = match self.may_ask(session, key) {
            Ok(record) => record,
            Err(answer) => return *answer,
        };
        let source = match self.source(&record).await {
            Ok(source) => source,
            Err(e) => return Answer::no(if e.code == ErrorCode::LocalFile { Status::Busy } else { Status::Failed }, e.message),
        };
        let job = self.inner.jobs.of(record.id);
        let room = Arc::clone(&job.serving).acquire_owned().await.ok();
        let reading = job.gauge.visit(|gauge| &gauge.reading);
        let mut answer = match tokio::task::spawn_blocking(move || work(&source)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(answer)) => *answer,
            Err(_) => Answer::no(Status::Failed, "reading was interrupted"),
        };
        drop(reading);
        (answer.priority, answer.content_of, answer.room) = (line_priority(&record), Some(record.id), room);
        crash::point("content-served");
        answer
    }

    /// Holds content back as the limits want it, and adds what was measured on the way.
    pub(crate) async fn pace(&self, session: &Session, answer: &mut Answer) {
        let Some(record) = answer.content_of.and_then(|id| self.record(id)) else { return };
        if record.direction == Direction::In || record.state.ended() {
            return self.inner.jobs.upload.pass(answer.body.len()).await; // what is given to other receivers has no limit of its own
        }
        let job = self.inner.jobs.of(record.id);
        let held = job.gauge.visit(|gauge| &gauge.held);
        self.inner.jobs.upload.pass(answer.body.len()).await;
        job.limiter.set(record.limit());
        job.limiter.pass(answer.body.len()).await;
        drop(held);
        answer.reply.figures = Some(job.gauge.figures(session.stats(), self.inner.jobs.cpu.permille()));
    }

    pub(super) fn may_ask(&self, session: &Session, key: &[u8]) -> Result<Record, Box<Answer>> {
        let key = TransferKey::from_slice(key).ok_or_else(|| no(Status::Invalid, "a transfer key has 16 bytes"))?;
        let record = self.look(|state| state.transfers.by_key(Direction::Out, session.peer(), key).cloned());
        let record = record.ok_or_else(|| no(Status::NotFound, "nothing was offered under this key"))?;
        match record.state {
            TransferState::Cancelled => Err(no(Status::Cancelled, "it was cancelled")),
            TransferState::Declined | TransferState::Expired | TransferState::Failed => Err(no(Status::NotFound, "it is over")),
            _ if record.paused_here => Err(no(Status::Paused, "it is paused")),
            _ => Ok(record),
        }
    }
}

/// A refusal, small enough to be an error.
pub(super) fn no(status: Status, message: impl Into<String>) -> Box<Answer> {
    Box::new(Answer::no(status, message))
}

/// The piece that is asked for; where the receiver leaves the choice to us, the one that was given away least often.
fn chosen(source: &Source, session: u64, asked: &PieceRequest) -> Result<u32, Box<Answer>> {
    if asked.have.is_empty() {
        return Ok(asked.piece);
    }
    let item = source.tree.manifest().get(asked.file).map_err(|e| no(Status::NotFound, e.to_string()))?;
    let piece = source.shared.choose(session, asked, item.size).and_then(|piece| u32::try_from(piece).ok());
    piece.ok_or_else(|| no(Status::NotFound, "there is no piece that you lack"))
}

/// Numbers of the entries of a request: first and count, again and again.
fn files_of(ranges: &[u32]) -> impl Iterator<Item = u32> + '_ {
    ranges.chunks_exact(2).flat_map(|range| match range {
        [first, count] => *first..first.saturating_add(*count),
        _ => 0..0,
    })
}

/// The wanted parts of a piece: `Some(None)` where all of it is wanted, `None` where there are no such parts.
fn parts_of<'a>(ranges: &[u32], piece: &'a [u8]) -> Option<Option<Vec<&'a [u8]>>> {
    if ranges.is_empty() {
        return Some(None);
    }
    let (pairs, odd) = ranges.as_chunks::<2>();
    if !odd.is_empty() || pairs.len() > PIECE_RANGES_MAX {
        return None;
    }
    let (mut at, mut parts) = (0, Vec::with_capacity(pairs.len()));
    for [offset, len] in pairs {
        let (from, len) = (*offset as usize, *len as usize);
        let to = from.checked_add(len)?;
        parts.push(piece.get(from..to).filter(|part| from >= at && !part.is_empty())?);
        at = to;
    }
    Some(Some(parts))
}

fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}

pub(super) fn refused(error: &SourceError) -> Box<Answer> {
    no(status_of(error), error.to_string())
}

fn status_of(error: &SourceError) -> Status {
    match error {
        SourceError::Changed(_) => Status::Changed,
        SourceError::Vanished(_) => Status::Vanished,
        // that our own notes cannot be read says nothing of the file
        SourceError::Away(_) | SourceError::Notes(_) => Status::Busy,
        SourceError::NoSuch(_) => Status::NotFound,
        _ => Status::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parts_of_the_piece_are_told() {
        let piece = b"0123456789";
        let told = |ranges: &[u32]| parts_of(ranges, piece).map(|parts| parts.map(|parts| parts.concat()));

        assert_eq!(told(&[]), Some(None));
        assert_eq!(told(&[0, 1, 3, 2, 9, 1]), Some(Some(b"0349".to_vec())));
        for bad in [&[0, 11][..], &[10, 1], &[3], &[3, 0], &[4, 2, 5, 1], &[u32::MAX, u32::MAX]] {
            assert_eq!(told(bad), None, "{bad:?}");
        }
        let many: Vec<u32> = std::iter::repeat_n([0, 1], PIECE_RANGES_MAX + 1).flatten().collect();
        assert_eq!(told(&many), None);
    }

    #[test]
    fn ranges_of_a_hostile_peer_are_only_numbers() {
        assert_eq!(files_of(&[3, 2, 9, 1]).collect::<Vec<_>>(), [3, 4, 9]);
        assert_eq!(files_of(&[u32::MAX, u32::MAX, 7]).take(5).count(), 0);
        assert_eq!(files_of(&[1, u32::MAX]).take(PACK_FILES_MAX).count(), PACK_FILES_MAX);
    }
}
