//! The messages, as prost structs. Their names and tags are the protocol.

use prost::{Message, Oneof};

// ---- greeting -------------------------------------------------------------------------------------

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

// ---- requests -------------------------------------------------------------------------------------

/// One question; it has a stream of its own.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// What is asked. `None` is a kind of a later version.
    #[prost(oneof = "request::Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19")]
    pub kind: Option<request::Kind>,
}

/// The kinds of `Request`.
pub mod request {
    use super::*;

    /// What is asked.
    #[derive(Clone, PartialEq, Oneof)]
    pub enum Kind {
        /// Are you there?
        #[prost(message, tag = "1")]
        Ping(Ping),
        /// May I send these? Again after each reconnection: then it asks where the transfer stands.
        #[prost(message, tag = "2")]
        Offer(Offer),
        /// The names, sizes and times of what is offered.
        #[prost(message, tag = "3")]
        Manifest(ManifestRequest),
        /// One piece of one file.
        #[prost(message, tag = "4")]
        Piece(PieceRequest),
        /// Many small files, whole.
        #[prost(message, tag = "5")]
        Pack(PackRequest),
        /// The chaining values of a file's pieces.
        #[prost(message, tag = "6")]
        Layer(LayerRequest),
        /// The parts of a sparse file that hold data.
        #[prost(message, tag = "7")]
        Extents(ExtentsRequest),
        /// All is stored; here is the receipt.
        #[prost(message, tag = "8")]
        Complete(Complete),
        /// One side pauses, resumes, cancels, limits.
        #[prost(message, tag = "9")]
        Change(Change),
        /// Pairing by words, first step.
        #[prost(message, tag = "10")]
        PairStart(PairStart),
        /// Pairing by words, second step.
        #[prost(message, tag = "11")]
        PairReveal(PairReveal),
        /// Pairing by words, the person's answer.
        #[prost(message, tag = "12")]
        PairConfirm(PairConfirm),
        /// A code is tried, first step.
        #[prost(message, tag = "13")]
        CodeStart(CodeStart),
        /// A code is tried, second step.
        #[prost(message, tag = "14")]
        CodeConfirm(CodeConfirm),
        /// The differences of a file to one that the receiver has.
        #[prost(message, tag = "15")]
        Delta(DeltaRequest),
        /// A text.
        #[prost(message, tag = "16")]
        Messages(Messages),
        /// So many bytes of nothing, to measure the line.
        #[prost(message, tag = "17")]
        Measure(Measure),
        /// A part of a long receipt.
        #[prost(message, tag = "18")]
        Receipt(ReceiptRequest),
        /// Can you call me?
        #[prost(message, tag = "19")]
        Examine(Examine),
    }
}

/// The answer to a `Request`.
#[derive(Clone, PartialEq, Message)]
pub struct Reply {
    /// How it went.
    #[prost(enumeration = "Status", tag = "1")]
    pub status: i32,
    /// For people, where it went wrong.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Come again after so many milliseconds.
    #[prost(uint32, tag = "3")]
    pub retry_ms: u32,
    /// Raw bytes that follow this frame, at most `PAGE_MAX`.
    #[prost(uint32, tag = "4")]
    pub body_len: u32,
    /// What the sender of a transfer measures, in its answers about it.
    #[prost(message, optional, tag = "5")]
    pub figures: Option<Figures>,
    /// What belongs to the request.
    #[prost(oneof = "reply::Kind", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21")]
    pub kind: Option<reply::Kind>,
}

/// The kinds of `Reply`.
pub mod reply {
    use super::*;

    /// What was asked for.
    #[derive(Clone, PartialEq, Oneof)]
    pub enum Kind {
        /// To `Ping`.
        #[prost(message, tag = "10")]
        Pong(Ping),
        /// To `Offer`: where the transfer stands at the receiver.
        #[prost(message, tag = "11")]
        Progress(Progress),
        /// To `Manifest`: the body is a page of frames, each an `Entry`.
        #[prost(message, tag = "12")]
        Manifest(ManifestPage),
        /// To `Piece`: the body is the piece.
        #[prost(message, tag = "13")]
        Piece(PieceHead),
        /// To `Pack`: the body is, for each file, a frame `PackHead` and its bytes.
        #[prost(message, tag = "14")]
        Pack(PackPage),
        /// To `Layer`: the body is 32 bytes a piece.
        #[prost(message, tag = "15")]
        Layer(LayerPage),
        /// To `Extents`.
        #[prost(message, tag = "16")]
        Extents(ExtentsPage),
        /// To `PairStart`: the nonce of the one that was asked.
        #[prost(message, tag = "17")]
        PairNonce(PairNonce),
        /// To `CodeStart` and `CodeConfirm`.
        #[prost(message, tag = "18")]
        Code(CodeReply),
        /// To `Delta`: the body is instructions.
        #[prost(message, tag = "19")]
        Delta(DeltaPage),
        /// To `Measure`.
        #[prost(message, tag = "20")]
        Measured(Measured),
        /// To `Examine`.
        #[prost(message, tag = "21")]
        Examined(Examined),
    }
}

/// How a request went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Status {
    /// As asked.
    Ok = 0,
    /// This version does not know the request.
    Unsupported = 16,
    /// You may not, or not now.
    NotAuthorised = 17,
    /// There is no such transfer, file, invitation.
    NotFound = 18,
    /// The file is no longer what was offered.
    Changed = 19,
    /// Come again later.
    Busy = 20,
    /// The transfer is paused.
    Paused = 21,
    /// The transfer was cancelled.
    Cancelled = 22,
    /// It is over a limit.
    TooBig = 23,
    /// There is no room.
    NoSpace = 24,
    /// The request contradicts itself or what was said before.
    Invalid = 25,
    /// The code is wrong, used up or expired.
    WrongCode = 26,
    /// The file is gone.
    Vanished = 27,
    /// The file could not be read.
    Unreadable = 28,
    /// Something else; the message says what.
    Failed = 29,
}

/// A question and its echo.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Ping {
    /// Comes back as it went.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
}

// ---- transfers ------------------------------------------------------------------------------------

/// May I send these?
#[derive(Clone, PartialEq, Message)]
pub struct Offer {
    /// `TransferKey`.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// What it is, for people: the first name.
    #[prost(string, tag = "2")]
    pub title: String,
    /// Sum of the sizes of the files.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    /// Files.
    #[prost(uint64, tag = "4")]
    pub files: u64,
    /// Entries of the manifest: files, folders and links.
    #[prost(uint64, tag = "5")]
    pub entries: u64,
    /// A word to it, for people.
    #[prost(string, tag = "6")]
    pub note: String,
    /// The sender gives up then: milliseconds since 1970.
    #[prost(uint64, tag = "7")]
    pub expires_ms: u64,
    /// `Conflict` as its word; empty: as the receiver likes.
    #[prost(string, tag = "8")]
    pub conflict: String,
    /// The whole manifest, where it is at most `INLINE_MANIFEST_MAX` bytes of frames.
    #[prost(bytes = "vec", tag = "9")]
    pub manifest: Vec<u8>,
    /// The sender paused it.
    #[prost(bool, tag = "10")]
    pub paused: bool,
    /// `Priority` as its word.
    #[prost(string, tag = "11")]
    pub priority: String,
    /// Bytes a second that the sender allows; 0: as many as go.
    #[prost(uint64, tag = "12")]
    pub limit: u64,
    /// The names of what lies at the top, at most 20, for policy and people.
    #[prost(bytes = "vec", repeated, tag = "13")]
    pub names: Vec<Vec<u8>>,
    /// Others that get the same content and may help.
    #[prost(message, optional, tag = "14")]
    pub crowd: Option<Crowd>,
    /// What was left out by the sender's walk.
    #[prost(uint64, tag = "15")]
    pub skipped: u64,
    /// The bytes come from a pipe: sizes are not known yet, the manifest grows.
    #[prost(bool, tag = "16")]
    pub stream: bool,
}

/// The longest manifest that travels inside the offer, in bytes.
pub const INLINE_MANIFEST_MAX: usize = 16 << 10;

/// Devices that get the same content, vouched for by its sender, for this content only.
#[derive(Clone, PartialEq, Message)]
pub struct Crowd {
    /// The others.
    #[prost(message, repeated, tag = "1")]
    pub members: Vec<Hint>,
    /// Whether the sender's way to the LAN is a radio.
    #[prost(bool, tag = "2")]
    pub wireless: bool,
    /// What the members show each other to be let in: 16 random bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub pass: Vec<u8>,
}

/// A file, folder or link of a transfer. Entries are numbered from 1 in the order of the manifest; a folder stands
/// before what is in it.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// Number of the folder it lies in; 0: at the top.
    #[prost(uint32, tag = "1")]
    pub parent: u32,
    /// One component of a path, as the sender's file system has it: bytes, not text.
    #[prost(bytes = "vec", tag = "2")]
    pub name: Vec<u8>,
    /// File, folder or link.
    #[prost(enumeration = "EntryKind", tag = "3")]
    pub kind: i32,
    /// Bytes of a file.
    #[prost(uint64, tag = "4")]
    pub size: u64,
    /// Permission bits (07777 of them).
    #[prost(uint32, tag = "5")]
    pub mode: u32,
    /// Modification time: seconds since 1970.
    #[prost(sint64, tag = "6")]
    pub mtime_s: i64,
    /// And nanoseconds.
    #[prost(uint32, tag = "7")]
    pub mtime_ns: u32,
    /// BLAKE3 hash of the content, where the sender knows it already: 32 bytes or none.
    #[prost(bytes = "vec", tag = "8")]
    pub content: Vec<u8>,
    /// Where a link points, as bytes.
    #[prost(bytes = "vec", tag = "9")]
    pub target: Vec<u8>,
    /// The file has holes worth keeping.
    #[prost(bool, tag = "10")]
    pub sparse: bool,
    /// Extended attributes, where asked for: name and value, again and again.
    #[prost(bytes = "vec", repeated, tag = "11")]
    pub xattrs: Vec<Vec<u8>>,
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EntryKind {
    /// Never said.
    Unspecified = 0,
    /// A regular file.
    File = 1,
    /// A folder.
    Folder = 2,
    /// A symbolic link.
    Link = 3,
}

/// A page of the manifest, please.
#[derive(Clone, PartialEq, Message)]
pub struct ManifestRequest {
    /// `TransferKey`.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The first entry wanted, from 1.
    #[prost(uint32, tag = "2")]
    pub from: u32,
}

/// A page of the manifest.
#[derive(Clone, PartialEq, Message)]
pub struct ManifestPage {
    /// Entries in it.
    #[prost(uint32, tag = "1")]
    pub count: u32,
    /// The body is compressed with zstd and has so many bytes when it is not; 0: it is not compressed.
    #[prost(uint32, tag = "2")]
    pub unpacked_len: u32,
}

/// One piece of one file, please.
#[derive(Clone, PartialEq, Message)]
pub struct PieceRequest {
    /// `TransferKey`.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Number of the entry; 0 where `content` names the file.
    #[prost(uint32, tag = "2")]
    pub file: u32,
    /// The piece, from 0.
    #[prost(uint32, tag = "3")]
    pub piece: u32,
    /// BLAKE3 hash of the file, among the members of a crowd.
    #[prost(bytes = "vec", tag = "4")]
    pub content: Vec<u8>,
    /// The crowd's pass.
    #[prost(bytes = "vec", tag = "5")]
    pub pass: Vec<u8>,
    /// The asked one chooses: any piece whose bit is 0 here (little-endian bits from piece 0).
    #[prost(bytes = "vec", tag = "6")]
    pub have: Vec<u8>,
    /// Only these bytes of the piece: offset within it and length, again and again, ascending and apart from each other,
    /// at most `PIECE_RANGES_MAX` of them. None: all. The head is that of the whole piece.
    #[prost(uint32, repeated, tag = "7")]
    pub ranges: Vec<u32>,
}

/// The most parts of a piece that are asked for at once: their numbers are few against a piece.
pub const PIECE_RANGES_MAX: usize = 256;

/// A piece follows.
#[derive(Clone, PartialEq, Message)]
pub struct PieceHead {
    /// Which.
    #[prost(uint32, tag = "1")]
    pub piece: u32,
    /// Its chaining value (of a file of one piece: the hash of the file), as the holder computed it from what it read.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
    /// Nothing follows: all its bytes are zero.
    #[prost(bool, tag = "3")]
    pub zero: bool,
    /// The body is compressed with zstd.
    #[prost(bool, tag = "4")]
    pub packed: bool,
    /// Bytes of the piece when it is not compressed.
    #[prost(uint32, tag = "5")]
    pub len: u32,
    /// Microseconds that reading and hashing took, to tell a slow disk from a slow line.
    #[prost(uint32, tag = "6")]
    pub read_us: u32,
}

/// Small files, whole, please.
#[derive(Clone, PartialEq, Message)]
pub struct PackRequest {
    /// `TransferKey`.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// First entry and count, again and again; only the files among them count.
    #[prost(uint32, repeated, tag = "2")]
    pub ranges: Vec<u32>,
}

/// A pack follows.
#[derive(Clone, PartialEq, Message)]
pub struct PackPage {
    /// Files in it; those that were asked for and are not in it must be asked for again.
    #[prost(uint32, tag = "1")]
    pub count: u32,
    /// Microseconds that reading and hashing took.
    #[prost(uint32, tag = "2")]
    pub read_us: u32,
}

/// One file of a pack.
#[derive(Clone, PartialEq, Message)]
pub struct PackHead {
    /// Number of the entry.
    #[prost(uint32, tag = "1")]
    pub file: u32,
    /// How reading it went; with anything but `Ok`, no bytes follow.
    #[prost(enumeration = "Status", tag = "2")]
    pub status: i32,
    /// Bytes that follow.
    #[prost(uint32, tag = "3")]
    pub len: u32,
    /// BLAKE3 hash of them.
    #[prost(bytes = "vec", tag = "4")]
    pub value: Vec<u8>,
}

/// The chaining values of a file, please; the sender hashes the file for it where it has not yet.
#[derive(Clone, PartialEq, Message)]
pub struct LayerRequest {
    /// `TransferKey`.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Number of the entry.
    #[prost(uint32, tag = "2")]
    pub file: u32,
    /// First piece.
    #[prost(uint32, tag = "3")]
    pub first: u32,
}

/// Chaining values follow.
#[derive(Clone, PartialEq, Message)]
pub struct LayerPage {
    /// How many.
    #[prost(uint32, tag = "1")]
    pub count: u32,
    /// BLAKE3 hash of the whole file.
    #[prost(bytes = "vec", tag = "2")]
    pub content: Vec<u8>,
}

/// Where does the sparse file hold data?
#[derive(Clone, PartialEq, Message)]
pub struct ExtentsRequest {
    /// `TransferKey`.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Number of the entry.
    #[prost(uint32, tag = "2")]
    pub file: u32,
    /// From this byte on.
    #[prost(uint64, tag = "3")]
    pub from: u64,
}

/// Where a sparse file holds data.
#[derive(Clone, PartialEq, Message)]
pub struct ExtentsPage {
    /// Offset and length in bytes, again and again, ascending.
    #[prost(uint64, repeated, tag = "1")]
    pub extents: Vec<u64>,
    /// What lies from here on is not told yet; 0: all is told.
    #[prost(uint64, tag = "2")]
    pub next: u64,
}

/// All is stored.
#[derive(Clone, PartialEq, Message)]
pub struct Complete {
    /// `TransferKey`.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Bytes stored, those that were there already included.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// Files stored.
    #[prost(uint64, tag = "3")]
    pub files: u64,
    /// Bytes that were there already.
    #[prost(uint64, tag = "4")]
    pub reused: u64,
    /// Entry and place of its `SkipReason` in the order of these, again and again, of what was not stored; at most
    /// `SKIPPED_TOLD_MAX` of them.
    #[prost(uint32, repeated, tag = "5")]
    pub skipped: Vec<u32>,
    /// When: milliseconds since 1970, on the receiver's clock.
    #[prost(uint64, tag = "6")]
    pub at_ms: u64,
    /// The receipt as JSON, where it has at most `INLINE_RECEIPT_MAX` bytes; a longer one is asked for.
    #[prost(bytes = "vec", tag = "7")]
    pub receipt: Vec<u8>,
}

/// So many things that were not stored are told one by one: their numbers fit into a frame.
pub const SKIPPED_TOLD_MAX: usize = 10_000;

/// The longest receipt that travels inside `Complete`, in bytes.
pub const INLINE_RECEIPT_MAX: usize = 32 << 10;

/// A part of a receipt, please: raw bytes follow the reply, none at its end.
#[derive(Clone, PartialEq, Message)]
pub struct ReceiptRequest {
    /// `TransferKey`.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// From this byte on.
    #[prost(uint64, tag = "2")]
    pub from: u64,
}

/// One side changes a transfer.
#[derive(Clone, PartialEq, Message)]
pub struct Change {
    /// `TransferKey`.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// What.
    #[prost(enumeration = "ChangeKind", tag = "2")]
    pub kind: i32,
    /// What the person said to it.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// Bytes a second for `Limit`; 0: none.
    #[prost(uint64, tag = "4")]
    pub rate: u64,
    /// Word for `Priority`.
    #[prost(string, tag = "5")]
    pub priority: String,
}

/// What is changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ChangeKind {
    /// Never said.
    Unspecified = 0,
    /// Rest until I resume.
    Pause = 1,
    /// Go on.
    Resume = 2,
    /// It is over.
    Cancel = 3,
    /// No faster than this.
    Limit = 4,
    /// In this order.
    Priority = 5,
    /// Nobody answered for too long.
    Expire = 6,
    /// The receiver does not want it.
    Decline = 7,
}

/// What differs from a file that I have, please. The body is a signature of each block of that file: six bytes of the
/// rolling checksum and six of the BLAKE3 hash.
#[derive(Clone, PartialEq, Message)]
pub struct DeltaRequest {
    /// `TransferKey`.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Number of the entry.
    #[prost(uint32, tag = "2")]
    pub file: u32,
    /// Bytes of a block of the file that I have.
    #[prost(uint32, tag = "3")]
    pub block: u32,
    /// Signatures follow the request as raw bytes: so many.
    #[prost(uint32, tag = "4")]
    pub signature_len: u32,
    /// From this byte of the new file on.
    #[prost(uint64, tag = "5")]
    pub from: u64,
}

/// Instructions that make a stretch of the new file from the old one: the body has, for each copy, the bytes since the
/// last one, the first block and the number of blocks, little-endian in four bytes each.
#[derive(Clone, PartialEq, Message)]
pub struct DeltaPage {
    /// Bytes of the new file in the stretch; those in no copy have to be asked for.
    #[prost(uint64, tag = "1")]
    pub len: u64,
}

// ---- pairing --------------------------------------------------------------------------------------

/// Pairing by words: a promise. The one that starts commits to a nonce before it sees the other's, so that neither
/// can try nonces until the words suit a man in the middle.
#[derive(Clone, PartialEq, Message)]
pub struct PairStart {
    /// BLAKE3 of the starter's nonce.
    #[prost(bytes = "vec", tag = "1")]
    pub commitment: Vec<u8>,
}

/// The other's nonce.
#[derive(Clone, PartialEq, Message)]
pub struct PairNonce {
    /// 32 random bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub nonce: Vec<u8>,
}

/// The promise is kept; from here on both show the same words.
#[derive(Clone, PartialEq, Message)]
pub struct PairReveal {
    /// 32 random bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub nonce: Vec<u8>,
}

/// What the person said.
#[derive(Clone, PartialEq, Message)]
pub struct PairConfirm {
    /// The words are the same.
    #[prost(bool, tag = "1")]
    pub same: bool,
}

/// A code is tried.
#[derive(Clone, PartialEq, Message)]
pub struct CodeStart {
    /// The code's number: which invitation, no secret.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// SPAKE2 message.
    #[prost(bytes = "vec", tag = "2")]
    pub message: Vec<u8>,
    /// What the code is for: pairing or one transfer.
    #[prost(enumeration = "CodePurpose", tag = "3")]
    pub purpose: i32,
}

/// What a code is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CodePurpose {
    /// Never said.
    Unspecified = 0,
    /// Pairing.
    Pair = 1,
    /// One transfer.
    Receive = 2,
}

/// Proof that the code was the same.
#[derive(Clone, PartialEq, Message)]
pub struct CodeConfirm {
    /// The code's number.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// Keyed BLAKE3 over role, both ids and the session's exported key.
    #[prost(bytes = "vec", tag = "2")]
    pub proof: Vec<u8>,
}

/// The inviter's half.
#[derive(Clone, PartialEq, Message)]
pub struct CodeReply {
    /// SPAKE2 message (to `CodeStart`).
    #[prost(bytes = "vec", tag = "1")]
    pub message: Vec<u8>,
    /// The inviter's proof (to `CodeConfirm`, once the other's is good).
    #[prost(bytes = "vec", tag = "2")]
    pub proof: Vec<u8>,
    /// `TransferKey` of what the code was made for; it is offered next.
    #[prost(bytes = "vec", tag = "3")]
    pub transfer: Vec<u8>,
}

// ---- messages -------------------------------------------------------------------------------------

/// Texts, oldest first, without a gap after those that were acknowledged.
#[derive(Clone, PartialEq, Message)]
pub struct Messages {
    /// Texts.
    #[prost(message, repeated, tag = "1")]
    pub texts: Vec<Text>,
    /// The receiver of these may take as delivered and read: ids of 16 bytes.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub read: Vec<Vec<u8>>,
}

/// One text.
#[derive(Clone, PartialEq, Message)]
pub struct Text {
    /// UUID, 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// Which outbox: random per state directory, so that a restored backup cannot use a number again.
    #[prost(fixed64, tag = "2")]
    pub epoch: u64,
    /// Number in that outbox for this peer, from 1, without gaps.
    #[prost(uint64, tag = "3")]
    pub seq: u64,
    /// When it was written: milliseconds since 1970, on the writer's clock.
    #[prost(uint64, tag = "4")]
    pub at_ms: u64,
    /// UTF-8, at most 65,536 bytes.
    #[prost(string, tag = "5")]
    pub text: String,
}

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
