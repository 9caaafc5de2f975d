//! Offers, and what a receiver asks for to pull what was offered.

use prost::Message;

use super::{Hint, Status};

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
