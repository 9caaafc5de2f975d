//! Fetching one planned work: ask, take the bytes, verify and write them on a blocking thread.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{Buf, Bytes};
use sharekaro_proto::{
    TransferKey,
    nouns::transfer::SkipReason,
    wire::{FRAME_MAX, PackHead, PackRequest, PieceRequest, Request, Status, decode_frame, frame_length, reply, request},
};

use super::{
    buffers::Buffer,
    crowd::{self, Share, is_shared},
    delta::Recipes,
    jobs::Reserved,
    plan::{Pieces, Remaining, Work},
    pull::{Counters, read_piece, zeroes},
    stop::{Stop, blocking, granted, kind_of, odd},
};
use crate::{
    engine::Engine,
    files::{Error, Item, Staging, Value, cage::Small, piece_count},
    net::{Ask, Session},
};

/// A sender that holds a limit lets one wait this long for the first byte.
const PATIENCE: Duration = Duration::from_secs(900);

/// Everything that a fetch needs; cheap to clone.
#[derive(Clone)]
pub struct Fetch {
    /// For limits.
    pub engine: Engine,
    /// The way to the sender, while there is one.
    pub session: Option<Session>,
    /// The transfer.
    pub key: TransferKey,
    /// Where it is written.
    pub staging: Arc<Staging>,
    /// Where it is to go.
    pub destination: PathBuf,
    /// Which big files are nearly here.
    pub remaining: Arc<Remaining>,
    /// How big files are made from older ones.
    pub recipes: Arc<Recipes>,
    /// How far it is.
    pub counters: Arc<Counters>,
    /// The other receivers, where they help.
    pub share: Option<Arc<Share>>,
    /// The room that is kept free for it.
    pub room: Arc<Reserved>,
}

impl Fetch {
    /// The way to the sender.
    ///
    /// # Errors
    /// `Lost` while there is none.
    pub fn source(&self) -> Result<&Session, Stop> {
        self.session.as_ref().ok_or(Stop::Lost)
    }
}

/// Fetches one work.
///
/// Returns pieces that are to be asked for as its consequence.
///
/// # Errors
/// Why the pull cannot go on.
pub async fn run(fetch: &Fetch, work: Work) -> Result<Option<Pieces>, Stop> {
    match work {
        Work::Pack(files) => pack(fetch, files).await?,
        Work::Piece { no, piece, len } => one_piece(fetch, no, piece, len).await?,
        Work::Begin(no, item) => return begin(fetch, no, item).await,
    }
    Ok(None)
}

/// Takes of a big file what is on this machine, and says what is missing.
async fn begin(fetch: &Fetch, no: u32, item: Item) -> Result<Option<Pieces>, Stop> {
    let size = item.size;
    let staging = Arc::clone(&fetch.staging);
    let missing = |staging: Arc<Staging>| blocking(move || Ok(staging.missing(no)?));
    let busy = fetch.counters.busy(); // hashing a large file takes its time, here and there
    let fresh = missing(Arc::clone(&staging)).await?.first() == Some(&(0..piece_count(size)));
    let sparse = item.sparse;
    if fresh {
        fetch.reuse_big(no, item.clone()).await?;
    }
    if sparse {
        fetch.claim_holes(no, size).await?;
    }
    if let Some(share) = &fetch.share
        && is_shared(&item)
        && !fetch.recipes.has(no)
    {
        drop(busy);
        crowd::gather(fetch, share, no, &item).await?;
        return Ok(None);
    }
    let Some(pieces) = Pieces::new(no, size, missing(staging).await?) else {
        finish(fetch, no).await?;
        return Ok(None);
    };
    fetch.remaining.expect(no, pieces.left());
    Ok(Some(pieces))
}

async fn one_piece(fetch: &Fetch, no: u32, piece: u64, len: usize) -> Result<(), Stop> {
    if !fetch.make_piece(no, piece, len).await? {
        let came = match fetch.ask_piece(no, piece, Vec::new(), len).await? {
            Ok(came) => came,
            // the first piece that cannot come gives the file up; the others find it so
            Err(reason) => return if fetch.remaining.give_up(no) { skip(fetch, no, reason).await } else { Ok(()) },
        };
        match fetch.write_piece(no, piece, came.bytes, came.value).await {
            Err(_) if !fetch.remaining.expects(no) => return Ok(()), // given up meanwhile
            written => written?,
        }
    }
    if fetch.remaining.one_came(no) { finish(fetch, no).await } else { Ok(()) }
}

/// A piece, or parts of it, as the sender sent it.
pub struct Came {
    /// The value of the whole piece.
    pub value: Value,
    /// All its bytes are zero, and did not travel.
    pub zero: bool,
    /// What was asked for of it.
    pub bytes: Buffer,
    /// How long the sender read.
    pub read: Duration,
}

impl Fetch {
    /// Asks for a piece, or for the parts of it that are named, with so many bytes in all.
    ///
    /// # Errors
    /// Why the pull cannot go on; within, why the file will never come.
    pub async fn ask_piece(&self, no: u32, piece: u64, ranges: Vec<u32>, wanted: usize) -> Result<Result<Came, SkipReason>, Stop> {
        let piece = piece as u32; // at most 4 Mi pieces
        let asked = PieceRequest { key: self.key.0.to_vec(), file: no, piece, ranges, ..PieceRequest::default() };
        let ask = Ask::new(Request { kind: Some(request::Kind::Piece(asked)) }).patience(PATIENCE);
        let _asked = self.counters.gauge.visit(|gauge| &gauge.asked);
        let (reply, mut body) = self.source()?.request(ask).await?;
        self.counters.gauge.heard(reply.figures);
        if let Some(reason) = lost(reply.status()) {
            return Ok(Err(reason));
        }
        let body_len = reply.body_len as usize;
        let head = kind_of(granted(reply)?, |kind| if let reply::Kind::Piece(head) = kind { Some(head) } else { None })?;
        if body_len != if head.zero { 0 } else { wanted } {
            return Err(odd());
        }
        let value = Value::try_from(head.value.as_slice()).map_err(|_| odd())?;
        let bytes = if head.zero { zeroes(&self.engine, wanted) } else { read_piece(&self.engine, &mut body).await? };
        Ok(Ok(Came { value, zero: head.zero, bytes, read: Duration::from_micros(head.read_us.into()) }))
    }

    /// Verifies a piece, writes it and counts it.
    ///
    /// # Errors
    /// The disk of the cage; a piece that is not what its value says.
    pub async fn write_piece(&self, no: u32, piece: u64, bytes: Buffer, value: Value) -> Result<(), Stop> {
        let (staging, len) = (Arc::clone(&self.staging), bytes.len() as u64);
        let _writing = self.counters.gauge.visit(|gauge| &gauge.writing);
        blocking(move || Ok(staging.write_piece(no, piece, &bytes, &value)?)).await?;
        self.count(len);
        Ok(())
    }

    /// Bytes that are here now.
    pub fn count(&self, bytes: u64) {
        self.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Makes a big file whole, once its last piece is here. Where that is another file than the offer named, it is given up.
pub async fn finish(fetch: &Fetch, no: u32) -> Result<(), Stop> {
    fetch.recipes.forget(no);
    let (staging, _busy) = (Arc::clone(&fetch.staging), fetch.counters.busy());
    let _writing = fetch.counters.gauge.visit(|gauge| &gauge.writing); // a slow disk is seen here: what was written lies in memory
    let is_it = blocking(move || match staging.finish_file(no) {
        Err(Error::OtherContent(_)) => Ok(false),
        finished => Ok(finished.map(|_| true)?),
    });
    if !is_it.await? {
        return skip(fetch, no, SkipReason::Changed).await;
    }
    fetch.counters.files.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Asks for small files until each came or cannot come.
async fn pack(fetch: &Fetch, mut files: Vec<(u32, u64)>) -> Result<(), Stop> {
    let mut refused = BTreeSet::new();
    while !files.is_empty() {
        let asked = PackRequest { key: fetch.key.0.to_vec(), ranges: ranges(&files) };
        let ask = Ask::new(Request { kind: Some(request::Kind::Pack(asked)) }).patience(PATIENCE);
        let asked = fetch.counters.gauge.visit(|gauge| &gauge.asked);
        let (reply, mut body) = fetch.source()?.request(ask).await?;
        fetch.counters.gauge.heard(reply.figures);
        granted(reply)?;
        let mut page = Bytes::from_owner(read_piece(&fetch.engine, &mut body).await?);
        drop(asked);
        let mut got = Vec::new();
        while page.has_remaining() {
            got.push(unpack(&mut page)?);
        }
        if got.is_empty() || got.len() > files.len() {
            return Err(odd());
        }
        files = take(fetch, files, got, &mut refused).await?;
    }
    Ok(())
}

/// Writes what came and returns what is still missing. The files come in the order in which they were asked for. What is not
/// the file that was offered is asked for once more, and then it is another file than it was.
async fn take(
    fetch: &Fetch,
    mut files: Vec<(u32, u64)>,
    got: Vec<(PackHead, Bytes)>,
    refused: &mut BTreeSet<u32>,
) -> Result<Vec<(u32, u64)>, Stop> {
    let mut rest = files.split_off(got.len());
    let mut small = Vec::with_capacity(got.len());
    for ((no, _), (head, content)) in files.iter().zip(got) {
        if head.file != *no {
            return Err(odd());
        }
        if let Some(reason) = lost(head.status()) {
            skip(fetch, *no, reason).await?;
            continue;
        }
        small.push((*no, content, Value::try_from(head.value.as_slice()).map_err(|_| odd())?));
    }
    let staging = Arc::clone(&fetch.staging);
    let _writing = fetch.counters.gauge.visit(|gauge| &gauge.writing);
    let stored = blocking(move || {
        let batch: Vec<Small<'_>> = small.iter().map(|(no, bytes, value)| Small { no: *no, bytes, value: *value }).collect();
        Ok(staging.write_small(&batch)?)
    })
    .await?;
    fetch.counters.bytes.fetch_add(stored.bytes, Ordering::Relaxed);
    fetch.counters.files.fetch_add(stored.files, Ordering::Relaxed);
    for (no, size) in files.into_iter().filter(|(no, _)| stored.refused.contains(no)) {
        if refused.insert(no) {
            rest.push((no, size));
        } else {
            skip(fetch, no, SkipReason::Changed).await?;
        }
    }
    Ok(rest)
}

pub async fn skip(fetch: &Fetch, no: u32, reason: SkipReason) -> Result<(), Stop> {
    fetch.recipes.forget(no);
    let staging = Arc::clone(&fetch.staging);
    blocking(move || Ok(staging.skip(no, reason)?)).await
}

/// Why a file will never come; `None` where it did, or may later.
pub fn lost(status: Status) -> Option<SkipReason> {
    match status {
        Status::Changed => Some(SkipReason::Changed),
        Status::Vanished => Some(SkipReason::Vanished),
        Status::Unreadable => Some(SkipReason::Unreadable),
        _ => None,
    }
}

/// One file off the front of a pack.
fn unpack(page: &mut Bytes) -> Result<(PackHead, Bytes), Stop> {
    let (length, at) = frame_length(page, FRAME_MAX).ok().flatten().ok_or_else(odd)?;
    if page.len() < at + length {
        return Err(odd());
    }
    page.advance(at);
    let head: PackHead = decode_frame(page.split_to(length)).map_err(|_| odd())?;
    let len = head.len as usize;
    if page.len() < len {
        return Err(odd());
    }
    Ok((head, page.split_to(len)))
}

/// Numbers as first and count, again and again.
fn ranges(files: &[(u32, u64)]) -> Vec<u32> {
    let mut out: Vec<u32> = Vec::new();
    for (no, _) in files {
        match out.as_mut_slice() {
            [.., first, count] if *first + *count == *no => *count += 1,
            _ => out.extend([*no, 1]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sharekaro_proto::wire::encode_frame;

    use super::*;

    #[test]
    fn neighbours_are_asked_for_as_one_range() {
        assert_eq!(ranges(&[(3, 0), (4, 0), (5, 0), (9, 0)]), [3, 3, 9, 1]);
        assert_eq!(ranges(&[]), [0u32; 0]);
    }

    #[test]
    fn a_pack_that_is_cut_anywhere_is_refused_and_not_misread() {
        let head = PackHead { file: 7, status: Status::Ok.into(), len: 5, value: vec![1; 32] };
        let whole = [encode_frame(&head), b"hello".to_vec()].concat();

        assert!(unpack(&mut Bytes::from(whole.clone())).is_ok_and(|(read, bytes)| read == head && bytes == "hello"));
        for cut in 0..whole.len() {
            assert!(unpack(&mut Bytes::copy_from_slice(&whole[..cut])).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_pack_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let mut page = Bytes::from(bytes);
            while page.has_remaining() && unpack(&mut page).is_ok() {}
        }
    }
}
