//! The inbox: what waits for an answer and what came.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::transfer::RawPath;
use crate::TransferId;

/// What waits and what came.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Inbox {
    /// Offers that wait for a person, oldest first.
    pub waiting: Vec<WaitingOffer>,
    /// What came, newest first.
    pub received: Vec<Received>,
}

/// An offer that waits for a person.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WaitingOffer {
    /// The transfer.
    #[schema(value_type = String)]
    pub id: TransferId,
    /// Who offers: our name for the peer.
    pub peer: String,
    /// The first characters of its key.
    pub key: String,
    /// Words for its key, to be compared by people: those that `identity` shows there.
    pub words: String,
    /// What: the first name.
    pub name: String,
    /// How many files.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Until when it waits.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
    /// Which rule asked.
    pub rule: String,
    /// A word to it.
    pub note: String,
}

/// Something that came.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Received {
    /// The transfer.
    #[schema(value_type = String)]
    pub id: TransferId,
    /// From whom.
    pub peer: String,
    /// When it was whole.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Where its top-level entries lie.
    pub paths: Vec<String>,
    /// The folder that they lie in.
    #[schema(value_type = String)]
    pub dir: RawPath,
    /// How many files.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Which rule judged it.
    pub rule: String,
    /// Whether it lies apart until a person lets it out.
    pub quarantined: bool,
}

/// Take it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// Where to, absolute; made where it is missing. Without it, the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dir: Option<RawPath>,
}

/// Do not take it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decline {
    /// What the sender is told.
    #[serde(default)]
    pub reason: String,
}

/// What became of something that was taken back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Undone {
    /// The transfer.
    #[schema(value_type = String)]
    pub id: TransferId,
    /// Files and links that are gone.
    pub removed: u64,
    /// Older things that have their names back.
    pub restored: u64,
    /// What stayed, as somebody changed it since.
    pub spared: Vec<String>,
}
