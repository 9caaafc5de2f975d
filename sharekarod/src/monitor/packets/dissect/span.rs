//! Bytes of a packet, some of which may not have been captured.
//!
//! Every question about bytes that are missing is answered with `None`: a dissector ends there, and what was recognised
//! before stands.

/// The rest of a packet from some header on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'p> {
    /// What was captured of it.
    pub(crate) bytes: &'p [u8],
    /// How long it was on the wire.
    pub(crate) wire: usize,
}

impl<'p> Span<'p> {
    #[inline]
    pub(crate) fn new(bytes: &'p [u8], wire: usize) -> Self {
        Self { bytes, wire: wire.max(bytes.len()) }
    }

    #[inline]
    pub(crate) fn u8(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// Two bytes, the most significant first, as in every network protocol.
    #[inline]
    pub(crate) fn u16(self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }

    /// Four bytes.
    #[inline]
    pub(crate) fn u32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    /// So many bytes.
    #[inline]
    pub(crate) fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    /// What follows the first `count` bytes; `None` where they were not captured or never were.
    #[inline]
    pub(crate) fn skip(self, count: usize) -> Option<Self> {
        Some(Self { bytes: self.bytes.get(count..)?, wire: self.wire - count })
    }

    /// At most the first `count` bytes: what a header says is its content, without the padding behind it.
    #[inline]
    pub(crate) fn limit(self, count: usize) -> Self {
        Self { bytes: self.bytes.get(..count).unwrap_or(self.bytes), wire: self.wire.min(count) }
    }

    /// Without its last `count` bytes on the wire.
    #[inline]
    pub(crate) fn trim(self, count: usize) -> Self {
        self.limit(self.wire.saturating_sub(count))
    }
}
