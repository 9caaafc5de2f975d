//! Frames and raw bytes on one QUIC stream, both directions, with an end to every wait.
//!
//! quinn *finishes* a send stream that is dropped, which looks complete to the other side; a `Writer` that is dropped
//! before `finish` resets it instead. So a future of ours may be dropped at any time.

use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};
use sharekaro_proto::wire;
use tokio::{io::AsyncReadExt, time::timeout};

use crate::net::{SessionError, limits};

/// The first look for a frame: most requests and heads of replies fit, and little of a body is copied twice.
const FIRST_READ: usize = 512;

/// Bytes that are read at once for a longer frame: what is allocated stays near what has arrived.
const FRAME_READ: usize = 16 << 10;

/// A stream may wait for others of its connection so many times `STALL`; then its turn will never come.
const TURNS: u32 = 10;

/// What a reset stream says.
pub(super) fn reset_code(status: wire::Status) -> VarInt {
    VarInt::from_u32(u32::try_from(i32::from(status)).unwrap_or(0))
}

/// The sending half.
pub(super) struct Writer {
    stream: SendStream,
    line: Connection,
    finished: bool,
}

impl Writer {
    pub(super) fn new(stream: SendStream, line: Connection) -> Self {
        Self { stream, line, finished: false }
    }

    pub(super) fn set_priority(&self, priority: i32) {
        // Fails only for a stream that is over, whose priority matters no more.
        let _ = self.stream.set_priority(priority);
    }

    /// Hands all of `bytes` to the connection; returns when the last of it is in its buffer, not when it arrived.
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), SessionError> {
        let mut rest = [bytes];
        let mut patience = Patience::new(limits::STALL);
        while !rest.iter().all(Bytes::is_empty) {
            match timeout(limits::STALL, self.stream.write_chunks(&mut rest)).await {
                Ok(written) => {
                    written?;
                    patience.renew();
                }
                Err(_) => patience.spend(self.line.stats().frame_tx.stream)?,
            }
        }
        Ok(())
    }

    /// Returns when the peer wants no more of it, or the connection is over.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopped = self.stream.stopped();
        async move {
            let _ = stopped.await; // whichever of both it was
        }
    }

    /// All was said.
    pub(super) fn finish(mut self) -> Result<(), SessionError> {
        self.stream.finish()?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // Already reset or stopped is as good.
            let _ = self.stream.reset(reset_code(wire::Status::Failed));
        }
    }
}

/// How long a stream that does not move is waited for: as long as others of its connection do, within reason.
struct Patience {
    stall: Duration,
    seen: Option<u64>,
    turns: u32,
}

impl Patience {
    fn new(stall: Duration) -> Self {
        Self { stall, seen: None, turns: 0 }
    }

    fn renew(&mut self) {
        self.seen = None;
        self.turns = 0;
    }

    /// `moved` counts what moved on the whole connection. One's own retransmissions also count; `TURNS` bounds that.
    fn spend(&mut self, moved: u64) -> Result<(), SessionError> {
        self.turns += 1;
        let busy = self.seen.replace(moved).is_none_or(|before| before != moved);
        if busy && self.turns < TURNS { Ok(()) } else { Err(SessionError::Stalled(self.stall * self.turns)) }
    }
}

/// The receiving half.
pub(super) struct Reader {
    stream: RecvStream,
    line: Connection,
    buffer: BytesMut,
}

impl Reader {
    pub(super) fn new(stream: RecvStream, line: Connection) -> Self {
        Self { stream, line, buffer: BytesMut::new() }
    }

    /// The next frame without its length; `None` where the stream ended in front of it. `patience` is for its first
    /// byte only.
    pub(super) async fn frame(&mut self, limit: usize, patience: Duration) -> Result<Option<Bytes>, SessionError> {
        let mut wait = patience;
        loop {
            let missing = match wire::frame_length(&self.buffer, limit)? {
                Some((length, at)) if self.buffer.len() >= length + at => {
                    self.buffer.advance(at);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                Some((length, at)) => length + at - self.buffer.len(),
                None => FIRST_READ,
            };
            if self.fill(missing.min(FRAME_READ), wait).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(SessionError::CutShort) };
            }
            wait = limits::STALL;
        }
    }

    /// Reads at most `most` bytes more into the buffer; 0: the stream ended.
    async fn fill(&mut self, most: usize, wait: Duration) -> Result<usize, SessionError> {
        self.buffer.reserve(most);
        read_some(&mut self.stream, &self.line, &mut (&mut self.buffer).limit(most), wait).await
    }

    /// Takes what has already arrived of the end, without waiting: a stream read to its end needs no word to the sender.
    pub(super) fn take_end(&mut self) -> Result<(), SessionError> {
        match self.stream.read_chunk(FIRST_READ, true).now_or_never() {
            Some(Ok(Some(chunk))) => self.buffer.extend_from_slice(&chunk.bytes),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(None)) | None => {}
        }
        Ok(())
    }

    pub(super) fn into_body(self, length: usize) -> Body {
        Body { reader: self, left: length }
    }
}

/// One read that cannot hang: it waits on while other streams of the connection move.
async fn read_some(stream: &mut RecvStream, line: &Connection, to: &mut impl BufMut, wait: Duration) -> Result<usize, SessionError> {
    let mut patience = Patience::new(wait);
    let first = Instant::now();
    loop {
        match timeout(wait, stream.read_buf(to)).await {
            Ok(Ok(count)) => return Ok(count),
            Ok(Err(error)) => return Err(read_error(error)),
            // Who answers late is late, however busy the line: only what has begun may wait for others.
            Err(_) if wait != limits::STALL => return Err(SessionError::Stalled(first.elapsed())),
            Err(_) => patience.spend(line.stats().frame_rx.stream)?,
        }
    }
}

/// tokio's reading wraps quinn's error; it is in there unchanged.
fn read_error(error: std::io::Error) -> SessionError {
    match error.downcast::<ReadError>() {
        Ok(error) => error.into(),
        Err(_) => SessionError::CutShort,
    }
}

/// Raw bytes that follow a frame. Dropping it tells the sender to stop.
pub struct Body {
    reader: Reader,
    left: usize,
}

impl Body {
    /// Bytes that are still to be read.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Appends all that is left to `out`, which grows once. Bytes are copied once, from the packets into `out`.
    ///
    /// # Errors
    /// Where the stream ends early, goes on beyond what was announced, stalls or is given up, or the session ends.
    pub async fn read_exact_into(&mut self, out: &mut Vec<u8>) -> Result<(), SessionError> {
        out.reserve(self.left);
        let early = self.reader.buffer.split_to(self.reader.buffer.len().min(self.left));
        out.extend_from_slice(&early);
        self.left -= early.len();
        while self.left > 0 {
            let mut to = (&mut *out).limit(self.left);
            match read_some(&mut self.reader.stream, &self.reader.line, &mut to, limits::STALL).await? {
                0 => return Err(SessionError::CutShort),
                count => self.left = self.left.saturating_sub(count),
            }
        }
        self.reader.take_end()?;
        if self.reader.buffer.is_empty() { Ok(()) } else { Err(SessionError::Surplus) }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("left", &self.left).finish_non_exhaustive()
    }
}
