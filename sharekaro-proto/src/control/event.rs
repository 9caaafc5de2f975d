//! Facts that happened, in order.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    drop::DropItem, message::Message, net::Anomaly, pairing::Pairing, peer::Peer, policy::Decision, status::Warning, transfer::Transfer,
};
use crate::DeviceId;

/// One fact. `seq` grows by one from event to event; a snapshot carries the number of the last event that is in it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its place in the order, unique while the daemon runs.
    pub seq: u64,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Fact {
    /// All state as it is now; always the first, and again where a listener fell behind.
    Snapshot(Box<Snapshot>),
    /// A peer is new or differs from before.
    PeerChanged(Box<Peer>),
    /// A peer is no longer known.
    PeerForgotten(PeerForgotten),
    /// A pairing moved on.
    PairingChanged(Box<Pairing>),
    /// A device uses the name of a paired one with another key.
    IdentityAlarm(IdentityAlarm),
    /// A transfer is new or differs from before; at most some times a second.
    TransferChanged(Box<Transfer>),
    /// A text or a file came in.
    MessageReceived(Box<Message>),
    /// A message of ours is new or stands elsewhere than before, or one of a peer was read here.
    MessageChanged(Box<Message>),
    /// Something on the network is out of the ordinary, or worse than it was said to be.
    AnomalyRecorded(Box<Anomaly>),
    /// Something was decided about a peer, by a rule or a person.
    DecisionRecorded(Box<Decision>),
    /// Something in a drop folder is new or stands elsewhere than before.
    DropChanged(Box<DropItem>),
    /// Something in a drop folder is no longer there, and was not sent: its path.
    DropForgotten(DropForgotten),
    /// Something does not work as it should, or works again.
    WarningsChanged(Vec<Warning>),
}

/// All state.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// All peers.
    pub peers: Vec<Peer>,
    /// Those transfers that have not ended, and the newest of the others.
    pub transfers: Vec<Transfer>,
    /// Pairings under way.
    pub pairings: Vec<Pairing>,
    /// What lies in drop folders and is not sent yet: the first thousand, `GET /v1/drop` has all.
    #[serde(default)]
    pub drops: Vec<DropItem>,
    /// What does not work as it should.
    pub warnings: Vec<Warning>,
}

/// Which peer was forgotten.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PeerForgotten {
    /// Its id.
    #[schema(value_type = String)]
    pub id: DeviceId,
}

/// What is no longer in a drop folder.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DropForgotten {
    /// Where it was, as in `DropItem`.
    pub path: String,
}

/// Another key under a known name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct IdentityAlarm {
    /// The name.
    pub name: String,
    /// The key that we trust under this name.
    #[schema(value_type = String)]
    pub trusted: DeviceId,
    /// The key that was seen.
    #[schema(value_type = String)]
    pub seen: DeviceId,
}
