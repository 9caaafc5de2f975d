//! Frames in a file, read one after the other without moving the file's own position.

use std::{fs::File, io, os::unix::fs::FileExt};

use sharekaro_proto::wire::{FRAME_MAX, frame_length};

/// Bytes that are read at once: some hundred entries.
const READ_BYTES: usize = 32 << 10;

/// One frame.
pub(super) struct Frame<'a> {
    /// With its length in front.
    pub(super) whole: &'a [u8],
    /// Without.
    pub(super) payload: &'a [u8],
}

/// Reads frames from an offset on.
pub(super) struct Frames<'a> {
    file: &'a File,
    /// Where in the file the buffer begins.
    base: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl<'a> Frames<'a> {
    pub(super) fn at(file: &'a File, offset: u64) -> Self {
        Self { file, base: offset, buffer: Vec::new(), at: 0 }
    }

    /// Where the next frame begins.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The next frame; `None` where the file ends, or goes on with what is no whole frame.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            match frame_length(rest, FRAME_MAX) {
                Err(_) => return Ok(None),
                Ok(Some((length, head))) if head + length <= rest.len() => {
                    let (start, body, end) = (self.at, self.at + head, self.at + head + length);
                    self.at = end;
                    let slice = |from: usize| self.buffer.get(from..end).unwrap_or_default();
                    return Ok(Some(Frame { whole: slice(start), payload: slice(body) }));
                }
                Ok(_) if self.fill()? == 0 => return Ok(None),
                Ok(_) => {}
            }
        }
    }

    /// Forgets what was read and takes more bytes in behind the rest.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        let had = self.buffer.len();
        self.buffer.resize(had + READ_BYTES, 0);
        let more = self.buffer.get_mut(had..).unwrap_or_default();
        let read = self.file.read_at(more, self.base + had as u64);
        self.buffer.truncate(had + *read.as_ref().unwrap_or(&0));
        read
    }
}
