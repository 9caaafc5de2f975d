//! Messages: texts between people, and the files that stand among them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    DeviceId, TransferId,
    nouns::transfer::{Direction, words},
};

/// The longest text of a message, in bytes of UTF-8.
pub const TEXT_MAX: usize = 65_536;

/// The longest text that a device may leave that is not paired, in characters.
pub const KNOCK_MAX: usize = 1_000;

words! {
    /// Where a message stands. It only moves forward.
    MessageState {
        /// Recorded here; it goes out as soon as the peer can be reached.
        Queued = "queued",
        /// On its way, not acknowledged yet.
        Sent = "sent",
        /// The peer's daemon has it on its disk.
        Delivered = "delivered",
        /// It was on the screen of a person.
        Read = "read",
        /// It came in; nobody looked at it yet.
        Received = "received",
        /// A week passed without an acknowledgement.
        Expired = "expired",
    }
}

/// A text, or a file that was sent or received, as it stands in a conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Its id, the same on both sides.
    #[schema(value_type = String)]
    pub id: Uuid,
    /// Its place in our history: later messages have higher numbers.
    pub no: u64,
    /// With whom: our name for the peer.
    pub conversation: String,
    /// The peer's key.
    #[schema(value_type = String)]
    pub peer_id: DeviceId,
    /// Whether the peer is paired; a stranger's name proves nothing.
    pub paired: bool,
    /// Who wrote it: our name for him, or our own.
    pub from: String,
    /// Which way.
    pub direction: Direction,
    /// What was written; of a file, what it is called.
    pub text: String,
    /// Bytes of the text. An event carries only the beginning of a long one; the history has all of it.
    pub bytes: u64,
    /// When it was written.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Where it stands.
    pub state: MessageState,
    /// The transfer, where this is a file.
    #[schema(value_type = Option<String>)]
    pub transfer: Option<TransferId>,
    /// Of a text that was written to many at once, to whom: `@group` or `all`. Ours alone: no peer learns of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The same for all messages that one text to many became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub post: Option<Uuid>,
}

/// Part of the history, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Messages {
    /// Messages.
    pub messages: Vec<Message>,
}

/// Which part of the history. At most so much of it comes at once as one reply holds; ask again from its end on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// With this peer only; of `@group` or `all`, what was written to them together, and what each of them wrote and sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Only those that have all of these words in them, case ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// So many at most; without it 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The last ones before this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// The first ones after this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// A text to be sent.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteMessage {
    /// Alias, name, key prefix, `@group`, `all`, or several joined by commas.
    pub target: String,
    /// 1 to 65,536 bytes.
    pub text: String,
    /// The same id again is the same message: a retry writes nothing twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<Uuid>,
}

/// What was written, one message a peer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WrittenMessages {
    /// The messages.
    pub messages: Vec<Message>,
    /// Those of the peers that cannot be reached now; they get it when they come back.
    pub off: Vec<String>,
}

/// What a person has seen of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkRead {
    /// The peer.
    pub peer: String,
    /// Up to this number.
    pub until: u64,
}

/// All groups.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Groups {
    /// By name.
    pub groups: Vec<Group>,
}

/// Peers under one name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Its name; as a target, `@` stands before it.
    pub name: String,
    /// Our names for its peers.
    pub peers: Vec<String>,
    /// Their keys, in the same order.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub ids: Vec<DeviceId>,
}

/// Peers for a group, or out of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupPeers {
    /// Targets, as a person types them; to remove none means the group itself.
    #[serde(default)]
    pub peers: Vec<String>,
}
