//! The differences of a file to an older one at the same place, for lines on which sending costs more than searching.
//!
//! The receiver signs the old file, the sender tells which of its blocks stand where in the new one, and of each piece
//! only the bytes between them travel. Whatever goes wrong here, the piece comes whole.

use std::{
    collections::HashMap,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use sharekaro_proto::wire::{DeltaPage, DeltaRequest, PIECE_RANGES_MAX, PIECE_SIZE, Request, Status, reply, request};
use tokio::time::{Instant, timeout};

use super::{
    fetch::Fetch,
    pull::read,
    serve::{no, refused},
    stop::{Stop, blocking, granted, kind_of, odd},
};
use crate::{
    engine::{Engine, peers::serve::Answer},
    files::{
        Value,
        cage::open_regular,
        delta::{Copied, SIGNATURE, Signatures, block_count, block_for, decode, encode, search, sign},
        piece_len, piece_range,
    },
    net::{Ask, Incoming, Session},
};

/// A MiB that takes longer comes over a line below 200 Mbit/s: slower than the search.
const SLOW: Duration = Duration::from_millis(40);

/// The line is timed with so many pieces at most, as one of nothing but zeroes says nothing.
const TRIES: usize = 4;

/// Fewer missing bytes are not worth the questions.
const MISSING_MIN: u64 = 2 * PIECE_SIZE;

/// What is missing must be so many times the signatures that the search costs on the line.
const WORTH: u64 = 4;

/// The most copies that are kept in mind for a file; the rest of it comes whole.
const COPIES_MAX: usize = 1 << 18;

/// A search waits so long for its turn; then the pieces come whole.
const TURN: Duration = Duration::from_secs(10);

/// The sender searches half a GiB at most before it answers.
const PATIENCE: Duration = Duration::from_secs(120);

/// An old file, and where its parts stand in the new one.
pub struct Basis {
    file: File,
    size: u64,
    layer: Vec<Value>,
    copies: Vec<Copied>,
}

/// The old files of those that are being fetched.
#[derive(Default)]
pub struct Recipes(Mutex<HashMap<u32, Arc<Basis>>>);

impl Recipes {
    /// The file is here, or will not come.
    pub fn forget(&self, no: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&no);
    }

    /// Whether the file is made from an older one.
    pub fn has(&self, no: u32) -> bool {
        self.of(no).is_some()
    }

    fn keep(&self, no: u32, basis: Arc<Basis>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(no, basis);
    }

    fn of(&self, no: u32) -> Option<Arc<Basis>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&no).cloned()
    }
}

impl Basis {
    /// The copies within a piece, cut to it.
    fn within(&self, piece: &Range<u64>) -> Vec<Copied> {
        let first = self.copies.partition_point(|copy| copy.end() <= piece.start);
        let reaching = self.copies.iter().skip(first).take_while(|copy| copy.new_offset < piece.end);
        let cut = |copy: &Copied| {
            let (start, end) = (copy.new_offset.max(piece.start), copy.end().min(piece.end));
            Copied { new_offset: start, old_offset: copy.old_offset + (start - copy.new_offset), len: end - start }
        };
        reaching.map(cut).collect()
    }

    /// The parts of a piece that are not in the old file, counted from its beginning; `None` where it had better come
    /// whole.
    fn parts(&self, piece: u64) -> Option<Vec<Range<u64>>> {
        let range = piece_range(piece, self.size)?;
        let (mut at, mut parts) = (range.start, Vec::new());
        for copy in self.within(&range) {
            parts.push(at - range.start..copy.new_offset - range.start);
            at = copy.end();
        }
        parts.push(at - range.start..range.end - range.start);
        parts.retain(|part| !part.is_empty());
        let wanted: u64 = parts.iter().map(|part| part.end - part.start).sum();
        (wanted < (range.end - range.start) / 4 * 3 && parts.len() <= PIECE_RANGES_MAX).then_some(parts)
    }

    /// A piece from its copies and the bytes of its parts.
    fn make(&self, piece: u64, mut literal: &[u8]) -> io::Result<Vec<u8>> {
        let range = piece_range(piece, self.size).ok_or(io::ErrorKind::InvalidInput)?;
        let mut made = Vec::with_capacity((range.end - range.start) as usize); // at most a piece
        let mut at = range.start;
        let mut come = |made: &mut Vec<u8>, count: u64| {
            let (now, later) =
                usize::try_from(count).ok().and_then(|count| literal.split_at_checked(count)).ok_or(io::ErrorKind::UnexpectedEof)?;
            made.extend_from_slice(now);
            literal = later;
            io::Result::Ok(())
        };
        for copy in self.within(&range) {
            come(&mut made, copy.new_offset - at)?;
            let from = made.len();
            made.resize(from + copy.len as usize, 0);
            self.file.read_exact_at(made.get_mut(from..).unwrap_or_default(), copy.old_offset)?;
            at = copy.end();
        }
        come(&mut made, range.end - at)?;
        Ok(made)
    }
}

impl Fetch {
    /// Makes of an old file what it can of a new one whose values are given, and keeps in mind how the other pieces are
    /// to be made.
    ///
    /// # Errors
    /// The session, the disk of the cage.
    pub async fn delta(&self, no: u32, size: u64, old_path: PathBuf, layer: Vec<Value>) -> Result<(), Stop> {
        let Some(file) = blocking(move || Ok(open_regular(&old_path))).await? else { return Ok(()) };
        let old_size = file.metadata().map_or(0, |meta| meta.len());
        let block = block_for(old_size);
        let signatures = (block_count(old_size, block) * SIGNATURE) as u64;
        let missing = self.missing(no).await?;
        if signatures == 0 || bytes_of(&missing, size) < MISSING_MIN.max(signatures * WORTH) || !self.is_slow(no, size, &missing).await? {
            return Ok(());
        }
        let signed =
            blocking(move || Ok(sign(&file, old_size, block, &AtomicBool::new(false)).map(|signatures| (file, signatures)))).await?;
        let Ok((file, signatures)) = signed else { return Ok(()) }; // changed while it was read
        let missing = self.missing(no).await?;
        let copies = self.recipe(no, size, &missing, block, signatures.into()).await?;
        if copies.is_empty() {
            return Ok(());
        }
        let basis = Arc::new(Basis { file, size, layer, copies });
        let (fetch, known) = (self.clone(), Arc::clone(&basis));
        blocking(move || fetch.make_whole_pieces(no, &known, &missing)).await?;
        self.recipes.keep(no, basis);
        Ok(())
    }

    /// Fetches a piece as any other and says whether it took long.
    async fn is_slow(&self, no: u32, size: u64, missing: &[Range<u64>]) -> Result<bool, Stop> {
        for piece in missing.iter().cloned().flatten().take(TRIES) {
            let Some(len) = piece_len(piece, size) else { break };
            self.engine.inner.jobs.download.pass(len).await;
            let began = Instant::now();
            let Ok(came) = self.ask_piece(no, piece, Vec::new(), len).await? else { break };
            let took = began.elapsed().saturating_sub(came.read);
            let zero = came.zero;
            self.write_piece(no, piece, came.bytes, came.value).await?;
            if !zero {
                return Ok(took.as_micros() * u128::from(PIECE_SIZE) > SLOW.as_micros() * len as u128);
            }
        }
        Ok(false)
    }

    /// Asks where the old file stands in the new one, around what is missing of that; nothing where the sender cannot
    /// tell.
    async fn recipe(&self, no: u32, size: u64, missing: &[Range<u64>], block: u32, signatures: Bytes) -> Result<Vec<Copied>, Stop> {
        let (Some(first), Some(last)) = (missing.first(), missing.last()) else { return Ok(Vec::new()) };
        let (mut from, until) = (first.start * PIECE_SIZE, (last.end * PIECE_SIZE).min(size));
        let blocks = signatures.len() / SIGNATURE;
        let mut copies = Vec::new();
        while from < until && copies.len() < COPIES_MAX {
            let signature_len = signatures.len() as u32; // at most a page
            let asked = DeltaRequest { key: self.key.0.to_vec(), file: no, block, signature_len, from };
            let ask = Ask::new(Request { kind: Some(request::Kind::Delta(asked)) }).body(signatures.clone()).patience(PATIENCE);
            let (reply, mut body) = self.source()?.request(ask).await?;
            let reply = match granted(reply) {
                Err(Stop::Wait(why)) => {
                    tracing::debug!(no, "no recipe: {}", why.message);
                    return Ok(copies);
                }
                granted => granted?,
            };
            let page = kind_of(reply, |kind| if let reply::Kind::Delta(page) = kind { Some(page) } else { None })?;
            let recipe = read(&mut body).await?;
            if page.len == 0 || page.len > size - from {
                return Err(odd());
            }
            decode(&recipe, from, page.len, block, blocks).map_err(|_| odd())?.into_iter().for_each(|copy| copy.push(&mut copies));
            from += page.len;
        }
        Ok(copies)
    }

    /// Makes the pieces that stand wholly in the old file.
    fn make_whole_pieces(&self, no: u32, basis: &Basis, missing: &[Range<u64>]) -> Result<(), Stop> {
        for piece in missing.iter().cloned().flatten() {
            let (Some(parts), Some(value)) = (basis.parts(piece), usize::try_from(piece).ok().and_then(|at| basis.layer.get(at))) else {
                continue;
            };
            if !parts.is_empty() {
                continue;
            }
            let Ok(bytes) = basis.make(piece, &[]) else { continue };
            match self.staging.write_piece(no, piece, &bytes, value) {
                Ok(()) => self.count_reused(bytes.len() as u64),
                Err(e) if e.is_integrity() => {} // only looked the same
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Makes a piece with the help of an old file, and says whether it did.
    ///
    /// # Errors
    /// The session, the disk of the cage.
    pub async fn make_piece(&self, no: u32, piece: u64, len: usize) -> Result<bool, Stop> {
        let Some(basis) = self.recipes.of(no) else { return Ok(false) };
        let Some(parts) = basis.parts(piece) else { return Ok(false) };
        let wanted: u64 = parts.iter().map(|part| part.end - part.start).sum();
        let ranges = parts.iter().flat_map(|part| [part.start as u32, (part.end - part.start) as u32]).collect(); // within a piece
        let Ok(came) = self.ask_piece(no, piece, ranges, wanted as usize).await? else { return Ok(false) };
        let staging = Arc::clone(&self.staging);
        let made = blocking(move || {
            let Ok(bytes) = basis.make(piece, &came.bytes) else { return Ok(false) };
            match staging.write_piece(no, piece, &bytes, &came.value) {
                Err(e) if e.is_integrity() => Ok(false),
                written => Ok(written.map(|()| true)?),
            }
        });
        if !made.await? {
            return Ok(false);
        }
        self.count(wanted);
        self.count_reused(len as u64 - wanted);
        Ok(true)
    }

    async fn missing(&self, no: u32) -> Result<Vec<Range<u64>>, Stop> {
        let staging = Arc::clone(&self.staging);
        blocking(move || Ok(staging.missing(no)?)).await
    }
}

impl Engine {
    /// Where the blocks of an old file stand in the one that is sent.
    pub(crate) async fn serve_delta(&self, session: &Session, asked: DeltaRequest, incoming: &mut Incoming) -> Answer {
        if let Err(answer) = self.may_ask(session, &asked.key) {
            return *answer;
        }
        let Ok(Ok(_turn)) = timeout(TURN, self.inner.jobs.searches.acquire()).await else {
            return Answer::no(Status::Busy, "others are searching");
        };
        let signatures = match incoming.body(asked.signature_len) {
            Ok(Some(mut body)) => read(&mut body).await.ok(),
            _ => None,
        };
        let Some(signatures) = signatures else { return Answer::no(Status::Invalid, "the signatures did not come") };
        self.serve(session, &asked.key, move |source| {
            let signatures = Signatures::parse(&signatures, asked.block).map_err(|e| no(Status::Invalid, e.to_string()))?;
            let size = source.tree.key(asked.file).map_err(|e| refused(&e))?.size;
            let read = |piece, buffer| source.tree.read_piece(asked.file, piece, buffer).map(|piece| piece.bytes);
            let found = search(&signatures, size, asked.from, read).map_err(|e| refused(&e))?;
            let page = DeltaPage { len: found.len };
            Ok(Answer::with_body(reply::Kind::Delta(page), encode(&found.copies, asked.from, asked.block)))
        })
        .await
    }
}

fn bytes_of(pieces: &[Range<u64>], size: u64) -> u64 {
    pieces.iter().map(|range| (range.end * PIECE_SIZE).min(size).saturating_sub(range.start * PIECE_SIZE)).sum()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const MIB: u64 = PIECE_SIZE;

    fn basis(copies: &[(u64, u64, u64)], size: u64) -> Basis {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&(0..2 * MIB).map(|at| (at / 1000) as u8).collect::<Vec<_>>()).unwrap();
        let copies =
            copies.iter().map(|(new_offset, old_offset, len)| Copied { new_offset: *new_offset, old_offset: *old_offset, len: *len });
        Basis { file, size, layer: Vec::new(), copies: copies.collect() }
    }

    #[test]
    fn what_no_copy_covers_is_asked_for() {
        let basis = basis(&[(1, 0, MIB + 100), (MIB + 200, 5_000, 900_000)], 3 * MIB + 7);

        assert_eq!(basis.parts(0), Some(std::iter::once(0..1).collect()));
        assert_eq!(basis.parts(1), Some(vec![101..200, 900_200..MIB]));
        assert_eq!(basis.parts(2), None, "nothing is there");
        assert_eq!(basis.parts(9), None, "no such piece");
    }

    #[test]
    fn a_piece_is_made_from_copies_and_what_came() {
        let basis = basis(&[(1, 0, MIB + 100), (MIB + 200, 5_000, 900_000)], 3 * MIB + 7);
        let old = |from: u64, to: u64| (from..to).map(|at| (at / 1000) as u8).collect::<Vec<_>>();

        let literal = vec![77; 99 + (MIB - 900_200) as usize];
        let made = basis.make(1, &literal).unwrap();

        let expected = [old(MIB - 1, MIB + 100), vec![77; 99], old(5_000, 905_000), vec![77; (MIB - 900_200) as usize]].concat();
        assert!(made == expected);
        assert!(basis.make(1, &literal[1..]).is_err(), "too few bytes came");
    }

    #[test]
    fn a_piece_in_shreds_comes_whole() {
        let shreds: Vec<_> = (0..MIB / 4000).map(|at| (at * 4000, at * 2000, 3000)).collect();
        assert_eq!(basis(&shreds, MIB).parts(0), None);
        assert!(basis(&shreds[..200], MIB).parts(0).is_some());
    }

    #[test]
    fn what_is_missing_is_counted_to_the_end_of_the_file() {
        assert_eq!(bytes_of(&[0..1, 2..3], 2 * MIB + 5), MIB + 5);
    }
}
