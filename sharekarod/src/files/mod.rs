//! The ground floor of bytes: names, trees, hashes, and the cage that received bytes are written in.
//!
//! Everything here blocks: call it from a thread that may. No path of a peer is ever opened; a peer names one component
//! at a time, and each is looked up beneath a folder that is held open.

pub mod cage;
pub mod delta;
pub mod dir;
pub mod dropped;
mod error;
pub mod manifest;
mod name;
mod pieces;
mod recent;
mod room;
pub mod source;
mod spinning;
mod writers;
pub mod xattr;

#[cfg(test)]
mod testing;

pub use cage::{EntryState, Placed, Small, Staging, Stored};
pub use error::Error;
pub use manifest::{Item, Manifest, ManifestError};
pub use name::{FileName, NAME_BYTES_MAX, NameError};
pub use pieces::{PIECE_BYTES, RootBuilder, Value, is_zero, piece_count, piece_len, piece_range, piece_value, root, zero_value};
pub use room::Room;
pub use source::{HashKey, Piece, SourceError, SourceTree};
pub use spinning::spinning_disk;
