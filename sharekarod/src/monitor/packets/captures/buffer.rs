//! A window on a stream: the next bytes, without copying them once they are here.
//!
//! It grows only as far as bytes really arrive, so that a length that a file merely claims costs nothing.

use std::io::{ErrorKind, Read};

/// What is asked of the system at once.
const READ_BYTES: usize = 256 << 10;

/// Bytes of a stream that are here and not used yet.
pub struct Buffer<R> {
    source: R,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    consumed: u64,
}

impl<R: Read> Buffer<R> {
    /// The beginning of a stream.
    pub fn new(source: R) -> Self {
        Self { source, bytes: vec![0; READ_BYTES], start: 0, end: 0, consumed: 0 }
    }

    /// Whether everything that was read is used.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How far into the stream the next byte is.
    pub fn position(&self) -> u64 {
        self.consumed
    }

    /// The next `count` bytes, which stay the next ones; `None` where the stream ends before.
    ///
    /// # Errors
    /// Where the stream cannot be read.
    pub fn peek(&mut self, count: usize) -> std::io::Result<Option<&[u8]>> {
        if self.end - self.start < count && !self.fill(count)? {
            return Ok(None);
        }
        Ok(self.bytes.get(self.start..self.start + count))
    }

    /// The next `count` bytes, which are used then; `None` where the stream ends before.
    ///
    /// # Errors
    /// Where the stream cannot be read.
    pub fn take(&mut self, count: usize) -> std::io::Result<Option<&[u8]>> {
        if self.end - self.start < count && !self.fill(count)? {
            return Ok(None);
        }
        let from = self.start;
        self.start += count;
        self.consumed += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(self.bytes.get(from..from + count))
    }

    /// Reads until `count` bytes are here; false where the stream ends before.
    #[cold]
    fn fill(&mut self, count: usize) -> std::io::Result<bool> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < count {
            if self.end == self.bytes.len() {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
            let Some(free) = self.bytes.get_mut(self.end..) else { return Ok(false) };
            match self.source.read(free) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_order_across_reads_and_end_where_the_stream_ends() {
        let source: Vec<u8> = (0..600_000_u32).map(|i| (i % 251) as u8).collect();
        let mut buffer = Buffer::new(source.as_slice());

        let mut seen = Vec::new();
        while let Some(bytes) = buffer.take(7_001).unwrap() {
            seen.extend_from_slice(bytes);
        }
        let rest = buffer.take(600_000 % 7_001).unwrap().unwrap().to_vec();

        assert_eq!([seen, rest].concat(), source);
        assert_eq!(buffer.position(), 600_000);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_large_claim_over_a_short_stream_costs_no_memory() {
        let mut buffer = Buffer::new(&b"short"[..]);

        assert!(buffer.take(1 << 40).unwrap().is_none());

        assert_eq!(buffer.bytes.len(), READ_BYTES);
        assert_eq!(buffer.take(5).unwrap(), Some(&b"short"[..]));
    }
}
