//! Capture files: pcap in its variants and pcapng, packet after packet.
//!
//! The reader streams: whatever a file claims about itself, at most one record (`RECORD_BYTES_MAX`) is in memory. A
//! packet borrows the reader's buffer. A broken file ends with an error after everything that could be read before it.

pub mod buffer;
pub mod pcap;
pub mod pcapng;

use std::io::Read;

use self::{buffer::Buffer, pcap::Pcap, pcapng::Pcapng};

/// The largest block or packet that is believed. Wireshark's limits are 256 KiB for a packet of an ordinary link and
/// 16 MiB for a block of pcapng.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// What identifies the compressed files that other tools open as if they were captures.
const COMPRESSED: [(&[u8], &str); 3] = [(&[0x1f, 0x8b], "gzip"), (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"), (&[0x04, 0x22, 0x4d, 0x18], "lz4")];

/// One packet, as the capture has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'b> {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// What its first header is: a `LINKTYPE_` number of <https://www.tcpdump.org/linktypes.html>.
    pub link: u32,
    /// Whether the capture's numbers have their most significant byte first: some link headers are in that order.
    pub big_endian: bool,
    /// Its length on the wire; `data` may be less.
    pub length: u32,
    /// What was captured of it.
    pub data: &'b [u8],
}

impl Packet<'_> {
    /// Its length without what only the capture has: which way it went, on which channel it was.
    #[inline]
    pub fn on_the_wire(&self) -> u32 {
        if self.link < ADDED[0].0 {
            return self.length;
        }
        let added = ADDED.iter().find(|(link, _)| *link == self.link).map_or(0, |(_, bytes)| *bytes);
        self.length.saturating_sub(added)
    }
}

/// Links whose packets stand behind so many bytes that the capture added. Wireshark's lengths are without these, where it
/// takes them for no header of their own: SunATM, MTP2, IrDA, Linux's LAPD, SITA, Bluetooth (H4, the monitor), PPP, I2C, NFC.
const ADDED: [(u32, u32); 10] = [(123, 4), (139, 4), (144, 16), (177, 16), (196, 5), (201, 4), (204, 1), (209, 5), (245, 2), (254, 4)];

/// Why a capture ends early, or never begins.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The system did not give us its bytes.
    #[error("cannot read the capture")]
    Read(#[from] std::io::Error),
    /// It is something else.
    #[error("this is no capture: it does not begin like pcap or pcapng")]
    NotACapture,
    /// There is nothing in it.
    #[error("this is no capture: it is empty")]
    Empty,
    /// A capture in a compressed file.
    #[error("this file is compressed ({0}); decompress it first")]
    Compressed(&'static str),
    /// It ends in the middle of something.
    #[error("the capture is cut off at byte {at}, in the middle of {what}")]
    CutOff {
        /// Where that begins.
        at: u64,
        /// What it is.
        what: &'static str,
    },
    /// Something in it cannot be.
    #[error("the capture is damaged at byte {at}: {what}")]
    Damaged {
        /// Where that begins.
        at: u64,
        /// What cannot be.
        what: String,
    },
}

/// A capture being read.
pub struct Capture<R> {
    buffer: Buffer<R>,
    format: Format,
}

enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl<R: Read> Capture<R> {
    /// The capture that these bytes are; its kind is told by its first bytes, never by a name.
    ///
    /// # Errors
    /// Where it is no capture, or its header is cut off.
    pub fn open(source: R) -> Result<Self, CaptureError> {
        let mut buffer = Buffer::new(source);
        let magic = buffer.peek(4)?.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let Some(magic) = magic else {
            return Err(if buffer.is_empty() { CaptureError::Empty } else { CaptureError::NotACapture });
        };
        if let Some((_, name)) = COMPRESSED.iter().find(|(start, _)| magic.starts_with(start)) {
            return Err(CaptureError::Compressed(name));
        }
        let format = match Pcapng::begins(magic) {
            true => Format::Pcapng(Pcapng::default()),
            false => Format::Pcap(Pcap::open(&mut buffer, magic)?),
        };
        Ok(Self { buffer, format })
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// Where the file breaks: what came before it stands. The capture is over then.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        match &mut self.format {
            Format::Pcap(pcap) => pcap.next_packet(&mut self.buffer),
            Format::Pcapng(pcapng) => pcapng.next_packet(&mut self.buffer),
        }
    }
}

/// The byte order in which a capture has its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Big,
    Little,
}

impl Order {
    /// The number in these two bytes of `bytes`; 0 where they are missing, which callers rule out by their lengths.
    pub(crate) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let pair = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        if self == Self::Big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    }

    /// The number in these four bytes of `bytes`; as `u16` where they are missing.
    pub(crate) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let four = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        if self == Self::Big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_capture_is_told_apart() {
        let opened = |bytes: &'static [u8]| Capture::open(bytes).err();

        assert!(matches!(opened(b""), Some(CaptureError::Empty)));
        assert!(matches!(opened(b"abc"), Some(CaptureError::NotACapture)));
        assert!(matches!(opened(b"hello, world, this is a text"), Some(CaptureError::NotACapture)));
        assert!(matches!(opened(b"\x1f\x8b\x08\x00"), Some(CaptureError::Compressed("gzip"))));
    }
}
