//! What is asked to measure the line, and to find why two devices do not meet.

use prost::Message;

/// So many bytes of noise, please; or: they follow, say how long they took.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Measure {
    /// Bytes wanted back.
    #[prost(uint32, tag = "1")]
    pub down: u32,
    /// Write them to the disk there first.
    #[prost(bool, tag = "2")]
    pub disk: bool,
}

/// What was measured; noise follows where it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Measured {
    /// Bytes a second that the disk there takes durably.
    #[prost(uint64, tag = "1")]
    pub rate: u64,
}

/// How do you see me, and can you call me? Where the two are paired, the asked side tries it from a fresh port, at the
/// address that this session has.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Examine {}

/// How the asked side sees the one that asks.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Examined {
    /// A packet from a fresh port was answered; nothing where none was sent.
    #[prost(bool, optional, tag = "1")]
    pub reached: Option<bool>,
    /// It looks for announcements.
    #[prost(bool, tag = "2")]
    pub looks: bool,
    /// It sees the announcement of the one that asks.
    #[prost(bool, tag = "3")]
    pub sees: bool,
    /// Its clock: milliseconds since 1970.
    #[prost(uint64, tag = "4")]
    pub clock_ms: u64,
}
