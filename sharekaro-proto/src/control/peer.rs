//! Peers: other devices that we know.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DeviceId, nouns::trust::Trust};

/// All peers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Peers {
    /// Those online first, then by name.
    pub peers: Vec<Peer>,
}

/// Another device that we know.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its public key.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// What it calls itself.
    pub name: String,
    /// What we call it; the name where we gave none.
    pub alias: String,
    /// Whether it can be reached right now.
    pub online: bool,
    /// What it may do without asking.
    pub trust: Trust,
    /// `ip:port`, the one in use first.
    pub addresses: Vec<String>,
    /// When it was last reached.
    #[schema(value_type = Option<String>)]
    pub last_seen: Option<Timestamp>,
    /// What its person says.
    pub presence: PresenceBody,
    /// Round-trip time of the session in milliseconds.
    pub rtt_ms: Option<f64>,
    /// The words of a pairing that waits for our person.
    pub words: Option<String>,
    /// Version of its program, as it says.
    pub version: String,
}

/// What a person says of himself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PresenceBody {
    /// `available` or `away`.
    pub state: PresenceState,
    /// A line of text.
    pub text: String,
}

/// Whether a person would like to be disturbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    /// Here.
    #[default]
    Available,
    /// Not here.
    Away,
}

/// A peer that announcements do not reach.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AddPeer {
    /// `HOST[:PORT]`; IPv6 in brackets, with `%interface` where it is link-local.
    pub address: String,
    /// What we call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

/// Another alias.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rename {
    /// What we call it from now on; unique among peers.
    pub alias: String,
}

/// Another trust.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SetTrust {
    /// `ask`, `accept` or `decline`.
    pub trust: Trust,
}

/// A ping that came back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Pong {
    /// Round-trip time, daemon to daemon, in milliseconds.
    pub rtt_ms: f64,
    /// The address in use, `ip:port`.
    pub address: String,
}
