//! The daemon itself: how it is, who it is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::DeviceId;

/// How the daemon is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Our device id.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// What we call ourselves.
    pub name: String,
    /// Version of the daemon.
    pub version: String,
    /// Addresses at which we can be reached, without port.
    pub addresses: Vec<String>,
    /// UDP port.
    pub port: u16,
    /// Peers that can be reached now.
    pub peers_online: usize,
    /// Transfers that have not ended.
    pub transfers_active: usize,
    /// What does not work as it should.
    pub warnings: Vec<Warning>,
}

/// Something that does not work as it should, while everything else does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// For programs.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Who we are.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// Our device id: the Ed25519 public key, 52 base32 characters.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// What we call ourselves.
    pub name: String,
    /// The id in groups of four with two check characters, to be read aloud.
    pub grouped: String,
    /// The first 66 bits of the id's BLAKE3 hash as six words (BIP 39, English).
    pub words: String,
}
