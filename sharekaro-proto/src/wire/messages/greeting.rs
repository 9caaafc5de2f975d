//! The first frames of a session, and what follows on its control stream.

use prost::{Message, Oneof};

/// The first frame of the control stream, both ways.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// What the device calls itself, at most `NAME_MAX` bytes; proves nothing.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Random, made at each start of the daemon: a session with another instance is a session with the dead.
    #[prost(fixed64, tag = "2")]
    pub instance: u64,
    /// What it can do beyond version 1, as short words.
    #[prost(string, repeated, tag = "3")]
    pub features: Vec<String>,
    /// Version of the program, for people.
    #[prost(string, tag = "4")]
    pub version: String,
    /// Whether a person there would like to be disturbed.
    #[prost(message, optional, tag = "5")]
    pub presence: Option<Presence>,
    /// Whether its way to the LAN is a radio.
    #[prost(bool, tag = "6")]
    pub wireless: bool,
    /// Its clock: milliseconds since 1970. Shown where it is far off; nothing depends on it.
    #[prost(uint64, tag = "7")]
    pub clock_ms: u64,
}

/// The longest name of a device, in bytes of UTF-8.
pub const NAME_MAX: usize = 63;

/// What a person says of himself.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Presence {
    /// Not here.
    #[prost(bool, tag = "1")]
    pub away: bool,
    /// A line of text, at most 200 characters.
    #[prost(string, tag = "2")]
    pub text: String,
}

/// A fact on the control stream; nobody answers it.
#[derive(Clone, PartialEq, Message)]
pub struct Note {
    /// What happened. `None` is a kind of a later version.
    #[prost(oneof = "note::Kind", tags = "1, 2, 3, 4")]
    pub kind: Option<note::Kind>,
}

/// The kinds of `Note`.
pub mod note {
    use super::*;

    /// What happened.
    #[derive(Clone, PartialEq, Oneof)]
    pub enum Kind {
        /// How far a transfer is, from its receiver.
        #[prost(message, tag = "1")]
        Progress(Progress),
        /// A person came or went.
        #[prost(message, tag = "2")]
        Presence(Presence),
        /// Pieces that a receiver now has, for the others of the same transfer.
        #[prost(message, tag = "3")]
        Have(Have),
        /// The paired devices that the sender also reaches, for networks without multicast.
        #[prost(message, tag = "4")]
        Hints(Hints),
    }
}

/// How far a transfer is, as its receiver knows it.
#[derive(Clone, PartialEq, Message)]
pub struct Progress {
    /// `TransferKey`.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Where it stands.
    #[prost(enumeration = "Standing", tag = "2")]
    pub standing: i32,
    /// Bytes that were verified and written, those that were there already included.
    #[prost(uint64, tag = "3")]
    pub bytes_confirmed: u64,
    /// Of these, bytes that were there already.
    #[prost(uint64, tag = "4")]
    pub bytes_reused: u64,
    /// Files that are whole.
    #[prost(uint64, tag = "5")]
    pub files_done: u64,
    /// `Phase` as its word.
    #[prost(string, tag = "6")]
    pub phase: String,
    /// Where it waits: why. Where it was declined or cancelled: what the person said.
    #[prost(message, optional, tag = "7")]
    pub trouble: Option<Trouble>,
    /// What its receiver measures, while it moves.
    #[prost(message, optional, tag = "8")]
    pub figures: Option<Figures>,
    /// Whom its pieces came from, where others help.
    #[prost(message, repeated, tag = "9")]
    pub given: Vec<Given>,
}

/// What one holder gave to a receiver.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Given {
    /// `DeviceId`.
    #[prost(bytes = "vec", tag = "1")]
    pub device: Vec<u8>,
    /// Pieces that were verified and kept.
    #[prost(uint64, tag = "2")]
    pub pieces: u64,
    /// Their bytes.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    /// Pieces that were none.
    #[prost(uint64, tag = "4")]
    pub wrong: u64,
}

/// What one side measures of a transfer: how many of its requests are where on average, in thousandths of a request.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Figures {
    /// Receiver: asked for and not there yet.
    #[prost(uint32, tag = "1")]
    pub asked: u32,
    /// Receiver: being verified and written.
    #[prost(uint32, tag = "2")]
    pub writing: u32,
    /// Either side: held back by a limit.
    #[prost(uint32, tag = "3")]
    pub held: u32,
    /// Sender: being read and hashed.
    #[prost(uint32, tag = "4")]
    pub reading: u32,
    /// Use of the processor, in thousandths of one core.
    #[prost(uint32, tag = "5")]
    pub cpu: u32,
    /// Lost packets among those that it sent in the last seconds, in thousandths.
    #[prost(uint32, tag = "6")]
    pub lost: u32,
    /// Round trip, in microseconds.
    #[prost(uint32, tag = "7")]
    pub rtt_us: u32,
    /// The shortest round trip of this transfer, in microseconds.
    #[prost(uint32, tag = "8")]
    pub rtt_min_us: u32,
}

/// Something that keeps a transfer from going on.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Trouble {
    /// `ErrorCode` as its word.
    #[prost(string, tag = "1")]
    pub code: String,
    /// What happened, for people.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// Where a transfer stands, between peers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Standing {
    /// Never said.
    Unspecified = 0,
    /// A person is asked.
    Asked = 1,
    /// The receiver pulls.
    Active = 2,
    /// One of the two paused it.
    Paused = 3,
    /// The receiver cannot go on now and will by itself.
    Waiting = 4,
    /// All of it is stored.
    Done = 5,
    /// The receiver does not want it.
    Declined = 6,
    /// One of the two ended it.
    Cancelled = 7,
    /// Nobody answered for too long.
    Expired = 8,
    /// The receiver never heard of it.
    Unheard = 9,
}

/// Pieces that somebody has.
#[derive(Clone, PartialEq, Message)]
pub struct Have {
    /// BLAKE3 hash of the file.
    #[prost(bytes = "vec", tag = "1")]
    pub content: Vec<u8>,
    /// First piece and count, again and again.
    #[prost(uint32, repeated, tag = "2")]
    pub ranges: Vec<u32>,
}

/// Where others can be reached.
#[derive(Clone, PartialEq, Message)]
pub struct Hints {
    /// Devices.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<Hint>,
}

/// Where one device can be reached.
#[derive(Clone, PartialEq, Message)]
pub struct Hint {
    /// `DeviceId`.
    #[prost(bytes = "vec", tag = "1")]
    pub device: Vec<u8>,
    /// `ip:port`; never link-local ones.
    #[prost(string, repeated, tag = "2")]
    pub addresses: Vec<String>,
}
