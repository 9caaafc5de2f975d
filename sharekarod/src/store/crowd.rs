//! What is remembered of those who get the same content: who they are and what lets them in.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use sharekaro_proto::DeviceId;

/// What the members show each other.
pub type Pass = [u8; 16];

/// A crowd as one of its devices keeps it; at the sender, only the pass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Crowd {
    /// What lets in.
    pub pass: Pass,
    /// Whether the sender's way to the LAN is a radio.
    pub wireless: bool,
    /// The others.
    pub members: Vec<Member>,
}

/// What one device gave of a transfer that several get.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Given {
    /// Who.
    pub device: DeviceId,
    /// Whether it is the sender itself.
    pub sender: bool,
    /// Pieces that were verified and kept.
    pub pieces: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pieces that were none.
    pub wrong: u64,
}

/// A device that gets the same content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Its key, as the sender vouches.
    pub id: DeviceId,
    /// Where it may be reached.
    pub addresses: Vec<SocketAddr>,
}
