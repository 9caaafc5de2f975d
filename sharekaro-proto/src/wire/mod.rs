//! What two daemons say to each other.
//!
//! One QUIC connection a peer, ALPN `sharekaro/1`. The device that was called opens the control stream and speaks
//! first: `Hello` both ways, then `Note`s, which are facts that need no answer. Everything else is one short
//! bidirectional stream a request: `frame(Request)` there, `frame(Reply)` back and, where the reply says so, raw bytes
//! after it (at most `PAGE_MAX`). A frame is a varint length (LEB128, as protobuf's own) and so many bytes of protobuf.
//!
//! Tags are never used again; an unknown field is ignored, an unknown request is answered with `Unsupported`.

mod frame;
mod messages;

pub use frame::{FrameError, decode_frame, encode_frame, frame_length};
pub use messages::*;

/// The protocol's name and incompatible version in the TLS handshake.
pub const ALPN: &[u8] = b"sharekaro/1";

/// Bytes of one piece: what is hashed, verified and asked for as one. Fixed for ever, as hashes depend on it.
pub const PIECE_SIZE: u64 = 1 << 20;

/// The longest frame, in bytes. A peer that is not paired gets `FRAME_MAX_STRANGER`.
pub const FRAME_MAX: usize = 256 << 10;

/// The longest frame of a peer that is not paired: a greeting, a question, an offer with one page of names.
pub const FRAME_MAX_STRANGER: usize = 64 << 10;

/// The most raw bytes after a reply. One MiB and a frame can never become 1,024 gaps in quinn's stream buffer.
pub const PAGE_MAX: usize = 1 << 20;
